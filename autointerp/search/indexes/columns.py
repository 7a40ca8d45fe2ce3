"""What an index keeps of each label, a file a column, memory-mapped: filters read a column, hits a few rows.

Columns that only grow are written beyond the rows that the manifest counts, which nobody reads until it counts them.
The others (whether a label is current, its density, its scores) are written in place; the manifest of before a change
leads to the same change again.
"""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float16, Int64
from numpy.typing import NDArray

from autointerp.store.label_rows import LabelRows

TEXTS = "texts.bin"
VECTORS = "vectors.f16"
_GROWING: dict[str, str] = {
    "place.i8": "<i8",
    "source.u2": "<u2",
    "feature.i4": "<i4",
    "explainer.u2": "<u2",
    "same.u8": "<u8",
    "text_end.i8": "<i8",
}
GROWING_FILES = (*_GROWING, TEXTS, VECTORS)
"""Files whose first rows never change."""
_SEPARATOR = "\0"


class Columns:
    """The columns of an index folder.

    Attributes:
        n_rows: Rows that count.

    Args:
        folder: The index folder.
        n_rows: See `n_rows`; at least 1.
        dim: Numbers in a vector.
        writable: Whether columns may be written in place.
    """

    def __init__(self, folder: Path, n_rows: int, dim: int, *, writable: bool = False) -> None:
        self.n_rows = n_rows
        self._folder = folder
        self._dim = dim
        self._mode: Literal["r", "r+"] = "r+" if writable else "r"
        self._of_scorers: dict[str, NDArray[np.float64]] = {}

    @cached_property
    def vectors(self) -> Float16[np.ndarray, "row dim"]:
        """Unit vector of each row."""
        return self._column(VECTORS, "<f2", (self._dim,), "r")

    @cached_property
    def place(self) -> NDArray[np.int64]:
        """Place of each row among all embeddings of the store, ascending."""
        return self._growing("place.i8")

    @cached_property
    def source(self) -> NDArray[np.uint16]:
        """Number of each row's source."""
        return self._growing("source.u2")

    @cached_property
    def feature(self) -> NDArray[np.int32]:
        """Feature of each row."""
        return self._growing("feature.i4")

    @cached_property
    def explainer(self) -> NDArray[np.uint16]:
        """Number of each row's explainer."""
        return self._growing("explainer.u2")

    @cached_property
    def same(self) -> NDArray[np.uint64]:
        """A hash of each row's vector: rows with the same vector have the same."""
        return self._growing("same.u8")

    @cached_property
    def current(self) -> NDArray[np.bool_]:
        """Whether each row is a label of the current settings."""
        return self._column("current.b1", "?")

    @cached_property
    def density(self) -> NDArray[np.float64]:
        """Density of each row's feature; NaN where the feature itself is not in the store."""
        return self._column("density.f8", "<f8")

    def value(self, scorer: int) -> NDArray[np.float64]:
        """Score of each row by one scorer; NaN where it has none."""
        return self._kept(f"score-{scorer}.f8", ())

    def interval(self, scorer: int) -> NDArray[np.float64]:
        """Ends of the 95 % interval of each of these scores."""
        return self._kept(f"interval-{scorer}.f8", (2,))

    def flush(self) -> None:
        """Put what was written in place on the disk."""
        for column in (self.current, self.density, *self._of_scorers.values()):
            assert isinstance(column, np.memmap)
            column.flush()

    def texts(self, rows: Sequence[int]) -> list[tuple[str, str]]:
        """Explanation and label of rows."""
        return [self._text(row) for row in rows]

    def _text(self, row: int) -> tuple[str, str]:
        start = int(self._ends[row - 1]) if row else 0
        explanation, _, label = bytes(self._bytes[start : int(self._ends[row])]).decode().partition(_SEPARATOR)
        return explanation, label

    @cached_property
    def _ends(self) -> Int64[np.ndarray, " row"]:
        return self._growing("text_end.i8")

    @cached_property
    def _bytes(self) -> NDArray[np.uint8]:
        return np.memmap(self._folder / TEXTS, np.uint8, "r", shape=(int(self._ends[-1]),))

    def _kept(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
        if name not in self._of_scorers:
            self._of_scorers[name] = self._column(name, "<f8", shape)
        return self._of_scorers[name]

    def _growing(self, name: str) -> NDArray[Any]:
        return self._column(name, _GROWING[name], mode="r")

    def _column(
        self, name: str, dtype: str, shape: tuple[int, ...] = (), mode: Literal["r"] | None = None
    ) -> NDArray[Any]:
        return np.memmap(self._folder / name, dtype, mode or self._mode, shape=(self.n_rows, *shape))


class ColumnWriter:
    """Adds rows behind those that count.

    Args:
        folder: The index folder.
        n_rows: Rows that count; what a killed process has left behind them is written over.
        dim: Numbers in a vector.
        n_scorers: Scorers that have columns.
    """

    def __init__(self, folder: Path, n_rows: int, dim: int, n_scorers: int) -> None:
        self._folder = folder
        self._dim = dim
        self._n_scorers = n_scorers
        self._text_end = int(Columns(folder, n_rows, dim)._ends[-1]) if n_rows else 0
        for name, width in self._widths().items():
            _cut(folder / name, n_rows * width)
        _cut(folder / TEXTS, self._text_end)

    def add(self, rows: LabelRows, source: NDArray[np.int64], explainer: NDArray[np.int64]) -> None:
        """Add rows, which have no scores yet.

        Args:
            rows: As the store has them.
            source: Number of each one's source.
            explainer: Number of each one's explainer.
        """
        texts = [_SEPARATOR.join(text).encode() for text in zip(rows.explanation_ids, rows.labels, strict=True)]
        ends = self._text_end + np.cumsum([len(text) for text in texts])
        vectors = rows.embeddings.astype("<f2")
        same = [hashlib.blake2b(vector.tobytes(), digest_size=8).digest() for vector in vectors]
        growing = {
            "place.i8": rows.place,
            "source.u2": source,
            "feature.i4": rows.feature_index,
            "explainer.u2": explainer,
            "same.u8": np.frombuffer(b"".join(same), "<u8"),
            "text_end.i8": ends,
        }
        for name, dtype in _GROWING.items():
            self._append(name, growing[name].astype(dtype))
        self._append(VECTORS, vectors)
        self._append(TEXTS, np.frombuffer(b"".join(texts), np.uint8))
        self._append("current.b1", rows.is_current)
        self._append("density.f8", rows.density)
        unknown = np.full((len(texts), 2), np.nan)
        for scorer in range(self._n_scorers):
            self._append(f"score-{scorer}.f8", unknown[:, 0])
            self._append(f"interval-{scorer}.f8", unknown)
        self._text_end = int(ends[-1])

    def _widths(self) -> dict[str, int]:
        widths = {name: np.dtype(dtype).itemsize for name, dtype in _GROWING.items()}
        widths |= {VECTORS: 2 * self._dim, "current.b1": 1, "density.f8": 8}
        for scorer in range(self._n_scorers):
            widths |= {f"score-{scorer}.f8": 8, f"interval-{scorer}.f8": 16}
        return widths

    def _append(self, name: str, column: NDArray[Any]) -> None:
        with (self._folder / name).open("ab") as file:
            file.write(column.tobytes())


def add_scorer(folder: Path, scorer: int, n_rows: int) -> None:
    """Make the columns of a new scorer, of which no row has a score yet."""
    for name, width in ((f"score-{scorer}.f8", 1), (f"interval-{scorer}.f8", 2)):
        with (folder / name).open("wb") as file:
            for first in range(0, n_rows, 65_536):
                file.write(np.full(width * min(65_536, n_rows - first), np.nan).tobytes())


def _cut(path: Path, size: int) -> None:
    with path.open("ab") as file:
        file.truncate(size)
