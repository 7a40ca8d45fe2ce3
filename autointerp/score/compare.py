"""Whether one of two sets of scores is higher: over all features, feature by feature, and how many features would tell.

1. A feature gives one difference, the second's value less the first's. The mean of these has Student's interval over
   features, the median that of order statistics, which takes nothing for granted (Conover 1999), and the share of
   features that the second wins, ties counting half, Wilson's. However many trials a feature has, it is one of the
   things drawn: differences between features are what such an interval is about.
2. Feature by feature there is a test of no difference (`score.paired`). Of many features some differ by chance, so the
   p-values become q-values (Benjamini and Hochberg 1995): among the features of q up to .05 at most one in twenty is
   expected to be there by chance. It holds where tests are independent or depend on each other positively, as those of
   features judged in one corpus do. Each scorer is corrected by itself.
3. *How many features would settle it*: to see the mean difference as large and as scattered as here in 80 of 100
   samples, n = ((z_.975 + z_.8) s / d)^2 + z_.975^2 / 2 (Guenther 1981). And the smallest mean difference that as many
   features as there are would show, (t_.975 + t_.8) s / root n.
4. Two sets of other features (a null coder's, whose feature 5 is not this one's) are two samples: Welch's interval of
   the difference of means, and for the share won the probability that one drawn from the second is higher.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.special import bdtr, ndtri, stdtr, stdtrit

from autointerp.score import metrics
from autointerp.score.metrics import Z_95, Estimate

FALSE_DISCOVERY_RATE = 0.05
_POWER = 0.8
_Z_POWER = float(ndtri(_POWER))
_SAME = 1e-12


@dataclass(frozen=True, slots=True)
class MeanDifference:
    """The mean of the second's values less the first's.

    Attributes:
        value: The difference, in [-1, 1].
        low: Lower end of the 95 % interval; None where there is none: of a single feature, and where all differ by the
            same, which does not tell how others would.
        high: Upper end; None where there is none.
        p_value: Of a test of no difference; None where there is no interval.
        n_to_settle: Features, of each sample where there are two, with which a difference as this would be seen in 80
            of 100 comparisons; None where there is none, or nothing scatters.
        detectable: The difference that would be seen in 80 of 100 comparisons of as many features as there are; None
            where there is no interval.
    """

    value: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    n_to_settle: int | None = None
    detectable: float | None = None

    @property
    def is_settled(self) -> bool:
        """Whether the interval lies wholly on one side of 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


@dataclass(frozen=True, slots=True)
class MedianDifference:
    """The median of the second's values less the first's.

    Attributes:
        value: The median difference; of two samples the difference of medians.
        low: Lower end of the 95 % interval; None where there is none: of fewer than 6 features, and of two samples.
        high: Upper end; None where there is none.
    """

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sets of values, over features.

    Attributes:
        n_first: Features with a value of the first.
        n_second: Features with a value of the second; of pairs the same ones.
        first_mean: Of the first's values.
        second_mean: Of the second's.
        mean: Mean difference.
        median: Median difference.
        won: Share of features whose second value is higher, ties counting half; of two samples the probability of it.
    """

    n_first: int
    n_second: int
    first_mean: float
    second_mean: float
    mean: MeanDifference
    median: MedianDifference
    won: Estimate


def compare_pairs(first: Float64[np.ndarray, " feature"], second: Float64[np.ndarray, " feature"]) -> Comparison:
    """Compare values of the same features, at least one.

    Args:
        first: A value of each feature, in [0, 1].
        second: Another one of the same feature.
    """
    differs = np.where(np.abs(second - first) < _SAME, 0.0, second - first)
    n = differs.size
    won = metrics.proportion(float(np.mean(np.sign(differs) + 1) / 2) * n, n)
    assert won is not None, "there is a feature"
    spread = float(differs.std(ddof=1)) if n > 1 else 0.0
    per_feature = (Z_95 + _Z_POWER) * spread
    return Comparison(
        n_first=n,
        n_second=n,
        first_mean=float(first.mean()),
        second_mean=float(second.mean()),
        mean=_mean(float(differs.mean()), spread / n**0.5, n - 1, per_feature),
        median=_median(differs),
        won=won,
    )


def compare_samples(first: Float64[np.ndarray, " feature"], second: Float64[np.ndarray, " other"]) -> Comparison:
    """Compare values of some features with those of others, at least one each.

    Args:
        first: Values in [0, 1].
        second: Values of other features.
    """
    values = np.concatenate([first, second])
    won = metrics.auroc(np.arange(values.size) >= first.size, values)
    assert won is not None, "there are features of both"
    of_each = [(float(of.var(ddof=1)) if of.size > 1 else 0.0, of.size) for of in (first, second)]
    errors = [variance / n for variance, n in of_each]
    # Welch and Satterthwaite's degrees of freedom.
    below = sum(error**2 / max(1, n - 1) for error, (_, n) in zip(errors, of_each, strict=True))
    degrees = sum(errors) ** 2 / below if below > 0 else 1.0
    per_feature = (Z_95 + _Z_POWER) * float(np.sqrt(sum(variance for variance, _ in of_each)))
    return Comparison(
        n_first=first.size,
        n_second=second.size,
        first_mean=float(first.mean()),
        second_mean=float(second.mean()),
        mean=_mean(
            float(second.mean() - first.mean()),
            float(np.sqrt(sum(errors))),
            degrees if min(first.size, second.size) > 1 else 0,
            per_feature,
        ),
        median=MedianDifference(float(np.median(second) - np.median(first))),
        won=won,
    )


def q_values(p_values: Float64[np.ndarray, " test"]) -> Float64[np.ndarray, " test"]:
    """Benjamini and Hochberg's (1995) adjusted p-values: the least false discovery rate at which each test is one.

    `scipy.stats.false_discovery_control` gives the same, and takes a second to import.
    """
    n = p_values.size
    highest_first = np.argsort(-p_values, kind="stable")
    found = np.empty(n)
    found[highest_first] = np.minimum.accumulate(p_values[highest_first] * n / np.arange(n, 0, -1))
    return np.minimum(found, 1.0)


def _mean(value: float, error: float, degrees: float, per_feature: float) -> MeanDifference:
    """Student's interval, the test that goes with it, and what would settle it.

    Args:
        value: The difference.
        error: Its standard error.
        degrees: Of freedom; 0 where there is no interval.
        per_feature: The difference that a single feature of each kind would show 80 times in 100.
    """
    if degrees <= 0 or error <= _SAME:  # equal differences differ in their last bits
        return MeanDifference(value)
    times = float(stdtrit(degrees, 0.975))
    return MeanDifference(
        value=value,
        low=max(-1.0, value - times * error),
        high=min(1.0, value + times * error),
        p_value=float(2 * stdtr(degrees, -abs(value) / error)),
        n_to_settle=None if value == 0 else int(np.ceil((per_feature / value) ** 2 + Z_95**2 / 2)),
        detectable=(times + float(stdtrit(degrees, _POWER))) * error,
    )


def _median(differs: Float64[np.ndarray, " feature"]) -> MedianDifference:
    """The median between the two order statistics that as many signs of a fair coin leave 95 % of."""
    n, ordered = differs.size, np.sort(differs)
    value = float(np.median(ordered))
    place = int(np.count_nonzero(bdtr(np.arange(n), n, 0.5) <= 0.025))
    if place == 0:
        return MedianDifference(value)
    return MedianDifference(value, float(ordered[place - 1]), float(ordered[n - place]))
