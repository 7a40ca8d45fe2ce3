"""A store's labels without a store: synthetic embeddings, words, densities and scores, drawn a piece at a time.

Ten million labels in a DuckDB file would be another 16 GB; an index folder is made from this in the same way.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Float32, Float64, Int64
from numpy.typing import NDArray

from autointerp.store.label_rows import LabelRows, LabelScores, LabelState
from autointerp.store.label_table import LabelTable
from benchmarks.label_vectors import PIECE, SyntheticLabels

N_WORDS = 50_000
WORDS_PER_LABEL = 7
WORDS_OF_A_CONCEPT = 3
SOURCE = "synthetic@1"
SCORER = "detection"
EMBEDDER = "synthetic"
FEW = 0.99
"""The score that 1 % of the labels have."""


class LabelsOfNoStore:
    """Reads like the store of a run with so many labels, each of a feature of its own.

    Attributes:
        sampled: What `label_sample` was asked for.

    Args:
        folder: Where the index folder goes.
        n_labels: See the module.
    """

    def __init__(self, folder: Path, n_labels: int) -> None:
        self.path = folder / "store.duckdb"
        self.sampled: dict[int, tuple[str, list[float]]] = {}
        self._n_labels = n_labels
        self._labels = SyntheticLabels()
        self._piece = lru_cache(maxsize=2)(self._labels.draw)

    @contextmanager
    def session(self) -> Iterator[Self]:
        """Nothing is opened."""
        yield self

    def label_state(self) -> LabelState:
        """All of it is there from the beginning."""
        n = self._n_labels
        return LabelState(1, n, n, n, {SOURCE: n}, {"explain": "e", f"score:{SCORER}": "s"})

    def n_embedded(self, embedder: str) -> int:
        """All of them."""
        return self._n_labels

    def n_labels(self) -> int:
        """As many."""
        return self._n_labels

    def label_rows(self, embedder: str, first: int, end: int) -> LabelRows:
        """The labels from `first` to before `end`."""
        concepts, vectors = self._drawn(first, end)
        n_rows = len(vectors)
        return LabelRows(
            place=np.arange(first, end),
            source_ids=[SOURCE] * n_rows,
            feature_index=np.arange(first, end, dtype=np.int32),
            explanation_ids=[f"{place:032x}" for place in range(first, end)],
            labels=texts(concepts, seed=first),
            explainers=["synthetic"] * n_rows,
            embeddings=vectors,
            density=np.exp(np.random.default_rng([1, first]).normal(-7, 1.5, n_rows)),
            is_current=np.ones(n_rows, bool),
        )

    def label_scores(self, embedder: str, first: int, end: int) -> LabelScores:
        """A score of each of these labels, uniform from 0 to 1."""
        values = np.random.default_rng([2, first]).random(end - first)
        ends = np.stack([values, np.maximum(0, values - 0.1), np.minimum(1, values + 0.1)], axis=1)
        return LabelScores(np.arange(first, end), [SCORER] * (end - first), ends)

    def label_sample(self, embedder: str, places: Sequence[int]) -> dict[int, tuple[str, list[float]]]:
        """Some labels, drawn once."""
        for place in places:
            if place not in self.sampled:
                self.sampled[place] = (f"{place:032x}", self._drawn(place, place + 1)[1][0].tolist())
        return {place: self.sampled[place] for place in places}

    def label_table(self, embedder: str) -> LabelTable:
        """All of them in memory."""
        rows, scores = self.label_rows(embedder, 0, self._n_labels), self.label_scores(embedder, 0, self._n_labels)
        n_rows = self._n_labels
        return LabelTable(
            embedder=embedder,
            source_ids=np.array(rows.source_ids, dtype=object),
            feature_index=rows.feature_index,
            explanation_ids=tuple(rows.explanation_ids),
            labels=tuple(rows.labels),
            explainers=np.array(rows.explainers, dtype=object),
            embeddings=rows.embeddings,
            density=rows.density,
            scorers=(SCORER,),
            values=scores.values[:, :1],
            intervals=scores.values[:, None, 1:].reshape(n_rows, 1, 2),
            n_features={SOURCE: n_rows},
        )

    def queries(self, n: int) -> tuple[list[str], Float32[np.ndarray, "query dim"]]:
        """Texts and vectors that are drawn like labels, but are none."""
        concepts, vectors = self._labels.draw(n, 10**6)
        asked = [" ".join(text.split()[:2]) for text in texts(concepts, seed=10**9)]
        return asked, vectors

    def _drawn(self, first: int, end: int) -> tuple[Int64[np.ndarray, " label"], Float32[np.ndarray, "label dim"]]:
        concepts, vectors = [], []
        for piece in range(first // PIECE, -(-end // PIECE)):
            drawn = self._piece(min(PIECE, self._n_labels - piece * PIECE), piece)
            some = slice(max(0, first - piece * PIECE), end - piece * PIECE)
            concepts.append(drawn[0][some])
            vectors.append(drawn[1][some])
        return np.concatenate(concepts), np.concatenate(vectors)


def texts(concepts: Int64[np.ndarray, " label"], seed: int) -> list[str]:
    """Labels of seven words: three of their concept's, the others by Zipf's law from 50,000."""
    draw = np.random.default_rng([3, seed])
    own = (concepts[:, None] * 7919 + draw.integers(0, 6, (len(concepts), WORDS_OF_A_CONCEPT)) * 104729) % N_WORDS
    common = (N_WORDS ** draw.random((len(concepts), WORDS_PER_LABEL - WORDS_OF_A_CONCEPT))).astype(np.int64) - 1
    words = _words()
    return [" ".join([words[number] for number in row]) for row in np.concatenate([own, common], axis=1).tolist()]


@lru_cache
def _words() -> list[str]:
    return [np.base_repr(number + 1296, 36).lower() for number in range(N_WORDS)]


def true_closest(
    vectors: NDArray[Any], queries: Float32[np.ndarray, "query dim"], k: int, allowed: NDArray[np.bool_] | None = None
) -> tuple[Int64[np.ndarray, "query rank"], Float64[np.ndarray, "query rank"]]:
    """The `k` rows closest to each query, by comparing all, a hundred thousand at a time."""
    best = np.full((len(queries), k), -2.0, np.float32)
    rows = np.full((len(queries), k), -1, np.int64)
    for first in range(0, len(vectors), PIECE):
        similarity = queries @ vectors[first : first + PIECE].astype(np.float32).T
        if allowed is not None:
            similarity[:, ~allowed[first : first + PIECE]] = -2.0
        places = np.argpartition(-similarity, min(k, similarity.shape[1] - 1), axis=1)[:, :k]
        every = np.concatenate([best, np.take_along_axis(similarity, places, 1)], axis=1)
        every_row = np.concatenate([rows, places + first], axis=1)
        order = np.argsort(-every, axis=1, kind="stable")[:, :k]
        best, rows = np.take_along_axis(every, order, 1), np.take_along_axis(every_row, order, 1)
    return rows, best.astype(np.float64)
