"""Current true labels as arrays, for search: embeddings as one matrix, densities and scores beside it."""

from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from autointerp.store.results import LabelEmbeddings

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = """
SELECT e.source_id, e.feature_index, e.explanation_id, e.label, l.embedding, coalesce(f.density, 'nan') AS density
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
SELECT asked.place, s.scorer, s.value FROM current_scores s JOIN asked USING (explanation_id)
"""


def label_embeddings(connection: duckdb.DuckDBPyConnection, embedder: str) -> LabelEmbeddings:
    """The current true labels that an embedder has embedded, with their features' densities and their scores."""
    table = _arrow(connection, _ROWS, embedder)
    n_rows = table.num_rows
    scored = _arrow(connection, _SCORES, embedder)
    scorers, column = np.unique(np.array(scored.column("scorer").to_pylist(), dtype=str), return_inverse=True)
    values = np.full((n_rows, len(scorers)), np.nan)
    values[_numbers(scored.column("place")), column] = _numbers(scored.column("value"))
    flat = np.from_dlpack(table.column("embedding").combine_chunks().values)
    return LabelEmbeddings(
        embedder=embedder,
        source_ids=np.array(table.column("source_id").to_pylist(), dtype=object),
        feature_index=_numbers(table.column("feature_index")),
        explanation_ids=tuple(table.column("explanation_id").to_pylist()),
        labels=tuple(table.column("label").to_pylist()),
        matrix=flat.reshape(n_rows, -1) if n_rows else np.empty((0, 0), np.float32),
        density=_numbers(table.column("density")),
        scorers=tuple(scorers.tolist()),
        values=values,
    )


def _arrow(connection: duckdb.DuckDBPyConnection, sql: str, embedder: str) -> "pa.Table":
    relation = connection.sql(sql, params=[embedder])
    assert relation is not None, "a SELECT gives a relation"
    return relation.to_arrow_table()


def _numbers(column: "pa.ChunkedArray") -> NDArray[Any]:
    # The column's own `to_numpy` imports pandas, which takes longer than all the rest of reading.
    return np.from_dlpack(column.combine_chunks())
