"""Which of two labels is kept: tried on contexts of the explain split, against siblings and against silence."""

import asyncio
import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from autointerp.contexts.pool import PoolTiles
from autointerp.records import Context, FeatureEvidence, Sibling
from autointerp.score.judge import Answer, Question, Task
from autointerp.score.told_apart import ApartTrial, Verdict
from tests.score.world import ANIMALS, BLOCK, COLOURS, FILLER, N_BLOCKS, WORDS, Scripted, World, read

CAT, DOG, HORSE, RED, TWIN, NEVER = range(6)
LEXICONS: tuple[tuple[str, ...], ...] = (("cat",), ("dog",), ("horse",), ("red",), ("cat",), ())


@pytest.fixture(scope="module")
def world() -> World:
    rng = np.random.default_rng(5)
    weight = np.array([0.002] * len(COLOURS) + [0.004] * len(ANIMALS) + [1.0] * len(FILLER))
    weight[8:] *= (1 - weight[:8].sum()) / weight[8:].sum()
    return World(rng.choice(len(WORDS), size=(N_BLOCKS, BLOCK), p=weight).astype(np.int32), LEXICONS)


@pytest.fixture(scope="module")
def tiles(world: World) -> PoolTiles:
    return world.pool_tiles()


def contexts_of(world: World, tiles: PoolTiles, feature: int, *, active: bool) -> tuple[Context, ...]:
    return world.given(feature, tiles).feature.of("explain", active=active)


def evidence(world: World, tiles: PoolTiles, feature: int = CAT) -> FeatureEvidence:
    active, silent = (contexts_of(world, tiles, feature, active=is_active) for is_active in (True, False))
    return FeatureEvidence(active[0].source_id, feature, 0.01, 10.0, active, silent, ())


def siblings(world: World, tiles: PoolTiles, *features: int, label: str = "cat dog") -> list[Sibling]:
    return [Sibling(f, label, 0.9, contexts_of(world, tiles, f, active=True), 10.0) for f in features]


def compare(
    world: World, of: FeatureEvidence, first: str, second: str, others: Sequence[Sibling], judge: Scripted | None = None
) -> Verdict:
    trial = ApartTrial(judge or Scripted(read), 0, tuple, world.windows_of)
    return asyncio.run(trial.compare(first, second, of, others))


def test_a_label_that_tells_the_feature_from_its_sibling_is_taken(world: World, tiles: PoolTiles) -> None:
    told = compare(world, evidence(world, tiles), "cat dog", "cat", siblings(world, tiles, DOG))
    assert told.takes_second
    assert told.first is not None
    assert told.second is not None
    assert told.first.from_siblings < 0.6
    assert told.second.from_siblings == told.second.from_silent == 1.0


def test_a_label_that_is_distinct_and_misses_the_feature_is_not(world: World, tiles: PoolTiles) -> None:
    told = compare(world, evidence(world, tiles), "cat dog", "violet", siblings(world, tiles, DOG))
    assert not told.takes_second
    assert told.reason == "first label: the second is worse against silent contexts"


def test_as_good_is_enough_only_where_the_first_label_is_a_sibling_s_too(world: World, tiles: PoolTiles) -> None:
    of = evidence(world, tiles)
    other = compare(world, of, "cat", "cat violet", siblings(world, tiles, DOG, label="dog"))
    shared = compare(world, of, "cat", "cat violet", siblings(world, tiles, DOG, label="Cat"))
    assert (other.takes_second, other.reason) == (False, "first label: the second is no better against its siblings")
    assert (shared.takes_second, shared.reason) == (True, "second label: as good, and not shared")


def test_the_contexts_are_of_the_explain_split_and_the_siblings_are_silent_for_the_feature(
    world: World, tiles: PoolTiles
) -> None:
    seen: list[Context] = []

    def noting(label: str, task: Task, question: Question) -> Answer:
        seen.append(question.context)
        return read(label, task, question)

    told = compare(
        world, evidence(world, tiles), "cat dog", "cat", siblings(world, tiles, DOG, HORSE), Scripted(noting)
    )
    assert {context.split for context in seen} == {"explain"}
    assert len(seen) == 2 * told.n_asked
    for context in seen:
        if {"dog", "horse"} & {token.strip() for token in context.tokens} and context.feature_index == CAT:
            is_firing = bool(world.activations(CAT)[context.block_index, context.start : context.start + 16].any())
            assert is_firing == context.is_active


def test_where_there_is_a_select_split_the_choice_is_made_there(world: World, tiles: PoolTiles) -> None:
    of = evidence(world, tiles)
    half = len(of.active) // 2
    seen: list[Context] = []

    def noting(label: str, task: Task, question: Question) -> Answer:
        seen.append(question.context)
        return read(label, task, question)

    select = dataclasses.replace(of, select_active=of.active[half:], select_silent=of.silent, active=of.active[:half])
    compare(world, select, "cat dog", "cat", siblings(world, tiles, DOG), Scripted(noting))
    assert not {c.context_id for c in seen} & {c.context_id for c in select.active}


def test_of_a_sibling_that_fires_nowhere_in_the_pool_its_own_contexts_are_taken(world: World, tiles: PoolTiles) -> None:
    trial = ApartTrial(Scripted(read), 0, tuple, lambda feature: None)
    told = asyncio.run(trial.compare("cat dog", "cat", evidence(world, tiles), siblings(world, tiles, DOG)))
    assert told.takes_second
    assert told.first is not None
    assert told.first.from_siblings < 0.7


def test_where_there_is_nothing_to_try_labels_on_the_first_is_kept(world: World, tiles: PoolTiles) -> None:
    of = evidence(world, tiles)
    lone = [Sibling(NEVER, "cat", 1.0, (), 0.0)]
    told = compare(world, of, "cat", "cat violet", lone)
    assert not told.takes_second
    assert "too few contexts to try the two on (siblings)" in told.reason
    silent = compare(world, dataclasses.replace(of, silent=()), "cat", "cat violet", siblings(world, tiles, DOG))
    assert "(silent)" in silent.reason


def test_with_a_judge_that_does_not_answer_another_run_may_fare_better(world: World, tiles: PoolTiles) -> None:
    mute = Scripted(lambda label, task, question: Answer(verdict=None, unanswered="Timeout"))
    told = compare(world, evidence(world, tiles), "cat dog", "cat", siblings(world, tiles, DOG), mute)
    assert not told.takes_second
    assert "was answered" in told.reason
    assert told.retry
