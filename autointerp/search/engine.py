"""Search, reranking and neighbors over the labels of one run.

Search is exact: every label that passes the filters is compared, by meaning and by words (`relevance`). `rerank` looks
closer, at what the features fire on.
"""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float32

from autointerp.embedder import TextEmbedder
from autointerp.errors import SearchError
from autointerp.identity import FeatureKey
from autointerp.records import EVERY_FEATURE, FeatureFilter, SearchHit
from autointerp.search.hits import MAX_TOP_K, best_of_each_feature, best_places, count_alike
from autointerp.search.labels import Labels
from autointerp.search.neighbors import stored_neighbors
from autointerp.search.open_labels import EXACT_BELOW, open_labels
from autointerp.search.relevance import fuse, share_of_floor, weigh_scores
from autointerp.store.known import check_count, feature_keys, shown, wanted_features
from autointerp.store.label_rows import LabelState
from autointerp.store.neighbors import LABEL_SPACE
from autointerp.store.reader import Reader

if TYPE_CHECKING:
    from autointerp.config import SearchConfig
    from autointerp.search.rerankers.base import AskModel, BaseReranker

logger = logging.getLogger(__name__)

LEAST_CANDIDATES = 100
CANDIDATES = 4
MANY = 20_000
"""From so many labels on, what a run writes is searched only after twenty times as long as it takes to read them."""
_READ_AGAIN = 20


