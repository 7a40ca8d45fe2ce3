"""The SELECTs of a map: the labels of a source with their embeddings, and what points are coloured by."""

from collections.abc import Sequence

import duckdb
import numpy as np
from jaxtyping import Float32, UInt64

from autointerp.errors import StoreError
from autointerp.records.label_map import LabelPoints, PointColumns
from autointerp.store.feature_table import SourceTables

# The same in every version of DuckDB, as its `hash` is not.
_DIGEST = "md5_number_lower(l.explanation_id)"
_EMBEDDED = f"""
SELECT l.feature_index, {_DIGEST}, l.label, e.embedding FROM labels l
JOIN (SELECT * FROM label_embeddings WHERE embedder = $embedder AND source_id = $source) e USING (explanation_id)
ORDER BY l.feature_index
"""


def select_embedded(
    connection: duckdb.DuckDBPyConnection, embedder: str, source_id: str
) -> tuple[LabelPoints, Float32[np.ndarray, "point dim"]]:
    """The labels of a source that an embedder has embedded, with the vectors.

    Raises:
        StoreError: If these are not all of one length.
    """
    table = SourceTables(connection, source_id).arrow(_EMBEDDED, {"embedder": embedder})
    index, digest, labels, vectors = (table.column(place).combine_chunks() for place in range(4))
    flat, ends = np.from_dlpack(vectors.values), np.from_dlpack(vectors.offsets)
    if len(vectors) and (np.diff(ends) != ends[1] - ends[0]).any():
        raise StoreError(f"embeddings of {embedder} are of several lengths", "name each version of a model differently")
    points = LabelPoints(np.from_dlpack(index), np.from_dlpack(digest), labels.to_pylist())
    return points, flat.reshape(len(points.labels), -1) if points.labels else np.empty((0, 0), np.float32)


def select_digests(connection: duckdb.DuckDBPyConnection, source_id: str) -> UInt64[np.ndarray, " label"]:
    """Digests of the explanations of a source's current labels, one a feature."""
    table = SourceTables(connection, source_id).arrow(f"SELECT {_DIGEST} FROM labels l")
    return np.from_dlpack(table.column(0).combine_chunks())


def select_columns(
    connection: duckdb.DuckDBPyConnection, source_id: str, scorers: Sequence[str]
) -> tuple[LabelPoints, PointColumns]:
    """The labels of a source with their features' density and largest activation, and with their scores."""
    values = "".join(
        f", max(value) FILTER (scorer = $scorer_{place} AND isfinite(value)) AS value_{place}"
        for place in range(len(scorers))
    )
    table = SourceTables(connection, source_id).arrow(
        f"""
SELECT l.feature_index, {_DIGEST}, l.label, coalesce(f.density, 'nan'), coalesce(f.max_activation, 'nan')
{"".join(f", coalesce(value_{place}, 'nan')" for place in range(len(scorers)))}
FROM labels l LEFT JOIN features f ON f.source_id = $source AND f.feature_index = l.feature_index
LEFT JOIN (
    SELECT explanation_id{values} FROM current_scores WHERE source_id = $source GROUP BY explanation_id
) s ON s.explanation_id = l.explanation_id
ORDER BY l.feature_index""",
        {f"scorer_{place}": scorer for place, scorer in enumerate(scorers)},
    )
    index, digest, labels, *numbers = (table.column(place).combine_chunks() for place in range(table.num_columns))
    density, largest, *scores = (np.from_dlpack(of) for of in numbers)
    points = LabelPoints(np.from_dlpack(index), np.from_dlpack(digest), labels.to_pylist())
    return points, PointColumns(density, largest, dict(zip(scorers, scores, strict=True)))
