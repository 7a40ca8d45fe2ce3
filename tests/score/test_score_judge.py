"""Judges of users: what they give is a score's answers, or one line that says what is wrong with it."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from autointerp.contexts.pool import PoolTiles
from autointerp.errors import PipelineError
from autointerp.score.base import BaseScorer
from autointerp.score.judge import Answer, Answers, Case, Question, Task
from autointerp.score.scorers.detection import DetectionScorer
from autointerp.score.scorers.fuzzing import FuzzingScorer
from autointerp.score.scorers.recall import RecallScorer
from tests.score.world import Scripted, World, explanation_of, scored, tools

CAT = 0


class Own:
    """A judge that gives whatever a function of the cases does."""

    name = "own"
    is_free = True

    def __init__(self, gives: Callable[[Sequence[Case]], Any]) -> None:
        self._gives = gives

    def fingerprint(self, task: Task) -> str:
        return "own"

    def prepare(self, labels: Sequence[str], texts: Sequence[str]) -> None:
        """Nothing is to be done before."""

    async def answer(self, task: Task, cases: Sequence[Case]) -> Any:
        return self._gives(cases)


def answer(*said: Any) -> Answer:
    """An answer of whatever a user puts into one."""
    return Answer(*said)


def each(given: Any, more: int = 0, texts: Any = None) -> Callable[[Sequence[Case]], Any]:
    """The same answer to every question, and to some more."""
    return lambda cases: [Answers([given] * (len(case.questions) + more), texts=texts) for case in cases]


@pytest.mark.parametrize(
    ("gives", "said"),
    [
        (lambda cases: None, "gave no list of Answers"),
        (lambda cases: [[Answer(True)] * 40], "gave no list of Answers"),
        (lambda cases: [], "gave Answers to 0 of 1 cases"),
        (lambda cases: each(Answer(True))(cases) * 2, "gave Answers to 2 of 1 cases"),
        (each(Answer(True), more=-3), "gave 37 answers to 40 questions"),
        (each(Answer(True), more=3), "gave 43 answers to 40 questions"),
        (each(True), "gave True, which is no Answer"),
        (each(answer("no")), "gave the verdict 'no', which is neither True nor False"),
        (each(Answer(None)), "gave neither a verdict nor a similarity, nor why there is none"),
        (each(Answer(True, float("nan"))), "gave the probability nan, which is no finite number"),
        (each(Answer(None, float("inf"))), "gave the probability inf, which is no finite number"),
        (each(answer(True, "0.9")), "gave the probability '0.9', which is no finite number"),
        (each(Answer(True, 90.0)), "gave the probability 90.0, which is not between 0 and 1"),
        (each(Answer(True, 0.9, unanswered="refused")), "gave an answer and said that there is none"),
    ],
)
def test_what_is_no_answer_is_told_in_one_line(
    world: World, pool: PoolTiles, gives: Callable[[Sequence[Case]], Any], said: str
) -> None:
    scorer = DetectionScorer(tools(Own(gives)))
    with pytest.raises(PipelineError) as caught:
        asyncio.run(scorer.score(explanation_of(CAT, "cat"), world.given(CAT, pool)))
    assert f"the judge 'own' {said}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("texts", [np.ones(3, dtype=bool), [True], np.full(500, 0.7)])
def test_verdicts_on_texts_are_one_a_text(world: World, pool: PoolTiles, texts: Any) -> None:
    scorer = RecallScorer(tools(Own(each(Answer(True), texts=texts))))
    with pytest.raises(PipelineError, match="gave no array of 500 verdicts on as many texts"):
        asyncio.run(scorer.score(explanation_of(CAT, "cat"), world.given(CAT, pool)))


@pytest.mark.parametrize("kind", [DetectionScorer, FuzzingScorer, RecallScorer])
def test_similarities_without_verdicts_do_not_count_as_noes(
    world: World, pool: PoolTiles, kind: type[BaseScorer]
) -> None:
    scorer = kind(tools(Own(each(Answer(None, 0.9)))))
    with pytest.raises(PipelineError, match="the judge gives similarities where the score is made of verdicts"):
        asyncio.run(scorer.score(explanation_of(CAT, "cat"), world.given(CAT, pool)))


def test_numbers_of_numpy_are_answers(world: World, pool: PoolTiles) -> None:
    def says(label: str, task: Task, question: Question) -> Answer:
        fires = np.bool_(question.context.is_active)
        return answer(fires, np.float32(fires))

    score = scored(DetectionScorer(tools(Scripted(says))).score(explanation_of(CAT, "cat"), world.given(CAT, pool)))
    assert score.score.value == score.score.detail["auroc"] == 1.0
