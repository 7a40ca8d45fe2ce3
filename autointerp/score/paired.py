"""How two labels, or two judges, differ on the same trials of one feature: a paired difference with its 95 % interval.

Two scores of one feature go up and down together: both were put to the same contexts, some of which are easy. Two
intervals that overlap therefore say little, and what is compared is the difference on each trial.

1. A trial's *difference* is what the second made of it less what the first did: 1 where only the second was right, -1
   where only the first was (balanced accuracy); of an AUROC the difference of DeLong's (1988) placements, the shares of
   the other class on whose right side the trial stands.
2. The measure's difference is a sum over the two classes of the mean difference, halved for a balanced accuracy.
   Counts are taken at what trials of one group of documents are worth (`clusters`), with the covariance of the classes
   where groups have trials of both. Half a pseudo-trial for either side in each class keeps the interval from having
   no width where both said the same (Bonett and Price 2012, who add a whole one to the one sample that they have; of
   an AUROC its size is `_PSEUDO_PLACEMENT`).
3. The p-value is that of a test of no difference. For verdicts it flips the sign of each group's differences: were it
   the same who answers, they would be as likely the other way round. It is McNemar's mid-p (Fagerland et al. 2013)
   where each trial has a group of its own. For placements it is Student's t.
4. F1 at the natural base rate has no closed form: both are computed from the same draws of a Bayesian bootstrap over
   groups (Rubin 1981).

Trials that one of the two left unanswered are no trials of either; `with_unanswered` has the ends of what they may be.
`benchmarks/compare.py` measures how often the intervals hold the truth and how often nothing is taken for something.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64
from scipy.special import ndtr, stdtr, stdtrit

from autointerp.score.clusters import effective_share, rates_correlation
from autointerp.score.metrics import Z_95, share_below

_PSEUDO_TRIALS = 0.5
_PSEUDO_PLACEMENT = 0.35
_PSEUDO_FIRING, _PSEUDO_SILENT = 1 / 3, 1 / 3
_MOST_FLIPPED = 16

_Sums = Float64[np.ndarray, " draw"]


@dataclass(frozen=True, slots=True)
class Difference:
    """The second's measure less the first's, in [-1, 1].

    Attributes:
        value: The difference: above 0 where the second is better.
        low: Lower end of the 95 % interval, at most `value`.
        high: Upper end, at least `value`.
        p_value: Of a two-sided test of no difference, in [0, 1].
    """

    value: float
    low: float
    high: float
    p_value: float

    def __post_init__(self) -> None:
        assert -1.0 <= self.low <= self.value <= self.high <= 1.0, self
        assert 0.0 <= self.p_value <= 1.0, self


def balanced_accuracy_difference(
    truth: Bool[np.ndarray, " trial"],
    first: Bool[np.ndarray, " trial"],
    second: Bool[np.ndarray, " trial"],
    cluster: Int64[np.ndarray, " trial"] | None = None,
) -> Difference | None:
    """How much higher the balanced accuracy of the second's verdicts is; None where one class has no trial.

    Args:
        truth: The true answers.
        first: Verdicts on the trials.
        second: Verdicts on the same trials.
        cluster: Number of each trial's group of documents, 0 or higher; None where each has its own.
    """
    if truth.all() or not truth.any():
        return None
    differs = (second == truth).astype(np.float64) - (first == truth)
    groups = np.arange(truth.size) if cluster is None else cluster
    part = [_Part.of(differs[of], groups[of], 1.0) for of in (truth, ~truth)]
    value = (part[0].mean + part[1].mean) / 2
    correlation = rates_correlation(differs, truth, groups, (part[0].size, part[1].size))
    centre, error = _centre_and_error(part, correlation)
    half = Z_95 * error / 2
    p_value = _p_by_flipping(differs, truth, groups)
    return _difference(value, centre - half, centre + half, p_value)


def auroc_difference(
    truth: Bool[np.ndarray, " trial"],
    first: Float[np.ndarray, " trial"],
    second: Float[np.ndarray, " trial"],
    cluster: Int64[np.ndarray, " trial"] | None = None,
) -> Difference | None:
    """How much higher the AUROC of the second's scores is (DeLong, DeLong and Clarke-Pearson 1988).

    Args:
        truth: Whether the feature fires.
        first: Any finite numbers that grow with belief, for example probabilities or similarities.
        second: Such numbers on the same trials, in a scale of their own.
        cluster: Number of each trial's group of documents, 0 or higher; None where each has its own.

    Returns:
        The difference; None where one class has no trial.
    """
    if truth.all() or not truth.any():
        return None
    groups = np.arange(truth.size) if cluster is None else cluster
    differs = _placements(truth, second) - _placements(truth, first)
    part = [_Part.of(differs[of], groups[of], _PSEUDO_PLACEMENT) for of in (truth, ~truth)]
    correlation = rates_correlation(differs, truth, groups, (part[0].size, part[1].size))
    centre, error = _centre_and_error(part, correlation)
    degrees = max(1.0, part[0].size + part[1].size - 2)
    half = float(stdtrit(degrees, 0.975)) * error
    return _difference(part[0].mean, centre - half, centre + half, float(2 * stdtr(degrees, -abs(centre) / error)))


def f1_difference(
    truth: Bool[np.ndarray, " window"],
    first: Bool[np.ndarray, " window"],
    second: Bool[np.ndarray, " window"],
    mass: Float[np.ndarray, " window"],
    base_rate: float,
    rng: np.random.Generator,
    cluster: Int64[np.ndarray, " window"] | None = None,
    weight: Float[np.ndarray, " window"] | None = None,
    n_draws: int = 1000,
) -> Difference | None:
    """How much higher the second's F1 at the natural base rate is, of activation-mass recall and precision.

    Args:
        truth: Whether the feature fires in each window.
        first: Verdicts on the windows.
        second: Verdicts on the same windows.
        mass: Sum of the feature's activations in each window, above 0 where it fires.
        base_rate: Share of windows as they come in which it fires, in (0, 1].
        rng: Source of the draws.
        cluster: Number of each window's group of documents, from 0 without a gap; None where each has its own.
        weight: Windows as they come that each one of its class stands for; None where all stand for as many.
        n_draws: Draws.

    Returns:
        The difference of both F1s as seen, with the interval of its draws; None where one class has no window.
    """
    if truth.all() or not truth.any():
        return None
    groups = np.arange(truth.size) if cluster is None else cluster
    worth = np.ones(truth.size) if weight is None else weight.astype(np.float64)
    n_groups = int(groups.max()) + 1
    # The first row is what was seen: each group once, and no pseudo-window.
    drawn = np.vstack([np.ones(n_groups), rng.standard_exponential((n_draws, n_groups))])
    alone = {
        of_class: np.vstack([np.zeros(2), rng.standard_gamma(shape, (n_draws, 2))])
        for of_class, shape in ((True, _PSEUDO_FIRING), (False, _PSEUDO_SILENT))
    }

    def sums(size: Float64[np.ndarray, " window"], of_class: bool) -> tuple[_Sums, _Sums, _Sums]:
        """Sizes of one class's windows in each draw, added up: of all, of the first's yes, of the second's."""
        these = truth == of_class
        every, *yes = (
            drawn @ np.bincount(groups[these], (size * said)[these], n_groups)
            for said in (np.ones(truth.size), first, second)
        )
        # Of the size of a group: a pseudo-window to which only the first says yes, and one of the second's.
        pseudo = alone[of_class] * (float(size[these].sum()) / np.unique(groups[these]).size)
        return every + pseudo.sum(axis=1), yes[0] + pseudo[:, 0], yes[1] + pseudo[:, 1]

    masses, firing, silent = sums(worth * mass, True), sums(worth, True), sums(worth, False)
    f1s = []
    for who in (1, 2):
        true_yes = base_rate * firing[who] / firing[0]
        all_yes = true_yes + (1 - base_rate) * silent[who] / silent[0]
        recall = masses[who] / masses[0]
        precision = np.divide(true_yes, all_yes, out=np.zeros_like(all_yes), where=all_yes > 0)
        total = precision + recall
        f1s.append(np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0))
    seen, draws = float(f1s[1][0] - f1s[0][0]), f1s[1][1:] - f1s[0][1:]
    # A bootstrap's spread is that of n - 1 groups, and is itself a guess from them.
    degrees = max(1, np.unique(groups[truth]).size - 1)
    draws = seen + (draws - seen) * np.sqrt(1 + 1 / degrees) * stdtrit(degrees, 0.975) / Z_95
    low, high = np.quantile(draws, (0.025, 0.975))
    spread = float(np.std(draws))
    return _difference(seen, float(low), float(high), float(2 * ndtr(-abs(seen) / spread)) if spread > 0 else 1.0)


