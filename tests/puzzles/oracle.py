"""A judge that answers from what labels mean, and errs as often as it is told to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autointerp.identity import hash_key
from autointerp.puzzles.load import Puzzle
from autointerp.puzzles.predicate import Rule
from autointerp.puzzles.truth import describes
from autointerp.score.judge import Answer, Answers, Case, Question, Task


@dataclass(frozen=True)
class Oracle:
    """Answers by rule: does it hold of any shown token, or in fuzzing of most of the marked ones?

    Its errors are drawn by hash of the label and the question, so the same question gets the same answer each time.

    Attributes:
        means: What each label says.
        false_yes: Share of right answers no that it gives as yes.
        false_no: Share of right answers yes that it gives as no.
    """

    means: Mapping[str, Rule]
    false_yes: float = 0.0
    false_no: float = 0.0
    name: str = "oracle"
    is_free: bool = True

    @classmethod
    def of(cls, puzzles: Sequence[Puzzle], *, false_yes: float = 0.0, false_no: float = 0.0) -> "Oracle":
        means = {label.text: label.means for puzzle in puzzles for label in puzzle.labels}
        return cls(means, false_yes, false_no)

    def fingerprint(self, task: Task) -> str:
        return f"oracle {self.false_yes} {self.false_no} {task.name}"

    def prepare(self, labels: Sequence[str], texts: Sequence[str]) -> None:
        """Nothing is to be done before."""

    async def answer(self, task: Task, cases: Sequence[Case]) -> list[Answers]:
        return [Answers([Answer(verdict) for verdict in self._verdicts(case)]) for case in cases]

    def _verdicts(self, case: Case) -> list[bool]:
        asked = [question.context.tokens for question in case.questions]
        right = describes(self.means[case.label], asked, [question.marked for question in case.questions])
        return [
            bool(of != self._errs(case.label, question, right=bool(of)))
            for question, of in zip(case.questions, right, strict=True)
        ]

    def _errs(self, label: str, question: Question, *, right: bool) -> bool:
        drawn = hash_key(0, label, question.context.context_id, *map(str, question.marked)) / 2.0**64
        return drawn < (self.false_no if right else self.false_yes)
