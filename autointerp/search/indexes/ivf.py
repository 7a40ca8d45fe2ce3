"""An approximate index of vectors that lie in a file, for millions of rows.

1. Rows are put into lists by the closest of some thousand centroids (an inverted file), each as a RaBitQ code of two
   bits a dimension (Gao and others, "Practical and Asymptotically Optimal Quantization of High-Dimensional Vectors in
   Euclidean Space for Approximate Nearest Neighbor Search", SIGMOD 2025): 124 bytes a row of 384 dimensions.
2. A query looks into the lists of the `n_probes` closest centroids and takes the rows that the codes say are closest.
3. Their similarities are computed from the vectors themselves, float16 in a memory-mapped file; the codes alone put far
   fewer of the true closest rows first.

Filters come before the choice: rows that are not allowed are passed over in the lists, of which then more are looked
into; and where few rows are allowed each of them is compared. Codes and vectors stay in the file: a process holds the
centroids and little else.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float16, Float32, Int64

from autointerp.search.indexes.base import Closest, cosines

SAMPLES_PER_LIST = 64
"""Rows that the centroids are made from, for each of them."""
SCANNED_ROWS = 2_000
"""Of so few allowed rows each is compared."""
MOST_LISTS = 4096
"""With more lists an index of ten million rows takes twice as long to make, and a query not half as long."""
LOOKED_AT = 160_000
"""Rows whose codes a query is compared with: of more, it would take longer than 20 ms of one core."""
_TRAINING_ROUNDS = 8
_SEED = 1
_CODE_BITS = 2
_LEAST_PROBES, _MOST_PROBES = 64, 128
_MORE_PROBES = 0.15  # twice as many lists where one row in a hundred is allowed
_QUERY_BITS = 8
_PIECE = 65_536


def n_lists(n_rows: int) -> int:
    """Lists for so many rows: the power of two next to twice the square root, up to `MOST_LISTS`."""
    return min(MOST_LISTS, int(2 ** max(0, round(math.log2(2 * math.sqrt(max(1, n_rows)))))))


class IvfIndex:
    """Finds rows through codes in a file, and compares them by their own vectors.

    Args:
        path: What `write_codes` wrote.
        vectors: Unit vector of each row; those after the rows of the codes are compared one by one.
        n_probes: Lists that are looked into; where None 128, or as many as hold `LOOKED_AT` rows, but at least 64.
        depth: Rows that are compared by their vectors, for each row wanted, but at least `least_depth`.
        least_depth: See `depth`.
    """

    def __init__(
        self,
        path: Path,
        vectors: Float16[np.ndarray, "row dim"],
        *,
        n_probes: int | None = None,
        depth: int = 20,
        least_depth: int = 200,
    ) -> None:
        self._codes: Any = _faiss().read_index(str(path), _faiss().IO_FLAG_MMAP)
        self._vectors = vectors
        self._n_probes = n_probes or _n_probes(self._codes.nlist, self.n_coded)
        self._depth = depth
        self._least_depth = least_depth

    @property
    def n_coded(self) -> int:
        """Rows that the codes cover, the first ones."""
        return int(self._codes.ntotal)

    def closest(
        self, vector: Float32[np.ndarray, " dim"], n_rows: int, allowed: Bool[np.ndarray, " row"] | None = None
    ) -> Closest:
        """At least the `n_rows` closest of those that the codes lead to, with their exact cosines."""
        n_allowed = len(self._vectors) if allowed is None else int(np.count_nonzero(allowed))
        if n_allowed > max(SCANNED_ROWS, n_rows):
            coded = self._coded(vector, max(self._least_depth, self._depth * n_rows), allowed)
            late = np.arange(self.n_coded, len(self._vectors))
            rows = np.concatenate([np.sort(coded), late if allowed is None else late[allowed[late]]])
            if len(rows) >= n_rows:
                return Closest(rows, cosines(self._vectors, vector, rows))
        rows = np.arange(n_allowed) if allowed is None else np.flatnonzero(allowed)
        return Closest(rows, cosines(self._vectors, vector, rows))

    def _coded(
        self, vector: Float32[np.ndarray, " dim"], depth: int, allowed: Bool[np.ndarray, " row"] | None
    ) -> Int64[np.ndarray, " candidate"]:
        n_probes, selector = self._n_probes, None
        if allowed is not None:
            coded = allowed[: self.n_coded]
            bits = np.packbits(coded, bitorder="little")
            selector = _faiss().IDSelectorBitmap(bits)
            share = max(float(np.count_nonzero(coded)) / max(1, len(coded)), 1e-9)
            n_probes = round(n_probes * share**-_MORE_PROBES)
        asked = _faiss().IVFRaBitQSearchParameters(
            nprobe=min(n_probes, self._codes.nlist), qb=_QUERY_BITS, sel=selector
        )
        _, found = self._codes.search(vector[None], min(depth, self.n_coded), params=asked)
        rows: Int64[np.ndarray, " candidate"] = found[0][found[0] >= 0]
        return rows


def _n_probes(n_lists: int, n_rows: int) -> int:
    return max(_LEAST_PROBES, min(_MOST_PROBES, LOOKED_AT * n_lists // max(1, n_rows)))


def write_codes(path: Path, vectors: Float16[np.ndarray, "row dim"]) -> None:
    """Make centroids and codes of vectors; the same vectors give the same file on the same machine.

    Args:
        path: To be written.
        vectors: Unit vector of each row, for example memory-mapped.
    """
    n_rows, dim = vectors.shape
    lists = min(n_lists(n_rows), n_rows)
    sample = np.random.default_rng(_SEED).permutation(n_rows)[: SAMPLES_PER_LIST * lists]
    seen = vectors[np.sort(sample)].astype(np.float32)
    centroids = _faiss().IndexFlatIP(dim)
    codes = _faiss().IndexIVFRaBitQ(centroids, dim, lists, _faiss().METRIC_INNER_PRODUCT, True, _CODE_BITS)
    codes.cp.niter, codes.cp.seed, codes.cp.spherical = _TRAINING_ROUNDS, _SEED, True
    codes.cp.min_points_per_centroid = 1  # of few rows there are few lists, and no need to be warned
    codes.cp.max_points_per_centroid = SAMPLES_PER_LIST
    codes.train(seen)
    _add(codes, vectors)
    _faiss().write_index(codes, str(path))


def extend_codes(earlier: Path, path: Path, vectors: Float16[np.ndarray, "row dim"]) -> None:
    """Add the rows that earlier codes lack, with the same centroids.

    Args:
        earlier: Codes of the first rows.
        path: To be written.
        vectors: Of all rows.
    """
    codes = _faiss().read_index(str(earlier))
    _add(codes, vectors)
    _faiss().write_index(codes, str(path))


def _add(codes: Any, vectors: Float16[np.ndarray, "row dim"]) -> None:
    for first in range(int(codes.ntotal), len(vectors), _PIECE):
        codes.add(vectors[first : first + _PIECE].astype(np.float32))


def _faiss() -> Any:
    import faiss  # a command that searches few labels starts without it; its stubs lack the Python side of it

    return faiss
