"""How well simulated activations go with true ones, over tokens that are weighed by their contexts.

1. Every context comes to six means over its tokens: 1, x, y, x^2, y^2 and x y, x being simulated and y true.
2. Firing contexts weigh one half together, and silent ones the other; within a half each context weighs the same.
3. Pearson's correlation is computed from the weighed means. A simulation that is the same at every token explains
   nothing of what is true: its correlation is 0.
4. The interval is by Bayesian bootstrap (Rubin 1981): every group of documents gets a weight from Exp(1), and each half
   its share again. Where all contexts agree that has no width, so a draw is mixed with what a third of a group that
   agrees and of one without any relation would add, as in `metrics.recovered`: (n r + g) / (n + g + g'), n being the
   groups with firing contexts, g and g' from Gamma(1/3). Few groups tell little of how much they differ: the limits are
   as much further away as Student's t at n - 1 degrees of freedom is larger than the normal's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.special import ndtri, stdtrit
from scipy.stats import rankdata

_LEAST_VARIANCE = 1e-12
_TAILS = (0.025, 0.975)
_NEUTRAL = 1 / 3


@dataclass(frozen=True)
class Simulated:
    """Tokens of contexts, one context after the other, with simulated and true activations.

    Attributes:
        simulated: At each token.
        true: At each token.
        context: Number of each token's context, from 0 without a gap.
        fires: Whether each context fires; some do, and some don't.
        cluster: Number of each context's group of documents.
    """

    simulated: Float64[np.ndarray, " token"]
    true: Float64[np.ndarray, " token"]
    context: Int64[np.ndarray, " token"]
    fires: Bool[np.ndarray, " context"]
    cluster: Int64[np.ndarray, " context"]

    @classmethod
    def join(
        cls,
        simulated: Sequence[Sequence[float]],
        true: Sequence[Sequence[float]],
        fires: Bool[np.ndarray, " context"],
        cluster: Int64[np.ndarray, " context"],
    ) -> "Simulated":
        """Put the tokens of contexts after each other."""
        lengths = [len(of_context) for of_context in true]
        return cls(
            np.concatenate([np.asarray(of_context, dtype=np.float64) for of_context in simulated]),
            np.concatenate([np.asarray(of_context, dtype=np.float64) for of_context in true]),
            np.repeat(np.arange(len(lengths)), lengths),
            fires,
            cluster,
        )

    @cached_property
    def moments(self) -> Float64[np.ndarray, "context moment"]:
        """Of each context: the means of step 1, without the first."""
        x, y = self.simulated, self.true
        lengths = np.bincount(self.context)
        sums = [np.bincount(self.context, weights=values) for values in (x, y, x * x, y * y, x * y)]
        means: Float64[np.ndarray, "context moment"] = np.stack(sums, axis=1) / lengths[:, None]
        return means

    @property
    def weights(self) -> Float64[np.ndarray, " context"]:
        """Of each context; together 1."""
        n_firing = int(self.fires.sum())
        weights: Float64[np.ndarray, " context"] = np.where(
            self.fires, 0.5 / n_firing, 0.5 / (self.fires.size - n_firing)
        )
        return weights

    def ranked(self) -> "Simulated":
        """The same with ranks among all tokens in place of activations, ties sharing their mean rank."""
        return Simulated(rankdata(self.simulated), rankdata(self.true), self.context, self.fires, self.cluster)

    def correlation(self) -> float:
        """Pearson's, in [-1, 1]; see steps 2 and 3."""
        return float(_correlation(self.weights @ self.moments))

    def explained_variance(self) -> float:
        """Share of the true variance that the simulation leaves no error of, at most 1; below 0 where it adds some."""
        _, mean, xx, yy, xy = self.weights @ self.moments
        return float(1 - max(0.0, yy - 2 * xy + xx) / (yy - mean**2))

    def correlation_within_firing(self) -> float:
        """Pearson's over the tokens of firing contexts alone: where in these does it fire?"""
        return float(_correlation(self.moments[self.fires].mean(axis=0)))

    def interval(self, n_draws: int, rng: np.random.Generator) -> tuple[float, float]:
        """The central 95 % of what the correlation may be; see step 4."""
        n_clusters = int(self.cluster.max()) + 1
        drawn = rng.standard_exponential((n_draws, n_clusters))
        moments = self.moments
        halves = []
        for of_class in (self.fires, ~self.fires):
            sums = [
                np.bincount(self.cluster[of_class], weights=values, minlength=n_clusters)
                for values in (np.ones(int(of_class.sum())), *moments[of_class].T)
            ]
            count, *totals = np.stack(sums) @ drawn.T
            halves.append(np.stack(totals, axis=1) / count[:, None])
        correlation = _correlation((halves[0] + halves[1]) / 2)
        n_firing = int(np.unique(self.cluster[self.fires]).size)
        agrees, unrelated = rng.standard_gamma(_NEUTRAL, (2, n_draws))
        mixed = (n_firing * correlation + agrees) / (n_firing + agrees + unrelated)
        value, stretch = self.correlation(), float(stdtrit(max(1, n_firing - 1), _TAILS[1]) / ndtri(_TAILS[1]))
        low, high = value + stretch * (np.quantile(mixed, _TAILS) - value)
        return max(-1.0, min(value, low)), min(1.0, max(value, high))


def _correlation(moments: Float64[np.ndarray, "*draw moment"]) -> Float64[np.ndarray, "*draw"]:
    x, y, xx, yy, xy = np.moveaxis(moments, -1, 0)
    variances = np.maximum(xx - x * x, 0), np.maximum(yy - y * y, 0)
    spread = np.sqrt(variances[0] * variances[1])
    correlation: Float64[np.ndarray, "*draw"] = np.zeros_like(spread)
    np.divide(xy - x * y, spread, out=correlation, where=np.minimum(*variances) > _LEAST_VARIANCE)
    correlation = np.clip(correlation, -1.0, 1.0)
    return correlation
