"""The labels that an embedder has embedded, in the order in which they came, read in pieces for an index of them.

Nothing is ever taken out of the tables of results: what is new since an earlier reading are the rows after those that
were there then, and which labels and scores are current depends on the fingerprints of the stages alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64

from autointerp.errors import StoreError

if TYPE_CHECKING:
    import pyarrow as pa

# `rowid` numbers the rows of a table in the order in which they were inserted. Joining by feature as well lets DuckDB
# skip the row groups of all other features.
_ROWS = """
SELECT l.place, e.source_id, e.feature_index, e.explanation_id, e.label, e.explainer, l.embedding,
    coalesce(f.density, 'nan') AS density, s.fingerprint IS NULL OR s.fingerprint = e.fingerprint AS is_current
FROM (
    SELECT rowid AS place, * FROM label_embeddings WHERE embedder = ? AND rowid >= ? AND rowid < ?
) l
JOIN explanations e USING (explanation_id, source_id, feature_index)
LEFT JOIN features f ON f.source_id = e.source_id AND f.feature_index = e.feature_index
LEFT JOIN stages s ON s.stage = 'explain'
WHERE e.label_from IS NULL
ORDER BY l.place
"""
_STANDING = """
SELECT l.place, coalesce(f.density, 'nan') AS density,
    s.fingerprint IS NULL OR s.fingerprint = e.fingerprint AS is_current
