"""Which windows of the pool's blocks are drawn: the corpus as it comes, or where features peak.

The corpus as it comes: the counted span of each block is cut into windows of `context_length` tokens, one after the
other; the last one is shifted back so that it ends with the span. Every counted token lies in a window, those on which
the last window meets the one before in both. Only a shorter span makes a shorter window. The windows of smallest keyed
hash are drawn.

Windows around peaks are drawn so that they look like the contexts that grade, of any feature:

1. Every feature that fires in as many blocks as one needs to get contexts has a first, a second and further peaks, one
   a block, in the order of a keyed hash. First ones of all features come before second ones, and so on, so a frequent
   feature has no more of them than a rare one.
2. Each gets a decoy and a window as the contexts that grade do (`place`). Decoys come from as many peaks of a feature
   as the uniform sample has in the pool's blocks.
3. In that order, those that meet none before are taken, until there are enough.
"""

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Int32, Int64

from autointerp.collect.runs import expand, first_in_run, first_rows, rank_in_run, run_lengths, run_starts
from autointerp.collect.windows import fired_rank, take_rows, window_starts
from autointerp.contexts.place import OtherPeaks, Places
from autointerp.contexts.pool_blocks import APART, PoolBlocks
from autointerp.contexts.windows import Pieces
from autointerp.corpus.reader import Blocks
from autointerp.identity import hash_key, keyed_hash
from autointerp.records import SampledWindows

_CANDIDATES_PER_WINDOW = 4


@dataclass(frozen=True, slots=True)
class PeakSettings:
    """What decides which peaks of the pool are drawn.

    Attributes:
        context_length: Tokens in a window, unless its block's counted span is shorter.
        is_alike: Of each feature, whether it fires in as many blocks as one that gets contexts.
        n_per_feature: Blocks of the pool in which a feature gives decoys, at most.
    """

    context_length: int
    is_alike: Bool[np.ndarray, " feature"]
    n_per_feature: int


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


def draw_tiles(pool: PoolBlocks, context_length: int, n_wanted: int, seed: int) -> PoolWindows:
    """Draw windows of the corpus as it comes, uniformly; see the module.

    Args:
        pool: Sampled blocks.
        context_length: Tokens in a window, unless its block's counted span is shorter.
        n_wanted: Windows at most.
        seed: Of the draw.
    """
    cut = _cut_spans(pool.blocks, context_length)
    hashes = keyed_hash(hash_key(seed, "pool tiles"), pool.block_index[cut.pool_block], cut.start)
    return cut.take(np.sort(np.argsort(hashes, kind="stable")[:n_wanted]))


