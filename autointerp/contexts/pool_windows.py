"""Which windows of the pool's blocks serve as tiles: the corpus as it comes, or where features peak.

Windows around peaks are drawn so that they look like those of any feature:

1. Every feature that fires in as many blocks as one needs to get contexts has a first, a second and further peaks, one
   a block, in the order of a keyed hash. All first ones come before all second ones, so a frequent feature has no more
   of them than a rare one.
2. Each gets a window whose place is drawn as in the contexts that grade (`place`).
3. In that order, those that meet none before are taken, until there are enough.
"""

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Int32, Int64

from autointerp.collect.runs import rank_in_run, run_starts
from autointerp.contexts.place import drawn_starts
from autointerp.corpus.reader import Blocks
from autointerp.identity import hash_key, keyed_hash
from autointerp.records import Pool

_CANDIDATES_PER_WINDOW = 4


@dataclass(frozen=True, slots=True)
class PoolWindows:
    """Windows of the pool's blocks, in corpus order.

    Attributes:
        pool_block: Row of `Pool.block_index`.
        start: Position of each window's first token in its block.
        length: Tokens of each window.
    """

    pool_block: Int32[np.ndarray, " window"]
    start: Int32[np.ndarray, " window"]
    length: Int32[np.ndarray, " window"]

    def take(self, rows: Int64[np.ndarray, " row"]) -> "PoolWindows":
        """Some of the windows."""
        return PoolWindows(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def cut_spans(blocks: Blocks, context_length: int) -> PoolWindows:
    """Cut counted spans into windows.

    Window j begins `j * context_length` tokens into its span, or earlier where it would not end within it.
    """
    span = (blocks.span_end - blocks.span_start).astype(np.int64)
    n_windows = -(-span // context_length)
    length = np.minimum(span, context_length)
    block = np.repeat(np.arange(span.size), n_windows)
    number = np.arange(block.size) - np.repeat(np.cumsum(n_windows) - n_windows, n_windows)
    first = np.minimum(number * context_length, (span - length)[block])
    start = blocks.span_start[block] + first
    return PoolWindows(block.astype(np.int32), start.astype(np.int32), length[block].astype(np.int32))


def draw_peak_windows(
    pool: Pool,
    blocks: Blocks,
    context_length: int,
    n_wanted: int,
    is_alike: Bool[np.ndarray, " feature"],
    seed: int,
) -> PoolWindows:
    """Draw windows around features' peaks; see the module's steps.

    Args:
        pool: Sampled blocks with every firing.
        blocks: The same blocks.
        context_length: Tokens in a window, unless its block's counted span is shorter.
        n_wanted: Windows at most.
        is_alike: Of each feature, whether it fires in as many blocks as one that gets contexts.
        seed: Of the draw.
    """
    feature, row, peak = _peaks(pool, is_alike)
    key = hash_key(seed, "pool peaks")
    hashes = keyed_hash(key, feature, pool.block_index[row])
    order = np.lexsort((hashes, feature))
    turn = np.empty(feature.size, dtype=np.int64)
    turn[order] = rank_in_run(feature[order])
    in_turn = np.lexsort((keyed_hash(key, feature), turn))[: _CANDIDATES_PER_WINDOW * n_wanted]
    feature, row, peak, hashes = feature[in_turn], row[in_turn], peak[in_turn], hashes[in_turn]

    of_each = blocks.take(row)
    start = drawn_starts(peak, peak, of_each, context_length, hashes)
    end = np.minimum(start + context_length, of_each.span_end)
    taken: dict[int, list[tuple[int, int]]] = {}
    kept: list[int] = []
    for place, (block, first, last) in enumerate(zip(row.tolist(), start.tolist(), end.tolist(), strict=True)):
        others = taken.setdefault(block, [])
        if all(last <= begin or stop <= first for begin, stop in others):
            others.append((first, last))
            kept.append(place)
            if len(kept) == n_wanted:
                break
    chosen = np.array(kept, dtype=np.int64)
    chosen = chosen[np.lexsort((start[chosen], row[chosen]))]
    length = (end - start)[chosen].astype(np.int32)
    return PoolWindows(row[chosen].astype(np.int32), start[chosen], length)


def _peaks(
    pool: Pool, is_alike: Bool[np.ndarray, " feature"]
) -> tuple[Int32[np.ndarray, " peak"], Int64[np.ndarray, " peak"], Int64[np.ndarray, " peak"]]:
    """Feature, pool block and first position of the largest activation, of each feature in each block."""
    row = np.repeat(np.arange(pool.block_index.size), np.diff(pool.offsets))
    alike = np.flatnonzero(is_alike[pool.feature])
    order = alike[np.lexsort((pool.position[alike], -pool.activation[alike], row[alike], pool.feature[alike]))]
    feature, row = pool.feature[order], row[order]
    first = run_starts(feature.astype(np.int64) * pool.block_index.size + row)
    return feature[first], row[first], pool.position[order][first].astype(np.int64)
