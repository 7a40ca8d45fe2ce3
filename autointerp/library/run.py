"""A finished or growing run, from Python in five lines.

from autointerp import open_run

run = open_run("runs/demo")
for hit in run.search("error handling", top_k=5):
    print(hit.feature_index, hit.label, hit.scores)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from autointerp.embedder import TextEmbedder
from autointerp.records import EVERY_FEATURE, Context, Failure, FeatureFilter, FeatureRecord, SearchHit, SourceRecord
from autointerp.search.engine import SearchEngine
from autointerp.store.reader import LABEL_SPACE, Reader
from autointerp.store.results import ScoredLabel, ScorerSummary, StageStatus


@dataclass(frozen=True, slots=True)
class FeatureView:
    """All that a run knows of one feature.

    Attributes:
        feature: Its statistics.
        labels: Its current labels with their scores, true ones first, then baselines.
        contexts: Its current contexts of both splits.
        failures: What could not be done for it, and why.
    """

    feature: FeatureRecord
    labels: tuple[ScoredLabel, ...]
    contexts: tuple[Context, ...]
    failures: tuple[Failure, ...]


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

    def search(self, query: str, top_k: int = 10, where: FeatureFilter = EVERY_FEATURE) -> list[SearchHit]:
        """Find features by meaning and words; see `SearchEngine.search`."""
        return self.engine.search(query, top_k, where)

    def rerank(
        self,
        features: Sequence[int],
        query: str,
        source_id: str | None = None,
        where: FeatureFilter = EVERY_FEATURE,
    ) -> list[SearchHit]:
        """Order features by a closer look at labels and contexts; see `SearchEngine.rerank`."""
        return self.engine.rerank(features, query, source_id, where)

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
        features: int | Sequence[int],
        space: str = LABEL_SPACE,
        top_k: int = 10,
        source_id: str | None = None,
        where: FeatureFilter = EVERY_FEATURE,
    ) -> list[SearchHit]:
        """Find features close to one or several; see `SearchEngine.neighbors`."""
        return self.engine.neighbors(features, space, top_k, source_id, where)

    def feature(self, feature_index: int, source_id: str | None = None) -> FeatureView:
        """All that is known of one feature.

        Raises:
            UnknownFeatureError: If there is no such feature; the message states the range.
        """
        with self.reader.session() as reader:
            record = reader.feature(feature_index, source_id)
            explanations = reader.explanations([feature_index], record.source_id, baselines=True)
            scores = reader.scores([feature_index], source_id=record.source_id)
            return FeatureView(
                feature=record,
                labels=tuple(
                    ScoredLabel(explanation, tuple(s for s in scores if s.explanation_id == explanation.explanation_id))
                    for explanation in explanations
                ),
                contexts=tuple(reader.contexts(feature_index, source_id=record.source_id)),
                failures=tuple(reader.failures([feature_index], source_id=record.source_id)),
            )

    def sources(self) -> list[SourceRecord]:
        """The coders that the run is about."""
        return self.reader.sources()

    @property
    def has_several_sources(self) -> bool:
        """Whether an index alone does not name a feature."""
        return len(self.sources()) > 1

    def status(self) -> list[StageStatus]:
        """How far each stage is."""
        return self.reader.status()

    def score_summary(self) -> list[ScorerSummary]:
        """Each scorer over all labels, beside shuffled labels."""
        return self.reader.score_summary()

    @cached_property
    def engine(self) -> SearchEngine:
        """The search engine, with the run's embedder."""
        return SearchEngine(self.reader, self._embedder or self._own_embedder())

    def _own_embedder(self) -> TextEmbedder:
        # Looking a feature up needs no embedder.
        from autointerp.config import EmbedderConfig
        from autointerp.embedder import Embedder

        settings = self._record.pipeline.get("embedder", {}) if self._record else {}
        return Embedder(EmbedderConfig.model_validate(settings))


def open_run(folder: str | Path, embedder: TextEmbedder | None = None) -> Run:
    """Open a run folder to search and look features up.

    Args:
        folder: For example `runs/demo`.
        embedder: For queries; by default the one of the run's pipeline.

    Raises:
        StoreError: If there is no run in this folder.
    """
    return Run(folder, embedder)
