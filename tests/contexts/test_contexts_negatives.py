from collections import Counter

import numpy as np
import pytest

from autointerp.config import NegativeKind
from autointerp.contexts.negatives import NegativeHints, SilentPools, choose_silent, rank_silent_tiles
from autointerp.contexts.pool import PoolTiles
from autointerp.contexts.splits import DuplicateFilter
from autointerp.records import Context, Split
from tests.contexts.world import World, make_world

SPLITS: tuple[Split, Split] = ("explain", "score")
EVERY_KIND: tuple[NegativeKind, ...] = ("silent_random", "silent_similar", "silent_neighbor", "silent_token")
FEATURE, NEIGHBOR, OTHER_NEIGHBOR = 2, 3, 1


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(1, densities=(0.0, 0.01, 0.02, 0.05, 1.0), n_documents=90)


@pytest.fixture(scope="module")
def tiles(world: World) -> PoolTiles:
    return world.tiles()


@pytest.fixture(scope="module")
def mixed() -> PoolTiles:
    """Tiles of many lengths."""
    return make_world(1, densities=(0.0, 0.01, 0.02, 0.05, 1.0), n_documents=90, short=0.7, duplicated=0.0).tiles()


def alone(tiles: PoolTiles) -> SilentPools:
    """The same windows for every kind."""
    return SilentPools(tiles, tiles)


def hints_for(tiles: PoolTiles) -> NegativeHints:
    common = int(np.bincount(tiles.token_ids.ravel())[4:].argmax()) + 4
    return NegativeHints(
        similarity=np.cos(np.arange(tiles.n_tiles)).astype(np.float32),
        neighbors=[FEATURE, NEIGHBOR, OTHER_NEIGHBOR],
        peak_tokens=[common, 3, 5, 6],
    )


def choose(
    tiles: PoolTiles, kinds: tuple[NegativeKind, ...], n_wanted: int, split: Split = "score", *, feature: int = FEATURE
) -> list[Context]:
    ranked = rank_silent_tiles(alone(tiles), feature, kinds, hints_for(tiles), key=9)
    lengths = [tiles.context_length] * n_wanted
    return choose_silent(alone(tiles), feature, split, lengths, kinds, ranked, DuplicateFilter(0.5))


def test_kinds_have_equal_shares_and_the_first_ones_the_odd_ones(tiles: PoolTiles) -> None:
    kinds: tuple[NegativeKind, ...] = ("silent_random", "silent_similar", "silent_neighbor")
    counts = Counter(context.kind for context in choose(tiles, kinds, 8))
    assert counts == {"silent_random": 3, "silent_similar": 3, "silent_neighbor": 2}


@pytest.mark.parametrize("split", SPLITS)
def test_negatives_are_silent_of_their_split_and_all_different(world: World, tiles: PoolTiles, split: Split) -> None:
    contexts = choose(tiles, EVERY_KIND, 20, split)
    assert len(contexts) == 20
    assert all(context.split == split for context in contexts)
    assert all(world.dense[context.block_index, :, FEATURE].max() == 0 for context in contexts)
    assert len({(context.block_index, context.start) for context in contexts}) == 20


def test_similar_negatives_are_the_closest_of_a_quarter_of_the_silent_windows(tiles: PoolTiles) -> None:
    hints = hints_for(tiles)
    assert hints.similarity is not None
    similar = rank_silent_tiles(alone(tiles), FEATURE, EVERY_KIND, hints, key=9)["silent_similar"]
    silent = tiles.block_is_silent(FEATURE)
    assert set(similar.tolist()) == set(np.flatnonzero(silent).tolist())
    (end_of_quarter,) = np.flatnonzero(np.diff(hints.similarity[similar]) > 0)
    assert 0.15 < (end_of_quarter + 1) / silent.sum() < 0.35
    other = rank_silent_tiles(alone(tiles), NEIGHBOR, EVERY_KIND, hints, key=9)["silent_similar"]
    assert other[0] != similar[0], "each feature has a quarter of its own"


def test_neighbor_negatives_are_where_a_neighbor_fires_strongest_first(tiles: PoolTiles) -> None:
    ranked = rank_silent_tiles(alone(tiles), FEATURE, EVERY_KIND, hints_for(tiles), key=9)["silent_neighbor"]
    silent = tiles.block_is_silent(FEATURE)
    first, second = (np.where(silent, tiles.peaks(neighbor), 0) for neighbor in (NEIGHBOR, OTHER_NEIGHBOR))
    assert set(ranked.tolist()) == set(np.flatnonzero((first > 0) | (second > 0)).tolist())
    assert first[ranked[0]] == first.max()
    assert second[ranked[1]] == second.max()
    assert len(set(ranked.tolist())) == ranked.size


def test_token_negatives_hold_the_token_that_the_feature_peaks_on(tiles: PoolTiles) -> None:
    hints = hints_for(tiles)
    ranked = rank_silent_tiles(alone(tiles), FEATURE, EVERY_KIND, hints, key=9)["silent_token"].tolist()
    silent = tiles.block_is_silent(FEATURE)
    holders = [set(np.flatnonzero(tiles.holds(token) & silent).tolist()) for token in hints.peak_tokens]
    assert holders[0]
    assert set(ranked[: len(holders[0])]) == holders[0]
    assert set(ranked) == holders[0] | holders[1] | holders[2]
    assert len(set(ranked)) == len(ranked)


def test_a_kind_that_runs_short_is_filled_with_other_features_peaks_and_says_so(tiles: PoolTiles) -> None:
    kinds: tuple[NegativeKind, ...] = ("silent_neighbor",)
    ranked = rank_silent_tiles(alone(tiles), FEATURE, kinds, NegativeHints(neighbors=[]), key=9)
    contexts = choose_silent(alone(tiles), FEATURE, "score", [8] * 6, kinds, ranked, DuplicateFilter(0.5))
    assert Counter(context.kind for context in contexts) == {"silent_peak": 6}


