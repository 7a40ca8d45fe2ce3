"""How features are chosen and measured, where they steer to order."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from autointerp.library.steer.answers import Sampling
from autointerp.library.steer.choice import Limits


@dataclass(frozen=True, slots=True)
class Settings:
    """How features are chosen and measured.

    Attributes:
        n_prompts: Of both halves together.
        n_candidates: At most so many are dosed.
        n_of_each: Features at most that labels, contrast and each facet give.
        n_pairs: Instructions of the contrast, with and without the specification.
        n_kept: Features kept at most.
        n_screened: Prompts by which it is chosen which candidates are tried at every dose.
        screening_dose: The one that they are tried at for that.
        n_questions: Questions by which is chosen.
        n_questions_reported: Others that are reported, at most.
        doses: Those tried.
        least_output_score: Candidates that bring about what they point to by less, and the words asked for by less than
            the next, are dropped.
        least_word_gain: Nats by which a candidate makes a word likelier.
        limits: What steering may cost.
        sampling: How answers are drawn; its seed is that of all that is drawn.
    """

    n_prompts: int = 40
    n_candidates: int = 12
    n_of_each: int = 6
    n_pairs: int = 16
    n_kept: int = 3
    n_screened: int = 6
    screening_dose: float = 1.5
    n_questions: int = 60
    n_questions_reported: int = 200
    doses: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
    least_output_score: float = 0.01
    least_word_gain: float = 0.7
    limits: Limits = field(default_factory=Limits)
    sampling: Sampling = field(default_factory=Sampling)

    @property
    def seed(self) -> int:
        """Of all that is drawn."""
        return self.sampling.seed


@dataclass(frozen=True, slots=True)
class Try:
    """Features at a dose.

    Attributes:
        dose: What they have together.
        strengths: By feature its own, in doses.
        values: By feature the activation that is added, in the coder's own units.
    """

    dose: float
    strengths: Mapping[int, float]
    values: Mapping[int, float]

    @property
    def features(self) -> tuple[int, ...]:
        """Their indices."""
        return tuple(self.values)
