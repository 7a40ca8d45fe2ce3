"""A finished or growing run, from Python in five lines.

from autointerp import open_run

run = open_run("runs/demo")
for hit in run.search("error handling", top_k=5):
    print(hit.feature_index, hit.label, hit.scores)
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autointerp.embedder import TextEmbedder
from autointerp.errors import AutointerpError, FilterError, SearchError
from autointerp.identity import FeatureKey
from autointerp.library.answering_run import AnsweringRun
from autointerp.library.kept_run import KeptRun
from autointerp.library.noted_run import NotedRun
from autointerp.library.search_settings import SearchSettings
from autointerp.library.whole_source import WholeSourceRun
from autointerp.records import (
    EVERY_FEATURE,
    Context,
    ContextKind,
    FeatureFilter,
    SearchHit,
    SourceRecord,
    Split,
)
from autointerp.records.live import EVERY_TOKEN, EditScope, SourceEdits
from autointerp.run.on_disk.lock import is_under_way
from autointerp.run.on_disk.paid import find_paid
from autointerp.search.describe import describe
from autointerp.search.engine import SearchEngine
from autointerp.search.hits import MAX_TOP_K
from autointerp.store.known import check_context_names, check_count, check_name, shown
from autointerp.store.neighbors import LABEL_SPACE
from autointerp.store.reader import Reader
from autointerp.store.results import (
    ScorerSummary,
    StageStatus,
)
from autointerp.store.strongest import StrongestReader

if TYPE_CHECKING:
    import pandas as pd

    from autointerp.live.read import Readable
    from autointerp.llm.journal import Paid
    from autointerp.records.live import ActivationHistograms, TextFirings


class Run(AnsweringRun, NotedRun, WholeSourceRun, KeptRun):
    """One run folder; every method may be used while the run is going on.

    Attributes:
        reader: Typed queries beyond those here.

    Args:
        folder: The run's folder.
        embedder: For queries; by default the one of the run's pipeline, loaded at the first query.

    Example:
        >>> client.run.status()[0]
        <StageStatus collect (done): 12 done, 0 failed, 0 pending, $0.00>
    """

    def __init__(self, folder: str | Path, embedder: TextEmbedder | None = None) -> None:
        self.reader = Reader(folder)
        self._embedder = embedder
        # A folder without a store is told now, not at the first query.
        self._record = self.reader.run()

    @property
    def name(self) -> str:
        """The run's folder."""
        return str(self.reader.path.parent)

    def __repr__(self) -> str:
        return f"<Run {self.name}: {self.told}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy in another process reads the run for itself.
        return type(self), (self.reader.path, self._embedder)

    @property
    def told(self) -> str:
        """What it holds, in words."""
        try:
            with self.reader.session() as reader:
                n_labels, known = reader.n_labels(), reader.known_names()
        except AutointerpError as error:
            return error.problem
        sources = ", ".join(f"{n:,} features of {source}" for source, n in known.n_features.items())
        scorers = f", scored by {', '.join(known.scorers)}" if known.scorers else ""
        return f"{sources or 'nothing collected yet'}, {n_labels:,} labels{scorers}"

    def search(
        self,
        query: str,
        top_k: int = 10,
        where: FeatureFilter = EVERY_FEATURE,
        min_relevance: float | None = None,
    ) -> list[SearchHit]:
        """Find features by meaning and words; see `SearchEngine.search`."""
        return self.engine.search(query, top_k, _checked(where), min_relevance)

    def rerank(
        self,
        features: Sequence[FeatureKey],
        query: str,
        source_id: str | None = None,
        where: FeatureFilter = EVERY_FEATURE,
        reranker: str | None = None,
    ) -> list[SearchHit]:
        """Order features by a closer look at labels and contexts; see `SearchEngine.rerank`."""
        return self.engine.rerank(features, query, source_id, _checked(where), reranker)

    def search_closer(
        self,
        query: str,
        top_k: int = 10,
        where: FeatureFilter = EVERY_FEATURE,
        min_relevance: float | None = None,
        reranker: str | None = None,
    ) -> list[SearchHit]:
        """`search` for `search.n_reranked` features at least, then the `top_k` of them by a closer look."""
        top_k = check_count("top_k", top_k, MAX_TOP_K)
        hits = self.search(query, max(top_k, self.search_settings.config.n_reranked), where, min_relevance)
        return self.rerank_hits(hits, query, where, reranker)[:top_k]

    def rerank_hits(
        self,
        hits: Sequence[SearchHit],
        query: str,
        where: FeatureFilter = EVERY_FEATURE,
        reranker: str | None = None,
    ) -> list[SearchHit]:
        """Order hits, which may be of several sources, by a closer look; see `SearchEngine.rerank`.

        As they are where it could not be taken.
        """
        features_of: dict[str, list[int]] = {}
        for hit in hits:
            features_of.setdefault(hit.source_id, []).append(hit.feature_index)
        closer = [
            hit
            for source, features in features_of.items()
            for hit in self.rerank(features, query, source, where, reranker)
        ]
        if any(math.isnan(hit.relevance) for hit in closer):
            return list(hits)
        n_alike = {(hit.source_id, hit.feature_index): hit.n_alike for hit in hits}
        closer = [replace(hit, n_alike=n_alike[hit.source_id, hit.feature_index]) for hit in closer]
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

    def describe(self, features: Sequence[FeatureKey], source_id: str | None = None) -> list[SearchHit]:
        """Features of one source with their best labels, ascending; see `search.describe`."""
        return describe(self.reader, features, source_id)

    def strongest(self, features: Sequence[int], source_id: str, n: int) -> dict[int, list[Context]]:
        """Of features of one source, the `n` contexts in which each fires most, as far as any were built."""
        return StrongestReader(self.reader.path).strongest(features, source_id, n) if len(features) else {}

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

    def firings(
        self,
        texts: "Iterable[Readable]",
        source_id: str | None = None,
        on_progress: Callable[[int], None] | None = None,
        edits: Sequence[SourceEdits] = (),
        scope: EditScope = EVERY_TOKEN,
    ) -> "Iterator[TextFirings]":
        """What the features of one source do on texts and conversations, in order, lazily; see `live.firings`.

        The run's model and its coders are loaded once, at the first question.

        Args:
            texts: Each a text, or a list of messages.
            source_id: The source; the run's only one where None.
            on_progress: Told how many texts are done.
            edits: Made while they are read.
            scope: The tokens that are edited.

        Raises:
            StoreError: If there is no such source, or several and none is named.
            RunError: If the run's folder is not whole.
            SubjectError: If the model or a coder can't be loaded any more or is another one, or a text can't be read.
        """
        from autointerp.live.firings import read_firings  # looking a feature up needs no torch

        source = self.reader.source(source_id)
        live = self.live.of_source(source)
        return (firings for (firings,) in read_firings(live, texts, [source.source_id], on_progress, edits, scope))

    def activation_histograms(
        self, features: Sequence[FeatureKey] | None = None, source_id: str | None = None
    ) -> "ActivationHistograms":
        """How active features of one source are over the corpus; see `Reader.activation_histograms`."""
        return self.reader.activation_histograms(features, source_id)

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

    def scorers(self) -> list[str]:
        """The scorers by which current labels have scores, ascending."""
        return self.reader.scorers()

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
    def engine(self) -> SearchEngine:
        """The search engine, with the run's embedder and settings."""
        return self.search_settings.engine(self.reader, self._embedder)

    @property
    def has_late_labels(self) -> bool:
        """Whether labels were last compared while another process was still putting new ones into their index."""
        engine: SearchEngine | None = self.__dict__.get("engine")
        return engine is not None and engine.is_late

    @property
    def embedder_name(self) -> str:
        """The model that queries are embedded by, and labels have to be."""
        return self.embedder.name

    @property
    def embedder(self) -> TextEmbedder:
        """That model."""
        return self._embedder or self.search_settings.embedders()[0]

    @cached_property
    def search_settings(self) -> SearchSettings:
        """What its pipeline says of search."""
        return SearchSettings(self.reader.path, self._record.pipeline if self._record else {})


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

    Example:
        >>> autointerp.open_run("runs/demo").feature(1).labels[0].explanation.label
        'river'
    """
    return Run(folder, embedder)
