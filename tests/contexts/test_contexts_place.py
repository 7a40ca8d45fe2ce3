"""Where windows that grade stand, and what else fires in them, on a small corpus with every activation known."""

from collections import Counter

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from autointerp.contexts.build import build_contexts
from autointerp.contexts.place import OtherPeaks
from autointerp.contexts.pool import PoolTiles
from autointerp.contexts.pool_blocks import PoolBlocks
from autointerp.corpus.reader import Blocks
from autointerp.records import Context, FeatureContexts
from tests.contexts.world import COLLECT, CONTEXTS, World, make_world

LENGTH = COLLECT.context_length


@pytest.fixture(scope="module")
def world() -> World:
    # Like features, and one that is silent nearly everywhere.
    return make_world(3, densities=(0.02,) * 60 + (0.002,), n_documents=500, short=0.1, duplicated=0.0)


@pytest.fixture(scope="module")
def contexts(world: World) -> list[Context]:
    config = CONTEXTS.model_copy(update={"n_score": 20})
    outcomes = build_contexts(range(60), world.inputs(config, COLLECT.model_copy(update={"n_fired": 60})))
    return [c for outcome in outcomes if isinstance(outcome, FeatureContexts) for c in outcome.contexts]


def test_the_explainer_sees_what_leads_up_to_the_peak(contexts: list[Context]) -> None:
    inside = [c for c in contexts if c.split == "explain" and c.is_active and c.start > 2 and len(c.tokens) == LENGTH]
    places = Counter(c.peak for c in inside)
    assert places.most_common(1)[0][0] == int(0.75 * LENGTH)


def test_in_what_grades_the_peak_may_stand_anywhere(contexts: list[Context]) -> None:
    inside = [c.peak for c in contexts if c.split == "score" and c.is_active and len(c.tokens) == LENGTH]
    places = np.bincount(inside, minlength=LENGTH) / len(inside)
    assert len(inside) > 500
    assert (places[1:-1] > 0.06).all()
    assert (places < 0.25).all()


def test_activations_are_the_true_ones_wherever_a_window_stands(world: World, contexts: list[Context]) -> None:
    for c in contexts:
        true = world.dense[c.block_index, c.start : c.start + len(c.tokens), c.feature_index]
        assert c.activations == tuple(true.tolist())


def test_on_a_decoy_the_feature_is_silent_and_others_fire_here_or_elsewhere(
    world: World, contexts: list[Context]
) -> None:
    grading = [c for c in contexts if c.split == "score" and c.is_active and len(c.tokens) == LENGTH]
    fires_on = world.dense.max(axis=2) > 0
    n_here = 0
    for c in grading:
        assert c.decoy, "where no other feature peaks nearby, a token on which some fire elsewhere serves"
        here = world.dense[c.block_index, c.start : c.start + len(c.tokens)][list(c.decoy)]
        assert (here[:, c.feature_index] == 0).all()
        of_one = [f for f in range(here.shape[1]) if (here[:, f] > 0).all() and (np.diff(here[:, f]) <= 0).all()]
        n_here += bool(of_one)  # then its offsets are those of one feature, strongest first
        if not of_one:
            assert len(c.decoy) == 1
            assert fires_on[world.token_ids == c.token_ids[c.decoy[0]]].any()
    assert 0.5 * len(grading) < n_here < len(grading)


def test_only_firing_contexts_that_grade_have_a_decoy(contexts: list[Context]) -> None:
    assert all(not c.decoy for c in contexts if not c.is_active or c.split != "score")


def test_a_token_is_drawn_as_decoy_by_how_much_more_features_fire_on_it_than_it_occurs() -> None:
    """Each feature has a mass of 1: two of them on token 2, which occurs once, one on token 1, which occurs twice."""
    blocks = Blocks(
        token_ids=np.array([[0, 1, 1, 2, 9]], dtype=np.int32),
        counted=np.array([[False, True, True, True, False]]),
        span_start=np.array([1], dtype=np.int32),
        span_end=np.array([4], dtype=np.int32),
        document_ids=("d",),
        group_ids=("d",),
    )
    pool = PoolBlocks(
        block_index=np.array([7]),
        blocks=blocks,
        n_corpus_blocks=1,
        feature=np.array([0, 0, 1, 2, 3], dtype=np.int32),
        at=np.array([1, 2, 3, 3, 1]),
        activation=np.array([1.0, 3.0, 2.0, 5.0, 9.0], dtype=np.float32),
    )
    is_alike = np.arange(100) < 3
    others = OtherPeaks(make_world(0).collected(COLLECT).fired, is_alike, pool, LENGTH)
    assert others.token_weight.tolist() == [0.0, 1 / 2, 2 / 1]


def test_neither_place_nor_number_tells_peak_and_decoy_apart(contexts: list[Context]) -> None:
    grading = [c for c in contexts if c.split == "score" and c.decoy]
    assert len(grading) > 300
    places = [c.peak for c in grading] + [c.decoy[0] for c in grading]
    from_middle = [abs(place - (LENGTH - 1) / 2) for place in places]
    truth = [1] * len(grading) + [0] * len(grading)
    assert abs(roc_auc_score(truth, places) - 0.5) < 0.05
    assert abs(roc_auc_score(truth, from_middle) - 0.5) < 0.05


def peaks_of(world: World) -> PoolTiles:
    return world.peaks(CONTEXTS.model_copy(update={"n_pool_tiles": 400}))


def test_windows_of_peaks_never_meet_and_in_each_of_them_a_feature_peaks(world: World) -> None:
    peaks = peaks_of(world)
    assert 50 < peaks.n_tiles <= 400
    block_peak = world.dense.max(axis=1)
    for tile in range(peaks.n_tiles):
        block, start, length = int(peaks.block_index[tile]), int(peaks.start[tile]), int(peaks.length[tile])
        here = world.dense[block, start : start + length].max(axis=0)
        assert ((here == block_peak[block]) & (here > 0)).any()
        if tile and peaks.block_index[tile - 1] == block:
            assert peaks.start[tile - 1] + peaks.length[tile - 1] <= start


def test_a_frequent_feature_has_no_more_windows_of_peaks_than_a_rare_one() -> None:
    world = make_world(3, densities=(0.2, *(0.01,) * 40), n_documents=400, short=0.0, duplicated=0.0)
    peaks = world.peaks(CONTEXTS.model_copy(update={"n_pool_tiles": 41}))
    holds = np.array([peaks.peaks(feature) > 0 for feature in range(41)])
    assert peaks.n_tiles >= 35
    assert (holds[1:].any(axis=0)).mean() > 0.9, "all but one window are of rare features"
