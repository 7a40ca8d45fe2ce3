"""Features close to others: by the direction they write, and by firing on the same tokens."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int32, Int64
from torch import Tensor

from autointerp.collect.runs import expand, rank_in_run, run_starts
from autointerp.records import Pool

# Entries of similarity held at once.
_CHUNK = 8_000_000


@dataclass(frozen=True, slots=True)
class NeighborLists:
    """For each feature its nearest others.

    Attributes:
        feature: Neighbors, nearest first, the lower feature first in a tie; -1 where there are fewer.
        similarity: Cosine, in [-1, 1]; 0 where there is no neighbor.
    """

    feature: Int32[np.ndarray, "feature neighbor"]
    similarity: Float32[np.ndarray, "feature neighbor"]


def decoder_neighbors(decoder: Float[Tensor, "feature d_out"], n_neighbors: int) -> NeighborLists:
    """Features whose decoder directions have the highest cosine.

    Never holds more than a few rows of the width x width similarities.

    Args:
        decoder: Directions; one of length 0 has similarity 0 to all.
        n_neighbors: Per feature.
    """
    n_features = len(decoder)
    n_kept = min(n_neighbors, n_features - 1)
    lists = _no_neighbors(n_features, n_neighbors)
    directions = torch.nn.functional.normalize(decoder.detach().float(), dim=1)
    n_rows = max(1, _CHUNK // n_features)
    for start in range(0, n_features if n_kept > 0 else 0, n_rows):
        similarity = directions[start : start + n_rows] @ directions.T
        own = torch.arange(len(similarity), device=similarity.device)
        similarity[own, own + start] = -torch.inf
        # In feature order first, so that the stable sort leaves ties to the lower feature.
        best = similarity.topk(n_kept, dim=1)
        by_feature = best.indices.argsort(dim=1)
        values, indices = best.values.gather(1, by_feature), best.indices.gather(1, by_feature)
        nearest = values.argsort(dim=1, descending=True, stable=True)
        lists.feature[start : start + n_rows, :n_kept] = indices.gather(1, nearest).int().cpu().numpy()
        lists.similarity[start : start + n_rows, :n_kept] = values.gather(1, nearest).cpu().numpy()
    return lists


def coactivation_neighbors(pool: Pool, n_features: int, n_neighbors: int) -> NeighborLists:
    """Features that fire on the same tokens of the pool.

    The measure is the cosine between two features' firing indicators over the pool's tokens: tokens on which both
    fire, over the geometric mean of the tokens on which each fires. It ignores how strongly they fire.

    Args:
        pool: Every firing on a sample of blocks.
        n_features: Features of the source.
        n_neighbors: Per feature at most; features that never fire together are no neighbors.
    """
    lists = _no_neighbors(n_features, n_neighbors)
    block = np.repeat(np.arange(len(pool.block_index)), np.diff(pool.offsets))
    cell = block * (int(pool.position.max(initial=0)) + 1) + pool.position
    # Firings stand by (block, position), so those of one token are one run.
    starts = run_starts(cell)
    if len(starts) == 0:
        return lists
    lengths = np.diff(starts, append=len(cell))
    token = np.repeat(np.arange(len(starts)), lengths)
    by_feature = np.argsort(pool.feature, kind="stable")
    n_fired = np.bincount(pool.feature, minlength=n_features)
    n_pairs = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths[token[by_feature]])])
    ends = np.cumsum(n_fired)
    feature = 0
    while feature < n_features:
        # As many features at once as stay below the bound on pairs, and one at least.
        first = ends[feature] - n_fired[feature]
        last = int(np.searchsorted(n_pairs[ends], n_pairs[first] + _CHUNK, side="right"))
        last = max(feature + 1, min(last, n_features))
        firings = by_feature[first : ends[last - 1]]
        which, other = expand(starts[token[firings]], lengths[token[firings]])
        pair = (pool.feature[firings[which]].astype(np.int64) - feature) * n_features + pool.feature[other]
        if (last - feature) * n_features <= 2 * _CHUNK:
            # Where most pairs occur, counting is many times faster than sorting.
            counts = np.bincount(pair)
            pair = np.flatnonzero(counts)
            n_both = counts[pair]
        else:
            pair, n_both = np.unique(pair, return_counts=True)
        _fill(lists, pair + feature * n_features, n_both, n_fired)
        feature = last
    return lists


def _fill(
    lists: NeighborLists,
    pair: Int64[np.ndarray, " pair"],
    n_both: Int64[np.ndarray, " pair"],
    n_fired: Int64[np.ndarray, " feature"],
) -> None:
    feature, other = np.divmod(pair, len(n_fired))
    is_other = feature != other
    feature, other, n_both = feature[is_other], other[is_other], n_both[is_other]
    similarity = n_both / np.sqrt(n_fired[feature] * n_fired[other])
    order = np.lexsort((other, -similarity, feature))
    rank = rank_in_run(feature[order])
    order, rank = order[rank < lists.feature.shape[1]], rank[rank < lists.feature.shape[1]]
    lists.feature[feature[order], rank] = other[order]
    lists.similarity[feature[order], rank] = similarity[order]


def _no_neighbors(n_features: int, n_neighbors: int) -> NeighborLists:
    shape = (n_features, n_neighbors)
    return NeighborLists(feature=np.full(shape, -1, np.int32), similarity=np.zeros(shape, np.float32))