def _cut_spans(blocks: Blocks, context_length: int) -> PoolWindows:
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
    pool: PoolBlocks, pieces: Pieces, n_wanted: int, settings: PeakSettings, seed: int
) -> PoolWindows:
    """Draw windows around features' peaks; see the module's steps.

    Args:
        pool: Sampled blocks with every firing.
        pieces: Of the subject's vocabulary.
        n_wanted: Windows at most.
        settings: What decides the draw.
        seed: Of the draw.
    """
    key, length = hash_key(seed, "pool peaks"), settings.context_length
    n_candidates = _CANDIDATES_PER_WINDOW * n_wanted
    n_each = max(settings.n_per_feature, 1 + n_candidates // max(1, int(settings.is_alike.sum())))
    sample = _first_peaks(pool, np.flatnonzero(settings.is_alike[pool.feature]), length, n_each, key)
    turns = _turns(sample, key)
    in_turn = np.lexsort((keyed_hash(key, sample.feature), turns))[:n_candidates]
    others = take_rows(sample, np.flatnonzero(turns < settings.n_per_feature))
    chosen = take_rows(sample, in_turn)
    row = np.searchsorted(pool.block_index, chosen.block_index)
    of_each = pool.blocks.take(row)
    # The place of the peak in what the explainer sees has no part in it: all of these are drawn.
    places = Places(OtherPeaks(others, settings.is_alike, pool, length), pieces, length, 0.5, key)
    _, start = places.drawn(chosen, of_each, np.ones(row.size, dtype=np.bool_))
    end = np.minimum(start + length, of_each.span_end)
    kept = _apart(row, start, end, n_wanted)
    return PoolWindows(row[kept].astype(np.int32), start[kept], (end - start)[kept].astype(np.int32))


def draw_windows_of(
    pool: PoolBlocks, feature_index: int, n_wanted: int, places: Places, context_length: int, key: int
) -> PoolWindows:
    """Draw windows around the peaks of one feature, one a block, placed as the contexts that grade are.

    Args:
        pool: Sampled blocks with every firing.
        feature_index: The feature; it fires in the pool.
        n_wanted: Windows at most.
        places: Of the source's features.
        context_length: Tokens in a window, unless its block's counted span is shorter.
        key: Of the draw among the blocks in which it fires.
    """
    firings = pool.of(feature_index)
    sample = _first_peaks(pool, np.arange(firings.start, firings.stop), context_length, n_wanted, key)
    row = np.searchsorted(pool.block_index, sample.block_index)
    of_each = pool.blocks.take(row)
    _, start = places.drawn(sample, of_each, np.ones(row.size, dtype=np.bool_))
    end = np.minimum(start + context_length, of_each.span_end)
    drawn = PoolWindows(row.astype(np.int32), start, (end - start).astype(np.int32))
    return drawn.take(np.argsort(row, kind="stable"))


def _first_peaks(
    pool: PoolBlocks, firings: Int64[np.ndarray, " firing"], context_length: int, n_each: int, key: int
) -> SampledWindows:
    """The first peaks of each feature of these firings, as the uniform sample holds them, by feature."""
    feature, activation = pool.feature[firings], pool.activation[firings]
    row, position = np.divmod(pool.at[firings], APART)
    position = position.astype(np.int32)
    starts = run_starts(feature.astype(np.int64) * pool.block_index.size + row)
    lengths = run_lengths(starts, firings.size)
    rank = fired_rank(key, feature[starts], pool.block_index[row[starts]])
    kept = first_rows(feature[starts], rank, n_each)
    starts, lengths = starts[kept], lengths[kept]
    run, firing = expand(starts, lengths)
    peak = np.maximum.reduceat(activation[firing], np.cumsum(lengths) - lengths) if kept.size else activation[:0]
    peak_position = position[firing][first_in_run(activation[firing] == peak[run], run)]
    of_each, reach = pool.blocks.take(row[starts]), 2 * context_length - 1
    window_start = window_starts(peak_position, of_each.span_start, of_each.span_end, reach, 0.5)
    offset = position[firing] - window_start[run]
    inside = np.flatnonzero((offset >= 0) & (offset < reach))
    return SampledWindows(
        context_length=reach,
        feature=feature[starts],
        block_index=pool.block_index[row[starts]],
        peak_position=peak_position,
        peak=peak,
        window_start=window_start,
        n_entries=np.bincount(run[inside], minlength=kept.size).astype(np.int32),
        entry_offset=offset[inside].astype(np.uint16),
        entry_activation=activation[firing][inside],
    )


def _turns(sample: SampledWindows, key: int) -> Int64[np.ndarray, " row"]:
    """The place of each row among those of its feature, by keyed hash."""
    order = np.lexsort((fired_rank(key, sample.feature, sample.block_index), sample.feature))
    turns = np.empty(order.size, dtype=np.int64)
    turns[order] = rank_in_run(sample.feature[order])
    return turns


def _apart(
    row: Int64[np.ndarray, " window"],
    start: Int32[np.ndarray, " window"],
    end: Int32[np.ndarray, " window"],
    n_wanted: int,
) -> Int64[np.ndarray, " kept"]:
    """Windows of which no two meet, the first ones first, in corpus order."""
    taken: dict[int, list[tuple[int, int]]] = {}
    kept: list[int] = []
    for place, (block, first, last) in enumerate(zip(row.tolist(), start.tolist(), end.tolist(), strict=True)):
        others = taken.setdefault(block, [])
        if len(kept) < n_wanted and all(last <= begin or stop <= first for begin, stop in others):
            others.append((first, last))
            kept.append(place)
    chosen = np.array(kept, dtype=np.int64)
    in_order: Int64[np.ndarray, " kept"] = chosen[np.lexsort((start[chosen], row[chosen]))]
    return in_order
