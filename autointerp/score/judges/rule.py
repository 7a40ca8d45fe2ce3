"""The judge `rule`: carries out a label that is a rule. It never errs about what the label says, and costs nothing.

The answer is yes where the rule holds of a unit of the context; of marked tokens, where it holds of more than half of
the units that they lie on. A label that is no rule gets no answer.
"""

from collections.abc import Sequence

from autointerp.contexts.render import shown_offsets
from autointerp.identity import fingerprint
from autointerp.rules.rule import Rule
from autointerp.rules.sentence import read_rule
from autointerp.rules.units import Units, on_units
from autointerp.score.judge import Answer, Answers, Case, Question, Task

NO_RULE = "the label is no rule"


class RuleJudge:
    """A `Judge` for labels of the explainer `rules`, and for others written in the same way."""

    is_free = True
    name = "rule"

    def __init__(self) -> None:
        self._cut: tuple[Sequence[str], Units] | None = None

    def fingerprint(self, task: Task) -> str:
        """Of the task alone."""
        return fingerprint("rule_judge", 3, task.name)

    def prepare(self, labels: Sequence[str], texts: Sequence[str]) -> None:
        """Nothing is to be done before."""

    async def answer(self, task: Task, cases: Sequence[Case]) -> list[Answers]:
        """Answer every question of every case."""
        return [self._answers(case) for case in cases]

    def _answers(self, case: Case) -> Answers:
        rule = read_rule(case.label)
        if rule is None:
            return Answers([Answer(None, unanswered=NO_RULE, retry=False)] * len(case.questions))
        verdicts = _verdicts(rule, case.questions)
        texts = rule.in_rows(self._units(case.texts)) if case.texts else None
        return Answers([Answer(verdict) for verdict in verdicts], texts=texts)

    def _units(self, texts: Sequence[str]) -> Units:
        """The texts cut into units: the same ones for every label of a source."""
        if self._cut is None or self._cut[0] is not texts:
            self._cut = (texts, Units.cut(texts))
        return self._cut[1]


def _verdicts(rule: Rule, questions: Sequence[Question]) -> list[bool]:
    units = Units.cut("".join(question.context.tokens) for question in questions)
    holds = rule.holds(units)
    verdicts = []
    for row, question in enumerate(questions):
        of_row = holds[units.first[row] : units.first[row + 1]]
        if question.marked:
            context = question.context
            shown = shown_offsets(context, question.marked)
            marks = [float(offset in shown) for offset in range(len(context.tokens))]
            of_row = of_row[on_units(marks, context.tokens) > 0]
            verdicts.append(2 * int(of_row.sum()) > of_row.size)
        else:
            verdicts.append(bool(of_row.any()))
    return verdicts
