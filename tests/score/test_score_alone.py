"""A score whose prompts held its feature alone says so: what their questions have in common may tell the answers."""

import asyncio
from collections.abc import Sequence

import pytest

from autointerp.contexts.pool import PoolTiles
from autointerp.records import ScoreWithTrials
from autointerp.score.judge import Answer, Answers, Case, Task
from autointerp.score.judges.llm_items import Item, deal
from autointerp.score.scorers.detection import DetectionScorer
from tests.score.world import Scripted, World, explanation_of, tools


class Prompting(Scripted):
    """A judge that deals questions to prompts as a language model's are, and says yes to all."""

    async def answer(self, task: Task, cases: Sequence[Case]) -> list[Answers]:
        items = [Item(n, i, case.label, q) for n, case in enumerate(cases) for i, q in enumerate(case.questions)]
        prompt_of = {
            (item.case, item.place): f"p{number}"
            for number, batch in enumerate(deal(task, items, self.n_per_prompt))
            for item in batch
        }
        return [
            Answers([Answer(True, 0.9, prompt=prompt_of[n, i]) for i in range(len(case.questions))])
            for n, case in enumerate(cases)
        ]

    n_per_prompt = 20


class OneByOne(Prompting):
    n_per_prompt = 1


def scores(judge: Scripted, world: World, pool: PoolTiles, features: Sequence[int]) -> list[dict[str, object]]:
    """The details of the features' scores."""
    jobs = [(explanation_of(f, f"label {f}"), world.given(f, pool)) for f in features]
    outcomes = asyncio.run(DetectionScorer(tools(judge)).score_all(jobs))
    assert all(isinstance(outcome, ScoreWithTrials) for outcome in outcomes)
    return [dict(outcome.score.detail) for outcome in outcomes if isinstance(outcome, ScoreWithTrials)]


def yes(*_: object) -> Answer:
    return Answer(True)


def test_prompts_of_one_feature_are_told(world: World, pool: PoolTiles) -> None:
    (detail,) = scores(Prompting(yes), world, pool, [0])
    assert detail["prompt_features"] == 1.0
    assert str(detail["alone"]).startswith("40 of 40 questions shared prompts with none of another feature")


def test_prompts_of_several_features_are_counted_and_no_fault(world: World, pool: PoolTiles) -> None:
    for detail in scores(Prompting(yes), world, pool, [0, 1]):
        assert detail["prompt_features"] == 2.0
        assert "alone" not in detail


def test_two_labels_of_one_feature_are_one_feature(world: World, pool: PoolTiles) -> None:
    assert [detail["prompt_features"] for detail in scores(Prompting(yes), world, pool, [0, 0])] == [1.0, 1.0]


def test_questions_put_one_by_one_have_nothing_in_common(world: World, pool: PoolTiles) -> None:
    (detail,) = scores(OneByOne(yes), world, pool, [0])
    assert detail["prompt_features"] == 1.0
    assert "alone" not in detail


@pytest.mark.parametrize("features", [[0], [0, 1]])
def test_a_judge_without_prompts_has_none_to_tell_of(world: World, pool: PoolTiles, features: list[int]) -> None:
    for detail in scores(Scripted(yes), world, pool, features):
        assert not {"prompt_features", "alone"} & set(detail)
