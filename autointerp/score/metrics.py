"""What scorers measure: pure functions from counts, verdicts and similarities to estimates with 95 % intervals.

Every interval stays in [0, 1], holds its estimate, and has a width above zero at counts of zero or all: a score on 20
trials never looks certain. The methods, and where each comes from:

1. One proportion: Wilson's score interval (Wilson 1927; Brown, Cai and DasGupta 2001).
2. Balanced accuracy, the mean of two independent proportions: MOVER, the distances of each one's limits added in
   quadrature (Zou and Donner 2008), with the limits of Kerman's (2011) neutral posterior, Beta(yes + 1/3, no + 1/3).
   With Wilson's limits, as Newcombe 1998 combines them, intervals of 20 + 20 trials hold a sensitivity and specificity
   of .98 only 88 times in 100.
3. AUROC: Hanley and McNeil's (1982) variance, inverted as a score interval (Newcombe 2006, part 2, method 5). DeLong's
   variance is zero at an AUROC of 1, this one is not.
4. What has no closed form (share of activation mass, precision at a base rate, F1): simulation. Rates are drawn from
   their neutral posteriors, shares of mass from a Bayesian bootstrap (Rubin 1981) with a third of a pseudo-trial on
   either side, which is the same where all masses are equal. A plain bootstrap has no width where every resampled
   trial agrees, and holds the truth 66 to 83 times in 100 on the counts met here.

Trials of one cluster, a document or a group of documents, are not independent. The closed forms take counts at what the
trials are worth (`clusters.effective_share`), of each class apart; the bootstrap weighs clusters, not trials.

`benchmarks/score_intervals.py` measures how often each holds the truth, and `benchmarks/score_intervals.md` says it.

What is undefined is None, never NaN and never 0.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64
from scipy.optimize import brentq
from scipy.special import betaincinv, ndtri

from autointerp.score.clusters import effective_share, rates_correlation
from autointerp.score.confusion import Confusion

Z_95 = float(ndtri(0.975))
_TAILS = (0.025, 0.975)
_NEUTRAL = 1 / 3
_PRIOR_FIRINGS = 4.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number in [0, 1] with its 95 % interval.

    Attributes:
        value: The estimate.
        low: Lower end, at most `value`.
        high: Upper end, at least `value`.
    """

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        assert 0.0 <= self.low <= self.value <= self.high <= 1.0, self

    def spanning(self, other: "Estimate") -> "Estimate":
        """The same value, with an interval that holds the other's too."""
        return Estimate(self.value, min(self.low, other.low), max(self.high, other.high))


# --- closed forms ---------------------------------------------------------------------------------------------------


def proportion(n_yes: float, n: int, worth: float = 1.0) -> Estimate | None:
    """A share with Wilson's interval at what n trials are worth; None of no trials.

    `scipy.stats.binomtest(…).proportion_ci(method="wilson")` gives the same limits at a hundred times the cost.
    """
    if n == 0:
        return None
    share, size = n_yes / n, n * worth
    centre = (share + Z_95**2 / (2 * size)) / (1 + Z_95**2 / size)
    half = Z_95 / (1 + Z_95**2 / size) * np.sqrt(share * (1 - share) / size + Z_95**2 / (4 * size**2))
    return _around(share, centre - half, centre + half)


def sensitivity(counts: Confusion) -> Estimate | None:
    """Share of firing trials that the judge said yes to; None where none was answered."""
    return proportion(counts.true_positive, counts.n_positive, counts.positive_worth)


def specificity(counts: Confusion) -> Estimate | None:
    """Share of silent trials that the judge said no to; None where none was answered."""
    return proportion(counts.true_negative, counts.n_negative, counts.negative_worth)


def balanced_accuracy(counts: Confusion) -> Estimate | None:
    """Mean of sensitivity and specificity, with a MOVER interval; None where either is undefined.

    Each limit lies half the root of the sum of both distances' squares away, and of twice their product by the
    correlation of the two (Zou 2008), so the interval stays in [0, 1].
    """
    if counts.n_positive == 0 or counts.n_negative == 0:
        return None
    yes = _neutral_interval(counts.true_positive, counts.n_positive, counts.positive_worth)
    no = _neutral_interval(counts.true_negative, counts.n_negative, counts.negative_worth)
    value = (yes.value + no.value) / 2
    below, above = (
        np.sqrt(one**2 + other**2 + 2 * counts.correlation * one * other) / 2
        for one, other in ((yes.value - yes.low, no.value - no.low), (yes.high - yes.value, no.high - no.value))
    )
    return _around(value, value - below, value + above)


