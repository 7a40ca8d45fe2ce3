"""Sampled windows: which are kept, and how they are cut."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Int32, Int64, UInt32

from autointerp.collect.runs import (
    as_unsigned,
    descending,
    expand,
    first_rows,
    run_lengths,
    run_starts,
    stable_order,
)
from autointerp.identity import keyed_hash
from autointerp.records import SampledWindows

_ROW_FIELDS = ("feature", "block_index", "peak_position", "peak", "window_start", "n_entries")
_ENTRY_FIELDS = ("entry_offset", "entry_activation")


def rows_of(
    windows: SampledWindows, features: Sequence[int]
) -> tuple[Int64[np.ndarray, " row"], list[Int64[np.ndarray, " row"]]]:
    """Rows of some features, and for each feature its places among these rows.

    Args:
        windows: By feature.
        features: Distinct, in any order.
    """
    wanted = np.array(features, dtype=windows.feature.dtype)
    first = np.searchsorted(windows.feature, wanted, side="left")
    last = np.searchsorted(windows.feature, wanted, side="right")
    of_each, rows = expand(first.astype(np.int64), (last - first).astype(np.int64))
    places = np.split(np.arange(rows.size, dtype=np.int64), np.searchsorted(of_each, np.arange(1, len(features))))
    return rows, places[: len(features)]


def take_rows(windows: SampledWindows, rows: Int64[np.ndarray, " row"]) -> SampledWindows:
    """The given rows, in the given order."""
    starts = np.cumsum(windows.n_entries, dtype=np.int64) - windows.n_entries
    _, entries = expand(starts[rows], windows.n_entries[rows])
    return SampledWindows(
        windows.context_length,
        **{name: getattr(windows, name)[rows] for name in _ROW_FIELDS},
        **{name: getattr(windows, name)[entries] for name in _ENTRY_FIELDS},
    )


def join_rows(parts: list[SampledWindows]) -> SampledWindows:
    """All rows of at least one part, one part after the other."""
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ROW_FIELDS + _ENTRY_FIELDS}
    return SampledWindows(parts[0].context_length, **arrays)


def narrowed(windows: SampledWindows, start: Int32[np.ndarray, " row"], context_length: int) -> SampledWindows:
    """Shorter windows cut from longer ones.

    Args:
        windows: Windows.
        start: Where each new one begins, at most so far before the old one as the block's counted span does.
        context_length: Tokens in a new window.
    """
    row = np.repeat(np.arange(len(windows.feature)), windows.n_entries)
    offset = windows.entry_offset.astype(np.int64) + (windows.window_start - start)[row]
    inside = np.flatnonzero((offset >= 0) & (offset < context_length))
    return replace(
        windows,
        context_length=context_length,
        window_start=start,
        n_entries=np.bincount(row[inside], minlength=len(windows.feature)).astype(np.int32),
        entry_offset=offset[inside].astype(np.uint16),
        entry_activation=windows.entry_activation[inside],
    )


def no_rows(context_length: int) -> SampledWindows:
    """No window."""
    return SampledWindows(
        context_length=context_length,
        feature=np.zeros(0, np.int32),
        block_index=np.zeros(0, np.int64),
        peak_position=np.zeros(0, np.int32),
        peak=np.zeros(0, np.float32),
        window_start=np.zeros(0, np.int32),
        n_entries=np.zeros(0, np.int32),
        entry_offset=np.zeros(0, np.uint16),
        entry_activation=np.zeros(0, np.float32),
    )


def fired_rank(
    key: int, feature: Int32[np.ndarray, " row"], block_index: Int64[np.ndarray, " row"]
) -> UInt32[np.ndarray, " row"]:
    """What orders a feature's blocks in the uniform sample: the upper half of the hash of (feature, block)."""
    return (keyed_hash(key, feature, block_index) >> np.uint64(32)).astype(np.uint32)


def without_entries(windows: SampledWindows) -> SampledWindows:
    """The rows without their activations, in half of the memory."""
    return replace(
        windows,
        n_entries=np.zeros_like(windows.n_entries),
        entry_offset=windows.entry_offset[:0].copy(),
        entry_activation=windows.entry_activation[:0].copy(),
    )


