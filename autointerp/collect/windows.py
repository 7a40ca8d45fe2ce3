"""Sampled windows: which are kept, and how they are cut."""

from dataclasses import fields

import numpy as np
from jaxtyping import Bool, Int32, Int64

from autointerp.collect.runs import as_unsigned, descending, rank_in_run, stable_order
from autointerp.records import SampledWindows


def take_rows(windows: SampledWindows, rows: Int64[np.ndarray, " row"]) -> SampledWindows:
    """The given rows, in the given order."""
    return SampledWindows(**{f.name: getattr(windows, f.name)[rows] for f in fields(windows)})


def join_rows(parts: list[SampledWindows]) -> SampledWindows:
    """All rows of at least one part, one part after the other."""
    return SampledWindows(
        **{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(SampledWindows)}
    )


def no_rows(context_length: int) -> SampledWindows:
    """No window."""
    return SampledWindows(
        feature=np.zeros(0, np.int32),
        block_index=np.zeros(0, np.int64),
        peak_position=np.zeros(0, np.int32),
        peak=np.zeros(0, np.float32),
        rank_key=np.zeros(0, np.uint64),
        window_start=np.zeros(0, np.int32),
        activations=np.zeros((0, context_length), np.float32),
    )


def keep_top(windows: SampledWindows, n_top: int) -> SampledWindows:
    """Each feature's rows with the highest peaks, ties to the lower block."""
    order = stable_order(as_unsigned(windows.block_index), descending(windows.peak), as_unsigned(windows.feature))
    return take_rows(windows, first_per_feature(windows.feature, order, n_top))


def keep_fired(windows: SampledWindows, n_fired: int) -> SampledWindows:
    """Each feature's rows with the smallest keys, ties to the lower block."""
    order = stable_order(as_unsigned(windows.block_index), windows.rank_key, as_unsigned(windows.feature))
    return take_rows(windows, first_per_feature(windows.feature, order, n_fired))


def first_per_feature(
    feature: Int32[np.ndarray, " row"], order: Int64[np.ndarray, " row"], n: int
) -> Int64[np.ndarray, " kept"]:
    """The first `n` rows of each feature in an order that begins with the feature."""
    return order[rank_in_run(feature[order]) < n]


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