FROM (SELECT rowid AS place, * FROM label_embeddings WHERE embedder = ? AND rowid >= ? AND rowid < ?) l
JOIN explanations e USING (explanation_id, source_id, feature_index)
LEFT JOIN features f ON f.source_id = e.source_id AND f.feature_index = e.feature_index
LEFT JOIN stages s ON s.stage = 'explain'
WHERE e.label_from IS NULL
ORDER BY l.place
"""
_SCORES = """
SELECT l.place, g.scorer, g.value, g.ci_low, g.ci_high
FROM (SELECT rowid AS scored, * FROM scores WHERE rowid >= ? AND rowid < ?) g
JOIN (SELECT rowid AS place, * FROM label_embeddings) l USING (explanation_id, source_id, feature_index)
LEFT JOIN stages s ON s.stage = 'score:' || g.scorer
WHERE l.embedder = ? AND (s.fingerprint IS NULL OR s.fingerprint = g.fingerprint)
ORDER BY g.scored
"""


@dataclass(frozen=True, slots=True)
class LabelState:
    """How far a store has come, as far as searching its labels goes.

    Attributes:
        version: Of the schema.
        n_embeddings: Rows of embeddings, of all embedders.
        n_scores: Rows of scores.
        n_features: Rows of features.
        sources: Features of each source.
        fingerprints: By stage, of the stages that make labels and scores.
    """

    version: int
    n_embeddings: int
    n_scores: int
    n_features: int
    sources: Mapping[str, int]
    fingerprints: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LabelRows:
    """Some labels with their embeddings, in the order of their places.

    Attributes:
        place: Of each among all embeddings of the store; ascending.
        source_ids: Source of each.
        feature_index: Feature of each.
        explanation_ids: Explanation of each.
        labels: Label of each.
        explainers: Explainer of each.
        embeddings: Unit vector of each.
        density: Of each one's feature; NaN where the feature itself is not in the store.
        is_current: Whether each is a label of the current settings.
    """

    place: Int64[np.ndarray, " row"]
    source_ids: list[str]
    feature_index: Int32[np.ndarray, " row"]
    explanation_ids: list[str]
    labels: list[str]
    explainers: list[str]
    embeddings: Float32[np.ndarray, "row dim"]
    density: Float64[np.ndarray, " row"]
    is_current: Bool[np.ndarray, " row"]


@dataclass(frozen=True, slots=True)
class LabelScores:
    """Some current scores, in the order in which they came.

    Attributes:
        place: Of each one's label among all embeddings of the store.
        scorers: Scorer of each.
        values: Value, lower and upper end of the 95 % interval of each.
    """

    place: Int64[np.ndarray, " score"]
    scorers: list[str]
    values: Float64[np.ndarray, "score 3"]


def read_state(connection: duckdb.DuckDBPyConnection) -> LabelState:
    """How far the store has come."""
    counts = "SELECT (SELECT max(version) FROM schema_version), " + ", ".join(
        f"(SELECT count(*) FROM {table})" for table in ("label_embeddings", "scores", "features")
    )
    ((version, n_embeddings, n_scores, n_features),) = connection.execute(counts).fetchall()
    sources = connection.execute("SELECT source_id, n_features FROM sources ORDER BY source_id").fetchall()
    stages = connection.execute(
        "SELECT stage, fingerprint FROM stages WHERE stage = 'explain' OR stage LIKE 'score:%' ORDER BY stage"
    ).fetchall()
    return LabelState(version, n_embeddings, n_scores, n_features, dict(sources), dict(stages))


def read_rows(connection: duckdb.DuckDBPyConnection, embedder: str, first: int, end: int) -> LabelRows:
    """The true labels, current or not, whose embeddings have the places from `first` to before `end`.

    Raises:
        StoreError: If the embedder's vectors are not all of one length.
    """
    table = _arrow(connection, _ROWS, [embedder, first, end])
    vectors = table.column("embedding").combine_chunks()
    flat = np.from_dlpack(vectors.values)
    n_rows = table.num_rows
    ends = np.from_dlpack(vectors.offsets)
    if n_rows and (np.diff(ends) != ends[1] - ends[0]).any():
        raise StoreError(f"embeddings of {embedder} are of several lengths", "name each version of a model differently")
    return LabelRows(
        place=_numbers(table, "place"),
        source_ids=table.column("source_id").to_pylist(),
        feature_index=_numbers(table, "feature_index"),
        explanation_ids=table.column("explanation_id").to_pylist(),
        labels=table.column("label").to_pylist(),
        explainers=table.column("explainer").to_pylist(),
        embeddings=flat.reshape(n_rows, -1) if n_rows else np.empty((0, 0), np.float32),
        density=_numbers(table, "density"),
        is_current=_flags(table, "is_current"),
    )


def read_standing(
    connection: duckdb.DuckDBPyConnection, embedder: str, first: int, end: int
) -> tuple[Int64[np.ndarray, " row"], Float64[np.ndarray, " row"], Bool[np.ndarray, " row"]]:
    """Of the same labels the place, the density and whether each is current, without reading what never changes."""
    table = _arrow(connection, _STANDING, [embedder, first, end])
    return _numbers(table, "place"), _numbers(table, "density"), _flags(table, "is_current")


def read_scores(connection: duckdb.DuckDBPyConnection, embedder: str, first: int, end: int) -> LabelScores:
    """The current scores among rows `first` to before `end` of all scores."""
    table = _arrow(connection, _SCORES, [first, end, embedder])
    values = [_numbers(table, name) for name in ("value", "ci_low", "ci_high")]
    return LabelScores(_numbers(table, "place"), table.column("scorer").to_pylist(), np.stack(values, axis=1))


def read_sample(
    connection: duckdb.DuckDBPyConnection, embedder: str, places: Sequence[int]
) -> dict[int, tuple[str, list[float]]]:
    """The explanation and the embedding of the labels at some places; no entry where there is none."""
    # One by one: DuckDB goes to the row of one number, but reads the whole table for a list of numbers.
    sql = "SELECT explanation_id, embedding FROM label_embeddings WHERE rowid = ? AND embedder = ?"
    found = {place: connection.execute(sql, [place, embedder]).fetchall() for place in places}
    return {place: rows[0] for place, rows in found.items() if rows}


def _arrow(connection: duckdb.DuckDBPyConnection, sql: str, params: list[Any]) -> "pa.Table":
    relation = connection.sql(sql, params=params)
    assert relation is not None, "a SELECT gives a relation"
    return relation.to_arrow_table()


def _numbers(table: "pa.Table", name: str) -> np.ndarray[Any, Any]:
    # The column's own `to_numpy` imports pandas, which takes longer than all the rest of reading.
    return np.from_dlpack(table.column(name).combine_chunks())


def _flags(table: "pa.Table", name: str) -> Bool[np.ndarray, " row"]:
    return np.array(table.column(name).to_pylist(), dtype=bool)