def _neutral_interval(n_yes: int, n: int, worth: float) -> Estimate:
    """The central 95 % of Beta(yes + 1/3, no + 1/3), reaching to 0 or 1 at a count of none or all."""
    low, high = betaincinv(n_yes * worth + _NEUTRAL, (n - n_yes) * worth + _NEUTRAL, _TAILS)
    return _around(n_yes / n, float(low), float(high))


def f1(counts: Confusion) -> float | None:
    """2 TP / (2 TP + FP + FN) at the trials' own mix of classes; None with neither a firing trial nor a yes."""
    denominator = 2 * counts.true_positive + counts.false_positive + counts.false_negative
    return 2 * counts.true_positive / denominator if denominator else None


def matthews(counts: Confusion) -> float | None:
    """Matthews' correlation of truth and verdict, in [-1, 1]; None where one of them is the same on every trial.

    `sklearn.metrics.matthews_corrcoef` gives 0 there, which reads as a label at chance.
    """
    tp, fn = counts.true_positive, counts.false_negative
    fp, tn = counts.false_positive, counts.true_negative
    product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return float((tp * tn - fp * fn) / np.sqrt(product)) if product else None


def auroc(
    truth: Bool[np.ndarray, " trial"],
    scores: Float[np.ndarray, " trial"],
    cluster: Int64[np.ndarray, " trial"] | None = None,
) -> Estimate | None:
    """Probability that a firing trial has a higher score than a silent one, ties counting half.

    Args:
        truth: Whether the feature fires.
        scores: Any finite number that grows with belief, for example a probability or a similarity.
        cluster: Number of each trial's cluster; None where each has its own. A trial's value, for what it is worth, is
            the share of the other class that it stands on the right side of (DeLong's placement).

    Returns:
        The area, with Newcombe's score interval; None where one class has no trial.
    """
    n_positive = int(np.sum(truth))
    n_negative = truth.size - n_positive
    if n_positive == 0 or n_negative == 0:
        return None
    # By hand: sklearn's roc_auc_score and a sum of SciPy's ranks give the same, and take many times as long.
    firing, silent = scores[truth], scores[~truth]
    placed = share_below(firing, silent)
    value = float(placed.mean())
    size_positive, size_negative = float(n_positive), float(n_negative)
    if cluster is not None:
        right = np.empty(truth.size)
        right[truth], right[~truth] = placed, 1 - share_below(silent, firing)
        size_positive *= effective_share(placed, cluster[truth])
        size_negative *= effective_share(right[~truth], cluster[~truth])
        shared = rates_correlation(right, truth, cluster, (size_positive, size_negative))
        # The factor on the sum of two variances, 1 / m and 1 / n, that their covariance makes.
        inflation = 1 + 2 * shared * np.sqrt(size_positive * size_negative) / (size_positive + size_negative)
        size_positive, size_negative = size_positive / inflation, size_negative / inflation
    return _around(value, *auroc_limits(value, size_positive, size_negative))


def area(truth: Bool[np.ndarray, " trial"], scores: Float[np.ndarray, " trial"]) -> float:
    """`auroc` without its interval, of trials of both classes."""
    return float(share_below(scores[truth], scores[~truth]).mean())


def share_below(
    values: Float[np.ndarray, " value"], others: Float[np.ndarray, " other"]
) -> Float64[np.ndarray, " value"]:
    """For each value the share of the others below it, ties counting half."""
    others = np.sort(others)
    return (others.searchsorted(values, "left") + others.searchsorted(values, "right")) / (2 * others.size)


def auroc_limits(value: float, n_positive: float, n_negative: float) -> tuple[float, float]:
    """Newcombe's (2006) method 5: the areas that lie 1.96 of their own standard errors from the one seen.

    Hanley and McNeil's variance of an area A, with n* = (m + n) / 2 - 1 in place of both m - 1 and n - 1, is
    A (1 - A) (1 + n* (1 - A) / (2 - A) + n* A / (1 + A)) / (m n).
    """
    n_star = max(0.0, (n_positive + n_negative) / 2 - 1)

    def excess(area: float) -> float:
        spread = 1 + n_star * (1 - area) / (2 - area) + n_star * area / (1 + area)
        return (area - value) ** 2 - Z_95**2 * area * (1 - area) * spread / (n_positive * n_negative)

    # The variance is zero at areas of 0 and 1; a step away from there keeps the trivial root out of the bracket.
    step = 1e-9
    low = float(brentq(excess, 0.0, min(value, 1 - step))) if value > step else 0.0
    high = float(brentq(excess, max(value, step), 1.0)) if value < 1 - step else 1.0
    return low, high


