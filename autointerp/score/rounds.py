"""Asking a paid judge about labels in rounds, until each is known well enough."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from autointerp.config import StopConfig
from autointerp.records import Usage
from autointerp.score.judge import Answer, Answers, Case, Judge, Task, check_answers
from autointerp.score.metrics import Estimate
from autointerp.score.sequence import ConfidenceSequence, in_units, unit_value
from autointerp.score.trials import Posed

SEQUENCE_INTERVAL = "confidence sequence by betting on units of both classes that share no group of documents"


@dataclass(frozen=True, slots=True)
class Asked:
    """The questions on one label that were asked, and what came back.

    Attributes:
        posed: The questions, in the order in which they were asked.
        said: Answers to them.
        n_posed: How many there were to ask.
        known: Where the balanced accuracy lies at any moment of asking; None where all was asked at once.
        stopped: Why nothing more was asked; empty where all was asked at once.
    """

    posed: Sequence[Posed]
    said: Answers
    n_posed: int
    known: ConfidenceSequence | None = None
    stopped: str = ""

    def in_sequence(self, at_once: Estimate) -> Estimate:
        """The headline with the interval that holds although asking may have stopped for what it showed."""
        if self.known is None:
            return at_once
        value = at_once.value
        return Estimate(value, min(self.known.low, value), max(self.known.high, value))


class _Label:
    """One label while it is asked about.

    Args:
        case: With all questions.
        posed: The same, with their truth.
    """

    def __init__(self, case: Case, posed: Sequence[Posed], stop: StopConfig) -> None:
        self._case, self._posed, self._stop = case, posed, stop
        self._units = in_units(posed)
        self._n_begun = 0
        self._round: list[tuple[int, ...]] = []
        self._places: list[int] = []
        self._answers: list[Answer] = []
        self._usage = Usage()
        self._known = ConfidenceSequence()

    @property
    def stopped(self) -> str | None:
        """Why nothing more is asked; None where there is more to ask, and need of it."""
        return self._known.settled(self._stop) or (
            "every group of documents was asked about" if self._n_begun == len(self._units) else None
        )

    def next_round(self) -> Case:
        """The next units."""
        self._round = []
        while self._n_begun < len(self._units) and sum(map(len, self._round)) < self._stop.n_questions:
            self._round.append(self._units[self._n_begun])
            self._n_begun += 1
        return replace(self._case, questions=[self._posed[place].question for unit in self._round for place in unit])

    def take(self, said: Answers) -> None:
        """Take in the answers to the round."""
        answers = iter(said.answers)
        values = []
        for unit in self._round:
            of_unit = [next(answers) for _ in unit]
            values.append(unit_value([self._posed[place] for place in unit], of_unit))
            self._places += unit
            self._answers += of_unit
        self._usage += said.usage
        self._known.add(values)

    def asked(self) -> Asked:
        """What was asked so far."""
        posed = [self._posed[place] for place in self._places]
        answers = Answers(self._answers, self._usage)
        return Asked(posed, answers, len(self._posed), self._known, self.stopped or "")


async def ask_in_rounds(
    judge: Judge, task: Task, stop: StopConfig, cases: Sequence[Case], posed: Sequence[Sequence[Posed]]
) -> list[Asked]:
    """Ask about labels together, a few questions on each at a time, as long as there is a question that is needed.

    Args:
        judge: Asked; it gives verdicts.
        task: What is asked.
        stop: When a label has been asked about enough.
        cases: The labels.
        posed: The questions of each with their truth: some of both classes.

    Raises:
        LanguageModelError: If no further call can succeed.
        PipelineError: If the judge, a user's, gives no answers.
    """
    labels = [_Label(case, of_case, stop) for case, of_case in zip(cases, posed, strict=True)]
    while left := [label for label in labels if label.stopped is None]:
        round_cases = [label.next_round() for label in left]
        said = await judge.answer(task, round_cases)
        check_answers(judge, round_cases, said)
        for label, of_label in zip(left, said, strict=True):
            label.take(of_label)
    return [label.asked() for label in labels]
