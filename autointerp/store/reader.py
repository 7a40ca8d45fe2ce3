"""Typed queries over the store of one run, which work while the run is going on.

Each method opens the file, reads, and closes it, so that the run can write in between (about 20 ms a call: ask for many
features at once where there are many). "Current" are the records with the fingerprint that `stages` names for their
stage; labels of earlier settings stay in the file, and are returned only where `superseded=True` is asked for.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC
from itertools import groupby
from json import loads
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import duckdb
import numpy as np
from jaxtyping import Int32

from autointerp.errors import StoreError, UnknownFeatureError
from autointerp.records import (
    EVERY_FEATURE,
    Context,
    ContextKind,
    Explanation,
    Failure,
    FeatureContexts,
    FeatureFilter,
    FeatureRecord,
    Neighbor,
    Score,
    SourceRecord,
    Split,
    Trial,
)
from autointerp.store import rows, summary
from autointerp.store.connection import reading, store_path
from autointerp.store.digest import content_digest
from autointerp.store.label_table import LabelTable, read_label_table
from autointerp.store.query import (
    TABLES,
    VIEWS,
    columns_of,
    fetch,
    join_labels,
    select_contexts,
    select_explanations,
    select_failures,
    select_scores,
    values,
)
from autointerp.store.results import (
    LabelledFeature,
    RunRecord,
    ScoredLabel,
    ScorerSummary,
    StageRecord,
    StageStatus,
)

if TYPE_CHECKING:
    import pandas as pd

_BY_FEATURE = ("source_id", "feature_index")
_FEATURES_PER_READ = 5000


class Reader:
    """Reads the store of one run folder.

    Args:
        run_folder: The run's folder, or the store's file.
        timeout_s: How long to wait for a writer to finish its transaction.

    Raises:
        StoreError: From every method, where there is no store or it can't be used; StoreBusyError, NewerStoreError.
    """

    def __init__(self, run_folder: str | Path, timeout_s: float = 10.0) -> None:
        self.path = store_path(run_folder)
        self._timeout_s = timeout_s
        self._local = threading.local()

    @contextmanager
    def session(self) -> Iterator[Self]:
        """Keep the file open over several calls of this thread, which then see one state.

        A run that wants to write waits for as long: keep it short.
        """
        outer = getattr(self._local, "connection", None)
        with self._open() as connection:
            self._local.connection = connection
            try:
                yield self
            finally:
                self._local.connection = outer

    # --- the run ----------------------------------------------------------------------------------------------------

    def run(self) -> RunRecord | None:
        """The run that the store belongs to, once it said so."""
        found = self._fetch("run", columns_of(RunRecord))
        moments = [{**row, "created_at": row["created_at"].replace(tzinfo=UTC)} for row in found]
        return RunRecord(**{**moments[0], "pipeline": loads(moments[0]["pipeline"])}) if moments else None

    def stages(self) -> list[StageRecord]:
        """What counts as each stage's result."""
        columns = ["stage", "fingerprint", "status", "n_asked", "cost_usd", "summary", "finished_at"]
        return rows.stages_of(self._fetch("stages", columns, order=("stage",)))

    def status(self) -> list[StageStatus]:
        """How far each stage is: done, failed, pending, cost."""
        with self._open() as connection:
            return summary.stage_status(connection)

    def content_digest(self) -> str:
        """Digest of everything but times and costs, the same for any order of writing."""
        with self._open() as connection:
            return content_digest(connection)

    def dataframe(self, name: str) -> "pd.DataFrame":
        """A whole table, or a view such as `current_explanations`, as a data frame.

        Raises:
            StoreError: If there is no such table or view.
        """
        if name not in (*TABLES, *VIEWS):
            raise StoreError(f"the store has no table {name!r}", f"one of {', '.join((*TABLES, *VIEWS))}")
        with self._open() as connection:
            return connection.table(name).df()

    # --- sources and features ---------------------------------------------------------------------------------------

    def sources(self) -> list[SourceRecord]:
        """Every source."""
        return [SourceRecord(**row) for row in self._fetch("sources", columns_of(SourceRecord), order=("source_id",))]

    def source(self, source_id: str | None = None) -> SourceRecord:
        """One source; the only one where none is named.

        Raises:
            StoreError: If there is none of this name, or several and none is named.
        """
        sources = self.sources()
        found = [source for source in sources if source_id in (None, source.source_id)]
        if len(found) == 1:
            return found[0]
        if not sources:
            raise StoreError("the run holds no source yet", "wait until the collect stage has finished, or run it")
        known = ", ".join(source.source_id for source in sources)
        if source_id is not None:
            raise StoreError(f"there is no source {source_id} in the run", f"it holds {known}")
        raise StoreError(
            f"the run holds several sources: {known}",
            f"name the feature with its source, for example {sources[0].source_id}:5, or in Python by source_id=",
        )

    def histogram_edges(self, source_id: str | None = None) -> tuple[float, ...]:
        """Edges of the bins of the source's histograms."""
        wanted = {"source_id": self.source(source_id).source_id}
        return tuple(self._fetch("sources", ["histogram_edges"], wanted)[0]["histogram_edges"])

    def feature(self, feature_index: int, source_id: str | None = None) -> FeatureRecord:
        """One feature.

        Raises:
            UnknownFeatureError: If the source has no such feature; the message states the range it has.
        """
        return self.features([feature_index], source_id)[0]

    def features(self, indices: Sequence[int] | None = None, source_id: str | None = None) -> list[FeatureRecord]:
        """Features in ascending order: those of the given indices, or all.

        Raises:
            UnknownFeatureError: If one of the indices is unknown.
        """
        with self.session():
            source = self.source(source_id)
            wanted = {"source_id": source.source_id, "feature_index": values(indices)}
            found = rows.features_of(self._fetch("features", columns_of(FeatureRecord), wanted, order=_BY_FEATURE))
        if indices is not None and len(found) < len(set(indices)):
            unknown = min(set(indices) - {feature.feature_index for feature in found})
            raise UnknownFeatureError(
                f"{source.source_id} has no feature {unknown}", f"its features are 0 to {source.n_features - 1}"
            )
        return found

    # --- contexts, explanations, scores -----------------------------------------------------------------------------

    def contexts(
        self,
        feature_index: int,
        split: Split | None = None,
        kind: ContextKind | None = None,
        source_id: str | None = None,
    ) -> list[Context]:
        """One feature's current contexts, those that scorers drew from the pool last.

        Raises:
            UnknownFeatureError: If the source has no such feature.
        """
        with self.session(), self._open() as connection:
            source = self.feature(feature_index, source_id).source_id
            wanted = {"source_id": source, "feature_index": feature_index, "split": split, "kind": kind}
            found = select_contexts(connection, wanted)
        # Two scorers may have drawn the same one.
        return list({context.context_id: context for context in found}.values())

    def feature_contexts(self, indices: Sequence[int], source_id: str | None = None) -> list[FeatureContexts]:
        """Current contexts of many features, ascending, as the contexts stage gave them; none, no entry."""
        with self.session():
            source = self.source(source_id).source_id
            wanted = {"source_id": source, "feature_index": values(indices)}
            with self._open() as connection:
                found = select_contexts(connection, wanted, "kind <> 'pool'")
        groups = groupby(found, key=lambda context: context.feature_index)
        return [FeatureContexts(source, feature, tuple(contexts)) for feature, contexts in groups]

    def explanations(
        self,
        indices: Sequence[int] | None = None,
        source_id: str | None = None,
        *,
        baselines: bool = False,
        superseded: bool = False,
    ) -> list[Explanation]:
        """Labels, ascending by source and feature.

        Args:
            indices: The features; all where None.
            source_id: Their source; all where None.
            baselines: Also shuffled labels.
            superseded: Also labels of earlier settings.
        """
        table = "explanations" if superseded else "current_explanations"
        wanted = {"source_id": source_id, "feature_index": values(indices)}
        with self._open() as connection:
            return select_explanations(connection, table, wanted, baselines=baselines)

    def scores(
        self,
        indices: Sequence[int] | None = None,
        scorer: str | None = None,
        source_id: str | None = None,
        *,
        explanation_ids: Sequence[str] | None = None,
    ) -> list[Score]:
        """Current scores, by feature, explanation and scorer."""
        wanted = {
            "source_id": source_id,
            "feature_index": values(indices),
            "scorer": scorer,
            "explanation_id": values(explanation_ids),
        }
        with self._open() as connection:
            return select_scores(connection, wanted)

    def trials(self, explanation_id: str, scorer: str | None = None) -> list[Trial]:
        """Current trials of one explanation, in the order in which they were put."""
        order = ("scorer", "place")
        wanted = {"explanation_id": explanation_id, "scorer": scorer}
        return rows.trials_of(self._fetch("current_trials", columns_of(Trial), wanted, order=order))

    def failures(
        self, indices: Sequence[int] | None = None, stage: str | None = None, source_id: str | None = None
    ) -> list[Failure]:
        """Current failures, by feature and stage."""
        wanted = {"source_id": source_id, "feature_index": values(indices), "stage": stage}
        with self._open() as connection:
            return select_failures(connection, wanted)

    def labelled_features(
        self, where: FeatureFilter = EVERY_FEATURE, *, baselines: bool = False
    ) -> Iterator[LabelledFeature]:
        """Every feature with each of its labels and their scores, or without a label and with the reason.

        Read some thousand features at a time, so memory stays bounded, and the file is free in between.

        Args:
            where: Only labels, and features without one, that pass.
            baselines: Also shuffled labels.
        """
        for source in self.sources():
            if where.sources is not None and source.source_id not in where.sources:
                continue
            indices: Sequence[int] = range(source.n_features)
            if where.features is not None:
                indices = sorted(where.features)
            for first in range(0, len(indices), _FEATURES_PER_READ):
                wanted = {
                    "source_id": source.source_id,
                    "feature_index": indices[first : first + _FEATURES_PER_READ],
                }
                with self._open() as connection:
                    some = fetch(connection, "features", columns_of(FeatureRecord), wanted, order=_BY_FEATURE)
                    explanations = select_explanations(connection, "current_explanations", wanted, baselines=baselines)
                    scores = select_scores(connection, wanted)
                    failures = select_failures(connection, wanted)
                joined = join_labels(source, rows.features_of(some), explanations, scores, failures)
                yield from (one for one in joined if where.admits(one.feature, one.explanation, one.scores))

    # --- summaries --------------------------------------------------------------------------------------------------

    def scorers(self) -> list[str]:
        """The scorers by which current labels, baselines too, have scores; ascending."""
        with self._open() as connection:
            found = connection.execute(
                "SELECT DISTINCT scorer FROM current_scores SEMI JOIN current_explanations USING (explanation_id)"
                " ORDER BY scorer"
            ).fetchall()
        return [str(scorer) for (scorer,) in found]

    def score_summary(self) -> list[ScorerSummary]:
        """Each scorer's quartiles over the current labels, beside the shuffled labels."""
        with self._open() as connection:
            return summary.score_summary(connection)

    def best(self, n: int, scorer: str | None = None) -> list[ScoredLabel]:
        """The current labels with the highest value of one scorer, or of all scorers' mean."""
        return self._ranked(n, scorer, best=True)

    def worst(self, n: int, scorer: str | None = None) -> list[ScoredLabel]:
        """The current labels with the lowest value of one scorer, or of all scorers' mean."""
        return self._ranked(n, scorer, best=False)

    def _ranked(self, n: int, scorer: str | None, *, best: bool) -> list[ScoredLabel]:
        with self._open() as connection:
            ranked = [name for name, _ in summary.ranked_explanations(connection, scorer, n, best=best)]
            wanted = {"explanation_id": ranked}
            explanations = select_explanations(connection, "current_explanations", wanted, baselines=False)
            scores = select_scores(connection, wanted)
        by_id = {label.explanation_id: label for label in explanations}
        return [
            ScoredLabel(by_id[name], tuple(score for score in scores if score.explanation_id == name))
            for name in ranked
        ]

    # --- search -----------------------------------------------------------------------------------------------------

    def label_table(self, embedder: str) -> LabelTable:
        """The current true labels that an embedder has embedded, with all that search filters and ranks by."""
        with self._open() as connection:
            return read_label_table(connection, embedder)

    def embedded_ids(self, embedder: str) -> frozenset[str]:
        """Ids of the explanations that an embedder has embedded."""
        found = self._fetch("label_embeddings", ["explanation_id"], {"embedder": embedder})
        return frozenset(str(row["explanation_id"]) for row in found)

    def neighbors(
        self, feature_index: int, space: str, top_k: int | None = None, source_id: str | None = None
    ) -> list[Neighbor]:
        """The closest features that were stored for one feature in one space, closest first; all where `top_k` is None.

        Raises:
            UnknownFeatureError: If the source has no such feature.
        """
        columns = ["neighbor_index", "space", "similarity"]
        with self.session():
            source = self.feature(feature_index, source_id).source_id
            wanted = {"source_id": source, "feature_index": feature_index, "space": space}
            found = self._fetch("neighbors", columns, wanted, order=("rank",))
        return [Neighbor(row["neighbor_index"], row["space"], row["similarity"]) for row in found[:top_k]]

    def neighbor_matrix(self, source_id: str, space: str) -> Int32[np.ndarray, "feature rank"]:
        """The stored neighbors of every feature of a source in one space, closest first; -1 where there are fewer."""
        n_features = self.source(source_id).n_features
        with self._open() as connection:
            found = connection.execute(
                "SELECT feature_index, rank, neighbor_index FROM neighbors WHERE source_id = ? AND space = ?",
                [source_id, space],
            ).fetchnumpy()
        n_ranks = int(found["rank"].max()) + 1 if len(found["rank"]) else 0
        matrix = np.full((n_features, n_ranks), -1, dtype=np.int32)
        matrix[found["feature_index"], found["rank"]] = found["neighbor_index"]
        return matrix

    def neighbor_spaces(self) -> list[str]:
        """The spaces for which neighbors are stored."""
        with self._open() as connection:
            return [s for (s,) in connection.execute("SELECT DISTINCT space FROM neighbors ORDER BY 1").fetchall()]

    # --- plumbing ---------------------------------------------------------------------------------------------------

    def _open(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        held: duckdb.DuckDBPyConnection | None = getattr(self._local, "connection", None)
        return nullcontext(held) if held is not None else reading(self.path, self._timeout_s)

    def _fetch(
        self, table: str, columns: Sequence[str], where: Mapping[str, Any] | None = None, order: Sequence[str] = ()
    ) -> list[dict[str, Any]]:
        with self._open() as connection:
            return fetch(connection, table, columns, where, order=order)
