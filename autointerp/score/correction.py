"""What a score would be, did its judge not err: pure functions.

The judge's verdict stands in for what is asked: does the label describe this window? A judge who errs draws every
balanced accuracy towards 1/2. Two corrections, for two things that may be known of a judge:

1. **Rogan and Gladen** (1978). Its sensitivity and specificity are known from other windows, of which it is known what
   their labels mean (`calibration`). Of firing windows the judge says yes to the share s p + (1 - c)(1 - p), where p is
   the share that the label truly describes, s the judge's sensitivity and c its specificity; of silent windows alike.
   In the difference of the two shares s and c enter only by Youden's J = s + c - 1:

       balanced accuracy of the label = 1/2 + (balanced accuracy seen - 1/2) / J

   The interval is that of a ratio of two estimates with limits of their own, by MOVER (Donner and Zou 2012): the seen
   value's limits come from the trials, those of J from the calibration. J is not the same for every label, so its
   limits are widened by how much it differs from label to label: the interval is for one label like those calibrated
   on, not for the mean of many. Where J can't be told from 0 there is no correction.
2. **Prediction-powered inference** (Angelopoulos and others 2023; the tuned form, PPI++, 2311.01453). Of some of the
   very windows it is known what is right. The judge's yes on all others is then corrected by how far it was off on
   those: no assumption is made of the judge, nor of where it errs, only that those windows were drawn at random.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.special import stdtrit

from autointerp.score import metrics
from autointerp.score.clusters import effective_share
from autointerp.score.confusion import Confusion
from autointerp.score.metrics import Z_95, Estimate

LEAST_LABELS = 5
"""Labels from which the spread of a judge's rates can be told."""
LEAST_ANSWERS = 20
"""Windows of either class of which it has to be known what is right."""


@dataclass(frozen=True, slots=True)
class JudgeRates:
    """How often a judge is right.

    Attributes:
        counts: Its verdicts by the truth: positive is what the label describes, negative what it doesn't.
        spread: Standard deviation of sensitivity + specificity from label to label, the chance of the draw taken away.
        n_labels: Labels that the spread is known from.
    """

    counts: Confusion
    spread: float
    n_labels: int

    @property
    def youden(self) -> float | None:
        """Sensitivity + specificity - 1: 1 of a judge who never errs, 0 of one who guesses; None of too few trials."""
        accuracy = metrics.balanced_accuracy(self.counts)
        return None if accuracy is None else 2 * accuracy.value - 1


@dataclass(frozen=True, slots=True)
class Corrected:
    """A balanced accuracy without the judge's errors.

    Attributes:
        estimate: In [0, 1], with its 95 % interval.
        unclipped: The same value where it is not cut to [0, 1]: what to take means over many labels of.
    """

    estimate: Estimate
    unclipped: float


def rogan_gladen(seen: Estimate, rates: JudgeRates) -> Corrected | str:
    """Correct a balanced accuracy by a judge's rates; see the module.

    Args:
        seen: What the judge's verdicts come to.
        rates: Of the judge.

    Returns:
        The corrected value, or why there is none.
    """
    mean = metrics.balanced_accuracy(rates.counts)
    if mean is None:
        return "the calibration has no answered trials that labels describe, or none that they don't"
    if mean.low <= 0.5:
        return (
            f"the judge can't be told from guessing: sensitivity + specificity - 1 is {2 * mean.value - 1:.2f},"
            f" and may be {2 * mean.low - 1:.2f}"
        )
    if rates.n_labels < LEAST_LABELS:
        return f"the calibration has {rates.n_labels} labels with windows of both kinds, and {LEAST_LABELS} are needed"
    youden = 2 * mean.value - 1
    of_one = Z_95 * rates.spread
    low_j = youden - float(np.hypot(2 * (mean.value - mean.low), of_one))
    high_j = min(1.0, youden + float(np.hypot(2 * (mean.high - mean.value), of_one)))
    gain, *limits = (2 * value - 1 for value in (seen.value, seen.low, seen.high))
    ends = [_limit(gain, limit, youden, low_j, high_j, sign) for limit, sign in zip(limits, (-1, 1), strict=True)]
    unclipped = 0.5 + gain / (2 * youden)
    value, low, high = (min(1.0, max(0.0, v)) for v in (unclipped, *(0.5 + end / 2 for end in ends)))
    return Corrected(Estimate(value, min(low, value), max(high, value)), unclipped)


