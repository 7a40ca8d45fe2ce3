"""How large the differences are that `largest` tested, with intervals that hold for all features at once.

1. A limit is where the effect seen is just as far away, in standard errors, as the largest deviation of any feature is
   in 1 of 20 divisions (`Deviations.critical`).
2. The variance of an AUROC is that over divisions at 1/2, and at the one seen DeLong's (1988): that of the placements,
   the shares of the other set that a text stands above, each set's by itself. In between it is interpolated, as a
   score interval's (Wilson 1927) is between the two ends that are known. So an interval leaves 1/2 out where its
   feature was found, and only there.
3. A variance from few units is drawn to that over divisions, with the weight of `_PRIOR_UNITS`: a feature that fires in
   none of 20 texts would have none. The deviation is then Student's t with Welch's degrees of freedom (Wallace 1959).
4. The difference of means has its interval in the same way.
5. Pairs: the effects that the test of pairs, were they taken off each pair, would not find.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int64

from autointerp.library.contrast.design import Pairs, TwoSets, summed
from autointerp.library.contrast.largest import (
    Deviations,
    PerFeature,
    RankedValues,
    column_sums,
    null_moments,
    skewed,
    unit_sums,
)
from autointerp.library.contrast.ranks import centred_ranks

if TYPE_CHECKING:
    from scipy.sparse import csc_array

_PRIOR_UNITS = 2.0


@dataclass(frozen=True, eq=False)
class Effects:
    """How large the differences of some features are; intervals are of 95 %, for all that were compared at once.

    Attributes:
        auroc: Chance that a text of the first set has the feature stronger than one of the second, ties half.
        auroc_low: Lower end of its interval.
        auroc_high: Upper end.
        mean_1: Mean value in the first set.
        mean_2: Mean value in the second.
        difference_low: Lower end of the interval of `mean_1 - mean_2`; minus infinity where there is none.
        difference_high: Upper end.
        hedges_g: That difference in units of the standard deviation within sets, with Hedges' (1981) correction; nan
            where nothing scatters.
        share_1: Share of the first set's texts in which the feature fires.
        share_2: Share of the second's.
    """

    auroc: PerFeature
    auroc_low: PerFeature
    auroc_high: PerFeature
    mean_1: PerFeature
    mean_2: PerFeature
    difference_low: PerFeature
    difference_high: PerFeature
    hedges_g: PerFeature
    share_1: PerFeature
    share_2: PerFeature


def measure_effects(ranked: RankedValues, tested: Deviations, which: Int64[np.ndarray, " feature"]) -> Effects:
    """How large the differences of some of the tested features are.

    Args:
        ranked: What was tested.
        tested: What came of it.
        which: Places in it.
    """
    columns = tested.feature[which]
    values, ranks, n_1, n_2 = ranked.values[:, columns], ranked.ranks[:, columns], ranked.n_1, ranked.n_2
    first, second = values[:n_1], values[n_1:]
    mean_1, mean_2 = column_sums(first) / n_1, column_sums(second) / n_2
    shift = (column_sums(ranks[:n_1]) / n_1 - column_sums(ranks[n_1:]) / n_2) / (n_1 + n_2)
    if isinstance(ranked.design, Pairs):
        low, high = _limits_of_pairs(unit_sums(ranks, ranked.design), ranked.design, tested.critical)
        low, high = low / (2 * n_1), high / (2 * n_1)  # ranks run over the texts of both sets
        limits = _limits_of_pairs(unit_sums(values, ranked.design), ranked.design, tested.critical)
    else:
        assert isinstance(ranked.design, TwoSets)
        low, high = _auroc_limits(ranked, ranked.design, tested, which, (first, second, ranks), shift)
        limits = _mean_limits(values, (first, second), ranked.design, tested.critical)
    return Effects(
        auroc=np.clip(0.5 + shift, 0.0, 1.0),
        auroc_low=np.clip(0.5 + np.minimum(low, shift), 0.0, 1.0),
        auroc_high=np.clip(0.5 + np.maximum(high, shift), 0.0, 1.0),
        mean_1=mean_1,
        mean_2=mean_2,
        difference_low=np.minimum(limits[0], mean_1 - mean_2),
        difference_high=np.maximum(limits[1], mean_1 - mean_2),
        hedges_g=_hedges_g(first, second, mean_1, mean_2),
        share_1=np.diff(first.indptr) / n_1,
        share_2=np.diff(second.indptr) / n_2,
    )


def _auroc_limits(
    ranked: RankedValues,
    design: TwoSets,
    tested: Deviations,
    which: Int64[np.ndarray, " feature"],
    of_both: tuple[Any, Any, Any],
    shift: PerFeature,
) -> tuple[PerFeature, PerFeature]:
    """Limits of the AUROC less 1/2.

    Args:
        ranked: What was tested.
        design: Of two sets.
        tested: What came of it.
        which: Places in it.
        of_both: Values of the first set, those of the second, and the ranks of both.
        shift: The AUROCs less 1/2.
    """
    first, second, ranks = of_both
    # A rank among all less that within the set is the number of the other set's below.
    placed = [
        _minus(ranks[: ranked.n_1], centred_ranks(first), ranked.n_2),
        _minus(ranks[ranked.n_1 :], centred_ranks(second), ranked.n_1),
    ]
    null, skewness = tested.null_error[which] ** 2, tested.skewness[which]
    growth = _growth(ranks, ranked.n_1 + ranked.n_2)
    return _limits(shift, null, skewness, growth, placed, design, tested.critical)


def _mean_limits(
    values: "csc_array", sets: tuple[Any, Any], design: TwoSets, critical: float
) -> tuple[PerFeature, PerFeature]:
    """Limits of the first mean less the second."""
    n_1, n_2 = (of.shape[0] for of in sets)
    units, mean = unit_sums(values, design), column_sums(values) / (n_1 + n_2)
    variance, skewness = null_moments(units, mean, design)
    difference = column_sums(sets[0]) / n_1 - column_sums(sets[1]) / n_2
    null = variance * ((n_1 + n_2) / (n_1 * n_2)) ** 2
    # Towards the end of a skewed distribution little is known of raw values, which may have any tail.
    return _limits(difference, null, skewness, _growth(values), list(sets), design, critical, least=critical)


def _limits(
    effect: PerFeature,
    null: PerFeature,
    skewness: PerFeature,
    growth: PerFeature,
    sets: list[Any],
    design: TwoSets,
    critical: float,
    least: float = 0.0,
) -> tuple[PerFeature, PerFeature]:
    """Limits of an effect that is a difference of two sets' means, or differs from it by what is known.

    Args:
        effect: As seen; 0 where there is none.
        null: Its variance over all divisions.
        skewness: Likewise.
        growth: From `_growth`.
        sets: (text, feature) of the first set, and of the second, whose means' variances are the effect's.
        design: Units of either.
        critical: The deviation that is not out of the ordinary.
        least: The least that it is taken for on either side of a skewed distribution.
    """
    if not np.isfinite(critical):
        return np.full(null.size, -np.inf), np.full(null.size, np.inf)
    variance, degrees = _welch(sets, design, null)
    there = student(critical, degrees, design.n_units) ** 2
    half = []
    for sign, n_units in ((1, design.n_units_2), (-1, design.n_units_1)):
        # At the lower limit the second set's mean is larger than it seems, at the upper the first's.
        distance, grown = sign * effect, growth / n_units
        usual = np.maximum(np.abs(skewed(sign * critical, skewness)), least) ** 2
        away = _root(there * np.maximum(0.0, grown + 2 * np.minimum(0.0, distance) / n_units), there * variance)
        beyond = np.maximum(critical**2 * np.ones_like(null), usual)
        grown = beyond * np.maximum(0.0, grown)
        across = _root(grown, np.maximum(beyond * null, there * variance) - grown * np.maximum(0.0, distance))
        with np.errstate(invalid="ignore", divide="ignore"):
            between = _root((usual * null - there * variance) / distance, there * variance)
        half.append(
            np.where(distance**2 > usual * null, np.where(distance > 0, between, away), np.maximum(across, away))
        )
    low: PerFeature = effect - half[0]
    high: PerFeature = effect + half[1]
    return low, high


def _root(linear: PerFeature, constant: PerFeature) -> PerFeature:
    """The positive x with x^2 = linear x + constant."""
    with np.errstate(invalid="ignore", over="ignore"):
        root: PerFeature = (linear + np.sqrt(np.maximum(0.0, linear**2 + 4 * constant))) / 2
    return root


def _growth(values: "csc_array", unit: float = 1.0) -> PerFeature:
    """How fast the variance of a value grows with its mean, where the feature fires in more texts and no stronger.

    Args:
        values: (text, feature) of both sets.
        unit: What they are measured in.
    """
    size = column_sums(abs(values))
    ratio = np.divide(column_sums(values, 2), size, out=np.zeros_like(size), where=size > 0)
    growth: PerFeature = (ratio - 2 * np.abs(column_sums(values)) / values.shape[0]) / unit
    return growth


def _welch(sets: list[Any], design: TwoSets, null: PerFeature) -> tuple[PerFeature, PerFeature]:
    """Variance of the difference of two sets' means, each by itself, and its degrees of freedom.

    Args:
        sets: (text, feature) of the first set and of the second.
        design: Units of either.
        null: The variance over all divisions, to which each set's part is drawn.
    """
    variances, degrees = [], []
    n_units = (design.n_units_1, design.n_units - design.n_units_1)
    for values, unit, n, n_other in zip(sets, (design.unit_1, design.unit_2), n_units, n_units[::-1], strict=True):
        units, sizes = summed(values, unit), np.bincount(unit).astype(np.float64)
        n_texts = values.shape[0]
        mean = column_sums(values) / n_texts
        square = column_sums(units, 2) - 2 * mean * column_sums(units, 1, sizes) + mean**2 * np.sum(sizes**2)
        # Of the mean, times n - 1: units of a set are a sample of all that there are.
        own = np.maximum(square, 0.0) * n / n_texts**2
        variances.append((own + _PRIOR_UNITS * null * n_other / design.n_units) / (n - 1 + _PRIOR_UNITS))
        degrees.append(n - 1 + _PRIOR_UNITS)
    total = variances[0] + variances[1]
    below = sum(of**2 / n for of, n in zip(variances, degrees, strict=True))
    return total, np.divide(total**2, below, out=np.full(total.size, min(degrees)), where=below > 0)


def student(critical: float, degrees: PerFeature, n_units: int) -> PerFeature:
    """Student's t that is as far out as a deviation over divisions is.

    Args:
        critical: The deviation: of a mean, in units of the standard deviation of all values, those of the effect too.
        degrees: Of freedom.
        n_units: Units of both sets.
    """
    free = n_units - 1 - critical**2
    if free <= 0:
        return np.full(degrees.size, np.inf)
    of_all = max(1, n_units - 2)
    # As one of a normal distribution, and that as one with these degrees of freedom (Wallace 1959).
    normal = np.sqrt(of_all * np.log1p(critical**2 / free)) * (8 * of_all + 1) / (8 * of_all + 3)
    with np.errstate(over="ignore"):
        t: PerFeature = np.sqrt(degrees * np.expm1((normal * (8 * degrees + 3) / (8 * degrees + 1)) ** 2 / degrees))
    return t


def _limits_of_pairs(units: "csc_array", design: Pairs, critical: float) -> tuple[PerFeature, PerFeature]:
    """Limits of the mean difference of pairs: those that, taken off each pair, leave a usual deviation.

    With S_g the sum over a unit of n_g of n pairs, they solve (S - n d)^2 = critical^2 x sum of (S_g - n_g d)^2.
    """
    sizes, n = design.sizes, float(design.sizes.sum())
    total = column_sums(units)
    low, high = np.full(total.size, -np.inf), np.full(total.size, np.inf)
    if not np.isfinite(critical):
        return low, high
    square = n**2 - critical**2 * np.sum(sizes**2)
    linear = n * total - critical**2 * column_sums(units, 1, sizes)
    constant = total**2 - critical**2 * column_sums(units, 2)
    if square > 0:
        root = np.sqrt(np.maximum(0.0, linear**2 - square * constant))
        return (linear - root) / square, (linear + root) / square
    # Of so few pairs any difference is usual, however large; only none may not be, where units are of several sizes.
    found, square = constant > 0, min(square, -1e-9 * n**2)
    root = np.sqrt(np.maximum(0.0, linear**2 - square * constant))
    low[found & (total > 0)] = ((linear - root) / square)[found & (total > 0)]
    high[found & (total < 0)] = ((linear + root) / square)[found & (total < 0)]
    return low, high


def _hedges_g(first: "csc_array", second: "csc_array", mean_1: PerFeature, mean_2: PerFeature) -> PerFeature:
    n_1, n_2 = first.shape[0], second.shape[0]
    n = n_1 + n_2
    if n <= 2:
        return np.full(mean_1.size, np.nan)
    within = column_sums(first, 2) - n_1 * mean_1**2 + column_sums(second, 2) - n_2 * mean_2**2
    spread = np.sqrt(np.maximum(within, 0.0) / (n - 2))
    correction = 1 - 3 / (4 * n - 9)
    g: PerFeature = np.divide(
        (mean_1 - mean_2) * correction,
        spread,
        out=np.full(mean_1.size, np.nan),
        where=spread > 1e-9 * (np.abs(mean_1) + np.abs(mean_2)),
    )
    return g


def _minus(ranks: Any, within: Any, n_other: int) -> Any:
    from scipy import sparse

    return sparse.csc_array(((ranks.data - within.data) / n_other, within.indices, within.indptr), shape=within.shape)
