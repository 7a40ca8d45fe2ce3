"""What trials are worth that come from few documents: fewer independent ones than there are.

Contexts of one document resemble each other, so a judge is right or wrong about several at once.

1. The intraclass correlation of the trials' values is estimated by analysis of variance over clusters (Donner 1986).
2. Few clusters of several trials tell little of it, so the estimate is drawn to a prior: `_PRIOR_CORRELATION`, about
   what verdicts on firing contexts of one document show, with the weight of `_PRIOR_CLUSTERS` clusters. Where all
   values are the same, which tells nothing, the prior alone counts.
3. The design effect, the factor on the variance of a mean, is 1 + correlation x (sum of squared sizes / n - 1)
   (Kish 1965), so n trials are worth n over that.
4. The variance between clusters is known from as many of them as there are, so the count falls again by the square of
   t at n over t at the clusters (Korn and Graubard 1998), both with the degrees of freedom that the prior is worth.
5. A cluster may hold trials of both classes: one text marked truly and another of its document falsely. The rates of
   the two classes then go up and down together, by the correlation of being right within a cluster, estimated by
   moments and drawn to a prior in the same way. Where a judge's yes runs through a document they go in opposite
   directions, which would make intervals narrower; that is not counted on.

Where each trial has a cluster of its own, n trials are worth n.
"""

from collections.abc import Hashable, Iterable

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.special import stdtrit

_PRIOR_CORRELATION = 0.5
_PRIOR_BETWEEN_CLASSES = 0.25
_PRIOR_CLUSTERS = 3
_PRIOR_DEGREES = 5


def numbered(names: Iterable[Hashable]) -> Int64[np.ndarray, " trial"]:
    """Clusters by number, from 0 in the order in which they first occur."""
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int64)


def effective_share(values: Float64[np.ndarray, " trial"], cluster: Int64[np.ndarray, " trial"]) -> float:
    """How many independent trials one of these is worth, in (0, 1]; 1 where no two are of one cluster.

    Args:
        values: What each trial came to: 0 or 1, or any number in between.
        cluster: Number of each trial's cluster, 0 or higher.
    """
    n, sizes = values.size, np.bincount(cluster)
    sizes = sizes[sizes > 0]
    if sizes.size == n:
        return 1.0
    effect = 1 + _correlation(values, cluster) * (float(np.sum(sizes**2)) / n - 1)
    t_trials, t_clusters = (stdtrit(_PRIOR_DEGREES + count - 1, 0.975) for count in (n, sizes.size))
    return float((t_trials / t_clusters) ** 2 / effect)


def _correlation(values: Float64[np.ndarray, " trial"], cluster: Int64[np.ndarray, " trial"]) -> float:
    """The intraclass correlation, in [0, 1], drawn to the prior."""
    n, all_sizes = values.size, np.bincount(cluster)
    sizes = all_sizes[all_sizes > 0]
    n_several = int(np.sum(sizes > 1))
    if n_several < 2:
        return _PRIOR_CORRELATION
    means = np.bincount(cluster, weights=values)[all_sizes > 0] / sizes
    total, between = float(np.sum((values - values.mean()) ** 2)), float(np.sum(sizes * (means - values.mean()) ** 2))
    mean_between, mean_within = between / (sizes.size - 1), max(0.0, total - between) / (n - sizes.size)
    usual_size = (n - float(np.sum(sizes**2)) / n) / (sizes.size - 1)
    spread = mean_between + (usual_size - 1) * mean_within
    if total <= 1e-12 or spread <= 0:
        return _PRIOR_CORRELATION
    seen, weight = (mean_between - mean_within) / spread, n_several - 1
    drawn = (weight * seen + _PRIOR_CLUSTERS * _PRIOR_CORRELATION) / (weight + _PRIOR_CLUSTERS)
    return min(1.0, max(0.0, drawn))


def rates_correlation(
    right: Float64[np.ndarray, " trial"],
    truth: Bool[np.ndarray, " trial"],
    cluster: Int64[np.ndarray, " trial"],
    sizes: tuple[float, float],
) -> float:
    """The correlation of the two classes' mean values that shared clusters make, in [0, 1]; 0 where none is shared.

    Args:
        right: What each trial came to, the larger the more it speaks for the label.
        truth: Class of each trial; there are some of both.
        cluster: Number of each trial's cluster, 0 or higher.
        sizes: Effective number of the trials of true answer yes, and of the others.
    """
    n_clusters = int(cluster.max()) + 1
    of_class = [(right[of], np.bincount(cluster[of], minlength=n_clusters), cluster[of]) for of in (truth, ~truth)]
    pairs = of_class[0][1] * of_class[1][1]
    n_pairs, n_shared = int(pairs.sum()), int(np.sum(pairs > 0))
    if n_shared == 0:
        return 0.0
    seen, spread = _PRIOR_BETWEEN_CLASSES, float(np.prod([values.std() for values, _, _ in of_class]))
    if spread > 1e-9:
        sums = [np.bincount(of, weights=values - values.mean(), minlength=n_clusters) for values, _, of in of_class]
        seen = float(np.dot(*sums)) / (n_pairs * spread)
    drawn = (n_shared * seen + _PRIOR_CLUSTERS * _PRIOR_BETWEEN_CLASSES) / (n_shared + _PRIOR_CLUSTERS)
    share = n_pairs / (truth.sum() * (~truth).sum())
    return float(min(1.0, max(0.0, drawn) * share * np.sqrt(sizes[0] * sizes[1])))
