"""The pool: a uniform sample of blocks with every firing of every feature."""

import numpy as np
from jaxtyping import Int64

from autointerp.collect.runs import expand
from autointerp.records import Pool


def join_pools(parts: list[Pool], block_index: Int64[np.ndarray, " pool_block"]) -> Pool:
    """Put pools of different blocks together.

    Args:
        parts: Pools that share no block.
        block_index: The blocks wanted, ascending; those in no part have no firing.

    Returns:
        The firings of the wanted blocks.
    """
    blocks = np.concatenate([part.block_index for part in parts]) if parts else np.zeros(0, np.int64)
    counts = np.concatenate([np.diff(part.offsets) for part in parts]) if parts else np.zeros(0, np.int64)
    order = np.argsort(blocks)
    order = order[np.isin(blocks[order], block_index)]
    _, rows = expand((np.cumsum(counts) - counts)[order], counts[order])
    n_firings = np.zeros(len(block_index), np.int64)
    n_firings[np.searchsorted(block_index, blocks[order])] = counts[order]
    return Pool(
        block_index=block_index,
        offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(n_firings)]),
        feature=_take([part.feature for part in parts], rows, np.int32),
        position=_take([part.position for part in parts], rows, np.int32),
        activation=_take([part.activation for part in parts], rows, np.float32),
    )


def _take(arrays: list[np.ndarray], rows: Int64[np.ndarray, " row"], dtype: type[np.generic]) -> np.ndarray:
    return np.concatenate(arrays)[rows] if arrays else np.zeros(0, dtype)
