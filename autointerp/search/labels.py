"""The labels of a store in one of its states, with what finds among them; here: all of them compared one by one."""

from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from autointerp.records import FeatureFilter, SearchHit
from autointerp.search.indexes.base import Closest
from autointerp.search.indexes.exact import ExactIndex
from autointerp.search.word_matches import WordMatches
from autointerp.store.label_table import LabelTable

_HEAD = 128
_ROUNDING = 1e-5
_ROWS_AT_ONCE = 16


class Candidates(NamedTuple):
    """Labels that are worth ranking.

    Attributes:
        rows: In the order in which equally relevant ones are shown: by source, feature and explanation.
        meaning: Cosine of each label's embedding with the query's.
        words: How far each label has the query's words, 0 to 1.
    """

    rows: Int64[np.ndarray, " candidate"]
    meaning: Float64[np.ndarray, " candidate"]
    words: Float64[np.ndarray, " candidate"]


def mean_known(values: Float64[np.ndarray, "row scorer"]) -> Float64[np.ndarray, " row"]:
    """Mean of each row without its NaN; NaN of a row that has nothing else."""
    n_known = np.isfinite(values).sum(axis=1)
    total = np.nansum(values, axis=1)
    return np.where(n_known > 0, total / np.maximum(n_known, 1), np.nan)


class Labels(Protocol):
    """Labels that can be searched, one a row.

    Attributes:
        is_late: Whether the store had more than these, which another process was just putting in: look again.
    """

    @property
    def is_late(self) -> bool: ...

    def passing(self, where: FeatureFilter) -> Bool[np.ndarray, " row"] | None:
        """Which rows pass a filter; None where all do.

        Raises:
            FilterError: If it asks for a source, a score or an explainer that no label has.
        """
        ...

    def candidates(
        self, query: str, vector: Float32[np.ndarray, " dim"], n_rows: int, allowed: Bool[np.ndarray, " row"] | None
    ) -> Candidates:
        """The rows closest to a query in meaning and in words: at least so many of each, if so many are allowed."""
        ...

    def closest(
        self, vector: Float32[np.ndarray, " dim"], n_rows: int, allowed: Bool[np.ndarray, " row"] | None
    ) -> Closest:
        """The rows that are closest in meaning, in the order of `Candidates.rows`."""
        ...

    def rows_of(self, source_id: str, features: list[int]) -> Int64[np.ndarray, " place"]:
        """The rows of features of one source."""
        ...

    def vectors(self, rows: Int64[np.ndarray, " some"]) -> Float32[np.ndarray, "some dim"]:
        """Unit vectors of rows."""
        ...

    def alike(
        self, rows: Int64[np.ndarray, " one"], others: Int64[np.ndarray, " other"], least: float
    ) -> list[Int64[np.ndarray, " some"]]:
        """Of each row, which of the others have a cosine with it of at least so much."""
        ...

    def mean_scores(self, rows: Int64[np.ndarray, " some"]) -> Float64[np.ndarray, " some"]:
        """Mean of the scores of each row, by whichever scorers; NaN where it has none."""
        ...

    def features(self, rows: Int64[np.ndarray, " some"]) -> list[tuple[str, int]]:
        """Source and feature of rows."""
        ...

    def hit(self, row: int, relevance: float) -> SearchHit:
        """One row as a search result."""
        ...


class LabelsInMemory:
    """All labels of a store, compared one by one.

    Attributes:
        is_late: Never.
        table: The labels.
    """

    is_late = False

    def __init__(self, table: LabelTable) -> None:
        self.table = table
        self._index = ExactIndex(table.embeddings)

    @cached_property
    def words(self) -> WordMatches:
        """What matches queries with all of them."""
        return WordMatches(self.table.labels)

    def passing(self, where: FeatureFilter) -> Bool[np.ndarray, " row"] | None:
        """See `Labels.passing`."""
        return self.table.passing(where)

    def candidates(
        self, query: str, vector: Float32[np.ndarray, " dim"], n_rows: int, allowed: Bool[np.ndarray, " row"] | None
    ) -> Candidates:
        """See `Labels.candidates`; all that are allowed."""
        rows, meaning = self._index.closest(vector, n_rows, allowed)
        return Candidates(rows, meaning, self.words.of(query)[rows])

    def closest(
        self, vector: Float32[np.ndarray, " dim"], n_rows: int, allowed: Bool[np.ndarray, " row"] | None
    ) -> Closest:
        """See `Labels.closest`; all that are allowed."""
        return self._index.closest(vector, n_rows, allowed)

    def rows_of(self, source_id: str, features: list[int]) -> Int64[np.ndarray, " place"]:
        """See `Labels.rows_of`."""
        return self.table.rows_of(source_id, features)

    def vectors(self, rows: Int64[np.ndarray, " some"]) -> Float32[np.ndarray, "some dim"]:
        """See `Labels.vectors`."""
        found: Float32[np.ndarray, "some dim"] = self.table.embeddings[rows]
        return found

    def alike(
        self, rows: Int64[np.ndarray, " one"], others: Int64[np.ndarray, " other"], least: float
    ) -> list[Int64[np.ndarray, " some"]]:
        """See `Labels.alike`; the vectors' first numbers alone tell most of them apart."""
        embeddings = self.table.embeddings
        heads = embeddings[:, :_HEAD]
        # Of unit vectors with such a cosine, the squared distance of any part of them is at most that of the whole.
        most = 2 - 2 * least + _ROUNDING
        found = []
        for first in range(0, len(rows), _ROWS_AT_ONCE):
            some = rows[first : first + _ROWS_AT_ONCE]
            apart = self._head_lengths + self._head_lengths[some][:, None] - 2 * (heads[some] @ heads.T)
            for row, near in zip(some.tolist(), apart[:, others] <= most, strict=True):
                possible = others[near]
                found.append(possible[embeddings[possible] @ embeddings[row] >= least])
        return found

    @cached_property
    def _head_lengths(self) -> Float32[np.ndarray, " row"]:
        heads = self.table.embeddings[:, :_HEAD]
        lengths: Float32[np.ndarray, " row"] = np.einsum("rd,rd->r", heads, heads)
        return lengths

    def mean_scores(self, rows: Int64[np.ndarray, " some"]) -> Float64[np.ndarray, " some"]:
        """See `Labels.mean_scores`."""
        return mean_known(self.table.values[rows])

    def features(self, rows: Int64[np.ndarray, " some"]) -> list[tuple[str, int]]:
        """See `Labels.features`."""
        return list(zip(self.table.source_ids[rows].tolist(), self.table.feature_index[rows].tolist(), strict=True))

    def hit(self, row: int, relevance: float) -> SearchHit:
        """See `Labels.hit`."""
        return self.table.hit(row, relevance)
