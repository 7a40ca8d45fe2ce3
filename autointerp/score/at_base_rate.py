"""Precision and F1 were contexts judged as they come, at the rate at which a feature fires: estimates, not best cases.

Put together of the shares seen, both are the best case where few questions about rare false alarms met none. Their
posterior is told instead: its median, with a tenth of a pseudo-yes to each part of the silent text for prior. The
interval spans what this prior and the neutral third allow, which is the worst case (`benchmarks/recall_bias.md`).
"""

from dataclasses import dataclass, replace

import numpy as np

from autointerp.score import metrics
from autointerp.score.metrics import Estimate, Rate, Recovered, Stratum

# Of a yes in each part of the silent text, where it is rare; `benchmarks/recall_bias.md` has the bias that it leaves.
_RARE_YES = 0.1


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
        strata: The parts of the silent text, and how much of each got a yes.
        base_rate: Share of contexts in which the feature fires.
        rng: Of the draws.
    """
    n_draws = base_rate.draws.size
    neutral = metrics.stratified_rate(strata, n_draws, rng)
    rare = metrics.stratified_rate(strata, n_draws, rng, _RARE_YES)
    cautious, likely = (
        metrics.f1_at_base_rate(recovered.mass, recovered.contexts, rate, base_rate) for rate in (neutral, rare)
    )
    # A label that never recovers anything has 0, whatever else may be possible.
    told = (likely.at_median if likely.value > 0 else likely).estimate
    worst, precise = (metrics.precision_at_base_rate(recovered.contexts, rate, base_rate) for rate in (neutral, rare))
    spanning = None
    if worst is not None and precise is not None:
        spanning = _spanning(precise.at_median.estimate, worst.estimate)
    return AtBaseRate(_spanning(told, cautious.estimate), spanning, neutral)


def chance_f1(base_rate: Rate) -> float:
    """F1 of a yes to everything, at a feature's own rate: recall 1, and the rate itself for precision."""
    return 2 * base_rate.value / (1 + base_rate.value)


def _spanning(told: Estimate, other: Estimate) -> Estimate:
    return replace(told, low=min(told.low, other.low), high=max(told.high, other.high))
