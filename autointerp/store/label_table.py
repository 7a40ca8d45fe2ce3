"""Current true labels as columns in memory, for search: embeddings as one matrix, densities and scores beside it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64
from numpy.typing import NDArray

from autointerp.records import FeatureFilter, KnownNames, SearchHit

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = """
SELECT e.source_id, e.feature_index, e.explanation_id, e.label, e.explainer, l.embedding,
    coalesce(f.density, 'nan') AS density
FROM label_embeddings l
JOIN current_explanations e USING (explanation_id)
LEFT JOIN features f ON f.source_id = e.source_id AND f.feature_index = e.feature_index
WHERE l.embedder = ? AND e.label_from IS NULL
ORDER BY e.source_id, e.feature_index, e.explanation_id
"""
_SCORES = """
WITH asked AS (
    SELECT explanation_id, row_number() OVER (ORDER BY e.source_id, e.feature_index, e.explanation_id) - 1 AS place
    FROM label_embeddings l JOIN current_explanations e USING (explanation_id)
    WHERE l.embedder = ? AND e.label_from IS NULL
)
SELECT asked.place, s.scorer, s.value, s.ci_low, s.ci_high FROM current_scores s JOIN asked USING (explanation_id)
"""


@dataclass(frozen=True, slots=True)
class LabelTable:
    """Labels that one embedder has embedded, one row each, ascending by (source, feature, explanation).

    Attributes:
        embedder: Name of the embedder.
        source_ids: Source of each row.
        feature_index: Feature of each row.
        explanation_ids: Explanation of each row.
        labels: Label of each row.
        explainers: Explainer of each row.
        embeddings: Unit vector of each row.
        density: Of each row's feature; NaN where the feature itself is not in the store.
        scorers: Names of the columns of `values`, ascending.
        values: Current score of each label by each scorer; NaN where it has none.
        intervals: Lower and upper end of the 95 % interval of each of them.
        n_features: Features of each source of the store, by its id.
    """

    embedder: str
    source_ids: NDArray[np.object_]
    feature_index: Int32[np.ndarray, " row"]
    explanation_ids: tuple[str, ...]
    labels: tuple[str, ...]
    explainers: NDArray[np.object_]
    embeddings: Float32[np.ndarray, "row dim"]
    density: Float64[np.ndarray, " row"]
    scorers: tuple[str, ...]
    values: Float64[np.ndarray, "row scorer"]
    intervals: Float64[np.ndarray, "row scorer 2"]
    n_features: Mapping[str, int]

    def passing(self, where: FeatureFilter) -> Bool[np.ndarray, " row"]:
        """Which rows pass a filter.

        Raises:
            FilterError: If it asks for a source, a score or an explainer that no label has.
        """
        where.check(KnownNames(self.n_features, self.scorers, frozenset(self.explainers.tolist())))
        kept = np.full(len(self.labels), where.labelled is not False)
        if where.sources is not None:
            kept &= np.isin(self.source_ids, list(where.sources))
        if where.features is not None:
            kept &= np.isin(self.feature_index, list(where.features))
        # A density or a score that is not known is NaN, and compares as False.
        if where.min_density > 0:
            kept &= self.density >= where.min_density
        if where.max_density < 1:
            kept &= self.density <= where.max_density
        if where.explainer is not None:
            kept &= self.explainers == where.explainer
        for scorer, least in where.min_score.items():
            kept &= self.values[:, self.scorers.index(scorer)] >= least
        return kept

    def rows_of(self, source_id: str, features: Collection[int]) -> Int64[np.ndarray, " place"]:
        """The rows of features of one source, ascending."""
        return np.flatnonzero((self.source_ids == source_id) & np.isin(self.feature_index, list(features)))

    def hit(self, row: int, relevance: float) -> SearchHit:
        """One row as a search result."""
        values = dict(zip(self.scorers, self.values[row].tolist(), strict=True))
        intervals = dict(zip(self.scorers, self.intervals[row].tolist(), strict=True))
        return SearchHit(
            source_id=self.source_ids[row],
            feature_index=int(self.feature_index[row]),
            label=self.labels[row],
            explanation_id=self.explanation_ids[row],
            relevance=relevance,
            density=float(self.density[row]),
            scores={scorer: value for scorer, value in values.items() if value == value},
            explainer=self.explainers[row],
            intervals={scorer: (low, high) for scorer, (low, high) in intervals.items() if low == low},
        )


def read_label_table(connection: duckdb.DuckDBPyConnection, embedder: str) -> LabelTable:
    """The current true labels that an embedder has embedded, with their features' densities and their scores."""
    table = _arrow(connection, _ROWS, embedder)
    n_rows = table.num_rows
    scored = _arrow(connection, _SCORES, embedder)
    scorers, column = np.unique(np.array(scored.column("scorer").to_pylist(), dtype=str), return_inverse=True)
    cells = (_numbers(scored.column("place")), column)
    scores = np.full((n_rows, len(scorers), 3), np.nan)
    for number, name in enumerate(("value", "ci_low", "ci_high")):
        scores[(*cells, number)] = _numbers(scored.column(name))
    flat = np.from_dlpack(table.column("embedding").combine_chunks().values)
    return LabelTable(
        embedder=embedder,
        source_ids=np.array(table.column("source_id").to_pylist(), dtype=object),
        feature_index=_numbers(table.column("feature_index")),
        explanation_ids=tuple(table.column("explanation_id").to_pylist()),
        labels=tuple(table.column("label").to_pylist()),
        explainers=np.array(table.column("explainer").to_pylist(), dtype=object),
        embeddings=flat.reshape(n_rows, -1) if n_rows else np.empty((0, 0), np.float32),
        density=_numbers(table.column("density")),
        scorers=tuple(scorers.tolist()),
        values=scores[:, :, 0],
        intervals=scores[:, :, 1:],
        n_features=dict(connection.execute("SELECT source_id, n_features FROM sources").fetchall()),
    )


def _arrow(connection: duckdb.DuckDBPyConnection, sql: str, embedder: str) -> "pa.Table":
    relation = connection.sql(sql, params=[embedder])
    assert relation is not None, "a SELECT gives a relation"
    return relation.to_arrow_table()


def _numbers(column: "pa.ChunkedArray") -> NDArray[Any]:
    # The column's own `to_numpy` imports pandas, which takes longer than all the rest of reading.
    return np.from_dlpack(column.combine_chunks())
