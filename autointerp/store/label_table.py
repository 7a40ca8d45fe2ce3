"""Current true labels as columns in memory, for search: embeddings as one matrix, densities and scores beside it."""

from collections.abc import Collection
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32, Float64, Int32, Int64
from numpy.typing import NDArray

from autointerp.records import FeatureFilter, SearchHit

_ROWS = """
SELECT e.source_id, e.feature_index, e.explanation_id, e.label, e.explainer, l.embedding, f.density
FROM label_embeddings l
JOIN current_explanations e USING (explanation_id)
LEFT JOIN features f ON f.source_id = e.source_id AND f.feature_index = e.feature_index
WHERE l.embedder = ? AND e.label_from IS NULL
ORDER BY e.source_id, e.feature_index, e.explanation_id
"""
_SCORES = """
SELECT asked.place, s.scorer, s.value FROM current_scores s JOIN asked USING (explanation_id)
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

    def passing(self, where: FeatureFilter) -> Bool[np.ndarray, " row"]:
        """Which rows pass a filter.

        Raises:
            FilterError: If it asks for a score that no label has.
        """
        where.check_scorers(self.scorers)
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
        values = zip(self.scorers, self.values[row].tolist(), strict=True)
        return SearchHit(
            source_id=self.source_ids[row],
            feature_index=int(self.feature_index[row]),
            label=self.labels[row],
            explanation_id=self.explanation_ids[row],
            relevance=relevance,
            density=float(self.density[row]),
            scores={scorer: value for scorer, value in values if value == value},
        )


def read_label_table(connection: duckdb.DuckDBPyConnection, embedder: str) -> LabelTable:
    """The current true labels that an embedder has embedded, with their features' densities and their scores."""
    table = _arrow(connection, _ROWS, [embedder])
    n_rows = table.num_rows
    flat = np.asarray(table.column("embedding").combine_chunks().flatten(), dtype=np.float32)
    ids = table.column("explanation_id")
    connection.register("asked", pa.table({"explanation_id": ids, "place": pa.array(np.arange(n_rows))}))
    scored = _arrow(connection, _SCORES, [])
    connection.unregister("asked")
    scorers, column = np.unique(scored.column("scorer").to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
    values = np.full((n_rows, len(scorers)), np.nan)
    values[scored.column("place").to_numpy(), column] = scored.column("value").to_numpy()
    return LabelTable(
        embedder=embedder,
        source_ids=table.column("source_id").to_numpy(zero_copy_only=False),
        feature_index=table.column("feature_index").to_numpy().astype(np.int32),
        explanation_ids=tuple(ids.to_pylist()),
        labels=tuple(table.column("label").to_pylist()),
        explainers=table.column("explainer").to_numpy(zero_copy_only=False),
        embeddings=flat.reshape(n_rows, -1) if n_rows else np.empty((0, 0), np.float32),
        density=table.column("density").to_numpy(zero_copy_only=False).astype(np.float64),
        scorers=tuple(scorers.tolist()),
        values=values,
    )


def _arrow(connection: duckdb.DuckDBPyConnection, sql: str, bound: list[str]) -> pa.Table:
    relation = connection.sql(sql, params=bound)
    assert relation is not None, "a SELECT gives a relation"
    return relation.to_arrow_table()
