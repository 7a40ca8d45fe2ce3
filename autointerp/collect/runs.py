"""Arithmetic on sorted arrays, in which equal keys stand in runs: the way `collect` avoids loops over features."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt32
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
