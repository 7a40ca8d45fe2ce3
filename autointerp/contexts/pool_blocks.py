"""The pool's blocks with their text and every firing by feature: what windows of the pool are cut from."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32, Int64

from autointerp.corpus.reader import BlockReader, Blocks
from autointerp.records import Pool

# On one line of positions for all blocks, no two blocks come near each other.
APART = np.int64(1 << 32)


@dataclass(frozen=True, eq=False)
class PoolBlocks:
    """The pool, read once for all windows that are cut from it.

    Attributes:
        block_index: The blocks, ascending.
        blocks: Their text, in the same order.
        n_corpus_blocks: Blocks of the whole corpus.
        feature: Feature of each firing, ascending.
        at: `APART` times the row of its block, plus its position in the block; ascending for each feature.
        activation: Above 0.
    """

    block_index: Int64[np.ndarray, " pool_block"]
    blocks: Blocks
    n_corpus_blocks: int
    feature: Int32[np.ndarray, " firing"]
    at: Int64[np.ndarray, " firing"]
    activation: Float32[np.ndarray, " firing"]

    @classmethod
    def read(cls, pool: Pool, reader: BlockReader) -> "PoolBlocks":
        """Read the blocks' text, and sort the firings by feature.

        Args:
            pool: Sampled blocks with every firing.
            reader: The corpus that the pool was sampled from.

        Raises:
            ShardError: If a block is not in the corpus.
        """
        row = np.repeat(np.arange(pool.block_index.size, dtype=np.int64), np.diff(pool.offsets))
        order = np.argsort(pool.feature, kind="stable")
        return cls(
            block_index=pool.block_index,
            blocks=reader.read(pool.block_index),
            n_corpus_blocks=reader.n_blocks,
            feature=pool.feature[order],
            at=(row * APART + pool.position)[order],
            activation=pool.activation[order],
        )

    def of(self, feature_index: int) -> slice:
        """The firings of one feature."""
        # Of the array's own dtype: otherwise each look-up would convert, and so copy, the whole array.
        ends = np.array([feature_index, feature_index + 1], dtype=self.feature.dtype)
        first, last = np.searchsorted(self.feature, ends)
        return slice(int(first), int(last))
