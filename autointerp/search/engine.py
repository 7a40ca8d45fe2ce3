"""Search, reranking and neighbors over the labels of one run.

Search is exact: every label that passes the filters is compared. Its relevance is a convex combination of meaning and
words, which Bruch, Gai and Ingber ("An Analysis of Fusion Functions for Hybrid Retrieval", TOIS 2023) found to beat
fusing by rank:

    relevance = (1 - WORD_WEIGHT) cosine(query, label) + WORD_WEIGHT words(query, label)

where `words` is the cosine of TF-IDF vectors, and 1 where the label holds the whole query as a phrase. Reranking takes
a closer look, at what the features fire on:

    relevance = (1 - CONTEXT_WEIGHT) cosine(query, label) + CONTEXT_WEIGHT mean(the N_CLOSEST largest
                cosine(query, context) over the N_CONTEXTS strongest active contexts of the explain split)
"""

import threading
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Float32, Float64, Int64

from autointerp.embedder import TextEmbedder
from autointerp.errors import SearchError
from autointerp.identity import FeatureKey
from autointerp.records import EVERY_FEATURE, Context, Explanation, FeatureFilter, Score, SearchHit
from autointerp.search.exact_index import ExactIndex
from autointerp.search.word_matches import WordMatches
from autointerp.store.known import check_count, feature_keys, shown
from autointerp.store.label_table import LabelTable
from autointerp.store.neighbors import LABEL_SPACE
from autointerp.store.reader import Reader

WORD_WEIGHT = 0.2
CONTEXT_WEIGHT = 0.5
N_CONTEXTS = 8
N_CLOSEST = 3
MAX_TOP_K = 10_000


class _Labels:
    """The labels of a store in one of its states, with what finds among them."""

    def __init__(self, table: LabelTable) -> None:
        self.table = table
        self.index = ExactIndex(table.embeddings)

    @cached_property
    def words(self) -> WordMatches:
        return WordMatches(self.table.labels)


