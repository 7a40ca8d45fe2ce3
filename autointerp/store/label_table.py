"""Current true labels as arrays, for search: embeddings as one matrix, densities and scores beside it."""

import duckdb
import numpy as np
import pyarrow as pa

from autointerp.store.results import LabelEmbeddings

_ROWS = """
SELECT e.source_id, e.feature_index, e.explanation_id, e.label, l.embedding, f.density
FROM label_embeddings l
JOIN current_explanations e USING (explanation_id)
LEFT JOIN features f ON f.source_id = e.source_id AND f.feature_index = e.feature_index
WHERE l.embedder = ? AND e.label_from IS NULL
ORDER BY e.source_id, e.feature_index, e.explanation_id
"""
_SCORES = """
SELECT asked.place, s.scorer, s.value FROM current_scores s JOIN asked USING (explanation_id)
"""


def label_embeddings(connection: duckdb.DuckDBPyConnection, embedder: str) -> LabelEmbeddings:
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
    return LabelEmbeddings(
        embedder=embedder,
        source_ids=table.column("source_id").to_numpy(zero_copy_only=False),
        feature_index=table.column("feature_index").to_numpy().astype(np.int32),
        explanation_ids=tuple(ids.to_pylist()),
        labels=tuple(table.column("label").to_pylist()),
        matrix=flat.reshape(n_rows, -1) if n_rows else np.empty((0, 0), np.float32),
        density=table.column("density").to_numpy(zero_copy_only=False).astype(np.float64),
        scorers=tuple(scorers.tolist()),
        values=values,
    )


def _arrow(connection: duckdb.DuckDBPyConnection, sql: str, bound: list[str]) -> pa.Table:
    relation = connection.sql(sql, params=bound)
    assert relation is not None, "a SELECT gives a relation"
    return relation.to_arrow_table()