def test_random_negatives_do_not_depend_on_the_other_kinds(tiles: PoolTiles) -> None:
    alone = choose(tiles, ("silent_random",), 4)
    last = choose(tiles, ("silent_similar", "silent_random"), 8)
    assert [c.context_id for c in last if c.kind == "silent_random"] == [c.context_id for c in alone]


def test_features_have_different_random_negatives(tiles: PoolTiles) -> None:
    blocks = [
        {(c.block_index, c.start) for c in choose(tiles, ("silent_random",), 10, feature=feature)} for feature in (0, 1)
    ]
    assert blocks[0] != blocks[1]


def test_a_feature_that_always_fires_has_no_negatives(tiles: PoolTiles) -> None:
    assert choose(tiles, EVERY_KIND, 10, feature=4) == []


def test_a_tile_that_repeats_an_earlier_context_is_passed_over(tiles: PoolTiles) -> None:
    ranked = rank_silent_tiles(alone(tiles), FEATURE, ("silent_random",), NegativeHints(), key=9)
    seen = DuplicateFilter(0.5)
    first = next(tile for tile in ranked["silent_random"].tolist() if tiles.is_score[tile])
    seen.admit(tiles.trigrams[first])
    contexts = choose_silent(alone(tiles), FEATURE, "score", [8] * 5, ("silent_random",), ranked, seen)
    assert len(contexts) == 5
    assert all(set(context.token_ids) != set(tiles.token_ids[first]) for context in contexts)


def lengths_chosen(tiles: PoolTiles, kinds: tuple[NegativeKind, ...], lengths: list[int]) -> dict[str, list[int]]:
    ranked = rank_silent_tiles(alone(tiles), FEATURE, kinds, hints_for(tiles), key=9)
    contexts = choose_silent(alone(tiles), FEATURE, "score", lengths, kinds, ranked, DuplicateFilter(0.5))
    return {kind: sorted(len(c.tokens) for c in contexts if c.kind == kind) for kind in kinds}


def test_negatives_have_the_lengths_asked_for_shared_out_over_the_kinds(mixed: PoolTiles) -> None:
    short = np.unique(mixed.length[mixed.block_is_silent(FEATURE) & mixed.is_score])[:-1].tolist()
    assert short, "the world has short documents"
    lengths = lengths_chosen(mixed, ("silent_random", "silent_similar"), [8, short[-1], 8, 8, short[0], 8])
    assert lengths == {"silent_random": [short[-1], 8, 8], "silent_similar": [short[0], 8, 8]} or (
        lengths == {"silent_random": [short[0], 8, 8], "silent_similar": [short[-1], 8, 8]}
    )


def test_a_short_negative_is_the_closest_in_length_and_of_these_the_first_in_rank(mixed: PoolTiles) -> None:
    ranked = rank_silent_tiles(alone(mixed), FEATURE, ("silent_similar",), hints_for(mixed), key=9)
    candidates = [t for t in ranked["silent_similar"].tolist() if mixed.is_score[t] and mixed.length[t] < 8]
    for wanted in range(1, 8):
        distance = min(abs(int(mixed.length[t]) - wanted) for t in candidates)
        first = next(t for t in candidates if abs(int(mixed.length[t]) - wanted) == distance)
        kinds: tuple[NegativeKind, ...] = ("silent_similar",)
        (context,) = choose_silent(alone(mixed), FEATURE, "score", [wanted], kinds, ranked, DuplicateFilter(0.5))
        assert (context.block_index, context.start) == (mixed.block_index[first], mixed.start[first])


def test_full_length_negatives_stand_in_for_short_ones_where_these_run_out(mixed: PoolTiles) -> None:
    n_short = int((mixed.block_is_silent(FEATURE) & mixed.is_score & (mixed.length < 8)).sum())
    lengths = lengths_chosen(mixed, ("silent_peak",), [5] * (n_short + 4))["silent_peak"]
    assert len(lengths) == n_short + 4
    assert 4 <= lengths.count(8) < n_short + 4


def test_a_kind_without_a_window_of_the_length_leaves_it_to_other_features_peaks(mixed: PoolTiles) -> None:
    kinds: tuple[NegativeKind, ...] = ("silent_neighbor",)
    ranked = dict(rank_silent_tiles(alone(mixed), FEATURE, kinds, hints_for(mixed), key=9))
    ranked["silent_neighbor"] = ranked["silent_neighbor"][mixed.length[ranked["silent_neighbor"]] == 8]
    contexts = choose_silent(alone(mixed), FEATURE, "score", [8, 8, 3], kinds, ranked, DuplicateFilter(0.5))
    assert [c.kind for c in contexts] == ["silent_neighbor", "silent_neighbor", "silent_peak"]
    assert [len(c.tokens) == 8 for c in contexts] == [True, True, False]


def test_all_silent_tiles_are_used_where_they_are_few() -> None:
    world = make_world(2, n_documents=8, duplicated=0.0)
    tiles = world.tiles()
    n_silent = int((tiles.block_is_silent(0) & tiles.is_score).sum())
    kinds: tuple[NegativeKind, ...] = ("silent_random", "silent_similar")
    ranked = rank_silent_tiles(alone(tiles), 0, kinds, hints_for(tiles), key=9)
    contexts = choose_silent(alone(tiles), 0, "score", [8] * 1000, kinds, ranked, DuplicateFilter(1.0))
    assert len(contexts) == n_silent > 0