def _limit(gain: float, gain_limit: float, youden: float, low_j: float, high_j: float, sign: int) -> float:
    """One limit of gain / J: the ratio R at which gain - R J is as far from 0 as MOVER's limit of it allows.

    Args:
        gain: The numerator.
        gain_limit: Its lower limit, or its upper.
        youden: The denominator, above 0.
        low_j: Its lower limit; from 0 down no ratio is ruled out.
        high_j: Its upper limit.
        sign: -1 for the lower limit of the ratio, 1 for the upper.
    """
    if low_j <= 0:
        return sign * np.inf
    outwards = sign * gain_limit > 0  # from 0: the smaller J, the further
    limit_j = low_j if outwards else high_j
    product, constant = gain * youden, gain_limit * (2 * gain - gain_limit)
    factor = limit_j * (2 * youden - limit_j)
    root = float(np.sqrt(max(0.0, product**2 - constant * factor)))
    return (product + sign * root) / factor if outwards else constant / (product - sign * root)


@dataclass(frozen=True, slots=True)
class Judged:
    """Windows with a verdict, of some of which it is known what is right.

    Attributes:
        firing: Whether the feature fires in each.
        verdict: The judge's yes or no to each.
        known: Whether it is known of each what is right.
        right: What that is; of no meaning elsewhere.
        cluster: Number of each one's cluster, from 0.
    """

    firing: Bool[np.ndarray, " window"]
    verdict: Bool[np.ndarray, " window"]
    known: Bool[np.ndarray, " window"]
    right: Bool[np.ndarray, " window"]
    cluster: Int64[np.ndarray, " window"]


def prediction_powered(judged: Judged) -> Estimate | str:
    """The balanced accuracy of what is right, from a judge's verdicts and some windows of which that is known.

    Of each class the share that the label describes is estimated by PPI++: the judge's share of yes on the other
    windows, times a factor, and the mean of what is right less the factor times the verdict on the known ones. The
    factor is the one of least variance: near 1 of a judge who is nearly always right, near 0 of one who guesses, whose
    verdicts then don't count. A window on either side, on which the judge is wrong, counts in the variance only: it
    keeps intervals from closing where the judge was right about all that is known.

    Args:
        judged: All windows of a label, or of many; those of which it is known what is right are drawn at random from
            them, of each class.

    Returns:
        The value with its 95 % interval, or why there is none.
    """
    shares = []
    for is_firing, name in ((True, "firing"), (False, "silent")):
        of = judged.firing == is_firing
        n_known = int(np.sum(of & judged.known))
        if n_known < LEAST_ANSWERS:
            return f"of {n_known} {name} windows it is known what is right, and {LEAST_ANSWERS} are needed"
        shares.append(_powered_share(judged, of))
    (described, of_described), (alarming, of_alarming) = shares
    n_known = int(judged.known.sum())
    half = float(stdtrit(n_known - 2, 0.975) * np.sqrt(of_described + of_alarming)) / 2
    value = min(1.0, max(0.0, (1 + described - alarming) / 2))
    return Estimate(value, max(0.0, min(value, value - half)), min(1.0, value + half))


def _powered_share(judged: Judged, of: Bool[np.ndarray, " window"]) -> tuple[float, float]:
    """The share of some windows that the label describes, and its variance."""
    known, rest = of & judged.known, of & ~judged.known
    right, verdict = (values[known].astype(np.float64) for values in (judged.right, judged.verdict))
    others = judged.verdict[rest].astype(np.float64)
    n, n_rest = (_worth(values, judged.cluster[at]) for values, at in ((right - verdict, known), (others, rest)))
    # What is right, and the verdict, of the known windows and of one on either side.
    covariance = np.cov(np.append(right, [1.0, 0.0]), np.append(verdict, [0.0, 1.0]))
    factor = 0.0
    if n_rest > 0:
        factor = float(np.clip(covariance[0, 1] / (covariance[1, 1] * (1 + n / n_rest)), 0.0, 1.0))
    share = float(right.mean() - factor * verdict.mean())
    variance = float(covariance[0, 0] - 2 * factor * covariance[0, 1] + factor**2 * covariance[1, 1]) / n
    if factor > 0:
        share += factor * float(others.mean())
        variance += factor**2 * float(covariance[1, 1]) / n_rest
    return share, variance


def _worth(values: Float64[np.ndarray, " window"], cluster: Int64[np.ndarray, " window"]) -> float:
    """How many independent windows these are worth."""
    return values.size * effective_share(values, cluster) if values.size else 0.0
