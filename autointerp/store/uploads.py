"""Uploaded features in a store of their own: a batch in one transaction, in place of what these features had before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from autointerp.records import Context, Explanation, FeatureRecord, SourceRecord
from autointerp.store import rows
from autointerp.store.connection import prepare, writing

_OF_A_FEATURE = ("features", "contexts", "explanations", "label_embeddings")


@dataclass(frozen=True, slots=True)
class UploadedRows:
    """What a batch of features of one source comes to.

    Attributes:
        source: The source; how many features it has, is what the store then holds.
        features: The features, each once.
        contexts: Theirs, each feature's in order.
        explanations: Their labels.
        fingerprint: Of the contexts.
    """

    source: SourceRecord
    features: Sequence[FeatureRecord]
    contexts: Sequence[Context]
    explanations: Sequence[Explanation]
    fingerprint: str


def add_uploaded(path: Path, batch: UploadedRows, empty: FeatureRecord, timeout_s: float = 60.0) -> int:
    """Write a batch; indices below the largest that nobody has uploaded are features of which nothing is known.

    Args:
        path: The store, which is made where there is none.
        batch: What is written.
        empty: What such a feature is, but for its index.
        timeout_s: How long to wait for others that read or write.

    Returns:
        How many features the source has then.

    Raises:
        StoreError: If the store can't be used; StoreBusyError after `timeout_s`.
        DiskFullError: If there is no room; the store then holds what it held before.
    """
    prepare(path, timeout_s)
    source = batch.source
    with writing(path, timeout_s) as connection:
        indices = [feature.feature_index for feature in batch.features]
        for table in _OF_A_FEATURE:
            connection.execute(
                f"DELETE FROM {table} WHERE source_id = ? AND feature_index IN (SELECT unnest(?))",
                [source.source_id, indices],
            )
        _insert(connection, "features", rows.feature_table(batch.features))
        _insert(connection, "contexts", rows.context_table([(of, n, batch.fingerprint) for n, of in _placed(batch)]))
        _insert(connection, "explanations", rows.explanation_table(batch.explanations))
        ((n_features,),) = connection.execute(
            "SELECT max(feature_index) + 1 FROM features WHERE source_id = ?", [source.source_id]
        ).fetchall()
        _fill(connection, empty, n_features)
        known = {**_columns(source), "n_features": n_features}
        names = ", ".join((*known, "histogram_edges"))
        connection.execute("DELETE FROM sources WHERE source_id = ?", [source.source_id])
        connection.execute(
            f"INSERT INTO sources ({names}) VALUES ({'?, ' * len(known)}[]::DOUBLE[])", list(known.values())
        )
    return int(n_features)


def _columns(source: SourceRecord) -> Mapping[str, object]:
    return {name: getattr(source, name) for name in SourceRecord.__slots__}


def _placed(batch: UploadedRows) -> Sequence[tuple[int, Context]]:
    places: dict[int, int] = {}
    placed = []
    for context in batch.contexts:
        place = places.get(context.feature_index, 0)
        places[context.feature_index] = place + 1
        placed.append((place, context))
    return placed


def _insert(connection: duckdb.DuckDBPyConnection, table: str, batch: pa.Table) -> None:
    if batch.num_rows:
        columns = ", ".join(batch.column_names)
        connection.register("batch", batch)
        connection.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM batch")
        connection.unregister("batch")


def _fill(connection: duckdb.DuckDBPyConnection, empty: FeatureRecord, n_features: int) -> None:
    one = rows.feature_table([empty])
    connection.register("empty", one)
    columns = [name for name in one.column_names if name != "feature_index"]
    connection.execute(
        f"INSERT INTO features (feature_index, {', '.join(columns)}) SELECT n, {', '.join(columns)}"
        " FROM (SELECT unnest(range(?)) AS n) ANTI JOIN"
        " (SELECT feature_index AS n FROM features WHERE source_id = ?) USING (n), empty",
        [n_features, empty.source_id],
    )
    connection.unregister("empty")