def rank_top(windows: SampledWindows) -> UInt32[np.ndarray, " row"]:
    """What orders the top set: the highest peaks come first."""
    return descending(windows.peak)


def rank_fired(windows: SampledWindows, key: int) -> UInt32[np.ndarray, " row"]:
    """What orders the uniform sample; see `fired_rank`."""
    return fired_rank(key, windows.feature, windows.block_index)


def by_block(windows: SampledWindows) -> SampledWindows:
    """All rows by (feature, block)."""
    return take_rows(windows, stable_order(as_unsigned(windows.block_index), as_unsigned(windows.feature)))


def by_feature(windows: SampledWindows) -> SampledWindows:
    """All rows by feature, rows of one feature as they stood."""
    # Rows come in a few sorted runs, which NumPy's stable sort finds and merges.
    return take_rows(windows, np.argsort(windows.feature, kind="stable"))


def by_rank(windows: SampledWindows, rank: UInt32[np.ndarray, " row"]) -> SampledWindows:
    """All rows by (feature, rank), ties to the lower block.

    Args:
        windows: By (feature, block).
        rank: Of each row.
    """
    return take_rows(windows, stable_order(rank, as_unsigned(windows.feature)))


def keep_first(windows: SampledWindows, rank: UInt32[np.ndarray, " row"], n_kept: int) -> SampledWindows:
    """Each feature's windows of the lowest ranks, as in `first_rows`; by (feature, block), as they came."""
    kept = first_rows(windows.feature, rank, n_kept)
    return windows if len(kept) == len(rank) else take_rows(windows, kept)


def drop_outranked(
    windows: SampledWindows,
    rank: UInt32[np.ndarray, " row"],
    kept: SampledWindows,
    kept_rank: UInt32[np.ndarray, " kept_row"],
    n_kept: int,
) -> SampledWindows:
    """Leave out the rows that can't be among the first: their feature has enough of lower rank in earlier blocks.

    Args:
        windows: Of later blocks.
        rank: Of each of them.
        kept: What was kept of earlier blocks, by feature.
        kept_rank: Of each of these.
        n_kept: Rows per feature at most.
    """
    starts = run_starts(kept.feature)
    if len(starts) == 0:
        return windows
    n_features = 1 + max(int(windows.feature.max(initial=0)), int(kept.feature[-1]))
    limit = np.full(n_features, 2**32, np.uint64)
    is_full = run_lengths(starts, len(kept.feature)) >= n_kept
    limit[kept.feature[starts[is_full]]] = np.maximum.reduceat(kept_rank, starts)[is_full]
    hopeful = np.flatnonzero(rank < limit[windows.feature])
    return windows if len(hopeful) == len(rank) else take_rows(windows, hopeful)


def counted_span(
    counted: Bool[np.ndarray, "block position"],
) -> tuple[Int32[np.ndarray, " block"], Int32[np.ndarray, " block"]]:
    """First counted position of each block, and the one after its last; 0 and 0 where none is."""
    n_positions = counted.shape[1]
    is_any = counted.any(axis=1)
    first = np.where(is_any, counted.argmax(axis=1), 0)
    end = np.where(is_any, n_positions - counted[:, ::-1].argmax(axis=1), 0)
    return first.astype(np.int32), end.astype(np.int32)


def window_starts(
    peak_position: Int32[np.ndarray, " row"],
    first: Int32[np.ndarray, " row"],
    end: Int32[np.ndarray, " row"],
    context_length: int,
    peak_fraction: float,
) -> Int32[np.ndarray, " row"]:
    """Where windows begin.

    The peak stands at `peak_fraction` of the window, unless the window would then leave the counted span: it is
    shifted so that it stays inside, and begins with the span where the span is shorter.

    Args:
        peak_position: Of each window.
        first: First counted position of its block.
        end: Position after the last counted one.
        context_length: Tokens in a window.
        peak_fraction: From 0 to 1.
    """
    before = min(int(peak_fraction * context_length), context_length - 1)
    starts: Int32[np.ndarray, " row"] = np.maximum(
        np.minimum(peak_position - before, end - context_length), first
    ).astype(np.int32)
    return starts
