"""What chooses among labels of one feature: a grader, and what it says of each label.

The grader itself is made where judges are (`score.selecting`), which explainers know nothing of.
"""

from dataclasses import dataclass
from typing import Protocol

from autointerp.records import FeatureEvidence


@dataclass(frozen=True, slots=True)
class Grade:
    """How well a label tells a feature's firing select contexts from its silent ones. It chooses; it is no score.

    Attributes:
        balanced_accuracy: Mean of the shares of firing and of silent contexts that were answered rightly.
        auroc: Of the judge's probabilities; None where it gives none.
        n_trials: Select contexts that were asked about.
        n_unanswered: Those without an answer, part of `n_trials`, in no rate.
        cost_usd: What the judge cost; None where the price is unknown.
    """

    balanced_accuracy: float
    auroc: float | None
    n_trials: int
    n_unanswered: int
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class Ungraded:
    """Why a label has no grade.

    Attributes:
        reason: One line.
        retry: Whether another run may fare better: the judge failed. False where there is nothing to ask it about.
        cost_usd: What the judge cost nevertheless; None where the price is unknown.
    """

    reason: str
    retry: bool
    cost_usd: float | None = 0.0


class LabelGrader(Protocol):
    """Grades labels on the select split.

    Attributes:
        name: Of the judge.
        fingerprint: Of the judge, and of all else that decides its grades.
    """

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    async def grade(self, label: str, evidence: FeatureEvidence) -> Grade | Ungraded:
        """Grade one label.

        Args:
            label: The label.
            evidence: Of the feature, with its select contexts. The judge may set a threshold on the explain contexts.

        Raises:
            LanguageModelError: If no further call can succeed (key refused, budget reached): the run stops.
        """
        ...
