"""Asking in rounds, until a label is known well enough."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from autointerp.config import ScoreConfig, StopConfig
from autointerp.contexts.pool import PoolTiles
from autointerp.records import ScoreWithTrials
from autointerp.score.base import BaseScorer
from autointerp.score.judge import Answer, Answers, Case, Question, Task
from autointerp.score.scorers.detection import DetectionScorer
from autointerp.score.scorers.fuzzing import FuzzingScorer
from autointerp.score.scorers.recall import RecallScorer
from autointerp.score.sequence import ConfidenceSequence, UnitValue, in_units, unit_value
from autointerp.score.trials import Posed, ScoreContexts
from tests.score.world import Scripted, World, explanation_of, read, tools

CAT, COLOUR = 0, 1
N = 60
HALF = StopConfig(threshold=0.75)


@dataclass(frozen=True)
class Paid(Scripted):
    """A judge that is paid, and remembers what it was asked."""

    is_free: bool = False
    asked: list[list[Case]] = field(default_factory=list)

    async def answer(self, task: Task, cases: Sequence[Case]) -> list[Answers]:
        self.asked.append(list(cases))
        return await super().answer(task, cases)


@pytest.fixture(scope="module")
def given(world: World, pool: PoolTiles) -> ScoreContexts:
    return world.given(CAT, pool, N)


def scored_by(
    judge: Scripted, given: ScoreContexts, stop: StopConfig | None, kind: type[BaseScorer] = DetectionScorer
) -> ScoreWithTrials:
    (outcome,) = scores_by(judge, [("cat", given)], stop, kind)
    return outcome


def scores_by(
    judge: Scripted,
    labels: Sequence[tuple[str, ScoreContexts]],
    stop: StopConfig | None,
    kind: type[BaseScorer] = DetectionScorer,
) -> list[ScoreWithTrials]:
    scorer = kind(tools(judge, ScoreConfig(stop=stop)))
    jobs = [(explanation_of(given.feature.feature_index, label), given) for label, given in labels]
    outcomes = asyncio.run(scorer.score_all(jobs))
    assert all(isinstance(outcome, ScoreWithTrials) for outcome in outcomes), outcomes
    return [outcome for outcome in outcomes if isinstance(outcome, ScoreWithTrials)]


def wrong_on(share: float) -> Paid:
    """Wrong on so many of the contexts, by hash."""

    def says(label: str, task: Task, question: Question) -> Answer:
        drawn = np.random.default_rng([question.context.block_index, question.context.start]).random()
        return Answer(verdict=bool(read(label, task, question).verdict) != (drawn < share))

    return Paid(says)


@pytest.mark.parametrize("kind", [DetectionScorer, FuzzingScorer])
def test_a_label_that_is_right_throughout_is_known_to_be_good_after_a_third_of_the_questions(
    given: ScoreContexts, kind: type[BaseScorer]
) -> None:
    judge = Paid(read)
    outcome = scored_by(judge, given, HALF, kind)
    n_posed = outcome.score.detail["n_posed"]
    assert n_posed == (2 * N if kind is DetectionScorer else N)
    assert outcome.score.detail["stopped"] == "above 0.75"
    assert outcome.score.ci_low > 0.75
    assert outcome.score.value == 1.0
    assert outcome.score.n_trials == len(outcome.trials) == sum(len(c.questions) for (c,) in judge.asked) <= 44
    assert [trial.context_id for trial in outcome.trials] == [
        question.context.context_id for (case,) in judge.asked for question in case.questions
    ]


def test_a_label_of_something_else_is_known_to_be_bad(given: ScoreContexts) -> None:
    (outcome,) = scores_by(Paid(read), [("horse", given)], HALF)
    assert outcome.score.detail["stopped"] == "below 0.75"
    assert outcome.score.ci_high < 0.75
    assert outcome.score.n_trials < 80


def test_a_label_that_stays_near_the_threshold_is_asked_about_to_the_end(given: ScoreContexts) -> None:
    outcome = scored_by(wrong_on(0.25), given, HALF)
    assert outcome.score.detail["stopped"] == "every group of documents was asked about"
    assert outcome.score.n_trials == 2 * N
    assert outcome.score.ci_low < 0.75 < outcome.score.ci_high


def test_asking_stops_at_the_width_that_was_asked_for(given: ScoreContexts) -> None:
    outcome = scored_by(Paid(read), given, StopConfig(width=0.4))
    assert outcome.score.detail["stopped"] == "at most 0.4 wide"
    assert outcome.score.ci_high - outcome.score.ci_low <= 0.4
    assert outcome.score.n_trials < N


def test_the_interval_is_that_of_the_sequence_also_where_all_was_asked(given: ScoreContexts) -> None:
    judge = wrong_on(0.25)
    in_rounds, at_once = scored_by(judge, given, HALF).score, scored_by(judge, given, None).score
    assert in_rounds.value == pytest.approx(at_once.value)
    assert in_rounds.ci_high - in_rounds.ci_low > at_once.ci_high - at_once.ci_low
    assert "betting" in in_rounds.detail["interval"]
    assert "stopped" not in at_once.detail
    assert "n_posed" not in at_once.detail


def test_labels_that_are_known_leave_the_later_rounds(world: World, pool: PoolTiles, given: ScoreContexts) -> None:
    def says(label: str, task: Task, question: Question) -> Answer:
        return wrong_on(0.2).says(label, task, question) if label == "cat" else read(label, task, question)

    judge = Paid(says)
    colours = " ".join(world.lexicons[COLOUR])
    near, clear = scores_by(judge, [("cat", given), (colours, world.given(COLOUR, pool, N))], HALF)
    assert clear.score.n_trials < near.score.n_trials
    labels = [[case.label for case in cases] for cases in judge.asked]
    assert labels[0] == ["cat", colours]
    assert labels[-1] == ["cat"]


def test_unanswered_questions_settle_nothing(given: ScoreContexts) -> None:
    def says(label: str, task: Task, question: Question) -> Answer:
        if question.context.block_index % 2:
            return Answer(verdict=None, unanswered="refused")
        return read(label, task, question)

    outcome = scored_by(Paid(says), given, HALF)
    full = scored_by(Paid(read), given, HALF)
    assert outcome.score.value == 1.0
    assert outcome.score.n_unanswered > 10
    assert outcome.score.n_trials > full.score.n_trials
    assert outcome.score.detail["stopped"] == "every group of documents was asked about"
    assert outcome.score.ci_low < outcome.score.detail["bounds"]["low"] + 0.05


def test_whoever_asks_for_free_or_measures_something_else_asks_all(given: ScoreContexts) -> None:
    free = scored_by(Scripted(read), given, HALF)
    assert free.score.n_trials == 2 * N
    assert "stopped" not in free.score.detail
    recall = scored_by(Paid(read), given, HALF, RecallScorer)
    assert "stopped" not in recall.score.detail


def test_the_rule_is_part_of_the_fingerprint_where_it_changes_scores() -> None:
    def fingerprint(judge: Scripted, stop: StopConfig | None) -> str:
        return DetectionScorer(tools(judge, ScoreConfig(stop=stop))).fingerprint

    assert len({fingerprint(Paid(read), stop) for stop in (None, HALF, StopConfig(threshold=0.8))}) == 3
    assert fingerprint(Scripted(read), HALF) == fingerprint(Scripted(read), None)


def of_documents(given: ScoreContexts, documents: Sequence[str]) -> list[Posed]:
    """Questions, each class from documents of the given names in turn."""
    posed: dict[bool, list[Posed]] = {True: [], False: []}
    for context in given.feature.contexts:
        of_class = posed[context.is_active]
        name = documents[len(of_class) % len(documents)]
        of_class.append(Posed(Question(replace(context, document_id=name, group_id="")), context.is_active))
    return [*posed[True][:20], *posed[False][:10]]


@pytest.mark.parametrize("documents", [["a"], ["a", "b", "c"], [str(n) for n in range(40)]])
def test_each_unit_has_both_classes_and_shares_no_document_with_another(
    given: ScoreContexts, documents: Sequence[str]
) -> None:
    posed = of_documents(given, documents)
    units = in_units(posed)
    for unit in units:
        assert {posed[place].truth for place in unit} == {True, False}
    shown = [{posed[place].question.context.document_id for place in unit} for unit in units]
    assert sum(map(len, shown)) == len(set.union(*shown))
    asked = [(posed[p].question.context.document_id, posed[p].truth) for unit in units for p in unit]
    assert sorted(asked) == sorted({(of.question.context.document_id, of.truth) for of in posed})
    assert len(units) == min(len(documents), 10)


def test_documents_of_one_class_alone_go_with_units_of_both(given: ScoreContexts) -> None:
    firing = [Posed(Question(c), True) for c in given.feature.of("score", active=True)[:6]]
    mixed = Posed(Question(firing[0].question.context, (1,)), False)
    units = in_units([*firing, mixed])
    assert [set(unit) for unit in units] == [set(range(7))]


def test_both_classes_count_alike_in_a_unit(given: ScoreContexts) -> None:
    contexts = given.feature.of("score", active=True)[:4]
    posed = [*(Posed(Question(x), True) for x in contexts[:3]), Posed(Question(contexts[3]), False)]
    answers = [Answer(True), Answer(False), Answer(None, unanswered="lost"), Answer(False)]
    value = unit_value(posed, answers)
    assert value.low == pytest.approx((1 / 3 + 1) / 2)
    assert value.high == pytest.approx((2 / 3 + 1) / 2)


@pytest.mark.parametrize(("hits", "silences"), [(0.5, 0.5), (0.9, 0.9), (1.0, 1.0), (0.2, 1.0)])
def test_the_sequence_holds_the_truth_at_all_times_together(hits: float, silences: float) -> None:
    rng = np.random.default_rng(0)
    truth = (hits + silences) / 2
    missed = 0
    for _ in range(200):
        values = ((rng.random(60) < hits).astype(float) + (rng.random(60) < silences)) / 2
        known = ConfidenceSequence()
        for start in range(0, 60, 2):
            known.add([UnitValue(v, v) for v in values[start : start + 2].tolist()])
        missed += not known.low <= truth <= known.high
    assert missed <= 14  # of 200: 10 are allowed on average, and 14 with a probability of .1 at that


def test_the_sequence_only_narrows_and_closes_in_on_the_truth() -> None:
    known = ConfidenceSequence()
    before = (0.0, 1.0)
    for _ in range(100):
        known.add([UnitValue(1.0, 1.0), UnitValue(0.5, 0.5)])
        assert before[0] <= known.low <= known.high <= before[1]
        before = (known.low, known.high)
    assert known.low > 0.65
    assert known.high < 0.85