class SearchEngine:
    """Answers queries over one run; keeps its labels in memory, and reads them again when the store has changed.

    Every filter comes before the limit: as many features are found as were asked for, if so many pass.

    Args:
        reader: Of the run's store.
        embedder: The one that the labels are indexed with; it embeds the queries.
    """

    def __init__(self, reader: Reader, embedder: TextEmbedder) -> None:
        self._reader = reader
        self._embedder = embedder
        self._lock = threading.Lock()
        self._read: tuple[tuple[int, int] | None, _Labels] | None = None

    def search(self, query: str, top_k: int = 10, where: FeatureFilter = EVERY_FEATURE) -> list[SearchHit]:
        """Find the features whose labels are closest to a query, most relevant first; each feature once.

        Args:
            query: Any text.
            top_k: Features wanted, 1 to `MAX_TOP_K`.
            where: Only labels that pass are found.

        Returns:
            Hits; relevance as in the module's docstring, at most 1.

        Raises:
            SearchError: If the query is empty, `top_k` is out of range, or no label is indexed.
            FilterError: If the filter asks for a name that the run does not know.
        """
        return self.search_many([query], top_k, where)[0]

    def search_many(
        self, queries: Sequence[str], top_k: int = 10, where: FeatureFilter = EVERY_FEATURE
    ) -> list[list[SearchHit]]:
        """`search` for many queries, embedded together; one list a query, in order."""
        for query in queries:
            _check_query(query)
        top_k = check_count("top_k", top_k, MAX_TOP_K)
        labels = self._labels()
        allowed = labels.table.passing(where)
        found = []
        for query, vector in zip(queries, self._embedder.embed(queries), strict=True):
            rows, meaning = labels.index.search(vector, allowed)
            relevance = (1 - WORD_WEIGHT) * meaning + WORD_WEIGHT * labels.words.of(query)[rows]
            found.append(best_of_each_feature(labels.table, rows, relevance, top_k))
        return found

    def rerank(
        self,
        features: Sequence[FeatureKey],
        query: str,
        source_id: str | None = None,
        where: FeatureFilter = EVERY_FEATURE,
    ) -> list[SearchHit]:
        """Order given features by a closer look at their labels and at what they fire on, most relevant first.

        It needs no index: labels and contexts are embedded here.

        Args:
            features: Labelled features; a repeated one counts once.
            query: Any text.
            source_id: Their source; the run's only one where None.
            where: Only labels that pass are looked at; a feature without such a label is left out.

        Returns:
            One hit a feature, by its most relevant label; relevance as in the module's docstring.

        Raises:
            UnknownFeatureError: If there is no such feature.
            SearchError: If the query is empty, or a feature has no label.
            FilterError: If the filter asks for a name that the run does not know.
        """
        _check_query(query)
        named, given = feature_keys(features, source_id)
        indices = sorted(set(given))
        with self._reader.session() as reader:
            where.check(reader.known_names())
            if not indices:
                return []
            records = {record.feature_index: record for record in reader.features(indices, named)}
            source = records[indices[0]].source_id
            explanations = reader.explanations(indices, source)
            contexts_of = {
                f.feature_index: _strongest(f.of("explain", active=True))
                for f in reader.feature_contexts(indices, source)
            }
            scores_of = _by_explanation(reader.scores(indices, source_id=source))
        unlabelled = set(indices) - {e.feature_index for e in explanations}
        if unlabelled:
            raise SearchError(
                f"feature {min(unlabelled)} of {source} has no label", "leave it out, or explain it first"
            )

        explanations = [
            e for e in explanations if where.admits(records[e.feature_index], e, scores_of.get(e.explanation_id, ()))
        ]
        asked = self._embedder.embed([query])[0]
        to_label = self._similarity([e.label for e in explanations], asked)
        to_context = self._similarity([c.text for contexts in contexts_of.values() for c in contexts], asked)
        best: dict[int, SearchHit] = {}
        for explanation in explanations:
            index = explanation.feature_index
            closest = sorted((to_context[c.text] for c in contexts_of.get(index, ())), reverse=True)[:N_CLOSEST]
            relevance = to_label[explanation.label]
            if closest:
                relevance = (1 - CONTEXT_WEIGHT) * relevance + CONTEXT_WEIGHT * sum(closest) / len(closest)
            if index not in best or relevance > best[index].relevance:
                scores = scores_of.get(explanation.explanation_id, ())
                best[index] = _hit(explanation, relevance, records[index].density, scores)
        return sorted(best.values(), key=lambda hit: (-hit.relevance, hit.feature_index))

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
        with self._reader.session() as reader:
            source = reader.features(group, named)[0].source_id
        if space == LABEL_SPACE:
            return self._label_neighbors(source, group, top_k, where)
        if len(group) > 1:
            raise SearchError(f"neighbors of a group are not stored in the space {space!r}", "use the space 'label'")
        return self._stored_neighbors(source, group[0], space, top_k, where)

    def _label_neighbors(self, source: str, group: Sequence[int], top_k: int, where: FeatureFilter) -> list[SearchHit]:
        labels = self._labels()
        table = labels.table
        own = table.rows_of(source, group)
        unlabelled = set(group) - set(table.feature_index[own].tolist())
        if unlabelled:
            raise SearchError(
                f"feature {min(unlabelled)} of {source} has no indexed label", "explain and index it first"
            )
        centroid = table.embeddings[own].mean(axis=0, dtype=np.float64)
        length = float(np.linalg.norm(centroid))
        allowed = table.passing(where) & (table.source_ids == source)
        allowed[own] = False
        rows, similarity = labels.index.search(
            (centroid / length if length > 0 else centroid).astype(np.float32), allowed
        )
        return best_of_each_feature(table, rows, similarity, top_k)

    def _stored_neighbors(
        self, source: str, feature: int, space: str, top_k: int, where: FeatureFilter
    ) -> list[SearchHit]:
        with self._reader.session() as reader:
            found = reader.neighbors(feature, space, source_id=source)
            indices = [neighbor.feature_index for neighbor in found]
            records = {record.feature_index: record for record in reader.features(indices, source)}
            explanations = reader.explanations(indices, source)
            scores_of = _by_explanation(reader.scores(indices, source_id=source))
            where.check(reader.known_names())
        hits: list[SearchHit] = []
        for neighbor in found:
            record = records[neighbor.feature_index]
            own = [e for e in explanations if e.feature_index == neighbor.feature_index]
            passing = [e for e in own if where.admits(record, e, scores_of.get(e.explanation_id, ()))]
            if passing:
                scores = scores_of.get(passing[0].explanation_id, ())
                hits.append(_hit(passing[0], neighbor.similarity, record.density, scores))
            elif not own and where.admits(record, None, ()):
                hits.append(SearchHit(source, record.feature_index, "", "", neighbor.similarity, record.density))
        return hits[:top_k]

    def _similarity(self, texts: Sequence[str], vector: Float32[np.ndarray, " dim"]) -> dict[str, float]:
        """Cosine of each text with a unit vector."""
        if not texts:
            return {}
        return dict(zip(texts, (self._embedder.embed(texts) @ vector).tolist(), strict=True))

    def _labels(self) -> _Labels:
        try:
            file = self._reader.path.stat()
        except FileNotFoundError:
            file = None
        state = None if file is None else (file.st_mtime_ns, file.st_size)
        with self._lock:
            if self._read is None or state != self._read[0]:
                table = self._reader.label_table(self._embedder.name)
                if not table.labels:
                    raise SearchError(
                        f"{self._reader.path} has no labels embedded with {self._embedder.name}",
                        "run `autointerp index` first",
                    )
                # The file's state from before reading: a transaction in between is seen at the next query.
                self._read = (state, _Labels(table))
            return self._read[1]


