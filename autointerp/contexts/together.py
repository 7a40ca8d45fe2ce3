"""Which features fire on the same tokens as a feature, counted on the pool's blocks.

The pool is a sample of the corpus of which every firing is kept, so of any two features all is counted that can be:
tokens on which both fire, and those on which each does. It is what happens together, and not what causes what.
"""

import numpy as np
from jaxtyping import Int32, Int64

from autointerp.collect.runs import expand
from autointerp.records import Pool
from autointerp.records.firing import FiringTogether

_APART = np.int64(1 << 32)
_LEAST_TOGETHER = 3
"""Tokens on which both fire: fewer may be chance, whatever the shares."""


class Together:
    """Looks up what fires on a feature's tokens.

    Args:
        pool: Sampled blocks with every firing.
        n_features: Features of the source.
    """

    def __init__(self, pool: Pool, n_features: int) -> None:
        row = np.repeat(np.arange(pool.block_index.size, dtype=np.int64), np.diff(pool.offsets))
        at = row * _APART + pool.position
        by_token, by_feature = np.argsort(at, kind="stable"), np.argsort(pool.feature, kind="stable")
        self._at: Int64[np.ndarray, " firing"] = at[by_token]
        self._feature: Int32[np.ndarray, " firing"] = pool.feature[by_token]
        self._of_feature: Int64[np.ndarray, " firing"] = at[by_feature]
        self._n_fired = np.bincount(pool.feature, minlength=n_features)
        self._ends: Int64[np.ndarray, " feature_and_one"] = np.concatenate([[0], np.cumsum(self._n_fired)])

    def of(self, feature_index: int, n: int) -> tuple[FiringTogether, ...]:
        """The features that overlap most with one, those with the largest Jaccard index first; ties by index.

        Args:
            feature_index: The feature.
            n: At most so many.
        """
        cells = self._of_feature[self._ends[feature_index] : self._ends[feature_index + 1]]
        starts = np.searchsorted(self._at, cells)
        _, rows = expand(starts, np.searchsorted(self._at, cells, side="right") - starts)
        n_both = np.bincount(self._feature[rows], minlength=len(self._n_fired))
        n_both[feature_index] = 0
        some = np.flatnonzero(n_both >= _LEAST_TOGETHER)
        jaccard = n_both[some] / (len(cells) + self._n_fired[some] - n_both[some])
        return tuple(
            FiringTogether(index, int(n_both[index]), len(cells), int(self._n_fired[index]))
            for index in some[np.argsort(-jaccard, kind="stable")][:n].tolist()
        )