# --- simulation -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate with draws of what it may be.

    Attributes:
        value: The estimate.
        draws: Draws from its posterior.
    """

    value: float
    draws: Float64[np.ndarray, " draw"]

    @property
    def estimate(self) -> Estimate:
        """The value with the central 95 % of the draws."""
        low, high = np.quantile(self.draws, _TAILS)
        return _around(self.value, float(low), float(high))

    @property
    def at_median(self) -> "Rate":
        """With the median of the draws for its value: a ratio's is nearer to the truth than the ratio of estimates."""
        return Rate(float(np.median(self.draws)), self.draws)


def binomial_rate(n_yes: int, n: int, n_draws: int, rng: np.random.Generator, worth: float = 1.0) -> Rate:
    """A share of n >= 1 trials, with draws from Beta(yes + 1/3, no + 1/3) at the independent trials they are worth."""
    assert n > 0
    return Rate(n_yes / n, rng.beta(n_yes * worth + _NEUTRAL, (n - n_yes) * worth + _NEUTRAL, size=n_draws))


def firing_rate(n_firing: int, n_drawn: int, expected: float, n_draws: int, rng: np.random.Generator) -> Rate:
    """Share of contexts in which a feature fires, from a uniform draw of contexts and from its exact token density.

    A rare feature fires in none or a few of some thousand drawn contexts, so their plain share would be 0 or a guess.
    The exact density, turned into contexts, serves as a prior that is worth `_PRIOR_FIRINGS` firing contexts (a
    relative standard error of a half): it decides where the feature is rare, and the draw where it is not.

    Args:
        n_firing: Drawn contexts in which the feature fires.
        n_drawn: Contexts drawn uniformly from the corpus.
        expected: The share that the token density leads one to expect, in (0, 1].
        n_draws: Draws from the posterior.
        rng: Source of the draws.

    Returns:
        The mean of the Beta posterior, above 0, and draws from it.
    """
    assert 0 < expected <= 1
    alpha = _PRIOR_FIRINGS + n_firing
    beta = max(_NEUTRAL, _PRIOR_FIRINGS * (1 / expected - 1) + n_drawn - n_firing)
    return Rate(alpha / (alpha + beta), rng.beta(alpha, beta, size=n_draws))


@dataclass(frozen=True, slots=True)
class Recovered:
    """How much of a feature's firing a judge's yes recovers; the draws of both rates belong together.

    Attributes:
        mass: Share of the activation mass.
        contexts: Share of the contexts.
    """

    mass: Rate
    contexts: Rate


def recovered(
    verdict: Bool[np.ndarray, " trial"],
    mass: Float[np.ndarray, " trial"],
    n_draws: int,
    rng: np.random.Generator,
    cluster: Int64[np.ndarray, " trial"] | None = None,
    weight: Float[np.ndarray, " trial"] | None = None,
) -> Recovered:
    """Share of mass and of contexts on which the judge said yes, by a Bayesian bootstrap over clusters of trials.

    A draw gives every cluster a weight from Exp(1) and adds a yes and a no of a cluster's mean mass and size with
    weights from Gamma(1/3). Of clusters of one trial and equal masses this is exactly Beta(yes + 1/3, no + 1/3).

    Args:
        verdict: The judge's answer on at least one context in which the feature fires.
        mass: Sum of the feature's activations in each context, above 0.
        n_draws: Draws.
        rng: Source of the draws.
        cluster: Number of each trial's cluster, from 0 without a gap; None where each has its own.
        weight: Contexts that each trial stands for, above 0; None where each stands for itself.
    """
    assert verdict.size > 0
    assert bool(np.all(mass > 0))
    of = np.arange(verdict.size) if cluster is None else cluster
    n_clusters = int(of.max()) + 1
    weights = np.concatenate(
        [rng.standard_exponential((n_draws, n_clusters)), rng.standard_gamma(_NEUTRAL, (n_draws, 2))], axis=1
    )

    def rate(share: Float64[np.ndarray, " trial"]) -> Rate:
        pseudo = share.mean() * verdict.size / n_clusters
        yes, every = (np.bincount(of, weights=values, minlength=n_clusters) for values in (share * verdict, share))
        drawn = (weights @ np.append(yes, [pseudo, 0.0])) / (weights @ np.append(every, [pseudo, pseudo]))
        return Rate(float(yes.sum() / every.sum()), drawn)

    stands_for = np.ones(verdict.size) if weight is None else weight.astype(np.float64)
    return Recovered(mass=rate(mass * stands_for), contexts=rate(stands_for))


