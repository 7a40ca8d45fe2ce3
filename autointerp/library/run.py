"""A finished or growing run, from Python in five lines.

from autointerp import open_run

run = open_run("runs/demo")
for hit in run.search("error handling", top_k=5):
    print(hit.feature_index, hit.label, hit.scores)
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from autointerp.embedder import TextEmbedder
from autointerp.errors import AutointerpError, FilterError, SearchError
from autointerp.identity import FeatureKey
from autointerp.records import (
    EVERY_FEATURE,
    Context,
    ContextKind,
    Failure,
    FeatureFilter,
    FeatureRecord,
    Neighbor,
    SearchHit,
    SourceRecord,
    Split,
)
from autointerp.run.on_disk.lock import is_under_way
from autointerp.run.on_disk.paid import find_paid
from autointerp.score.tier import Tier, tier_of
from autointerp.search.engine import SearchEngine
from autointerp.store.known import check_context_names, check_count, check_name, shown
from autointerp.store.neighbors import LABEL_SPACE
from autointerp.store.reader import Reader
from autointerp.store.results import ScoredLabel, ScorerSummary, StageStatus, shuffled_means, with_scores

if TYPE_CHECKING:
    import pandas as pd

    from autointerp.llm.journal import Paid
    from autointerp.run.on_disk.kept import KeptWindows


@dataclass(frozen=True, slots=True, repr=False)
class FeatureView:
    """All that a run knows of one feature.

    Attributes:
        feature: Its statistics.
        neighbors: Its stored neighbors in each space, closest first.
        labels: Its current labels with their scores, true ones first, then baselines.
        contexts: The contexts that were built to explain and score it. `Run.contexts` has all that the pass kept, also
            before any are built.
        failures: What could not be done for it, and why.
    """

    feature: FeatureRecord
    neighbors: tuple[Neighbor, ...]
    labels: tuple[ScoredLabel, ...]
    contexts: tuple[Context, ...]
    failures: tuple[Failure, ...]

    @property
    def tier(self) -> Tier | None:
        """On which side of the feature scores carry its true label; None without scores (`score.tier`)."""
        own = next((scored for scored in self.labels if not scored.explanation.is_baseline), None)
        return tier_of(own.scores, shuffled_means((s.explanation, s.scores) for s in self.labels)) if own else None

    def __repr__(self) -> str:
        lines = [f"<FeatureView of {self.feature!r}"]
        for scored in self.labels:
            by = scored.explanation.explainer
            scores = "".join(f", {score.scorer} {score.value:.2f}" for score in scored.scores)
            lines.append(f"  label {scored.explanation.label!r} ({by}){scores}")
        lines += [f"  failure {failure.stage}: {failure.error_type}: {failure.message}" for failure in self.failures]
        return "\n".join([*lines, f"  {len(self.contexts)} contexts, {len(self.neighbors)} neighbors>"])


class Run:
    """One run folder; every method may be used while the run is going on.

    Attributes:
        reader: Typed queries beyond those here.

    Args:
        folder: The run's folder.
        embedder: For queries; by default the one of the run's pipeline, loaded at the first query.
    """

    def __init__(self, folder: str | Path, embedder: TextEmbedder | None = None) -> None:
        self.reader = Reader(folder)
        self._embedder = embedder
        # A folder without a store is told now, not at the first query.
        self._record = self.reader.run()

    def __repr__(self) -> str:
        return f"<Run {self.reader.path.parent}: {self._told()}>"

    def __reduce__(self) -> tuple[type[Self], tuple[Path, TextEmbedder | None]]:
        # A copy in another process reads the run for itself.
        return type(self), (self.reader.path, self._embedder)

    def _told(self) -> str:
        try:
            with self.reader.session() as reader:
                n_labels, known = reader.n_labels(), reader.known_names()
        except AutointerpError as error:
            return error.problem
        sources = ", ".join(f"{n:,} features of {source}" for source, n in known.n_features.items())
        scorers = f", scored by {', '.join(known.scorers)}" if known.scorers else ""
        return f"{sources or 'nothing collected yet'}, {n_labels:,} labels{scorers}"

    def search(self, query: str, top_k: int = 10, where: FeatureFilter = EVERY_FEATURE) -> list[SearchHit]:
        """Find features by meaning and words; see `SearchEngine.search`."""
        return self.engine.search(query, top_k, _checked(where))

    def rerank(
        self,
        features: Sequence[FeatureKey],
        query: str,
        source_id: str | None = None,
        where: FeatureFilter = EVERY_FEATURE,
    ) -> list[SearchHit]:
        """Order features by a closer look at labels and contexts; see `SearchEngine.rerank`."""
        return self.engine.rerank(features, query, source_id, _checked(where))

    def rerank_hits(
        self, hits: Sequence[SearchHit], query: str, where: FeatureFilter = EVERY_FEATURE
    ) -> list[SearchHit]:
        """Order hits, which may be of several sources, by a closer look; see `SearchEngine.rerank`."""
        features_of: dict[str, list[int]] = {}
        for hit in hits:
            features_of.setdefault(hit.source_id, []).append(hit.feature_index)
        closer = [
            hit for source, features in features_of.items() for hit in self.rerank(features, query, source, where)
        ]
        return sorted(closer, key=lambda hit: (-hit.relevance, hit.source_id, hit.feature_index))

    def neighbors(
        self,
        features: FeatureKey | Sequence[FeatureKey],
        space: str = LABEL_SPACE,
        top_k: int = 10,
        source_id: str | None = None,
        where: FeatureFilter = EVERY_FEATURE,
    ) -> list[SearchHit]:
        """Find features close to one or several; see `SearchEngine.neighbors`."""
        return self.engine.neighbors(features, space, top_k, source_id, _checked(where))

    def feature(self, feature: FeatureKey, source_id: str | None = None) -> FeatureView:
        """All that is known of one feature.

        Args:
            feature: Its index, or `model@source:index`.
            source_id: Its source; the run's only one where nothing names it.

        Raises:
            UnknownFeatureError: If there is no such feature; the message states the range.
        """
        with self.reader.session() as reader:
            record = reader.feature(feature, source_id)
            own, source = [record.feature_index], record.source_id
            return FeatureView(
                feature=record,
                neighbors=tuple(
                    neighbor
                    for space in reader.neighbor_spaces()
                    for neighbor in reader.neighbors(record.feature_index, space, source_id=source)
                ),
                labels=tuple(
                    with_scores(reader.explanations(own, source, baselines=True), reader.scores(own, source_id=source))
                ),
                contexts=tuple(reader.contexts(record.feature_index, source_id=source)),
                failures=tuple(reader.failures(own, source_id=source)),
            )

    def contexts(
        self,
        feature: FeatureKey,
        n: int | None = None,
        *,
        kind: ContextKind | None = None,
        split: Split | None = None,
        quantile: int | None = None,
        source_id: str | None = None,
    ) -> list[Context]:
        """A feature's contexts with their tokens and activations, strongest first, also before anything is labelled.

        These are the contexts that were built to explain and score it and, of other blocks, all windows that the pass
        over the corpus kept; the latter are of no split. Reading them loads the subject's tokenizer and, once, what the
        pass kept of the source. A store without its run folder has the former only.

        Args:
            feature: Its index, or `model@source:index`.
            n: At most so many; all where None.
            kind: Only of this kind.
            split: Only of this split.
            quantile: Only of this quantile of the feature's activations, 0 lowest.
            source_id: Its source; the run's only one where nothing names it.

        Raises:
            UnknownFeatureError: If there is no such feature.
            StoreError: If there is no such kind or split.
            SearchError: If `n` is no whole number above 0, or no context is of that quantile.
            SubjectError: If the subject's tokenizer can't be loaded.
        """
        if n is not None:
            check_count("n", n)
        check_context_names(split, kind)
        with self.reader.session() as reader:
            record = reader.feature(feature, source_id)
            built = reader.contexts(record.feature_index, source_id=record.source_id)
        # The store is free for its writer meanwhile.
        found = [context for context in built if split in (None, context.split) and kind in (None, context.kind)]
        if split is None and record.n_active and (self.reader.path.parent / "run.json").is_file():
            taken = {context.block_index for context in built if context.is_active}
            kept = self._kept.contexts(record.feature_index, record.source_id)
            found += [c for c in kept if c.block_index not in taken and kind in (None, c.kind)]
        if quantile is not None:
            known = sorted({context.quantile for context in (*built, *found) if context.quantile is not None})
            check_name(quantile, known, "quantile", SearchError)
            found = [context for context in found if context.quantile == quantile]
        return sorted(found, key=lambda context: -context.max_activation)[:n]

    def to_pandas(self, where: FeatureFilter = EVERY_FEATURE) -> "pd.DataFrame":
        """Features with their labels and scores: a row a label, and one a feature without a label.

        The columns are those of exports to Parquet without the lists, each of one type that knows missing values, and
        for each scorer `NAME_shuffled`: what shuffled labels of the same feature score.

        Args:
            where: Only labels, and features without one, that pass.

        Raises:
            FilterError: If the filter asks for a name that the run does not know.
        """
        from autointerp.export.frame import feature_frame  # pandas is slow to import

        return feature_frame(self.reader, _checked(where))

    def sources(self) -> list[SourceRecord]:
        """The coders that the run is about."""
        return self.reader.sources()

    @property
    def has_several_sources(self) -> bool:
        """Whether an index alone does not name a feature."""
        return len(self.sources()) > 1

    def status(self) -> list[StageStatus]:
        """How far each stage is; `killed` where it was under way and its process is gone."""
        stages = self.reader.status()
        if any(stage.status == "running" for stage in stages) and not is_under_way(self.reader.path.parent):
            # Read again: it may have ended in between.
            stages = [_killed(stage) if stage.status == "running" else stage for stage in self.reader.status()]
        return stages

    def paid(self) -> "Paid | None":
        """What the run's calls of language models have cost by its journal; None where it keeps none.

        That is more than the stages' costs where a run was killed before it had used an answer, or started over.

        Raises:
            RunError: If the journal can't be read, or is shared with other runs and not where it was.
        """
        if self._record is None:
            return None
        llm = self._record.pipeline.get("llm") or {}
        has_paid = any(stage.usage is not None and stage.usage.n_calls > 0 for stage in self.reader.stages())
        return find_paid(self._record.name, self.reader.path.parent, llm.get("journal"), has_paid=has_paid)

    def score_summary(self) -> list[ScorerSummary]:
        """Each scorer over all labels, beside shuffled labels."""
        return self.reader.score_summary()

    @cached_property
    def _kept(self) -> "KeptWindows":
        from autointerp.run.on_disk.kept import KeptWindows  # looking a feature up needs no tokenizer

        return KeptWindows(self.reader.path.parent)

    @cached_property
    def engine(self) -> SearchEngine:
        """The search engine, with the run's embedder."""
        return SearchEngine(self.reader, self._embedder or self._own_embedder())

    def _own_embedder(self) -> TextEmbedder:
        # Looking a feature up needs no embedder.
        from autointerp.config import EmbedderConfig
        from autointerp.config.file import as_kept
        from autointerp.embedder import Embedder

        settings = self._record.pipeline.get("embedder", {}) if self._record else {}
        return Embedder(as_kept(EmbedderConfig, settings, self.reader.path))


def _killed(stage: StageStatus) -> StageStatus:
    return replace(stage, status="killed")


def _checked(where: FeatureFilter) -> FeatureFilter:
    if not isinstance(where, FeatureFilter):
        raise FilterError(f"{shown(where)} is no filter", "give a FeatureFilter, or leave `where` out")
    return where


def open_run(folder: str | Path, embedder: TextEmbedder | None = None) -> Run:
    """Open a run folder to search and look features up.

    Args:
        folder: For example `runs/demo`.
        embedder: For queries; by default the one of the run's pipeline.

    Raises:
        StoreError: If there is no run in this folder.
    """
    return Run(folder, embedder)
