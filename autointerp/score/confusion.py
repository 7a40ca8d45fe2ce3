"""Answered trials by truth and verdict, with what they are worth where documents have several."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int64

from autointerp.score.clusters import effective_share, rates_correlation


@dataclass(frozen=True, slots=True)
class Confusion:
    """Answered trials by truth and verdict.

    Attributes:
        true_positive: The feature fires, the judge said yes.
        false_negative: It fires, the judge said no.
        false_positive: It is silent, the judge said yes.
        true_negative: It is silent, the judge said no.
        positive_worth: How many independent trials a firing one is worth, in (0, 1].
        negative_worth: The same of a silent one.
        correlation: Of sensitivity and specificity, where clusters have trials of both classes.
    """

    true_positive: int
    false_negative: int
    false_positive: int
    true_negative: int
    positive_worth: float = 1.0
    negative_worth: float = 1.0
    correlation: float = 0.0

    @property
    def n_positive(self) -> int:
        """Answered trials on which the feature fires."""
        return self.true_positive + self.false_negative

    @property
    def n_negative(self) -> int:
        """Answered trials on which it is silent."""
        return self.false_positive + self.true_negative


def confusion(
    truth: Bool[np.ndarray, " trial"],
    verdict: Bool[np.ndarray, " trial"],
    cluster: Int64[np.ndarray, " trial"] | None = None,
) -> Confusion:
    """Count answered trials by truth and verdict; each is a cluster of its own unless they are numbered."""
    n_true, n_yes, n_both = (int(np.count_nonzero(these)) for these in (truth, verdict, truth & verdict))
    counts = Confusion(n_both, n_true - n_both, n_yes - n_both, truth.size - n_true - n_yes + n_both)
    if cluster is None or counts.n_positive == 0 or counts.n_negative == 0:
        return counts
    right = (truth == verdict).astype(np.float64)
    firing, silent = (effective_share(right[of], cluster[of]) for of in (truth, ~truth))
    sizes = (counts.n_positive * firing, counts.n_negative * silent)
    correlation = rates_correlation(right, truth, cluster, sizes)
    return replace(counts, positive_worth=firing, negative_worth=silent, correlation=correlation)
