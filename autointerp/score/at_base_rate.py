"""Precision and F1 were contexts judged as they come, at the rate at which a feature fires: estimates, not best cases.

Put together of the shares seen, both are the best case where few questions about rare false alarms met none: how often
a label says yes in silent text is then known by what is likely beforehand. Here that is what its precision may be. It
means the same at every firing rate; a rate of false alarms of .001 is nothing to one feature and ruin to another:

1. A label's precision is Beta(1, 1/2) beforehand, so its rate of false alarms f is b h / (1 - b) x (1 - p) / p, with
   the base rate b and the rate of hits h.
2. Where those closest to the label were asked about, and a draw from the rest, the closest hold a share s of all false
   alarms, from as many as any others would up to all: log-uniform. So what is found among the closest tells of the
   rest, and how much, the rest tells.
3. The posterior of f is computed on a grid of log f and log s, and drawn from.

What is told is the median of the posterior of F1, and of precision. The interval spans 95 % of it, and of what a
neutral third of a pseudo-yes on either side allows, the worst case. `benchmarks/recall_bias.md` has the bias that is
left, and how often the intervals hold the truth.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from autointerp.score import metrics
from autointerp.score.metrics import Estimate, Rate, Recovered, Stratum

_PRIOR_PRECISE, _PRIOR_FALSE = 1.0, 0.5
# Of the grid; a part judged in full tells the rate to a percent, and has no shares.
_N_CELLS, _N_SHARES = 2400, 12
# The smallest rate of false alarms on the grid, by the rate of true ones.
_SMALLEST = 1e-5


@dataclass(frozen=True, slots=True)
class AtBaseRate:
    """What a label's yes is worth at a feature's own firing rate.

    Attributes:
        f1: Of recall and precision.
        precision: Share of the yes on which the feature fires; None where the judge never said yes.
        false_alarm: Share of silent text with a yes, as it was seen.
    """

    f1: Estimate
    precision: Estimate | None
    false_alarm: Rate


def estimate(
    recovered: Recovered, strata: tuple[Stratum, ...], base_rate: Rate, rng: np.random.Generator
) -> AtBaseRate:
    """Estimate precision and F1 at a base rate.

    Args:
        recovered: How much of the firing got a yes: recall is that of the mass.
        strata: The silent text, and how much of it got a yes; or what is closest to the label, and the rest.
        base_rate: Share of contexts in which the feature fires.
        rng: Of the draws.
    """
    n_draws = base_rate.draws.size
    neutral = metrics.stratified_rate(strata, n_draws, rng)
    true_yes = base_rate.value * float(recovered.contexts.draws.mean()) / (1 - base_rate.value)
    probable = replace(neutral, draws=draw_false_alarms(strata, true_yes, n_draws, rng))
    cautious, likely = (
        metrics.f1_at_base_rate(recovered.mass, recovered.contexts, rate, base_rate) for rate in (neutral, probable)
    )
    # A label that never recovers anything has 0, whatever else may be possible.
    told = (likely.at_median if likely.value > 0 else likely).estimate
    worst, precise = (
        metrics.precision_at_base_rate(recovered.contexts, rate, base_rate) for rate in (neutral, probable)
    )
    spanning = None
    if worst is not None and precise is not None:
        spanning = precise.at_median.estimate.spanning(worst.estimate)
    return AtBaseRate(told.spanning(cautious.estimate), spanning, neutral)


def draw_false_alarms(
    strata: tuple[Stratum, ...], true_yes: float, n_draws: int, rng: np.random.Generator
) -> Float64[np.ndarray, " draw"]:
    """Draw the share of silent text that gets a yes from its posterior; see the module's steps.

    Args:
        strata: The silent text; or what is closest to the label, and the rest.
        true_yes: Yes on firing contexts for each silent context, above 0; a precision of 1/2 has as many false ones.
        n_draws: Draws.
        rng: Source of the draws.
    """
    n_rates = _N_CELLS if len(strata) == 1 else _N_CELLS // _N_SHARES
    ends = np.linspace(np.log(_SMALLEST * min(true_yes, 1.0)), 0.0, n_rates + 1)
    rate = np.exp((ends[1:] + ends[:-1]) / 2)
    precision = true_yes / (true_yes + rate)
    prior = _PRIOR_PRECISE * np.log(precision) + _PRIOR_FALSE * np.log1p(-precision)
    if len(strata) == 1:
        log_weight = prior + _log_likelihood(strata[0], rate)
    else:
        closest, rest = strata
        n_all = closest.size + rest.size
        share = np.exp(np.log(closest.size / n_all) * (np.arange(_N_SHARES) + 0.5) / _N_SHARES)
        # No more of the false alarms are among the closest than there are closest; the others are in the rest.
        n_closest = np.minimum(rate[:, None] * n_all * share, closest.size)
        n_rest = np.minimum(rate[:, None] * n_all - n_closest, rest.size)
        of_each = _log_likelihood(closest, n_closest / closest.size) + _log_likelihood(rest, n_rest / rest.size)
        log_weight = prior + np.logaddexp.reduce(of_each, axis=1)
    weight = np.cumsum(np.exp(log_weight - log_weight.max()))
    cell = np.searchsorted(weight, rng.random(n_draws) * weight[-1], side="right")
    drawn: Float64[np.ndarray, " draw"] = np.exp(ends[cell] + rng.random(n_draws) * (ends[cell + 1] - ends[cell]))
    return drawn


def _log_likelihood(stratum: Stratum, rate: Float64[np.ndarray, "..."]) -> Float64[np.ndarray, "..."]:
    """Of the answers in a part of the silent text, if a yes is this frequent there."""
    inside = np.clip(rate, 1e-12, 1 - 1e-9)
    likelihood: Float64[np.ndarray, ...] = stratum.n_yes * np.log(inside) + (
        stratum.n_judged - stratum.n_yes
    ) * np.log1p(-inside)
    return likelihood


def chance_f1(base_rate: Rate) -> float:
    """F1 of a yes to everything, at a feature's own rate: recall 1, and the rate itself for precision."""
    return 2 * base_rate.value / (1 + base_rate.value)
