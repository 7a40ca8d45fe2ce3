"""The judge `rule`: carries out a label that is a rule. It never errs about what the label says, and costs nothing.

1. The answer is yes where the rule holds of a unit of the context; of marked tokens, where it holds of more than half
   of the units that they lie on. A label that is no rule gets no answer.
2. A rule is certain: the probability of yes is 1 or 0. How often the feature does what a rule says can't be known from
   the rule.
3. Where activations are asked for, a token has the largest one if it lies on a unit of which the rule holds, else 0.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from autointerp.contexts.render import shown_offsets
from autointerp.identity import fingerprint
from autointerp.records import Context
from autointerp.rules.rule import Rule
from autointerp.rules.sentence import read_rule
from autointerp.rules.units import Units, on_units
from autointerp.score.judge import MOST_ACTIVATION, Answer, Answers, Case, Question, Task
from autointerp.words import words_on_tokens

NO_RULE = "the label is no rule"


class RuleJudge:
    """A `Judge` for labels of the explainer `rules`, and for others written in the same way."""

    is_free = True
    simulates = True
    name = "rule"

    def __init__(self) -> None:
        self._cut: tuple[Sequence[str], Units] | None = None

    def fingerprint(self, task: Task) -> str:
        """Of the task alone."""
        return fingerprint("rule_judge", 5, task.name)

    def prepare(self, labels: Sequence[str], texts: Sequence[str]) -> None:
        """Nothing is to be done before."""

    async def answer(self, task: Task, cases: Sequence[Case]) -> list[Answers]:
        """Answer every question of every case."""
        return [self._answers(task, case) for case in cases]

    def _answers(self, task: Task, case: Case) -> Answers:
        rule = read_rule(case.label)
        if rule is None:
            return Answers([Answer(None, unanswered=NO_RULE, retry=False)] * len(case.questions))
        return self.carry_out(rule, task, case)

    def carry_out(self, rule: Rule, task: Task, case: Case) -> Answers:
        """Answer every question of a case by a rule.

        Args:
            rule: What its label says.
            task: What is asked of each question.
            case: The case.
        """
        answers = [_answer(holds, question, task) for holds, question in _held(rule, case.questions)]
        if not case.texts:
            return Answers(answers)
        units = self._units(case.texts)
        yes = rule.in_rows(units)
        return Answers(answers, texts=yes, text_probabilities=yes.astype(np.float64))

    def _units(self, texts: Sequence[str]) -> Units:
        """The texts cut into units: the same ones for every label of a source."""
        if self._cut is None or self._cut[0] is not texts:
            self._cut = (texts, Units.cut(texts))
        return self._cut[1]


def verdicts(rule: Rule, contexts: Sequence[Context]) -> list[bool]:
    """Whether a rule holds of a unit of each context."""
    return [bool(holds.any()) for holds, _ in _held(rule, [Question(context) for context in contexts])]


def _held(rule: Rule, questions: Sequence[Question]) -> list[tuple[Bool[np.ndarray, " unit"], Question]]:
    """Of which units of its context the rule holds, for each question."""
    units = Units.cut("".join(question.context.tokens) for question in questions)
    return list(zip(np.split(rule.holds(units), units.first[1:-1]), questions, strict=True)) if questions else []


def _answer(holds: Bool[np.ndarray, " unit"], question: Question, task: Task) -> Answer:
    tokens = question.context.tokens
    if task.wants_activations:
        told = np.zeros(len(tokens))
        for of_unit, (_, first, last) in zip(holds, words_on_tokens(tokens), strict=True):
            if of_unit:
                told[first : last + 1] = MOST_ACTIVATION
        return Answer(None, activations=tuple(told.tolist()))
    yes = bool(holds.any())
    if question.marked:
        shown = shown_offsets(question.context, question.marked)
        marks = [float(offset in shown) for offset in range(len(tokens))]
        marked = holds[on_units(marks, tokens) > 0]
        yes = 2 * int(marked.sum()) > marked.size
    return Answer(yes, float(yes))