@dataclass(frozen=True, slots=True)
class Stratum:
    """A part of a population of which some was judged.

    Attributes:
        size: Members of the part.
        n_judged: Members with an answer, above 0; of members that resemble each other, what they are worth.
        n_yes: Of these, with the answer yes.
    """

    size: int
    n_judged: float
    n_yes: float


def stratified_rate(
    strata: tuple[Stratum, ...], n_draws: int, rng: np.random.Generator, pseudo_yes: float = _NEUTRAL
) -> Rate:
    """Share of a population that a judge says yes to, each part weighted by its size (Horvitz and Thompson 1952).

    The estimate is the sum over judged members of yes / inclusion probability, over the population's size. The parts'
    rates are drawn from Beta(yes + pseudo_yes, no + 1/3), also that of a part judged in full: the population is itself
    a sample of the corpus.
    """
    n_all = sum(s.size for s in strata)
    value = sum(s.size * s.n_yes / s.n_judged for s in strata) / n_all
    draws = np.zeros(n_draws)
    for s in strata:
        draws += s.size * rng.beta(s.n_yes + pseudo_yes, s.n_judged - s.n_yes + _NEUTRAL, size=n_draws) / n_all
    return Rate(min(1.0, value), draws)


def precision_at_base_rate(hit: Rate, false_alarm: Rate, base_rate: Rate) -> Rate | None:
    """Share of the judge's yes on which the feature fires, were contexts drawn as they come.

    b h / (b h + (1 - b) f), for independent rates of hits h (sensitivity), false alarms f (1 - specificity) and
    firing b. None where the judge never says yes, so that there is nothing to be precise about.
    """
    value = _precision(np.array([hit.value]), np.array([false_alarm.value]), np.array([base_rate.value]))[0]
    if np.isnan(value):
        return None
    return Rate(float(value), _precision(hit.draws, false_alarm.draws, base_rate.draws))


def f1_at_base_rate(recall: Rate, hit: Rate, false_alarm: Rate, base_rate: Rate) -> Rate:
    """Harmonic mean of recall and of precision at the base rate; 0 where recall is 0, whatever the precision.

    Args:
        recall: Share recovered, by contexts or by mass.
        hit: Share of firing contexts with a yes; its draws and those of `recall` belong together.
        false_alarm: Share of silent contexts with a yes.
        base_rate: Share of contexts in which the feature fires, above 0.
    """
    precision = precision_at_base_rate(hit, false_alarm, base_rate)
    draws = _harmonic(_precision(hit.draws, false_alarm.draws, base_rate.draws), recall.draws)
    value = 0.0 if precision is None else float(_harmonic(np.array([precision.value]), np.array([recall.value]))[0])
    return Rate(value, draws)


def _precision(
    hit: Float64[np.ndarray, " draw"], false_alarm: Float64[np.ndarray, " draw"], base: Float64[np.ndarray, " draw"]
) -> Float64[np.ndarray, " draw"]:
    """NaN, inside this file only, where there is no yes."""
    true_yes, false_yes = base * hit, (1 - base) * false_alarm
    all_yes = true_yes + false_yes
    precision: Float64[np.ndarray, " draw"] = np.full_like(all_yes, np.nan)
    np.divide(true_yes, all_yes, out=precision, where=all_yes > 0)
    return precision


def _harmonic(a: Float64[np.ndarray, " draw"], b: Float64[np.ndarray, " draw"]) -> Float64[np.ndarray, " draw"]:
    total = a + b
    mean: Float64[np.ndarray, " draw"] = np.zeros_like(total)
    np.divide(2 * a * b, total, out=mean, where=total > 0)
    return mean


def _around(value: float, low: float, high: float) -> Estimate:
    """Limits cut to [0, 1], and to where they hold the value: rounding, and simulation at counts of zero or all."""
    value = min(1.0, max(0.0, float(value)))
    return Estimate(value, max(0.0, min(float(low), value)), min(1.0, max(float(high), value)))
