"""Discrimination: labels against the features whose labels are nearest."""

import dataclasses
from collections.abc import Mapping
from typing import NoReturn

import numpy as np
import pytest

from autointerp.config import ScoreConfig
from autointerp.contexts.pool import PoolTiles
from autointerp.records import ScoreWithTrials
from autointerp.score.judges.local import LocalJudge
from autointerp.score.others import OtherFeatures
from autointerp.score.scorers.detection import DetectionScorer
from autointerp.score.scorers.discrimination import DiscriminationScorer, find_siblings
from autointerp.score.trials import Posed, ScoreContexts, Undefined
from tests.score.world import (
    ANIMALS,
    BLOCK,
    COLOURS,
    FILLER,
    N_BLOCKS,
    WORDS,
    BagOfWords,
    Scripted,
    World,
    explanation_of,
    failed,
    read,
    scored,
    tools,
)

CAT, DOG, HORSE, RED, TWIN, NEVER = range(6)
LEXICONS: tuple[tuple[str, ...], ...] = (("cat",), ("dog",), ("horse",), ("red",), ("cat",), ())
LABELS = {CAT: "cat", DOG: "dog cat", HORSE: "horse cat", RED: "red", TWIN: "cat", NEVER: "cat"}


@pytest.fixture(scope="module")
def apart() -> World:
    """Features that fire on one word each; two of them on the same, one on none."""
    rng = np.random.default_rng(5)
    weight = np.array([0.002] * len(COLOURS) + [0.004] * len(ANIMALS) + [1.0] * len(FILLER))
    weight[8:] *= (1 - weight[:8].sum()) / weight[8:].sum()
    return World(rng.choice(len(WORDS), size=(N_BLOCKS, BLOCK), p=weight).astype(np.int32), LEXICONS)


@pytest.fixture(scope="module")
def tiles(apart: World) -> PoolTiles:
    return apart.pool_tiles()


def given(world: World, tiles: PoolTiles, feature: int, labels: Mapping[int, str] = LABELS) -> ScoreContexts:
    others = OtherFeatures(lambda: labels, world.windows_of, BagOfWords())
    return dataclasses.replace(world.given(feature, tiles), others=others)


def scorer(judge: Scripted | LocalJudge | None = None, n_siblings: int = 5) -> DiscriminationScorer:
    return DiscriminationScorer(tools(judge or Scripted(read), ScoreConfig(n_siblings=n_siblings)))


def asked(label: str, contexts: ScoreContexts, n_siblings: int = 2) -> tuple[Posed, ...]:
    posed = scorer(n_siblings=n_siblings).pose(explanation_of(CAT, label), contexts, 1)
    assert not isinstance(posed, Undefined)
    return posed


def value(world: World, tiles: PoolTiles, feature: int, label: str, n_siblings: int = 5) -> ScoreWithTrials:
    return scored(scorer(n_siblings=n_siblings).score(explanation_of(feature, label), given(world, tiles, feature)))


def test_firing_contexts_face_as_many_windows_of_siblings_in_which_the_feature_is_silent(
    apart: World, tiles: PoolTiles
) -> None:
    contexts = given(apart, tiles, CAT)
    posed = asked("cat", contexts)
    true, false = ([p.question.context for p in posed if p.truth == truth] for truth in (True, False))
    assert set(true) == set(contexts.feature.of("score", active=True))
    assert len(false) == len(true)
    for context in false:
        assert context.feature_index == CAT
        assert context.split == "score"
        assert not apart.activations(CAT)[context.block_index, context.start : context.start + 16].any()
        assert {"dog", "horse"} & {token.strip() for token in context.tokens}
    assert not {c.document_id for c in false} & {c.document_id for c in contexts.feature.of("explain", active=True)}


def test_the_nearest_labels_count_and_who_fires_nowhere_else_is_passed_over(apart: World, tiles: PoolTiles) -> None:
    """The twin fires where the cat does, one never: the next nearest are the dog's and the horse's."""
    siblings = find_siblings(given(apart, tiles, CAT), 2, 1)
    assert {s.feature_index for s in siblings} == {DOG, HORSE}
    assert [len(s.windows) for s in siblings] == [10, 10]


def test_a_shuffled_label_faces_the_same_questions(apart: World, tiles: PoolTiles) -> None:
    contexts = given(apart, tiles, CAT)
    assert asked("cat", contexts) == asked("the", contexts)


def test_a_label_that_holds_of_siblings_too_falls_where_detection_does_not_see_it(
    apart: World, tiles: PoolTiles
) -> None:
    right, broad = (value(apart, tiles, CAT, label, n_siblings=2) for label in ("cat", "cat dog horse"))
    assert right.score.value == 1.0
    assert broad.score.value < 0.6
    of_detection = scored(
        DetectionScorer(tools(Scripted(read))).score(explanation_of(CAT, "cat dog horse"), given(apart, tiles, CAT))
    )
    assert of_detection.score.value > 0.75


