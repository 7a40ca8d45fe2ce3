"""Which features tell two sets of texts apart: tests and intervals that hold over all features together.

1. **Effect.** A feature's effect is the AUROC: the chance that a text of the first set has it stronger than one of the
   second, ties counting half. It is a difference of mean ranks (`ranks`), on which no single text weighs much.
2. **Left out.** A feature that fires in so few texts that no division of them could be told from chance is left out,
   by how many they are and not by which set they are of (Tarone 1990): p-values below .05 / K have to be possible, with
   the smallest K for which no more than K features are left.
3. **Test.** The difference of mean ranks, in units of its standard deviation over all divisions of the texts into sets
   of these sizes (`design`). Where sizes are unequal that distribution is skewed, the more the rarer the
   feature. Wilson and Hilferty's (1931) cube root, of a gamma distribution as skewed, makes it nearly normal, so that
   rare features don't set the bar for all others.
4. **Correction.** The largest of these over all features, for each of some divisions: a feature is found where no more
   than 5 % of divisions have one as large *anywhere* (single-step max-T, Westfall and Young 1993). Where both sets are
   of the same texts, the chance that anything is found is at most 5 %, exactly: for any number of features, however
   they are distributed and depend on each other, and any number of divisions (Phipson and Smyth 2010).
5. The same largest deviation makes the intervals of effects (`effects`), which leave out no effect where, and
   only where, a feature is found.

What is exact is about sets of *the same texts*. A small set that scatters far more than a large one about the same
middle is not the same, and a feature may be found for that.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from autointerp.library.contrast.design import Design, Pairs, TwoSets, summed
from autointerp.library.contrast.ranks import centred_ranks, column_chunks, over_cores

if TYPE_CHECKING:
    from scipy.sparse import csc_array

LEVEL = 0.05
"""Chance that anything is found where nothing is there."""
ROUNDING = 1e-3
"""How far a deviation may be off, which is added up in single precision."""
_DIVISIONS_AT_ONCE = 64
_VALUES_AT_ONCE = 1 << 18
_SUMMED_AT_ONCE = 1 << 20
_NO_SKEW = 1e-6

PerFeature = Float64[np.ndarray, " feature"]


@dataclass(frozen=True, eq=False)
class Deviations:
    """The test of each feature that was compared.

    Attributes:
        feature: Column of each.
        z: Its deviation, above 0 where the first set has it stronger; nearly standard normal where there is no effect.
        p_value: Corrected for all that were compared, in (0, 1].
        null_error: Standard deviation of its AUROC over all divisions.
        skewness: Of that distribution.
        critical: The deviation beyond which a feature is found; infinite where none can be.
        n_left_out: Features that fire in too few texts.
        n_tried: Divisions that were tried, the one that is among them.
    """

    feature: Int64[np.ndarray, " feature"]
    z: PerFeature
    p_value: PerFeature
    null_error: PerFeature
    skewness: PerFeature
    critical: float
    n_left_out: int
    n_tried: int

    @property
    def is_found(self) -> Bool[np.ndarray, " feature"]:
        """Whether each feature tells the sets apart."""
        return self.p_value <= LEVEL


class RankedValues:
    """Values of features in the texts of two sets, and their ranks.

    Attributes:
        values: (text, feature), finite, the first set's texts before the second's; of pairs in the same order.
        ranks: Centred, as sparse as the values.
        n_1: Texts of the first set.
        n_2: Texts of the second.
        design: How the sets stand to each other.

    Args:
        values: (text, feature), in double or single precision.
        n_1: Texts of the first set.
        design: How the sets stand to each other.
    """

    def __init__(self, values: "csc_array", n_1: int, design: Design) -> None:
        self.design = design
        self.n_1 = n_1
        self.n_2: int = values.shape[0] - n_1
        self.values: Any = values.astype(np.float32, copy=False)
        self.values.sum_duplicates()
        self.values.eliminate_zeros()
        self.ranks: Any = centred_ranks(self.values)


def compare_features(ranked: RankedValues, n_tried: int, seed: int) -> Deviations:
    """Test all features that could be found at all, against the largest deviation of any of them.

    Args:
        ranked: Values of all features.
        n_tried: Divisions, that which is among them; fewer where there are no more.
        seed: Of their draw.
    """
    design, n_features = ranked.design, ranked.values.shape[1]
    units = unit_sums(ranked.ranks, design)
    mean = _usual(ranked.ranks, design)
    variance, skewness = null_moments(units, mean, design)
    could_be = _could_be_found(design.least_p_values(np.diff(units.indptr)))
    compared = np.flatnonzero(could_be & (variance > 0))
    n_tried = min(n_tried, design.n_divisions)
    units, scale, skewness = units[:, compared], 1 / np.sqrt(variance[compared]), skewness[compared]
    units = _with_data(units, (np.repeat(scale, np.diff(units.indptr)) * units.data).astype(np.float32))
    z, largest = _deviations(units, mean[compared] * scale, skewness, design, n_tried, seed)
    ordered = np.sort(largest)
    n_as_large = n_tried - np.searchsorted(ordered, np.abs(z) - ROUNDING, side="left")
    n_beyond = int(LEVEL * n_tried + 1e-9) if design.least_p <= LEVEL else 0
    return Deviations(
        feature=compared,
        z=z,
        p_value=n_as_large / n_tried,
        null_error=1 / (scale * ranked.n_1 * _factor(ranked)),
        skewness=skewness,
        critical=float(ordered[-n_beyond - 1]) + ROUNDING if n_beyond else np.inf,
        n_left_out=n_features - compared.size,
        n_tried=n_tried,
    )


def unit_sums(values: "csc_array", design: Design) -> "csc_array":
    """Values added up by unit, (unit, feature); of pairs the first's less the second's."""
    if isinstance(design, TwoSets):
        return summed(values, design.unit)
    assert isinstance(design, Pairs)
    n = values.shape[0] // 2
    units: Any = summed((values[:n] - values[n:]).tocsc(), design.unit)
    units.eliminate_zeros()
    return units


def null_moments(units: "csc_array", mean: PerFeature, design: Design) -> tuple[PerFeature, PerFeature]:
    """Variance and skewness of the first set's sum of centred values, over all divisions.

    Args:
        units: From `unit_sums`.
        mean: Mean value of a text; 0 of pairs.
        design: How the sets stand to each other.
    """
    sizes = design.sizes
    if isinstance(design, Pairs):
        return column_sums(units, 2), np.zeros(mean.size)
    assert isinstance(design, TwoSets)
    n, n_1 = design.n_units, design.n_units_1
    n_2 = n - n_1
    second, third = column_sums(units, 2), column_sums(units, 3)
    if np.ptp(sizes) == 0:
        by_size = [column_sums(units), second]
        by_size = [by_size[0] * sizes[0], by_size[1] * sizes[0], by_size[0] * sizes[0] ** 2]
    else:
        by_size = [column_sums(units, 1, sizes), column_sums(units, 2, sizes), column_sums(units, 1, sizes**2)]
    square = second - 2 * mean * by_size[0] + mean**2 * np.sum(sizes**2)
    cube = third - 3 * mean * by_size[1] + 3 * mean**2 * by_size[2] - mean**3 * np.sum(sizes**3)
    # A variance far below that of the values' own size is rounding of a feature that is the same in all units.
    square[square <= 1e-9 * second] = 0.0
    variance = square * n_1 * n_2 / (n * (n - 1))
    cube *= n_1 * n_2 * (n_2 - n_1) / (n * (n - 1) * max(1, n - 2))
    return variance, np.divide(cube, variance**1.5, out=np.zeros(mean.size), where=variance > 0)


def column_sums(values: "csc_array", power: int = 1, weight: Float64[np.ndarray, " row"] | None = None) -> PerFeature:
    """Sums over the rows of each column, of a power, each row times a weight."""
    sums = np.zeros(values.shape[1])

    def add(columns: slice) -> None:
        at = slice(int(values.indptr[columns.start]), int(values.indptr[columns.stop]))
        data = values.data[at].astype(np.float64)
        terms = data if weight is None else weight[values.indices[at]]
        for _ in range(power - (weight is None)):
            terms = terms * data
        ends = values.indptr[columns.start : columns.stop + 1]
        filled = np.flatnonzero(np.diff(ends))
        if filled.size:
            sums[columns.start + filled] = np.add.reduceat(terms, ends[filled] - at.start)

    over_cores(add, column_chunks(values.indptr, _SUMMED_AT_ONCE))
    return sums


def unskewed(z: PerFeature | Float32[np.ndarray, "feature division"], skewness: PerFeature) -> Any:
    """A deviation of a skewed distribution as one of the standard normal (Wilson and Hilferty 1931)."""
    g = skewness.astype(z.dtype)
    if z.ndim == 2:
        g = g[:, None]
    is_skewed = np.abs(g) > _NO_SKEW
    some = np.where(is_skewed, g, np.ones_like(g))
    return np.where(is_skewed, 6 / some * (np.cbrt(np.maximum(1 + some * z / 2, 0)) - 1) + some / 6, z)


def skewed(z: float, skewness: PerFeature) -> PerFeature:
    """The deviation that `unskewed` makes of one; the end of the distribution where it has none so far out."""
    is_skewed = np.abs(skewness) > _NO_SKEW
    g = np.where(is_skewed, skewness, 1.0)
    of_z: PerFeature = np.where(is_skewed, 2 / g * (np.maximum(0.0, 1 + g * (z - g / 6) / 6) ** 3 - 1), z)
    return of_z


def _usual(ranks: "csc_array", design: Design) -> PerFeature:
    """Mean of each column over all texts of both sets; 0 of pairs, whose two are held against each other."""
    n_texts, n_features = ranks.shape
    return np.zeros(n_features) if isinstance(design, Pairs) else column_sums(ranks) / float(n_texts)


def _factor(ranked: RankedValues) -> int:
    """What turns the mean of the first set's texts, or of the pairs, into an AUROC less 1/2."""
    return ranked.n_1 + ranked.n_2 if isinstance(ranked.design, Pairs) else ranked.n_2


