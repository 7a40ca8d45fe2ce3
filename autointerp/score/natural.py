"""Measures on the natural distribution of windows, from windows that were drawn otherwise.

A judged window stands for many: its weight is one over the probability with which it was drawn. Weighted so, firing and
silent windows make up the corpus again, the firing ones the share b of it, and any measure of them is that of the
corpus (Hajek's form of Horvitz and Thompson 1952, each part's weights made to sum to the part's known size).

1. Parts: one of firing windows for each sort of them, and strata of silent ones. Within a part windows have weights.
2. With h the weighted share of firing windows that got a yes, f that of silent ones and p = b h + (1 - b) f, the
   correlation of firing and yes is (h - f) sqrt(b (1 - b) / (p (1 - p))), and F1 is 2 b h / (b + p).
3. The area under the precision-recall curve is average precision: over the judge's levels of probability, from the
   highest down, the recall that each adds, times the precision at it. Windows of one level count together, so the order
   of ties decides nothing; of a judge that gives verdicts only there are two levels, yes and no.
4. The correlation of activation and belief takes each window's sum of activations, and the judge's probability, or 1
   and 0 where it gives verdicts only.
5. Intervals: a Bayesian bootstrap (Rubin 1981). A draw gives each group of documents a weight from Exp(1), which all
   windows of it share, whatever part they are in, adds to each part a yes and a no of the part's mean weight with
   weights from Gamma, and draws b from its posterior. A silent yes ranks as firing windows do, a firing yes above all.
   Without these additions a part in which all agree would have no width.
6. Of rare false alarms few questions find none. With a third of a silent yes, shared among the parts by their size, the
   draws are cautious, with a quarter about right on average: the value is the median of the latter, the interval spans
   both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float64, Int64

from autointerp.score.metrics import Estimate, Rate

_NEUTRAL = 1 / 3
# Of a yes in all the silent text, where it is rare; `benchmarks/natural.md` has the bias that it leaves.
_RARE = 0.25


@dataclass(frozen=True, slots=True)
class Windows:
    """Judged windows.

    Attributes:
        is_firing: Whether the feature fires.
        verdict: Whether the judge said yes.
        belief: The judge's probability; 1 and 0 by verdict where it gives none.
        activation: Sum of the feature's activations; 0 where silent.
        part: Number of the part, from 0; a part is all firing or all silent.
        weight: Within its part, above 0.
        group: Number of the group of documents, from 0.
        share: Of each part, its share of the firing windows, or of the silent ones, of the corpus.
    """

    is_firing: Bool[np.ndarray, " window"]
    verdict: Bool[np.ndarray, " window"]
    belief: Float64[np.ndarray, " window"]
    activation: Float64[np.ndarray, " window"]
    part: Int64[np.ndarray, " window"]
    weight: Float64[np.ndarray, " window"]
    group: Int64[np.ndarray, " window"]
    share: Float64[np.ndarray, " part"]


@dataclass(frozen=True, slots=True)
class Natural:
    """What a label is worth among windows as they come.

    Attributes:
        correlation: Of firing and yes, in [-1, 1]; 0 where the judge always says the same.
        f1: Of firing and yes.
        auprc: Average precision of the judge's probability.
        activation_correlation: Of activation and belief, in [-1, 1].
        precision: Share of windows with a yes in which the feature fires; 0 where there is no yes.
        recall: Share of firing windows with a yes.
        false_alarm: Share of silent windows with a yes.
    """

    correlation: Rate
    f1: Rate
    auprc: Rate
    activation_correlation: Rate
    precision: Rate
    recall: Rate
    false_alarm: Rate


def tell(windows: Windows, base_rate: Rate, rng: np.random.Generator) -> tuple[Natural, Mapping[str, Estimate]]:
    """Measures as they are of the weighted windows, and as they are told, with intervals; see step 6.

    Args:
        windows: At least one firing and one silent.
        base_rate: Share of windows in which the feature fires.
        rng: Source of the draws.
    """
    likely, cautious = (estimate(windows, base_rate, rng, pseudo_yes) for pseudo_yes in (_RARE, _NEUTRAL))
    told = {}
    for measure in fields(Natural):
        one, other = getattr(likely, measure.name), getattr(cautious, measure.name).estimate
        # A label that never holds where the feature fires has 0, whatever else may be possible.
        one = (one.at_median if one.value > 0 else one).estimate
        told[measure.name] = one.spanning(other)
    return likely, told


def estimate(windows: Windows, base_rate: Rate, rng: np.random.Generator, pseudo_yes: float) -> Natural:
    """Measures with their draws; see the module's steps.

    Args:
        windows: At least one firing and one silent.
        base_rate: Share of windows in which the feature fires.
        rng: Source of the draws.
        pseudo_yes: Added to the silent windows, to each part by its share.

    Returns:
        Each measure as it is of the weighted windows, with draws.
    """
    sums = _Sums(windows)
    n_draws = base_rate.draws.size
    seen = sums.measures(np.ones((1, sums.n_groups)), np.array([base_rate.value]), None)[:, 0]
    groups = rng.standard_exponential((n_draws, sums.n_groups))
    least = np.where(sums.is_firing, _NEUTRAL, pseudo_yes * windows.share)
    added = rng.standard_gamma(least, (n_draws, least.size)), rng.standard_gamma(_NEUTRAL, (n_draws, least.size))
    drawn = sums.measures(groups, base_rate.draws, added)
    return Natural(*(Rate(float(value), draws) for value, draws in zip(seen, drawn, strict=True)))


_Added = tuple[Float64[np.ndarray, "draw part"], Float64[np.ndarray, "draw part"]]


class _Sums:
    """Sums of weights by part and group of documents, from which each draw's measures are put together.

    The columns: weight at each of the judge's levels on firing windows, from the highest down, and below them all;
    weight with a yes; and weighted belief, its square, activation, its square, and their product.
    """

    def __init__(self, windows: Windows) -> None:
        of = windows
        levels = -np.unique(-of.belief[of.is_firing])
        level = np.searchsorted(-levels, -of.belief)
        x, a = of.belief, of.activation
        columns = np.column_stack([np.eye(levels.size + 1)[level], of.verdict, x, x * x, a, a * a, a * x])
        weighted = columns * of.weight[:, None]
        self.n_groups = int(of.group.max()) + 1
        self.is_firing = np.array([of.is_firing[of.part == part][0] for part in range(of.share.size)], dtype=np.bool_)
        self._share = of.share
        self._n_levels = levels.size + 1
        self._groups: list[Int64[np.ndarray, " group"]] = []
        self._by_group: list[Float64[np.ndarray, "group column"]] = []
        for part in range(of.share.size):
            inside = of.part == part
            groups, place = np.unique(of.group[inside], return_inverse=True)
            sums = np.zeros((groups.size, columns.shape[1]))
            np.add.at(sums, place, weighted[inside])
            self._groups.append(groups)
            self._by_group.append(sums)

    def measures(
        self, groups: Float64[np.ndarray, "draw group"], base: Float64[np.ndarray, " draw"], added: _Added | None
    ) -> Float64[np.ndarray, "measure draw"]:
        """The measures of each draw, in the order of `Natural`.

        Args:
            groups: Weight of each group of documents.
            base: Share of windows in which the feature fires.
            added: Weights of each part's added yes and no; None for none.
        """
        firing = self._together(groups, added, None)
        silent = self._together(groups, added, firing)
        n, b, rest = self._n_levels, base, 1 - base
        hit, alarm = firing[:, n], silent[:, n]
        yes = b * hit + rest * alarm
        above, silent_above = np.cumsum(firing[:, :n], axis=1), np.cumsum(silent[:, :n], axis=1)
        true = b[:, None] * above
        precision = _ratio(true, true + rest[:, None] * silent_above)
        belief, belief_2, activation, activation_2, product = (
            b[:, None] * firing[:, n + 1 :] + rest[:, None] * silent[:, n + 1 :]
        ).T
        spread = (belief_2 - belief**2) * (activation_2 - activation**2)
        return np.array(
            [
                _ratio((hit - alarm) * np.sqrt(b * rest), np.sqrt(np.maximum(0.0, yes * (1 - yes)))),
                _ratio(2 * b * hit, b + yes),
                (firing[:, :n] * precision).sum(axis=1),
                _ratio(product - belief * activation, np.sqrt(np.maximum(0.0, spread))),
                _ratio(b * hit, yes),
                hit,
                alarm,
            ]
        )

    def _together(
        self,
        groups: Float64[np.ndarray, "draw group"],
        added: _Added | None,
        firing: Float64[np.ndarray, "draw column"] | None,
    ) -> Float64[np.ndarray, "draw column"]:
        """The columns of all firing windows, or given those of all silent ones, their weights summing to 1."""
        n = self._n_levels
        together = np.zeros((len(groups), n + 6))
        for part in np.flatnonzero(self.is_firing == (firing is None)).tolist():
            by_group = self._by_group[part]
            columns = groups[:, self._groups[part]] @ by_group
            if added is not None:
                mean = by_group.sum(axis=0) / len(by_group)
                unit = mean[:n].sum()
                yes, no = (one[:, part, None] * unit for one in added)
                columns += yes * _like_yes(firing, n, mean / unit) + no * _like_no(n, mean / unit)
            together += self._share[part] * columns / columns[:, :n].sum(axis=1, keepdims=True)
        return together


def _like_yes(
    firing: Float64[np.ndarray, "draw column"] | None, n: int, mean: Float64[np.ndarray, " column"]
) -> Float64[np.ndarray, "draw column"]:
    """The columns of an added yes: ranked above all where the feature fires, else as firing windows are."""
    if firing is None:
        activation, activation_2 = mean[n + 3], mean[n + 4]
        return np.array([[1.0, *np.zeros(n - 1), 1.0, 1.0, 1.0, activation, activation_2, activation]])
    columns = firing.copy()
    columns[:, n] = 1.0
    columns[:, n + 3 :] = 0.0
    return columns


def _like_no(n: int, mean: Float64[np.ndarray, " column"]) -> Float64[np.ndarray, " column"]:
    """The columns of an added no: ranked below all."""
    return np.array([*np.zeros(n - 1), 1.0, 0.0, 0.0, 0.0, mean[n + 3], mean[n + 4], 0.0])


def _ratio(above: Float64[np.ndarray, "*shape"], below: Float64[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
    """The quotient, 0 where there is nothing to divide by."""
    quotient: Float64[np.ndarray, "*shape"] = np.zeros_like(above)
    np.divide(above, below, out=quotient, where=below > 1e-12)
    return quotient
