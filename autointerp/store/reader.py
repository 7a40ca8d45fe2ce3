"""Typed queries over the store of one run, which work while the run is going on.

Each method opens the file, reads, and closes it, so that the run can write in between (about 4 ms a call: ask for many
features at once where there are many). "Current" are the records with the fingerprint that `stages` names for their
stage; labels of earlier settings stay in the file, and are returned only where `superseded=True` is asked for.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64

from autointerp.errors import StoreError, UnknownFeatureError
from autointerp.identity import FeatureKey
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
from autointerp.records.live import ActivationHistograms
from autointerp.store import label_rows, rows, summary
from autointerp.store.known import check_context_names, check_count, check_name, shown, wanted_features
from autointerp.store.label_rows import LabelRows, LabelScores, LabelState
from autointerp.store.label_table import LabelTable, read_label_table
from autointerp.store.near_reader import NearReader
from autointerp.store.neighbors import neighbor_matrix, select_neighbors
from autointerp.store.query import (
    NOT_OF_SCORERS,
    columns_of,
    fetch,
    join_labels,
    select_contexts,
    select_explanations,
    select_failures,
    select_scores,
)
from autointerp.store.results import LabelledFeature

if TYPE_CHECKING:
    import pyarrow as pa

    from autointerp.store.export_rows.columns import Column

_BY_FEATURE = ("source_id", "feature_index")
_FEATURES_PER_READ = 5000
_FEATURES_OF_ROWS = 20_000


class Reader(NearReader):
    """Reads the store of one run folder.

    Args:
        run_folder: The run's folder, or the store's file.
        timeout_s: How long to wait for a writer to finish its transaction.

    Raises:
        StoreError: From every method, where there is no store or it can't be used; StoreBusyError, NewerStoreError.
    """

    # --- features ---------------------------------------------------------------------------------------------------

    def activation_histograms(
        self, features: Sequence[FeatureKey] | None = None, source_id: str | None = None
    ) -> ActivationHistograms:
        """How active features of one source are over its corpus: of those that are named, or of all.

        Raises:
            UnknownFeatureError: If there is no such feature.
        """
        with self.session():
            wanted = self._wanted(features, source_id, of_one_source=True)
            source = self.source(wanted["source_id"])
            columns = ["feature_index", "n_active", "max_activation", "histogram"]
            found = self._fetch("features", columns, wanted, order=_BY_FEATURE)
            edges = self.histogram_edges(source.source_id)
        return ActivationHistograms(
            n_tokens=source.n_tokens,
            feature_index=np.array([row["feature_index"] for row in found], dtype=np.int64),
            n_active=np.array([row["n_active"] for row in found], dtype=np.int64),
            max_activation=np.array([row["max_activation"] for row in found], dtype=np.float64),
            counts=np.array([row["histogram"] for row in found], dtype=np.int64).reshape(len(found), len(edges) - 1),
            edges=np.array(edges, dtype=np.float64),
        )

    def feature(self, feature: FeatureKey, source_id: str | None = None) -> FeatureRecord:
        """One feature.

        Raises:
            UnknownFeatureError: If the source has no such feature; the message states the range it has.
        """
        return self.features([feature], source_id)[0]

    def features(
        self, features: Sequence[FeatureKey] | None = None, source_id: str | None = None
    ) -> list[FeatureRecord]:
        """Features of one source in ascending order: those that are named, or all.

        Raises:
            UnknownFeatureError: If there is no such feature.
        """
        with self.session():
            wanted = self._wanted(features, source_id, of_one_source=True)
            found = rows.features_of(self._fetch("features", columns_of(FeatureRecord), wanted, order=_BY_FEATURE))
        missing = set(wanted["feature_index"] or ()) - {feature.feature_index for feature in found}
        if missing:
            raise UnknownFeatureError(f"{self.path} lacks feature {min(missing)}", "run the collect stage again")
        return found

    # --- contexts, explanations, scores -----------------------------------------------------------------------------

    def contexts(
        self,
        feature: FeatureKey,
        split: Split | None = None,
        kind: ContextKind | None = None,
        source_id: str | None = None,
    ) -> list[Context]:
        """One feature's current contexts, those that scorers drew from the pool last.

        What scorers made themselves (`generated`, `effect`) comes where it is asked for by its kind.

        Raises:
            UnknownFeatureError: If the source has no such feature.
            StoreError: If there is no such split or kind.
        """
        check_context_names(split, kind)
        with self.session(), self._open() as connection:
            wanted = self._wanted([feature], source_id, of_one_source=True) | {"split": split, "kind": kind}
            found = select_contexts(connection, wanted)
        # Two scorers may have drawn the same one.
        return list({context.context_id: context for context in found}.values())

    def feature_contexts(self, features: Sequence[FeatureKey], source_id: str | None = None) -> list[FeatureContexts]:
        """Current contexts of many features, ascending, as the contexts stage gave them; none, no entry."""
        with self.session():
            wanted = self._wanted(features, source_id, of_one_source=True)
            with self._open() as connection:
                found = select_contexts(connection, wanted, NOT_OF_SCORERS)
        groups = groupby(found, key=lambda context: context.feature_index)
        return [FeatureContexts(wanted["source_id"], feature, tuple(contexts)) for feature, contexts in groups]

    def explanations(
        self,
        features: Sequence[FeatureKey] | None = None,
        source_id: str | None = None,
        *,
        baselines: bool = False,
        superseded: bool = False,
        fingerprint: str | None = None,
    ) -> list[Explanation]:
        """Labels, ascending by source and feature.

        Args:
            features: The features; all where None.
            source_id: Their source; all where None.
            baselines: Also shuffled labels.
            superseded: Also labels of earlier settings.
            fingerprint: Only labels of these settings, whether current or earlier.
        """
        table = "current_explanations" if fingerprint is None and not superseded else "explanations"
        with self.session(), self._open() as connection:
            wanted = self._wanted(features, source_id) | {"fingerprint": fingerprint}
            return select_explanations(connection, table, wanted, baselines=baselines)

    def features_with_label(self, label: str, source_id: str) -> list[int]:
        """The features of a source whose current true label is this very text, ascending."""
        wanted = {"source_id": source_id, "label": label}
        found = self._fetch("current_explanations", ["feature_index", "label_from"], wanted)
        return sorted({int(row["feature_index"]) for row in found if row["label_from"] is None})

    def scores(
        self,
        features: Sequence[FeatureKey] | None = None,
        scorer: str | None = None,
        source_id: str | None = None,
        *,
        explanation_ids: Sequence[str] | None = None,
    ) -> list[Score]:
        """Current scores, by feature, explanation and scorer.

        Raises:
            FilterError: If there is no score by that scorer.
        """
        with self.session(), self._open() as connection:
            wanted = self._wanted(features, source_id) | {
                "scorer": self._known_scorer(scorer),
                "explanation_id": None if explanation_ids is None else list(explanation_ids),
            }
            return select_scores(connection, wanted)

    def trials(self, explanation_id: str, scorer: str | None = None) -> list[Trial]:
        """Current trials of one explanation, in the order in which they were put.

        Raises:
            StoreError: If there is no such explanation.
            FilterError: If there is no score by that scorer.
        """
        order = ("scorer", "place")
        with self.session():
            if not self._fetch("explanations", ["explanation_id"], {"explanation_id": explanation_id}):
                raise StoreError(
                    f"the store has no explanation {shown(explanation_id)}", "take the id from a label's row"
                )
            wanted = {"explanation_id": explanation_id, "scorer": self._known_scorer(scorer)}
            return rows.trials_of(self._fetch("current_trials", columns_of(Trial), wanted, order=order))

    def failures(
        self,
        features: Sequence[FeatureKey] | None = None,
        stage: str | None = None,
        source_id: str | None = None,
        *,
        superseded: bool = False,
    ) -> list[Failure]:
        """Failures, by feature and stage.

        Args:
            features: The features; all where None.
            stage: The stage; all where None.
            source_id: Their source; all where None.
            superseded: Also failures of earlier settings.

        Raises:
            StoreError: If there is no such stage.
        """
        with self.session(), self._open() as connection:
            wanted = self._wanted(features, source_id) | {"stage": stage}
            found = select_failures(connection, wanted, "failures" if superseded else "current_failures")
            if not found and stage is not None:
                check_name(stage, summary.stage_names(connection), "stage", StoreError)
        return found

    def labelled_features(
        self, where: FeatureFilter = EVERY_FEATURE, *, baselines: bool = False
    ) -> Iterator[LabelledFeature]:
        """Every feature with each of its labels and their scores, or without a label and with the reason.

        Read some thousand features at a time, so memory stays bounded, and the file is free in between.

        Args:
            where: Only labels, and features without one, that pass.
            baselines: Also shuffled labels.

        Raises:
            FilterError: If a name is asked for that the run does not know.
        """
        where.check(self.known_names(baselines=baselines))
        for source, indices in self._parts(where, _FEATURES_PER_READ):
            wanted = {"source_id": source.source_id, "feature_index": indices}
            with self._open() as connection:
                some = fetch(connection, "features", columns_of(FeatureRecord), wanted, order=_BY_FEATURE)
                explanations = select_explanations(connection, "current_explanations", wanted, baselines=True)
                scores = select_scores(connection, wanted)
                failures = select_failures(connection, wanted)
            features = rows.features_of(some)
            joined = join_labels(source, features, explanations, scores, failures, baselines=baselines)
            yield from (one for one in joined if where.admits(one.feature, one.explanation, one.scores))

    def export_rows(
        self,
        columns: "Callable[[Sequence[str]], Mapping[str, Column]]",
        where: FeatureFilter = EVERY_FEATURE,
        *,
        baselines: bool = False,
        n_features: int = _FEATURES_OF_ROWS,
    ) -> "Iterator[pa.Table]":
        """As `labelled_features`, as Arrow tables: of a million labels in seconds.

        Args:
            columns: Given the scorers that the run has, what is wanted (`store.export_rows`).
            where: Only labels, and features without one, that pass.
            baselines: Also shuffled labels.
            n_features: Features of a table, at most: what bounds the memory.

        Raises:
            FilterError: If a name is asked for that the run does not know.
        """
        from autointerp.store.export_rows.select import select_export_rows, select_graders  # imports pyarrow

        known = self.known_names(baselines=baselines)
        where.check(known)
        with self._open() as connection:
            graders = select_graders(connection)
        run = self.run()
        about_run = (run.name, run.program_version) if run else ("", "")
        wanted = columns(list(known.scorers))
        for source, indices in self._parts(where, n_features):
            with self._open() as connection:
                yield select_export_rows(
                    connection,
                    where,
                    source.source_id,
                    indices,
                    wanted,
                    graders,
                    baselines=baselines,
                    about_run=about_run,
                )

    def _parts(self, where: FeatureFilter, n_features: int) -> Iterator[tuple[SourceRecord, Sequence[int]]]:
        """The features of which some may pass a filter, some at a time, with their source."""
        for source in self.sources():
            if where.sources is None or source.source_id in where.sources:
                indices = range(source.n_features) if where.features is None else sorted(where.features)
                for first in range(0, len(indices), n_features):
                    yield source, indices[first : first + n_features]

    # --- search -----------------------------------------------------------------------------------------------------

    def label_table(self, embedder: str) -> LabelTable:
        """The current true labels that an embedder has embedded, with all that search filters and ranks by."""
        with self._open() as connection:
            return read_label_table(connection, embedder)

    def label_state(self) -> LabelState:
        """How far the store has come, as far as searching its labels goes."""
        with self._open() as connection:
            return label_rows.read_state(connection)

    def n_embedded(self, embedder: str) -> int:
        """How many labels an embedder has embedded, current or not."""
        with self._open() as connection:
            ((n,),) = connection.execute(
                "SELECT count(*) FROM label_embeddings WHERE embedder = ?", [embedder]
            ).fetchall()
        return int(n)

    def label_rows(self, embedder: str, first: int, end: int) -> LabelRows:
        """The true labels, current or not, whose embeddings have the places from `first` to before `end`."""
        with self._open() as connection:
            return label_rows.read_rows(connection, embedder, first, end)

    def label_standing(
        self, embedder: str, first: int, end: int
    ) -> tuple[Int64[np.ndarray, " row"], Float64[np.ndarray, " row"], Bool[np.ndarray, " row"]]:
        """Of the same labels the place, the density and whether each is current."""
        with self._open() as connection:
            return label_rows.read_standing(connection, embedder, first, end)

    def label_scores(self, embedder: str, first: int, end: int) -> LabelScores:
        """The current scores of embedded labels, among rows `first` to before `end` of all scores."""
        with self._open() as connection:
            return label_rows.read_scores(connection, embedder, first, end)

    def label_sample(self, embedder: str, places: Sequence[int]) -> dict[int, tuple[str, list[float]]]:
        """The explanation and the embedding of the labels at some places; no entry where there is none."""
        with self._open() as connection:
            return label_rows.read_sample(connection, embedder, places)

    def labels_to_embed(self, embedder: str, n: int) -> list[tuple[str, str]]:
        """The first `n` current true labels, with their explanations' ids, that an embedder has not embedded."""
        with self._open() as connection:
            found = connection.execute(
                "SELECT explanation_id, label FROM current_explanations ANTI JOIN"
                " (SELECT explanation_id FROM label_embeddings WHERE embedder = ?) USING (explanation_id)"
                " WHERE label_from IS NULL ORDER BY source_id, feature_index, explanation_id LIMIT ?",
                [embedder, n],
            ).fetchall()
        return [(str(explanation), str(label)) for explanation, label in found]

    def neighbors(
        self, feature: FeatureKey, space: str, top_k: int | None = None, source_id: str | None = None
    ) -> list[Neighbor]:
        """The closest features that were stored for one feature in one space, closest first; all where `top_k` is None.

        Raises:
            UnknownFeatureError: If the source has no such feature.
            SearchError: If no neighbors are stored in the space, or `top_k` is no whole number above 0.
        """
        if top_k is not None:
            check_count("top_k", top_k)
        with self.session(), self._open() as connection:
            wanted = self._wanted([feature], source_id, of_one_source=True)
            return select_neighbors(connection, wanted, space)[:top_k]

    def neighbor_matrix(self, source_id: str, space: str) -> Int32[np.ndarray, "feature rank"]:
        """The stored neighbors of every feature of a source in one space, closest first; -1 where there are fewer."""
        n_features = self.source(source_id).n_features
        with self._open() as connection:
            return neighbor_matrix(connection, source_id, space, n_features)

    # --- plumbing ---------------------------------------------------------------------------------------------------

    def _wanted(
        self, features: Iterable[FeatureKey] | None, source_id: str | None, *, of_one_source: bool = False
    ) -> dict[str, Any]:
        return wanted_features(features, source_id, self.sources(), of_one_source=of_one_source)
