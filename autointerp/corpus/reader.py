"""Random access to the blocks of saved shards.

Contexts are cut after the pass over the corpus, from blocks that lie anywhere in it. The reader knows which shard file
holds which blocks, loads each file at most once a call, and keeps the last few in memory.
"""

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Int32, Int64

from autointerp.corpus.shard_files import load_shard, place_of
from autointerp.errors import ShardError
from autointerp.records import BlockShard


@dataclass(frozen=True, slots=True)
class Blocks:
    """Blocks in the order they were asked for.

    The counted span leaves out the special tokens around a block and its padding. A special token that is written out
    in the text lies inside of it, as part of the text.

    Attributes:
        token_ids: Token of each position, padded on the right.
        counted: True where a token counts in statistics.
        span_start: First counted position; 0 in a block without any.
        span_end: One past the last counted position; 0 in a block without any.
        document_ids: Document of each block.
        group_ids: Group of each block's document.
    """

    token_ids: Int32[np.ndarray, "block position"]
    counted: Bool[np.ndarray, "block position"]
    span_start: Int32[np.ndarray, " block"]
    span_end: Int32[np.ndarray, " block"]
    document_ids: tuple[str, ...]
    group_ids: tuple[str, ...]

    def take(self, rows: Int64[np.ndarray, " row"]) -> "Blocks":
        """Some of the blocks."""
        arrays = {name: getattr(self, name)[rows] for name in ("token_ids", "counted", "span_start", "span_end")}
        document_ids, group_ids = (
            tuple(ids[row] for row in rows.tolist()) for ids in (self.document_ids, self.group_ids)
        )
        return Blocks(**arrays, document_ids=document_ids, group_ids=group_ids)


class BlockReader(Protocol):
    """What gives blocks by their index."""

    @property
    def n_blocks(self) -> int:
        """Blocks of the corpus."""
        ...

    def read(self, block_indices: Int64[np.ndarray, " block"]) -> Blocks:
        """The blocks at these indices, in this order; an index may occur more than once."""
        ...


class ShardReader:
    """Blocks of a folder of shards, as `save_shard` wrote them (`*.npz`, under any names)."""

    def __init__(self, folder: Path, *, n_cached_shards: int = 32) -> None:
        """Find out which file holds which blocks.

        Args:
            folder: Holds the shards of one corpus, all of them.
            n_cached_shards: Shards kept in memory between calls.

        Raises:
            ShardError: If there is no shard, one is damaged, or one is missing in the middle.
        """
        self._n_cached = n_cached_shards
        self._cache: OrderedDict[int, BlockShard] = OrderedDict()
        places = sorted((*place_of(path), path) for path in folder.glob("*.npz"))
        if not places:
            raise ShardError(f"no shards in {folder}", "run the corpus stage first")
        n_seen = 0
        for first_block, n_blocks, path in places:
            if first_block != n_seen:
                raise ShardError(
                    f"the shard at {path} begins at block {first_block}, where block {n_seen} should come",
                    "remove the folder and run the corpus stage again",
                )
            n_seen += n_blocks
        self._paths = tuple(path for _, _, path in places)
        self._first_blocks = np.array([first_block for first_block, _, _ in places], dtype=np.int64)
        self._n_blocks = n_seen

    @property
    def n_blocks(self) -> int:
        """Blocks of the corpus."""
        return self._n_blocks

    def read(self, block_indices: Int64[np.ndarray, " block"]) -> Blocks:
        """Read blocks, each shard file at most once.

        Args:
            block_indices: In any order, repeats allowed.

        Raises:
            ShardError: If an index is outside the corpus, or a file has gone or is damaged.
        """
        wanted = np.asarray(block_indices, dtype=np.int64)
        if wanted.size and not (wanted.min() >= 0 and wanted.max() < self._n_blocks):
            raise ShardError(
                f"block {wanted.min() if wanted.min() < 0 else wanted.max()} is not among the {self._n_blocks} blocks "
                "of the corpus",
                "the samples are of another corpus; run the collect stage again",
            )
        shard_of = np.searchsorted(self._first_blocks, wanted, side="right") - 1
        # Those in memory first: a pass over more shards than fit would otherwise throw each out just before its turn.
        shards = sorted(np.unique(shard_of).tolist(), key=lambda shard_index: shard_index not in self._cache)
        block_length = self._shard(shards[0] if shards else 0).token_ids.shape[1]
        token_ids = np.zeros((wanted.size, block_length), dtype=np.int32)
        counted = np.zeros((wanted.size, block_length), dtype=np.bool_)
        document_ids, group_ids = (np.empty(wanted.size, dtype=np.object_) for _ in range(2))
        for shard_index in shards:
            shard = self._shard(shard_index)
            here = np.flatnonzero(shard_of == shard_index)
            rows = wanted[here] - shard.first_block
            token_ids[here] = shard.token_ids[rows]
            counted[here] = shard.counted[rows]
            document_ids[here] = np.array(shard.document_ids, dtype=np.object_)[shard.document_index[rows]]
            group_ids[here] = np.array(shard.group_ids, dtype=np.object_)[shard.document_index[rows]]
        return make_blocks(token_ids, counted, tuple(document_ids.tolist()), tuple(group_ids.tolist()))

    def n_tokens(self, block_indices: Int64[np.ndarray, " block"]) -> Int32[np.ndarray, " block"]:
        """Tokens in each of some blocks with its special tokens; positions from there on are padding.

        Raises:
            ShardError: If a file has gone or is damaged.
        """
        shards = (np.searchsorted(self._first_blocks, block_indices, side="right") - 1).tolist()
        found = [self._shard(of) for of in shards]
        rows = zip(found, np.asarray(block_indices).tolist(), strict=True)
        return np.array([shard.n_tokens[block - shard.first_block] for shard, block in rows], dtype=np.int32)

    def _shard(self, shard_index: int) -> BlockShard:
        shard = self._cache.pop(shard_index, None) or load_shard(self._paths[shard_index])
        self._cache[shard_index] = shard
        if len(self._cache) > self._n_cached:
            self._cache.popitem(last=False)
        return shard


def make_blocks(
    token_ids: Int32[np.ndarray, "block position"],
    counted: Bool[np.ndarray, "block position"],
    document_ids: tuple[str, ...],
    group_ids: tuple[str, ...] | None = None,
) -> Blocks:
    """Put blocks together with their counted spans; without `group_ids` each document is a group."""
    n_positions = counted.shape[1]
    any_counted = counted.any(axis=1)
    first = counted.argmax(axis=1)
    last = n_positions - counted[:, ::-1].argmax(axis=1)
    return Blocks(
        token_ids=token_ids,
        counted=counted,
        span_start=np.where(any_counted, first, 0).astype(np.int32),
        span_end=np.where(any_counted, last, 0).astype(np.int32),
        document_ids=document_ids,
        group_ids=document_ids if group_ids is None else group_ids,
    )
