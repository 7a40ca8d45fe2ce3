"""A judge that answers from what labels mean, and errs as often as it is told to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autointerp.identity import hash_key
from autointerp.puzzles.load import Puzzle
from autointerp.puzzles.predicate import Rule
from autointerp.puzzles.text import RowText
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
        return [Answers([Answer(verdict) for verdict in self._verdicts(task, case)]) for case in cases]

    def _verdicts(self, task: Task, case: Case) -> list[bool]:
        rows = RowText.join([question.context.tokens for question in case.questions])
        holds = iter(self.means[case.label].holds(rows).tolist())
        verdicts = []
        for question in case.questions:
            of_tokens = [next(holds) for _ in question.context.tokens]
            of_marked = [of_tokens[offset] for offset in question.marked]
            right = 2 * sum(of_marked) > len(of_marked) if task.name == "fuzzing" else any(of_tokens)
            verdicts.append(right != self._errs(case.label, question, right=right))
        return verdicts

    def _errs(self, label: str, question: Question, *, right: bool) -> bool:
        drawn = hash_key(0, label, question.context.context_id, *map(str, question.marked)) / 2.0**64
        return drawn < (self.false_no if right else self.false_yes)
