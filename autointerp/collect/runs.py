"""Arithmetic on sorted arrays, in which equal keys stand in runs: the way `collect` avoids loops over features."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64, UInt32, UInt64
from numpy.typing import NDArray


def stable_order(*keys: NDArray[np.unsignedinteger[Any]]) -> Int64[np.ndarray, " row"]:
    """The order of rows by several keys, the last one first, ties left as they stand, as `numpy.lexsort` does it.

    NumPy sorts 16-bit integers by radix, at a few nanoseconds a row; so a wider key is sorted digit by digit, from the
    lowest. On the keys of a shard this takes a quarter of lexsort's time.

    Args:
        keys: Unsigned integers, at least one key. A float above zero sorts as its bits do.
    """
    order: Int64[np.ndarray, " row"] = np.arange(len(keys[0]))
    for key in keys:
        n_digits = (int(key.max(initial=0)).bit_length() + 15) // 16
        for digit in range(n_digits):
            digits = (key >> key.dtype.type(16 * digit)).astype(np.uint16)
            order = order[np.argsort(digits[order], kind="stable")]
    return order


def as_unsigned(indices: NDArray[np.integer[Any]]) -> NDArray[np.unsignedinteger[Any]]:
    """Indices, none below zero, as a key for `stable_order`."""
    unsigned: NDArray[np.unsignedinteger[Any]] = indices.view(f"u{indices.dtype.itemsize}")
    return unsigned


def descending(values: Float32[np.ndarray, " row"]) -> UInt32[np.ndarray, " row"]:
    """A key for `stable_order` that puts the largest of values above zero first."""
    return ~values.view(np.uint32)


def run_starts(keys: NDArray[np.integer[Any]]) -> Int64[np.ndarray, " run"]:
    """First row of each run of equal keys."""
    if len(keys) == 0:
        return np.zeros(0, dtype=np.int64)
    changes = np.empty(len(keys), dtype=bool)
    changes[0] = True
    np.not_equal(keys[1:], keys[:-1], out=changes[1:])
    return np.flatnonzero(changes)


def run_lengths(starts: Int64[np.ndarray, " run"], n_rows: int) -> Int64[np.ndarray, " run"]:
    """Rows in each run."""
    lengths: Int64[np.ndarray, " run"] = np.diff(starts, append=n_rows)
    return lengths


def rank_in_run(keys: NDArray[np.integer[Any]]) -> Int64[np.ndarray, " row"]:
    """Place of each row in its run of equal keys, from 0."""
    starts = run_starts(keys)
    rank: Int64[np.ndarray, " row"] = np.arange(len(keys)) - np.repeat(starts, run_lengths(starts, len(keys)))
    return rank


def first_in_run(is_wanted: Bool[np.ndarray, " row"], run: Int64[np.ndarray, " row"]) -> Int64[np.ndarray, " run"]:
    """First wanted row of each run.

    Args:
        is_wanted: At least one row of each run is.
        run: Number of each row's run, ascending.
    """
    wanted = np.flatnonzero(is_wanted)
    first: Int64[np.ndarray, " run"] = wanted[run_starts(run[wanted])]
    return first


def first_rows(
    feature: Int32[np.ndarray, " row"],
    rank: UInt32[np.ndarray, " row"],
    n_kept: int,
    tie_rank: UInt64[np.ndarray, " row"] | None = None,
) -> Int64[np.ndarray, " kept"]:
    """Each feature's rows of the lowest ranks.

    Args:
        feature: Of each row, ascending.
        rank: Of each row.
        n_kept: Rows per feature at most, at least 1.
        tie_rank: What decides between equal ranks, ascending; then, and without it, the earlier row.

    Returns:
        Rows, ascending.
    """
    is_kept: Bool[np.ndarray, " row"] = (np.bincount(feature) <= n_kept)[feature]
    crowded = np.flatnonzero(~is_kept)
    if len(crowded) == 0:
        return np.arange(len(feature))
    # Keys alone are sorted, which NumPy does many times faster than it finds an order.
    key = (feature[crowded].astype(np.uint64) << np.uint64(32)) | rank[crowded]
    ordered = np.sort(key)
    starts = run_starts(feature[crowded])
    lengths = run_lengths(starts, len(crowded))
    last = np.repeat(ordered[starts + n_kept - 1], lengths)
    is_kept[crowded] = key < last
    # Of the rows that tie with the last that is kept, some fill what is left.
    tied = np.flatnonzero(key == last)
    if tie_rank is not None:
        tied = tied[stable_order(tie_rank[crowded[tied]], as_unsigned(feature[crowded[tied]]))]
    n_left = n_kept - np.add.reduceat(key < last, starts, dtype=np.int64)
    run = np.searchsorted(starts, tied, side="right") - 1
    is_kept[crowded[tied[rank_in_run(run) < n_left[run]]]] = True
    return np.flatnonzero(is_kept)


def expand(
    starts: Int64[np.ndarray, " run"], lengths: Int64[np.ndarray, " run"]
) -> tuple[Int64[np.ndarray, " row"], Int64[np.ndarray, " row"]]:
    """All rows of chosen runs.

    Returns:
        For each row the place of its run among those chosen, and the row.
    """
    run = np.repeat(np.arange(len(starts)), lengths)
    before = np.cumsum(lengths) - lengths
    return run, np.arange(len(run)) + (starts - before)[run]