def _could_be_found(possible: PerFeature) -> Bool[np.ndarray, " feature"]:
    """Tarone's (1990) choice of features, by the smallest p-value that each could have.

    Those whose is the smallest of all are in any case among them: the tests may depend on each other, and then fewer
    count.
    """
    if possible.size == 0:
        return np.zeros(0, dtype=np.bool_)
    numbers = np.arange(1, possible.size + 1)
    n_left = np.searchsorted(np.sort(possible), LEVEL / numbers, side="right")
    number = numbers[np.argmax(n_left <= numbers)]
    could_be: Bool[np.ndarray, " feature"] = possible <= max(LEVEL / number, float(possible.min()) * (1 + 1e-9))
    return could_be


def _deviations(
    units: "csc_array", mean: PerFeature, skewness: PerFeature, design: Design, n_tried: int, seed: int
) -> tuple[PerFeature, Float64[np.ndarray, " division"]]:
    """The deviation of each feature as the sets are, and the largest of any feature in each division.

    Args:
        units: Sums by unit, in units of their standard deviation over all divisions.
        mean: Mean value of a text, likewise.
        skewness: Of that distribution.
        design: How the sets stand to each other.
        n_tried: Divisions.
        seed: Of their draw.
    """
    from scipy import sparse

    is_skewed = bool(np.any(np.abs(skewness) > _NO_SKEW))
    # Weights add up to 0 over units, so what is taken off each text counts only where units are of several sizes.
    is_shifted = isinstance(design, TwoSets) and np.ptp(design.sizes) > 0
    z = np.zeros(units.shape[1])
    parts = []
    for columns in column_chunks(units.indptr, _VALUES_AT_ONCE):
        at = slice(int(units.indptr[columns.start]), int(units.indptr[columns.stop]))
        ends = units.indptr[columns.start : columns.stop + 1] - at.start
        shape = (columns.stop - columns.start, units.shape[0])
        parts.append((columns, sparse.csr_array((units.data[at], units.indices[at], ends), shape=shape)))

    def largest_of(part: tuple[slice, Any]) -> Float32[np.ndarray, " division"]:
        columns, by_feature = part
        found = by_feature @ weights
        if is_shifted:
            found -= np.outer(mean[columns], design.sizes @ weights).astype(np.float32)
        if is_skewed:
            found = unskewed(found, skewness[columns])
        if divisions.start == 0:
            z[columns] = found[:, 0]
        largest: Float32[np.ndarray, " division"] = np.abs(found, out=found).max(axis=0)
        return largest

    largest = np.zeros(n_tried)
    for start in range(0, n_tried, _DIVISIONS_AT_ONCE):
        divisions = range(start, min(n_tried, start + _DIVISIONS_AT_ONCE))
        weights = design.weights(divisions, n_tried, seed)
        if parts:
            largest[start : divisions.stop] = np.max(over_cores(largest_of, parts), axis=0)
    return z, largest


def _with_data(values: "csc_array", data: Any) -> Any:
    from scipy import sparse

    return sparse.csc_array((data, values.indices, values.indptr), shape=values.shape)
