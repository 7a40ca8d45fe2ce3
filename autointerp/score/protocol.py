"""What scorers and judges are.

A scorer builds trials, asks a judge, and measures. `build_…` and `measure_…` are pure; only the judge talks to
anything. A judge that fails to answer a question makes an unanswered trial, never a verdict.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from autointerp.contexts.pool import PoolTiles
from autointerp.records import Context, Explanation, Failure, FeatureContexts, Graded

Task = Literal["detection", "fuzzing"]


@dataclass(frozen=True, slots=True)
class Question:
    """One context put to a judge.

    Attributes:
        context: The context; the judge may use its tokens only, never its activations.
        marked: Offsets of marked tokens: fuzzing asks whether these are the ones the label describes. Empty in
            detection, which asks whether the label describes the context.
    """

    context: Context
    marked: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """A judge's answer to one question.

    Attributes:
        verdict: Yes or no; None where there is no answer.
        probability: That the answer is yes, in [0, 1]; None where the judge gives none.
        unanswered: Why there is no answer; None where there is one.
        retry: Whether the same question may get an answer another time, where it has none.
    """

    verdict: bool | None
    probability: float | None = None
    unanswered: str | None = None
    retry: bool = True


@dataclass(frozen=True, slots=True)
class Solved:
    """A question of the explain split with its true answer: what a judge may set its threshold on."""

    question: Question
    truth: bool


class Judge(Protocol):
    """Answers questions about one label.

    Attributes:
        name: For example `local` or the language model's name; stands in `trials.judge`.
        fingerprint: Of the settings, the prompt's text and the model that decide its answers.
    """

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    async def answer(
        self, label: str, task: Task, questions: Sequence[Question], solved: Sequence[Solved]
    ) -> Sequence[Answer]:
        """Answer every question, in order.

        Args:
            label: The label on trial.
            task: What is asked of each question.
            questions: Of the score split.
            solved: Of the explain split, to set a threshold on. A language model ignores them.

        Returns:
            One answer a question; a call that failed gives answers with `unanswered` set.

        Raises:
            LanguageModelError: If no further call can succeed (key refused, budget reached): the run stops.
        """
        ...


@dataclass(frozen=True, slots=True)
class ScoreEvidence:
    """What scorers may use of one feature.

    Attributes:
        contexts: Contexts of both splits. Score contexts make trials; explain contexts only set thresholds.
        pool: The source's pool, with the truth for every feature on every tile.
        density: Share of counted tokens on which the feature fires.
    """

    contexts: FeatureContexts
    pool: PoolTiles
    density: float


class Scorer(Protocol):
    """Grades one explanation.

    Attributes:
        name: For example `detection`; stands in `scores.scorer`.
        fingerprint: Of the settings and of the judge that decide its scores.
    """

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    async def score(self, explanation: Explanation, evidence: ScoreEvidence) -> Graded | Failure:
        """Grade.

        Raises:
            LanguageModelError: If no further call can succeed (key refused, budget reached): the run stops.
        """
        ...
