"""Rows shared out over several indexes, each on a machine of its own: what each does, and how their answers are one."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32

from autointerp.search.indexes.base import Closest
from autointerp.search.indexes.columns import Columns
from autointerp.search.indexes.ivf import IvfIndex, write_codes
from autointerp.whole_file import whole_file


def share_out(n_rows: int, n_shards: int) -> list[tuple[int, int]]:
    """First row and end of each shard: as equal as can be, none empty."""
    n_shards = max(1, min(n_shards, n_rows))
    ends = [n_rows * shard // n_shards for shard in range(n_shards + 1)]
    return list(pairwise(ends))


def together(found: Sequence[Closest], shards: Sequence[tuple[int, int]]) -> Closest:
    """What shards found, each by the numbers of its own rows, as one index would say it."""
    rows = [closest.rows + first for closest, (first, _) in zip(found, shards, strict=True)]
    return Closest(np.concatenate(rows), np.concatenate([closest.similarity for closest in found]))


class Shard:
    """Finds among some rows of an index folder; its own codes of them are made once, beside those of all.

    Args:
        folder: The index folder, on a disk that is shared.
        n_rows: Rows of all shards.
        dim: Numbers in a vector.
        first: Its first row.
        end: The row after its last one.
    """

    def __init__(self, folder: Path, n_rows: int, dim: int, first: int, end: int) -> None:
        vectors = Columns(folder, n_rows, dim).vectors[first:end]
        codes = folder / f"shard-{first}-{end}"
        if not codes.is_file():
            with whole_file(codes) as path:
                write_codes(path, vectors)
        self._index = IvfIndex(codes, vectors)

    def closest(
        self, vector: Float32[np.ndarray, " dim"], n_rows: int, allowed: Bool[np.ndarray, " row"] | None
    ) -> Closest:
        """See `VectorIndex.closest`; rows are numbered from its first one."""
        return self._index.closest(vector, n_rows, allowed)
