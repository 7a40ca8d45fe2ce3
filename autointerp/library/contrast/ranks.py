"""Ranks of sparse values, column by column, that are as sparse as the values themselves.

A text's value of a feature is replaced by its rank among all texts, ties sharing their mean rank, less the rank that
zeros share. Only differences of ranks matter to a comparison, and so zeros stay zeros. A huge value is the highest
rank, and no more.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from jaxtyping import Float64, Int64

if TYPE_CHECKING:
    from scipy.sparse import csc_array

_VALUES_AT_ONCE = 1 << 20
_MOST_IN_SINGLE = 1 << 23  # texts, of which single precision tells halves of ranks apart
_SIGN = np.uint32(1 << 31)

Part = TypeVar("Part")
Result = TypeVar("Result")


def centred_ranks(values: "csc_array") -> "csc_array":
    """Mean ranks, 1 for the lowest of a column, less the mean rank of its zeros.

    Args:
        values: (text, feature), finite, without stored zeros; told apart in single precision.

    Returns:
        The ranks, exactly (multiples of a half), with the values' own index arrays.
    """
    from scipy import sparse

    found = np.empty(values.nnz, dtype=np.float32 if values.shape[0] < _MOST_IN_SINGLE else np.float64)

    def rank(columns: slice) -> None:
        at = slice(values.indptr[columns.start], values.indptr[columns.stop])
        found[at] = _ranks(values.data[at], values.indptr[columns.start : columns.stop + 1] - at.start, values.shape[0])

    over_cores(rank, column_chunks(values.indptr, _VALUES_AT_ONCE))
    ranks: Any = sparse.csc_array((found, values.indices, values.indptr), shape=values.shape)
    return ranks


def column_chunks(indptr: Int64[np.ndarray, " column_end"], most: int) -> Iterator[slice]:
    """Runs of columns of at most so many stored values each, or of a single column of more."""
    start, n_columns = 0, indptr.size - 1
    while start < n_columns:
        stop = max(start + 1, int(np.searchsorted(indptr, int(indptr[start]) + most, side="right")) - 1)
        yield slice(start, min(stop, n_columns))
        start = stop


def over_cores(work: Callable[[Part], Result], parts: Iterable[Part]) -> list[Result]:
    """Do independent parts of numerical work in threads, one a core: numpy and scipy let go of the interpreter."""
    parts = list(parts)
    if len(parts) < 2:
        return [work(part) for part in parts]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        return list(threads.map(work, parts))


def _ranks(values: Any, indptr: Int64[np.ndarray, " column_end"], n_texts: int) -> Float64[np.ndarray, " value"]:
    """Of some columns, one after another."""
    counts = np.diff(indptr)
    column = np.repeat(np.arange(counts.size, dtype=np.uint64), counts)
    # Bits of a float, read as a whole number, are in the order of the floats, those below 0 in reverse.
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    ordered = np.where(bits & _SIGN, ~bits, bits | _SIGN).astype(np.uint64)
    keys = (column << np.uint64(32)) | ordered
    order = np.argsort(keys)  # ties share a rank, in whatever order they come
    keys = keys[order]
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if keys.size else np.empty(0, np.int64)
    run = np.diff(np.append(starts, keys.size))
    ranks = np.empty(keys.size)
    ranks[order] = np.repeat(starts + (run + 1) / 2, run)
    n_below = np.bincount(column.astype(np.int64), weights=values < 0, minlength=counts.size)
    of_zero = n_below + (n_texts - counts + 1) / 2
    # Positive values stand above the zeros, which are not stored.
    ranks -= np.repeat(indptr[:-1] + of_zero, counts)
    ranks[values > 0] += np.repeat(n_texts - counts, counts)[values > 0]
    return ranks
