"""Thresholds for a stated rate of false alarms, and the figures of a condition: pure functions over activations.

1. A false alarm is a text of the corpus in which the condition holds at any token: nothing is known of what these texts
   are about, so all count as such, those that are about what is asked for, too. The rate is of texts, not of tokens:
   tokens that stand together are alike, so no interval over them would hold.
2. A feature's threshold is the lowest one above which its largest activation lies in no more than the allowed share of
   the texts that thresholds are chosen on. Several features share the allowed texts alike, so that those of any of
   them are no more than allowed.
3. Intervals of shares are Clopper and Pearson's (1934), of 95 %: at least that sure whatever the share.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from autointerp.library.conditions import Activations, Condition
from autointerp.records.on_texts import OnTexts


@dataclass(frozen=True, slots=True)
class Share:
    """A share of texts, with its 95 % interval.

    Attributes:
        n_yes: Texts of which it is so.
        n: Texts.
    """

    n_yes: int
    n: int

    @property
    def value(self) -> float:
        """The share; nan of no text."""
        return self.n_yes / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper and Pearson's: 0 to 1 of no text."""
        from scipy.special import betaincinv  # slow to import

        k, n = self.n_yes, self.n
        low = float(betaincinv(k, n - k + 1, 0.025)) if k > 0 else 0.0
        high = float(betaincinv(k + 1, n - k, 0.975)) if k < n else 1.0
        return low, high


def largest_of_texts(on: OnTexts) -> Float32[np.ndarray, "text feature"]:
    """Each feature's largest activation in each text; 0 where it is silent."""
    found = np.zeros((on.n_texts, len(on.features)), dtype=np.float32)
    np.maximum.at(found, on.text, on.values)
    return found


def threshold_for(largest: Float32[np.ndarray, " text"], n_allowed: int) -> float:
    """The lowest threshold that a feature's largest activation passes in at most so many texts.

    Args:
        largest: Of each text, >= 0.
        n_allowed: At least 0.
    """
    if n_allowed >= len(largest):
        return 0.0
    return float(np.sort(largest)[::-1][n_allowed])


def activations_of(on: OnTexts, source_id: str) -> Activations:
    """As conditions read them."""
    return {(source_id, feature): on.values[:, column] for column, feature in enumerate(on.features)}


def holding(condition: Condition, on: OnTexts, source_id: str) -> Bool[np.ndarray, " token"]:
    """At which tokens it holds."""
    return condition.holds(activations_of(on, source_id))


def share_of_texts(condition: Condition, on: OnTexts, source_id: str) -> Share:
    """The texts in which it holds at any token."""
    held = np.unique(on.text[holding(condition, on, source_id)])
    return Share(len(held), on.n_texts)


def chance_of_as_many(hits: Share, rate: float) -> float:
    """The chance that so many texts or more are hit, where each is by a chance of `rate`."""
    from scipy.special import bdtrc  # slow to import

    return 1.0 if hits.n_yes == 0 else float(bdtrc(hits.n_yes - 1, hits.n, rate))