def best_of_each_feature(
    table: LabelTable,
    rows: Int64[np.ndarray, " candidate"],
    relevance: Float64[np.ndarray, " candidate"],
    top_k: int,
) -> list[SearchHit]:
    """The most relevant row of each feature, the `top_k` most relevant of these; ties in the order of the rows.

    Args:
        table: The labels.
        rows: Candidates, ascending.
        relevance: Of each candidate.
        top_k: Features wanted.
    """
    chosen: dict[tuple[str, int], SearchHit] = {}
    for place in np.argsort(-relevance, kind="stable").tolist():
        row = int(rows[place])
        key = (table.source_ids[row], int(table.feature_index[row]))
        if key not in chosen:
            chosen[key] = table.hit(row, float(relevance[place]))
            if len(chosen) == top_k:
                break
    return list(chosen.values())


def _hit(explanation: Explanation, relevance: float, density: float, scores: Sequence[Score]) -> SearchHit:
    return SearchHit(
        source_id=explanation.source_id,
        feature_index=explanation.feature_index,
        label=explanation.label,
        explanation_id=explanation.explanation_id,
        relevance=relevance,
        density=density,
        scores={score.scorer: score.value for score in scores},
    )


def _by_explanation(scores: Sequence[Score]) -> Mapping[str, list[Score]]:
    found: dict[str, list[Score]] = {}
    for score in scores:
        found.setdefault(score.explanation_id, []).append(score)
    return found


def _strongest(contexts: Sequence[Context]) -> list[Context]:
    return sorted(contexts, key=lambda context: (-context.max_activation, context.context_id))[:N_CONTEXTS]


def _check_query(query: str) -> None:
    if not isinstance(query, str):
        raise SearchError(f"{shown(query)} is no text to search for", "give one text as the query")
    if not query.strip():
        raise SearchError("the query is empty", "say in words what the feature should be about")
