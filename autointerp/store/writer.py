"""The store's only writer: each method is one short transaction, and adds nothing twice.

A stage killed between two transactions and run again gives an equal store: a record whose identity is there already
is left as it is. Identities: a source's and an explanation's id; (source, feature); (context, fingerprint);
(explanation, scorer, fingerprint) for a score with its trials; (explanation, embedder); (source, feature, space) for a
feature's neighbors. A label or a score removes the failure that it makes good (contexts can't: a feature that got none
is not tried again); a repeated failure replaces the earlier one.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TypeVar

import duckdb
import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int32

from autointerp.errors import StoreError
from autointerp.records import (
    Explanation,
    Failure,
    FeatureContexts,
    FeatureRecord,
    ScoreWithTrials,
    SourceRecord,
    Usage,
)
from autointerp.store import resume, rows
from autointerp.store.connection import prepare, reading, store_path, writing
from autointerp.store.digest import content_digest
from autointerp.store.results import RunRecord, StageState

_FEATURES_PER_TRANSACTION = 512
_Record = TypeVar("_Record")


class Writer:
    """Adds records to the store of one run folder. Opening the file for each transaction costs about 3 ms.

    Args:
        run_folder: The run's folder, or the store's file; the store is made if it is missing.
        timeout_s: How long to wait for readers to let go of the file.
    """

    def __init__(self, run_folder: str | Path, timeout_s: float = 60.0) -> None:
        self.path = store_path(run_folder)
        self._timeout_s = timeout_s
        prepare(self.path, timeout_s)

    def set_run(self, run: RunRecord) -> None:
        """Say which run this is; the time of the first run is kept."""
        with writing(self.path, self._timeout_s) as connection:
            first = connection.execute("SELECT created_at FROM run").fetchall()
            created_at = first[0][0] if first else run.created_at.astimezone(UTC).replace(tzinfo=None)
            connection.execute("DELETE FROM run")
            connection.execute(
                "INSERT INTO run (name, pipeline, program_version, created_at) VALUES (?, ?, ?, ?)",
                [run.name, rows.json_text(run.pipeline, "the pipeline"), run.program_version, created_at],
            )

    def set_stage(
        self,
        stage: str,
        fingerprint: str,
        status: StageState,
        *,
        n_asked: int | None = None,
        cost_usd: float | None = None,
        usage: Usage | None = None,
    ) -> None:
        """Say which fingerprint a stage's current records carry, and how far it is.

        Readers take records of other fingerprints of this stage for superseded from here on.

        Args:
            stage: `collect`, `contexts`, `explain`, `baseline`, `score:NAME`, `index`.
            fingerprint: The one in the stage's own records (`Explanation.fingerprint`, `Score.fingerprint`, …).
            status: `running`, `done` or `stopped`.
            n_asked: Features or explanations asked for.
            cost_usd: Of the whole stage so far, where `usage` does not say it.
            usage: Of the whole stage so far, where it asks a language model.
        """
        cost_usd = cost_usd if usage is None else usage.cost_usd
        finished_at = None if status == "running" else datetime.now(UTC).replace(tzinfo=None)
        with writing(self.path, self._timeout_s) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO stages (stage, fingerprint, status, n_asked, cost_usd, summary, finished_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                [stage, fingerprint, status, n_asked, cost_usd, rows.usage_text(usage), finished_at],
            )

    def stop_stages(self) -> None:
        """Say that no stage is running any more: the run ended before they did."""
        with writing(self.path, self._timeout_s) as connection:
            connection.execute(
                "UPDATE stages SET status = 'stopped', finished_at = ? WHERE status = 'running'",
                [datetime.now(UTC).replace(tzinfo=None)],
            )

    def add_source(self, source: SourceRecord, histogram_edges: Sequence[float] = ()) -> None:
        """Add a source, with the edges of its features' histograms.

        Raises:
            StoreError: If the store has another source of the same id.
        """
        row = [getattr(source, name) for name in SourceRecord.__slots__]
        with writing(self.path, self._timeout_s) as connection:
            known = connection.execute(
                f"SELECT {', '.join(SourceRecord.__slots__)} FROM sources WHERE source_id = ?",
                [source.source_id],
            ).fetchall()
            if known and list(known[0]) != row:
                raise StoreError(f"{self.path} already holds another {source.source_id}", "use another run folder")
            connection.execute(
                f"INSERT INTO sources ({', '.join(SourceRecord.__slots__)}, histogram_edges)"
                f" VALUES ({'?, ' * len(row)}?) ON CONFLICT DO NOTHING",
                [*row, list(histogram_edges)],
            )

    def add_features(self, features: Sequence[FeatureRecord]) -> None:
        """Add features, dead ones too."""
        self.add_feature_table(rows.feature_table(_distinct(features, lambda f: (f.source_id, f.feature_index))))

    def add_feature_table(self, features: pa.Table) -> None:
        """Add features that come as columns.

        Args:
            features: Rows of `rows.FEATURES`, no feature twice.
        """
        with writing(self.path, self._timeout_s) as connection:
            _insert(connection, "features", features, ("source_id", "feature_index"))

    def add_contexts(self, contexts: Iterable[FeatureContexts], fingerprint: str) -> None:
        """Add features' contexts, some hundred features a transaction, one feature never in two.

        Args:
            contexts: May be lazy: it is not drawn from while the file is open.
            fingerprint: Of the contexts stage.
        """
        for some in _batches(contexts, _FEATURES_PER_TRANSACTION):
            placed = [(context, place, fingerprint) for one in some for place, context in enumerate(one.contexts)]
            table = rows.context_table(_distinct(placed, lambda row: row[0].context_id))
            with writing(self.path, self._timeout_s) as connection:
                _insert(connection, "contexts", table, ("context_id", "fingerprint"))

    def add_explanations(self, explanations: Sequence[Explanation]) -> None:
        """Add labels, true ones and baselines."""
        new = _distinct(explanations, lambda e: e.explanation_id)
        done = [
            ("baseline" if e.is_baseline else "explain", e.source_id, e.feature_index, e.fingerprint, None) for e in new
        ]
        with writing(self.path, self._timeout_s) as connection:
            _insert(connection, "explanations", rows.explanation_table(new), ("explanation_id",))
            _remove_failures(connection, done)

    def add_scores(self, scored: Sequence[ScoreWithTrials], failures: Sequence[Failure] = ()) -> None:
        """Add scores with their trials and the contexts that the scorers drew, in one transaction.

        Args:
            scored: The scores.
            failures: Of labels that were asked about together with these, to be kept with them or not at all.

        Raises:
            StoreError: If a score's explanation is not in the store.
        """
        distinct = _distinct(scored, lambda g: (g.score.explanation_id, g.score.scorer, g.score.fingerprint))
        with writing(self.path, self._timeout_s) as connection:
            owner = _owners(connection, [g.score.explanation_id for g in distinct])
            known = _known_scores(connection, sorted({feature for _, feature in owner.values()}))
            _replace_failures(connection, failures)
            new = [g for g in distinct if (g.score.explanation_id, g.score.scorer, g.score.fingerprint) not in known]
            if not new:
                return
            owners = [owner[g.score.explanation_id] for g in new]
            drawn = [(context, None, g.score.fingerprint) for g in new for context in g.contexts]
            contexts = rows.context_table(_distinct(drawn, lambda row: (row[0].context_id, row[2])))
            _insert(connection, "contexts", contexts, ("context_id", "fingerprint"))
            _insert(connection, "trials", rows.trial_table(new, owners), ())
            _insert(connection, "scores", rows.score_table(new, owners), ())
            _remove_failures(
                connection,
                [
                    (f"score:{g.score.scorer}", source, feature, g.score.fingerprint, g.score.explanation_id)
                    for g, (source, feature) in zip(new, owners, strict=True)
                ],
            )

    def take_over_scores(self, scorer: str, fingerprint: str, explanation_ids: Sequence[str]) -> None:
        """Give labels the score, with its trials, that another label of their feature has by the same fingerprint.

        Args:
            scorer: One that does not look at labels.
            fingerprint: Of its scores.
            explanation_ids: Labels, at most one of a feature; those that have a score are left as they are.
        """
        with reading(self.path, self._timeout_s) as connection:
            pending = resume.pending_explanations(connection, scorer, fingerprint, explanation_ids)
            ((n_known,),) = connection.execute(
                "SELECT count(*) FROM scores WHERE scorer = ? AND fingerprint = ?", [scorer, fingerprint]
            ).fetchall()
        if not pending or not n_known:
            return
        with writing(self.path, self._timeout_s) as connection:
            taken = resume.take_over(connection, scorer, fingerprint, pending)
            _remove_failures(
                connection, [(f"score:{scorer}", source, feature, fingerprint, name) for name, source, feature in taken]
            )

    def add_failures(self, failures: Sequence[Failure]) -> None:
        """Add failures; one of the same stage, feature, fingerprint and explanation replaces the earlier."""
        if not failures:
            return
        with writing(self.path, self._timeout_s) as connection:
            _replace_failures(connection, failures)

    def add_label_embeddings(
        self, explanation_ids: Sequence[str], embedder: str, embeddings: Float32[np.ndarray, "text dim"]
    ) -> None:
        """Add labels' embeddings.

        Args:
            explanation_ids: The explanations, distinct.
            embedder: Name of the embedder.
            embeddings: Unit rows, one an explanation.

        Raises:
            StoreError: If an explanation is not in the store, or a number is not finite.
        """
        if not np.isfinite(embeddings).all():
            raise StoreError("a label's embedding holds a number that is not finite", "check the embedder's model")
        table = rows.embedding_table(explanation_ids, embedder, embeddings)
        with writing(self.path, self._timeout_s) as connection:
            owner = _owners(connection, explanation_ids)
            owned = table.append_column(
                "source_id", pa.array([owner[e][0] for e in explanation_ids], pa.string())
            ).append_column("feature_index", pa.array([owner[e][1] for e in explanation_ids], pa.int32()))
            _insert(connection, "label_embeddings", owned, ("explanation_id", "embedder"))

    def add_neighbors(
        self,
        source_id: str,
        space: str,
        features: Int32[np.ndarray, " feature"],
        neighbors: Int32[np.ndarray, "feature rank"],
        similarities: Float32[np.ndarray, "feature rank"],
    ) -> None:
        """Add the nearest features of each feature in one space.

        Args:
            source_id: `model@source`.
            space: `decoder` or `coactivation`.
            features: The features, distinct.
            neighbors: Their neighbors, closest first; -1 where a feature has fewer.
            similarities: Of each neighbor.
        """
        kept = neighbors >= 0
        ranks = np.broadcast_to(np.arange(neighbors.shape[1], dtype=np.int32), neighbors.shape)
        n_rows = int(kept.sum())
        table = pa.table(
            {
                "source_id": pa.array([source_id] * n_rows, pa.string()),
                "feature_index": np.broadcast_to(features[:, None], neighbors.shape)[kept].astype(np.int32),
                "space": pa.array([space] * n_rows, pa.string()),
                "rank": ranks[kept],
                "neighbor_index": neighbors[kept].astype(np.int32),
                "similarity": similarities[kept].astype(np.float64),
            }
        )
        with writing(self.path, self._timeout_s) as connection:
            _insert(connection, "neighbors", table, ("source_id", "space", "feature_index"))

    def pending_features(
        self, stage: str, fingerprint: str, features: Iterable[int], source_id: str | None = None
    ) -> list[int]:
        """The features that still need a stage, in the order given.

        Args:
            stage: `contexts`, `explain` or `baseline`.
            fingerprint: Of the stage.
            features: Those asked for.
            source_id: Their source; may be left out where the store holds one only.
        """
        with reading(self.path, self._timeout_s) as connection:
            source = resume.only_source(connection) if source_id is None else source_id
            return resume.pending_features(connection, stage, fingerprint, features, source)

    def pending_explanations(self, scorer: str, fingerprint: str, explanation_ids: Sequence[str]) -> list[str]:
        """The explanations that still need a scorer of this fingerprint, in the order given."""
        with reading(self.path, self._timeout_s) as connection:
            return resume.pending_explanations(connection, scorer, fingerprint, explanation_ids)

    def content_digest(self) -> str:
        """Digest of everything but times and costs, the same for any order of writing."""
        with reading(self.path, self._timeout_s) as connection:
            return content_digest(connection)


_FailureKey = tuple[str, str, int, str, str | None]


def _insert(connection: duckdb.DuckDBPyConnection, table: str, batch: pa.Table, identity: tuple[str, ...]) -> None:
    # `identity` is distinct within the batch. The range of features lets DuckDB skip all row groups but those the
    # batch's features are in: rows are written roughly in order of features.
    if batch.num_rows == 0:
        return
    columns = ", ".join(batch.column_names)
    connection.register("batch", batch)
    if not identity:
        connection.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM batch")
        connection.unregister("batch")
        return
    same = " AND ".join(f"known.{name} = batch.{name}" for name in identity)
    features = batch.column("feature_index").to_numpy()
    connection.execute(
        f"INSERT INTO {table} ({columns}) SELECT {columns} FROM batch WHERE NOT EXISTS ("
        f"SELECT 1 FROM {table} known WHERE {same} AND known.feature_index BETWEEN ? AND ?)",
        [int(features.min()), int(features.max())],
    )
    connection.unregister("batch")


def _replace_failures(connection: duckdb.DuckDBPyConnection, failures: Sequence[Failure]) -> None:
    keyed = {(f.stage, f.source_id, f.feature_index, f.fingerprint, f.explanation_id): f for f in failures}
    if keyed:
        _remove_failures(connection, list(keyed))
        _insert(connection, "failures", rows.failure_table(list(keyed.values())), ())


def _remove_failures(connection: duckdb.DuckDBPyConnection, keys: Sequence[_FailureKey]) -> None:
    if not keys:
        return
    names = ("stage", "source_id", "feature_index", "fingerprint", "explanation_id")
    types = (pa.string(), pa.string(), pa.int32(), pa.string(), pa.string())
    columns = zip(*keys, strict=True)
    table = {n: pa.array(values, t) for n, t, values in zip(names, types, columns, strict=True)}
    same = " AND ".join(f"failures.{name} IS NOT DISTINCT FROM batch.{name}" for name in names)
    connection.register("batch", pa.table(table))
    connection.execute(f"DELETE FROM failures USING batch WHERE {same}")
    connection.unregister("batch")


def _owners(connection: duckdb.DuckDBPyConnection, explanation_ids: Sequence[str]) -> dict[str, tuple[str, int]]:
    connection.register("batch", pa.table({"explanation_id": pa.array(explanation_ids, pa.string())}))
    found = connection.execute(
        "SELECT explanation_id, source_id, feature_index FROM explanations SEMI JOIN batch USING (explanation_id)"
    ).fetchall()
    connection.unregister("batch")
    owner = {str(explanation): (str(source), int(feature)) for explanation, source, feature in found}
    missing = next((e for e in explanation_ids if e not in owner), None)
    if missing is not None:
        raise StoreError(f"the store has no explanation {missing}", "add explanations before what is about them")
    return owner


def _known_scores(connection: duckdb.DuckDBPyConnection, features: Sequence[int]) -> set[tuple[str, str, str]]:
    if not features:
        return set()
    connection.register("batch", pa.table({"feature_index": pa.array(features, pa.int32())}))
    found = connection.execute(
        "SELECT explanation_id, scorer, fingerprint FROM scores SEMI JOIN batch USING (feature_index)"
        " WHERE feature_index BETWEEN ? AND ?",
        [features[0], features[-1]],
    ).fetchall()
    connection.unregister("batch")
    return {(str(explanation), str(scorer), str(fingerprint)) for explanation, scorer, fingerprint in found}


def _distinct(records: Sequence[_Record], identity: Callable[[_Record], Hashable]) -> list[_Record]:
    first: dict[Hashable, _Record] = {}
    for record in records:
        first.setdefault(identity(record), record)
    return list(first.values())


def _batches(records: Iterable[_Record], size: int) -> Iterator[list[_Record]]:
    source = iter(records)
    while batch := list(islice(source, size)):
        yield batch