class SearchEngine:
    """Answers queries over one run; keeps its labels in memory, and reads them again when the store has changed.

    From `MANY` labels on they are read again only after twenty times as long as that took: while a run writes, search
    is of the labels and scores of up to a minute or two before.

    Every filter comes before the limit: as many features are found as were asked for, if so many pass.

    Args:
        reader: Of the run's store.
        embedder: The one that the labels are indexed with; it embeds what is reranked.
        queries: The same model, for queries; by default the embedder does them too.
        exact_below: So many labels or more are searched by the index folder beside the store.
        config: How labels are ranked; by default as `SearchConfig` has it.
        ask: Asks a language model, for a reranker that is one.
    """

    def __init__(
        self,
        reader: Reader,
        embedder: TextEmbedder,
        queries: TextEmbedder | None = None,
        exact_below: int = EXACT_BELOW,
        config: "SearchConfig | None" = None,
        ask: "AskModel | None" = None,
    ) -> None:
        if config is None:
            from autointerp.config import SearchConfig  # looking a feature up needs no pydantic

            config = SearchConfig()
        self._reader = reader
        self._exact_below = exact_below
        self._embedder = embedder
        self._queries = queries or embedder
        self._config = config
        self._ask = ask
        self._rerankers: dict[str, BaseReranker] = {}
        self._lock = threading.Lock()
        self._read: tuple[tuple[int, int] | None, LabelState, Labels] | None = None
        self._is_behind, self._good_for, self._good_until = False, 0.0, 0.0

    def search(
        self,
        query: str,
        top_k: int = 10,
        where: FeatureFilter = EVERY_FEATURE,
        min_relevance: float | None = None,
    ) -> list[SearchHit]:
        """Find the features whose labels are closest to a query, most relevant first; each feature once.

        Args:
            query: Any text.
            top_k: Features wanted, 1 to `MAX_TOP_K`.
            where: Only labels that pass are found.
            min_relevance: Where not even the best label has so much, no label is about the query, and none is found;
                step 3 of `relevance`. None for the setting `search.min_relevance`, 0 for the nearest in any case.

        Returns:
            Hits; relevance as in `relevance`, at most 1.

        Raises:
            SearchError: If the query is empty, an option is out of range, or no label is indexed.
            FilterError: If the filter asks for a name that the run does not know.
        """
        return self.search_many([query], top_k, where, min_relevance)[0]

    def search_many(
        self,
        queries: Sequence[str],
        top_k: int = 10,
        where: FeatureFilter = EVERY_FEATURE,
        min_relevance: float | None = None,
    ) -> list[list[SearchHit]]:
        """`search` for many queries, embedded together; one list a query, in order."""
        for query in queries:
            _check_query(query)
        top_k = check_count("top_k", top_k, MAX_TOP_K)
        least = self._config.min_relevance if min_relevance is None else _check_relevance(min_relevance)
        labels = self._labels()
        allowed = labels.passing(where)
        return [
            self._found(labels, query, vector, top_k, allowed, least)
            for query, vector in zip(queries, self._queries.embed(queries), strict=True)
        ]

    def _found(
        self,
        labels: Labels,
        query: str,
        vector: Float32[np.ndarray, " dim"],
        top_k: int,
        allowed: Bool[np.ndarray, " row"] | None,
        min_relevance: float,
    ) -> list[SearchHit]:
        n_rows = max(LEAST_CANDIDATES, CANDIDATES * top_k)
        while True:
            rows, meaning, words = labels.candidates(query, vector, n_rows, allowed)
            relevance = fuse(meaning, words, self._config.word_weight)
            if self._config.score_weight:
                relevance = weigh_scores(relevance, labels.mean_scores(rows), self._config.score_weight)
            places = best_places(labels, rows, relevance, top_k)
            # Several labels a feature may have left too few features.
            if len(places) == top_k or len(rows) < n_rows:
                break
            n_rows *= 4
        if not places.size or self._is_about_nothing(query, vector, float(relevance[places[0]]), min_relevance):
            return []
        n_alike = count_alike(places, rows, meaning, labels)
        return [
            replace(labels.hit(int(rows[place]), float(relevance[place])), n_alike=n)
            for place, n in zip(places.tolist(), n_alike, strict=True)
        ]

    def _is_about_nothing(
        self, query: str, vector: Float32[np.ndarray, " dim"], best: float, min_relevance: float
    ) -> bool:
        # What reaches the whole of it reaches any part.
        return best < min_relevance and best < min_relevance * share_of_floor(query, vector, self._queries)

    def rerank(
        self,
        features: Sequence[FeatureKey],
        query: str,
        source_id: str | None = None,
        where: FeatureFilter = EVERY_FEATURE,
        reranker: str | None = None,
    ) -> list[SearchHit]:
        """Order given features by a closer look at their labels and at what they fire on, most relevant first.

        It needs no index: labels and contexts are read here.

        Args:
            features: Labelled features; a repeated one counts once.
            query: Any text.
            source_id: Their source; the run's only one where None.
            where: Only labels that pass are looked at; a feature without such a label is left out.
            reranker: By name, `module:Class` or `file.py:Class`; None for the setting `search.reranker`.

        Returns:
            One hit a feature, by its most relevant label; relevance on the reranker's own scale. Where it could not
            tell, which it has said, the features as they were given, with a relevance of NaN.

        Raises:
            UnknownFeatureError: If there is no such feature.
            SearchError: If the query is empty, a feature has no label, or the reranker's model can't be had.
            FilterError: If the filter asks for a name that the run does not know.
            PipelineError: If there is no such reranker.
        """
        from autointerp.search.rerank import rerank

        _check_query(query)
        return rerank(self._reader, self._reranker(reranker), features, query, source_id, where)

    def _reranker(self, name: str | None) -> "BaseReranker":
        # A search without it does without what language models need.
        from autointerp.search.rerankers.base import RerankTools, no_model
        from autointerp.search.rerankers.registry import load_reranker

        name = self._config.reranker if name is None else name
        with self._lock:
            if name not in self._rerankers:
                tools = RerankTools(self._embedder, self._config, self._ask or no_model, logger.warning)
                self._rerankers[name] = load_reranker(name)(tools)
            return self._rerankers[name]

    def neighbors(
        self,
        features: FeatureKey | Sequence[FeatureKey],
        space: str = LABEL_SPACE,
        top_k: int = 10,
        source_id: str | None = None,
        where: FeatureFilter = EVERY_FEATURE,
    ) -> list[SearchHit]:
        """Find the features closest to one feature, or to a group of features, closest first.

        Args:
            features: One feature, or several in the label space: then those closest to their centroid, themselves left
                out.
            space: `label` (cosine of label embeddings), or a space whose neighbors the run has stored (`decoder`,
                `coactivation`).
            top_k: Features wanted, 1 to `MAX_TOP_K`; a stored space may hold fewer.
            source_id: Their source; the run's only one where None. Neighbors are of the same source.
            where: Only neighbors that pass are found.

        Returns:
            Hits whose relevance is the similarity in this space. In stored spaces a neighbor may have no label yet:
            then `label` and `explanation_id` are empty.

        Raises:
            UnknownFeatureError: If there is no such feature.
            SearchError: If the space has no neighbors, a feature has no label, or an option is out of range.
            FilterError: If the filter asks for a name that the run does not know.
        """
        top_k = check_count("top_k", top_k, MAX_TOP_K)
        named, group = feature_keys(features, source_id)
        if not group:
            raise SearchError("no feature to find neighbors of", "name one")
        source = wanted_features(group, named, self._reader.sources(), of_one_source=True)["source_id"]
        if space == LABEL_SPACE:
            return self._label_neighbors(source, group, top_k, where)
        if len(group) > 1:
            raise SearchError(f"neighbors of a group are not stored in the space {space!r}", "use the space 'label'")
        return stored_neighbors(self._reader, source, group[0], space, top_k, where)

    def _label_neighbors(self, source: str, group: Sequence[int], top_k: int, where: FeatureFilter) -> list[SearchHit]:
        labels = self._labels()
        own = labels.rows_of(source, list(group))
        unlabelled = set(group) - {feature for _, feature in labels.features(own)}
        if unlabelled:
            raise SearchError(
                f"feature {min(unlabelled)} of {source} has no indexed label", "explain and index it first"
            )
        centroid = labels.vectors(own).mean(axis=0, dtype=np.float64)
        length = float(np.linalg.norm(centroid))
        asked = (centroid / length if length > 0 else centroid).astype(np.float32)
        labels.passing(where)  # an unknown name is told
        sources = {source} if where.sources is None else frozenset(where.sources) & {source}
        allowed = labels.passing(replace(where, sources=sources))
        n_rows = max(LEAST_CANDIDATES, CANDIDATES * top_k) + len(own)
        while True:
            rows, similarity = labels.closest(asked, n_rows, allowed)
            others = ~np.isin(rows, own)
            hits = best_of_each_feature(labels, rows[others], similarity[others], top_k)
            if len(hits) == top_k or len(rows) < n_rows:
                return hits
            n_rows *= 4

    @property
    def is_late(self) -> bool:
        """Whether the labels that were last searched are not all that the store had."""
        read = self._read
        return self._is_behind or (read is not None and read[2].is_late)

    def _labels(self) -> Labels:
        try:
            file = self._reader.path.stat()
        except FileNotFoundError:
            file = None
        seen = None if file is None else (file.st_mtime_ns, file.st_size)
        with self._lock:
            self._is_behind = False
            if self._read is not None and seen not in (None, self._read[0]) and time.monotonic() < self._good_until:
                self._is_behind = True
                return self._read[2]
            if self._read is None or seen != self._read[0] or self._read[2].is_late:
                with self._reader.session() as reader:
                    began = time.monotonic()
                    state = reader.label_state()
                    kept = self._read[2] if self._read is not None and self._read[1] == state else None
                    kept = None if kept is not None and kept.is_late else kept
                    labels = kept or open_labels(reader, self._embedder.name, self._exact_below)
                # The file's state from before reading: a transaction in between is seen at the next query.
                self._read = (seen, state, labels)
                if kept is None:
                    is_long = state.n_embeddings >= MANY
                    self._good_for = _READ_AGAIN * (time.monotonic() - began) if is_long else 0.0
                self._good_until = time.monotonic() + self._good_for
            return self._read[2]


def _check_query(query: str) -> None:
    if not isinstance(query, str):
        raise SearchError(f"{shown(query)} is no text to search for", "give one text as the query")
    if not query.strip():
        raise SearchError("the query is empty", "say in words what the feature should be about")


def _check_relevance(relevance: float) -> float:
    if isinstance(relevance, bool) or not isinstance(relevance, int | float) or not 0 <= relevance <= 1:
        raise SearchError(f"min_relevance is {shown(relevance)}", "give a number from 0 to 1")
    return float(relevance)
