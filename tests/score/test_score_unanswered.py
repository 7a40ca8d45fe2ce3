"""Questions without an answer, and judges whose answers tell nothing."""

import numpy as np
import pytest

from autointerp.contexts.pool import PoolTiles
from autointerp.records import Score
from autointerp.score.base import BaseScorer
from autointerp.score.judge import Answer, Question, Task
from autointerp.score.scorers.detection import DetectionScorer
from autointerp.score.scorers.fuzzing import FuzzingScorer
from autointerp.score.scorers.recall import RecallScorer
from autointerp.score.trials import Posed, one_answer, with_every_answer
from tests.score.world import Scripted, World, explanation_of, read, scored, tools

CAT = 0


def score_of(judge: Scripted, world: World, pool: PoolTiles, kind: type[BaseScorer] = DetectionScorer) -> Score:
    return scored(kind(tools(judge)).score(explanation_of(CAT, "cat"), world.given(CAT, pool))).score


def silent_on(n_firing: int, n_silent: int, n_wrong: int = 0) -> Scripted:
    """Gives no answer on some contexts of each class, and a wrong one on some firing ones."""
    left = {True: n_firing, False: n_silent}
    wrong = [n_wrong]

    def says(label: str, task: Task, question: Question) -> Answer:
        truth = question.context.is_active
        left[truth] -= 1
        if left[truth] >= 0:
            return Answer(verdict=None, unanswered="refused")
        wrong[0] -= truth
        return Answer(verdict=truth if wrong[0] < 0 or not truth else not truth)

    return Scripted(says)


def test_the_bounds_are_what_the_score_would_be_were_all_unanswered_wrong_and_right(
    world: World, pool: PoolTiles
) -> None:
    score = score_of(silent_on(8, 4, n_wrong=3), world, pool)
    assert score.n_unanswered == 12
    assert score.value == pytest.approx((9 / 12 + 16 / 16) / 2)
    assert score.detail["bounds"] == {
        "low": pytest.approx((9 / 20 + 16 / 20) / 2),
        "high": pytest.approx((17 / 20 + 20 / 20) / 2),
    }


def test_the_interval_reaches_from_the_lower_end_of_the_one_to_the_upper_end_of_the_other(
    world: World, pool: PoolTiles
) -> None:
    score, full = score_of(silent_on(8, 4), world, pool), score_of(silent_on(0, 0), world, pool)
    assert score.ci_low < score.detail["bounds"]["low"]
    assert score.ci_high == 1.0
    assert full.ci_low > score.ci_low + 0.2
    assert "bounds" not in full.detail


@pytest.mark.parametrize("kind", [FuzzingScorer, RecallScorer])
def test_every_scorer_has_bounds_around_its_value(kind: type[BaseScorer], world: World, pool: PoolTiles) -> None:
    score = score_of(silent_on(4, 4), world, pool, kind)
    bounds = score.detail["bounds"]
    assert score.ci_low <= bounds["low"] <= score.value <= bounds["high"] <= score.ci_high
    assert bounds["low"] < bounds["high"]


def test_an_auroc_is_bounded_by_unanswered_contexts_at_the_wrong_and_at_the_right_end(
    world: World, pool: PoolTiles
) -> None:
    contexts = world.contexts(CAT)
    posed = [Posed(Question(c), c.is_active) for c in (*contexts.contexts[:2], *contexts.contexts[-2:])]
    assert [p.truth for p in posed] == [True, True, False, False]
    answers = [
        Answer(None, 0.9),
        Answer(None, unanswered="lost"),
        Answer(None, 0.5),
        Answer(None, unanswered="lost"),
    ]
    wrong, right = (with_every_answer(posed, answers, right=is_right).probability for is_right in (False, True))
    assert wrong is not None
    assert right is not None
    assert np.argsort(wrong).tolist() == [1, 2, 0, 3]
    assert right[1] > 0.9
    assert right[3] < 0.5


def test_answers_that_are_missing_for_a_reason_leave_the_truth_in_the_interval(world: World, pool: PoolTiles) -> None:
    # Of 20 firing contexts the judge would be wrong on 8, and gives no answer on 7 of these: .96 told, .8 true.
    score = score_of(silent_on(7, 0, n_wrong=1), world, pool)
    assert score.value > 0.95
    assert score.ci_low < 0.8 < score.ci_high


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(True, 0.9), "the judge said yes to every question"),
        (Answer(False), "the judge said no to every question"),
        (Answer(None, 0.3), "the judge gave every question the same probability"),
    ],
)
def test_a_judge_with_one_answer_to_everything_is_flagged(answer: Answer, said: str) -> None:
    assert one_answer([answer, Answer(None, unanswered="lost"), answer]) == said
    assert one_answer([answer, Answer(not answer.verdict, 0.5)]) is None


def test_the_flag_stands_in_the_detail_and_only_where_it_is_deserved(world: World, pool: PoolTiles) -> None:
    always = Scripted(lambda label, task, question: Answer(verdict=True))
    for kind in (DetectionScorer, FuzzingScorer, RecallScorer):
        assert score_of(always, world, pool, kind).detail["uninformative"] == "the judge said yes to every question"
    assert "uninformative" not in score_of(Scripted(read), world, pool).detail