def test_the_detail_says_which_sibling_a_label_is_confused_with(apart: World, tiles: PoolTiles) -> None:
    detail = value(apart, tiles, CAT, "cat dog", n_siblings=2).score.detail
    by_sibling = detail["balanced_accuracy_by_sibling"]
    assert by_sibling[str(HORSE)] > 0.85
    assert by_sibling[str(DOG)] < 0.6
    assert detail["n_balanced_accuracy_by_sibling"] == {str(DOG): 10, str(HORSE): 10}
    for sibling, interval in detail["balanced_accuracy_by_sibling_interval"].items():
        assert 0 <= interval["low"] < by_sibling[sibling] <= interval["high"] <= 1
    assert detail["balanced_accuracy_by_sibling_interval"].keys() == by_sibling.keys()
    assert detail["similarity_by_sibling"][str(DOG)] == pytest.approx(0.5**0.5, abs=2e-3)


def test_each_window_says_whose_it_is(apart: World, tiles: PoolTiles) -> None:
    result = value(apart, tiles, CAT, "cat", n_siblings=2)
    whose = result.score.detail["sibling_by_context"]
    words = {c.context_id: {token.strip() for token in c.tokens} for c in result.contexts}
    assert set(whose) == set(words) == {t.context_id for t in result.trials if not t.truth}
    assert all(LEXICONS[int(sibling)][0] in words[name] for name, sibling in whose.items())


def test_equal_labels_are_counted_and_named(apart: World, tiles: PoolTiles) -> None:
    detail = value(apart, tiles, CAT, "cat", n_siblings=2).score.detail
    assert (detail["n_equal_labels"], detail["equal_labels"]) == (2, [TWIN, NEVER])
    other = value(apart, tiles, DOG, "dog", n_siblings=2).score.detail
    assert (other["n_equal_labels"], other["equal_labels"]) == (0, [])


def test_features_that_share_a_label_score_as_chance_does(apart: World, tiles: PoolTiles) -> None:
    labels = dict.fromkeys((CAT, DOG, HORSE), "cat dog horse")
    contexts = given(apart, tiles, CAT, labels)
    result = scored(scorer(n_siblings=2).score(explanation_of(CAT, "cat dog horse"), contexts))
    assert result.score.value == 0.5
    assert result.score.ci_low < 0.5 < result.score.ci_high


def test_the_local_judge_tells_the_feature_s_words_from_its_siblings(apart: World, tiles: PoolTiles) -> None:
    local = scorer(LocalJudge(BagOfWords()), n_siblings=2)
    assert scored(local.score(explanation_of(CAT, "cat"), given(apart, tiles, CAT))).score.value == 1.0


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({CAT: "cat"}, "0 fire in windows of the pool in which this one is silent, 0 windows in all"),
        ({CAT: "cat", TWIN: "cat", NEVER: "cat"}, "0 fire in windows"),
        ({CAT: "cat", DOG: "dog"}, "1 fire in windows"),
    ],
)
def test_too_few_siblings_are_a_failure_that_says_how_many_are_needed(
    apart: World, tiles: PoolTiles, labels: dict[int, str], said: str
) -> None:
    failure = failed(scorer().score(explanation_of(CAT, "cat"), given(apart, tiles, CAT, labels)))
    assert failure.error_type == "TooFewSiblings"
    assert said in failure.message
    assert "needed are 2, and 5 windows" in failure.message
    assert f"{len(labels)} of the source have labels" in failure.message


def test_without_the_other_features_there_is_no_score(apart: World, tiles: PoolTiles) -> None:
    failure = failed(scorer().score(explanation_of(CAT, "cat"), apart.given(CAT, tiles)))
    assert failure.error_type == "TooFewSiblings"


def test_every_label_of_the_run_is_part_of_the_fingerprint(apart: World) -> None:
    def fingerprint_of(labels: str, n_siblings: int = 5) -> str:
        known = tools(Scripted(read), ScoreConfig(n_siblings=n_siblings))
        return DiscriminationScorer(dataclasses.replace(known, labels_fingerprint=lambda: labels)).fingerprint

    assert fingerprint_of("these") == fingerprint_of("these")
    assert len({fingerprint_of("these"), fingerprint_of("those"), fingerprint_of("these", 3)}) == 3


def test_other_scorers_do_not_look_at_labels_or_windows_of_others(apart: World, tiles: PoolTiles) -> None:
    def never() -> NoReturn:
        raise AssertionError("it was looked at")

    contexts = dataclasses.replace(apart.given(CAT, tiles), others=OtherFeatures(never, apart.windows_of, BagOfWords()))
    known = dataclasses.replace(tools(Scripted(read)), labels_fingerprint=never)
    assert scored(DetectionScorer(known).score(explanation_of(CAT, "cat"), contexts)).score.value > 0.9