def interval_difference(first: tuple[float, float, float], second: tuple[float, float, float]) -> Difference:
    """How much higher the second of two estimates is, each a value with the ends of its interval, of trials apart.

    The distances of the limits are added in quadrature (Zou and Donner 2008): right where the two are independent, and
    too wide where, on one feature, they go up and down together.
    """
    value = second[0] - first[0]
    low = value - np.hypot(second[0] - second[1], first[2] - first[0])
    high = value + np.hypot(second[2] - second[0], first[0] - first[1])
    error = (value - low if value > 0 else high - value) / Z_95
    return _difference(value, float(low), float(high), float(2 * ndtr(-abs(value) / error)) if error > 0 else 1.0)


def with_unanswered(seen: Difference, ends: tuple[Difference, Difference]) -> Difference:
    """A difference where some trials lack an answer of one of the two.

    Args:
        seen: On the trials that both have answered.
        ends: On all trials, what is missing taken to be right in the first and wrong in the second, and the reverse.

    Returns:
        The difference seen, with the interval and the test of whatever lies between the ends (Manski 1989).
    """
    possible = (seen, *ends)
    is_open = min(of.value for of in possible) <= 0 <= max(of.value for of in possible)
    return Difference(
        value=seen.value,
        low=min(of.low for of in possible),
        high=max(of.high for of in possible),
        p_value=1.0 if is_open else max(of.p_value for of in possible),
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """The differences of one class's trials.

    Attributes:
        mean: As seen.
        shrunk: With the pseudo-trials, which tell of no difference.
        spread: Standard deviation, with the pseudo-trials.
        size: Independent trials that the trials are worth.
    """

    mean: float
    shrunk: float
    spread: float
    size: float

    @classmethod
    def of(cls, differs: Float64[np.ndarray, " trial"], cluster: Int64[np.ndarray, " trial"], pseudo: float) -> "_Part":
        """Args: differences of at least one trial, its cluster, and how far off a pseudo-trial is on either side."""
        size = differs.size * effective_share(differs, cluster)
        scaled, n = size / differs.size, size + 2 * _PSEUDO_TRIALS
        shrunk = float(differs.sum()) * scaled / n
        square = (float(np.sum(differs**2)) * scaled + 2 * _PSEUDO_TRIALS * pseudo**2) / n
        return cls(float(differs.mean()), shrunk, float(np.sqrt(max(0.0, square - shrunk**2))), size)

    @property
    def error(self) -> float:
        """Of the mean."""
        return self.spread / float(np.sqrt(self.size + 2 * _PSEUDO_TRIALS))


def _centre_and_error(parts: list[_Part], correlation: float) -> tuple[float, float]:
    """The mean of the two parts, shrunk, and the error of their sum.

    Either measure's difference is that mean. A balanced accuracy's error is half the sum's; an AUROC's is all of it,
    since the placements of each part are among the other's trials.
    """
    one, other = (part.error for part in parts)
    return (parts[0].shrunk + parts[1].shrunk) / 2, float(np.sqrt(one**2 + other**2 + 2 * correlation * one * other))


def _placements(
    truth: Bool[np.ndarray, " trial"], scores: Float[np.ndarray, " trial"]
) -> Float64[np.ndarray, " trial"]:
    """For each trial the share of the other class on whose right side it stands."""
    placed = np.empty(truth.size)
    placed[truth] = share_below(scores[truth], scores[~truth])
    placed[~truth] = 1 - share_below(scores[~truth], scores[truth])
    return placed


def _p_by_flipping(
    differs: Float64[np.ndarray, " trial"],
    truth: Bool[np.ndarray, " trial"],
    cluster: Int64[np.ndarray, " trial"],
) -> float:
    """Share of all ways to flip the groups' signs that come further from 0 than what was seen, and half of as far.

    The half is Lancaster's (1961) mid-p: with all of it, of ten groups hardly any result would count, after correction
    for many features none. All ways are tried where few groups differ; where many do, their sum is as good as normal.
    """
    sums = np.bincount(cluster, weights=differs / np.where(truth, truth.sum(), (~truth).sum()))
    differing = sums[np.abs(sums) > 1e-12]
    seen = abs(float(differing.sum()))
    if differing.size == 0:
        return 1.0
    if differing.size > _MOST_FLIPPED:
        return float(2 * ndtr(-seen / np.sqrt(np.sum(differing**2))))
    flipped = np.zeros(1)
    for of_group in differing:
        flipped = np.concatenate([flipped + of_group, flipped - of_group])
    beyond, as_far = np.abs(flipped) > seen + 1e-9, np.abs(flipped) >= seen - 1e-9
    return float((beyond.mean() + as_far.mean()) / 2)


def _difference(value: float, low: float, high: float, p_value: float) -> Difference:
    """Limits cut to [-1, 1], and to where they hold the value."""
    value = min(1.0, max(-1.0, value))
    return Difference(value, max(-1.0, min(low, value)), min(1.0, max(high, value)), min(1.0, p_value))
