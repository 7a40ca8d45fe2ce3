"""Search, reranking and neighbours over the labels of one run.

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

import numpy as np
from jaxtyping import Float64

from autointerp.errors import SearchError
from autointerp.records import Context, Explanation, SearchHit
from autointerp.search.embed_labels import TextEmbedder
from autointerp.search.label_table import LabelTable, load_table
from autointerp.store.reader import Reader

WORD_WEIGHT = 0.2
CONTEXT_WEIGHT = 0.5
N_CONTEXTS = 8
N_CLOSEST = 3
MAX_TOP_K = 10_000
LABEL_SPACE = "label"


class SearchEngine:
    """Answers queries over one run; keeps its labels in memory, and reads them again when the store has changed.

    Args:
        reader: Of the run's store.
        embedder: The one that the labels are indexed with; it embeds the queries.
    """

    def __init__(self, reader: Reader, embedder: TextEmbedder) -> None:
        self._reader = reader
        self._embedder = embedder
        self._lock = threading.Lock()
        self._table: LabelTable | None = None
        self._state: tuple[int, int] | None = None

    def search(
        self,
        query: str,
        top_k: int = 10,
        *,
        min_score: Mapping[str, float] | None = None,
        min_density: float | None = None,
        max_density: float | None = None,
        source_id: str | None = None,
    ) -> list[SearchHit]:
        """Find the features whose labels are closest to a query, most relevant first; each feature once.

        Filters come before the limit: `top_k` features that pass are returned, if there are so many.

        Args:
            query: Any text.
            top_k: Features wanted, 1 to `MAX_TOP_K`.
            min_score: Least value by scorer, for example `{"detection": 0.8}`; unscored labels don't pass.
            min_density: Least share of tokens on which the feature fires.
            max_density: Largest share.
            source_id: Only features of this source.

        Returns:
            Hits; relevance as in the module's docstring, at most 1.

        Raises:
            SearchError: If the query is empty, an option is out of range, or no label is indexed.
        """
        return self.search_many(
            [query],
            top_k,
            min_score=min_score,
            min_density=min_density,
            max_density=max_density,
            source_id=source_id,
        )[0]

    def search_many(
        self,
        queries: Sequence[str],
        top_k: int = 10,
        *,
        min_score: Mapping[str, float] | None = None,
        min_density: float | None = None,
        max_density: float | None = None,
        source_id: str | None = None,
    ) -> list[list[SearchHit]]:
        """`search` for many queries, embedded together; one list a query, in order."""
        for query in queries:
            _check_query(query)
        _check_top_k(top_k)
        _check_densities(min_density, max_density)
        table = self._current_table()
        kept = table.passing(source_id, min_score or {}, min_density, max_density)
        vectors = self._embedder.embed(queries)
        found = []
        for query, vector in zip(queries, vectors, strict=True):
            meaning = (table.embedded.matrix @ vector).astype(np.float64)
            relevance = (1 - WORD_WEIGHT) * meaning + WORD_WEIGHT * table.word_matches(query)
            found.append(_hits(table, relevance, table.best_rows(relevance, kept, top_k)))
        return found

    def rerank(self, features: Sequence[int], query: str, source_id: str | None = None) -> list[SearchHit]:
        """Order given features by a closer look at their labels and at what they fire on, most relevant first.

        It needs no index: labels and contexts are embedded here.

        Args:
            features: Indices of labelled features; a repeated one counts once.
            query: Any text.
            source_id: Their source; the run's only one where None.

        Returns:
            One hit a feature, by its most relevant label; relevance as in the module's docstring.

        Raises:
            UnknownFeatureError: If there is no such feature.
            SearchError: If the query is empty, or a feature has no label.
        """
        _check_query(query)
        indices = sorted({int(index) for index in features})
        if not indices:
            return []
        with self._reader.session() as reader:
            records = reader.features(indices, source_id)
            source = records[0].source_id
            explanations = reader.explanations(indices, source)
            contexts_of = {
                f.feature_index: _strongest(f.of("explain", active=True))
                for f in reader.feature_contexts(indices, source)
            }
            scores = reader.scores(indices, source_id=source)
        unlabelled = set(indices) - {e.feature_index for e in explanations}
        if unlabelled:
            raise SearchError(
                f"feature {min(unlabelled)} of {source} has no label", "leave it out, or explain it first"
            )

        asked = self._embedder.embed([query])[0]
        to_label = self._embedder.embed([e.label for e in explanations]) @ asked
        texts = [context.text for contexts in contexts_of.values() for context in contexts]
        to_context = dict(zip(texts, (self._embedder.embed(texts) @ asked).tolist(), strict=True)) if texts else {}
        density_of = {record.feature_index: record.density for record in records}
        best: dict[int, SearchHit] = {}
        for explanation, label_similarity in zip(explanations, to_label.tolist(), strict=True):
            index = explanation.feature_index
            closest = sorted((to_context[c.text] for c in contexts_of.get(index, ())), reverse=True)[:N_CLOSEST]
            relevance = label_similarity
            if closest:
                relevance = (1 - CONTEXT_WEIGHT) * label_similarity + CONTEXT_WEIGHT * sum(closest) / len(closest)
            if index not in best or relevance > best[index].relevance:
                values = {s.scorer: s.value for s in scores if s.explanation_id == explanation.explanation_id}
                best[index] = _hit(explanation, relevance, density_of[index], values)
        return sorted(best.values(), key=lambda hit: (-hit.relevance, hit.feature_index))

    def neighbors(
        self,
        features: int | Sequence[int],
        space: str = LABEL_SPACE,
        top_k: int = 10,
        source_id: str | None = None,
    ) -> list[SearchHit]:
        """Find the features closest to one feature, or to a group of features, closest first.

        Args:
            features: One index, or several in the label space: then those closest to their centroid, themselves left
                out.
            space: `label` (cosine of label embeddings), or a space whose neighbours the run has stored (`decoder`,
                `coactivation`).
            top_k: Features wanted, 1 to `MAX_TOP_K`; a stored space may hold fewer.
            source_id: Their source; the run's only one where None. Neighbours are of the same source.

        Returns:
            Hits whose relevance is the similarity in this space. In stored spaces a neighbour may have no label yet:
            then `label` and `explanation_id` are empty.

        Raises:
            UnknownFeatureError: If there is no such feature.
            SearchError: If the space has no neighbours, a feature has no label, or an option is out of range.
        """
        _check_top_k(top_k)
        group = [int(features)] if isinstance(features, int | np.integer) else [int(index) for index in features]
        if not group:
            raise SearchError("no feature to find neighbours of", "name one")
        with self._reader.session() as reader:
            source = reader.features(group, source_id)[0].source_id
        if space == LABEL_SPACE:
            return self._label_neighbors(source, group, top_k)
        if len(group) > 1:
            raise SearchError(f"neighbours of a group are not stored in the space {space!r}", "use the space 'label'")
        return self._stored_neighbors(source, group[0], space, top_k)

    def _label_neighbors(self, source: str, group: Sequence[int], top_k: int) -> list[SearchHit]:
        table = self._current_table()
        rows = []
        for index in group:
            if (source, index) not in table.rows_of:
                raise SearchError(f"feature {index} of {source} has no indexed label", "explain and index it first")
            rows += table.rows_of[source, index]
        centroid = table.embedded.matrix[rows].mean(axis=0, dtype=np.float64)
        length = float(np.linalg.norm(centroid))
        relevance = table.embedded.matrix @ (centroid / length if length > 0 else centroid).astype(np.float32)
        kept = table.passing(source, {}, None, None) & ~np.isin(table.embedded.feature_index, list(group))
        as_double = relevance.astype(np.float64)
        return _hits(table, as_double, table.best_rows(as_double, kept, top_k))

    def _stored_neighbors(self, source: str, feature: int, space: str, top_k: int) -> list[SearchHit]:
        with self._reader.session() as reader:
            found = reader.neighbors(feature, space, top_k, source)
            if not found and space not in reader.neighbor_spaces():
                known = ", ".join([LABEL_SPACE, *reader.neighbor_spaces()])
                raise SearchError(f"the run has stored no neighbours in the space {space!r}", f"spaces are {known}")
            indices = [neighbor.feature_index for neighbor in found]
            density_of = {f.feature_index: f.density for f in reader.features(indices, source)}
            label_of = {e.feature_index: e for e in reversed(reader.explanations(indices, source))}
            scores = reader.scores(indices, source_id=source)
        hits = []
        for neighbor in found:
            index = neighbor.feature_index
            label = label_of.get(index)
            if label is None:
                hits.append(SearchHit(source, index, "", "", neighbor.similarity, density_of[index]))
            else:
                values = {s.scorer: s.value for s in scores if s.explanation_id == label.explanation_id}
                hits.append(_hit(label, neighbor.similarity, density_of[index], values))
        return hits

    def _current_table(self) -> LabelTable:
        try:
            file = self._reader.path.stat()
        except FileNotFoundError:
            file = None
        state = None if file is None else (file.st_mtime_ns, file.st_size)
        with self._lock:
            if self._table is None or state != self._state:
                # The file's state from before reading: a transaction in between is seen at the next query.
                self._table = load_table(self._reader, self._embedder.name)
                self._state = state
            return self._table


def _hits(table: LabelTable, relevance: Float64[np.ndarray, " row"], rows: Sequence[int]) -> list[SearchHit]:
    return [table.hit(row, float(relevance[row])) for row in rows]


def _hit(explanation: Explanation, relevance: float, density: float, scores: Mapping[str, float]) -> SearchHit:
    return SearchHit(
        source_id=explanation.source_id,
        feature_index=explanation.feature_index,
        label=explanation.label,
        explanation_id=explanation.explanation_id,
        relevance=relevance,
        density=density,
        scores=scores,
    )


def _strongest(contexts: Sequence[Context]) -> list[Context]:
    return sorted(contexts, key=lambda context: (-context.max_activation, context.context_id))[:N_CONTEXTS]


def _check_query(query: str) -> None:
    if not query.strip():
        raise SearchError("the query is empty", "say in words what the feature should be about")


def _check_top_k(top_k: int) -> None:
    if not 1 <= top_k <= MAX_TOP_K:
        raise SearchError(f"{top_k} results can't be asked for", f"ask for 1 to {MAX_TOP_K}")


def _check_densities(min_density: float | None, max_density: float | None) -> None:
    for name, value in (("min_density", min_density), ("max_density", max_density)):
        if value is not None and not 0 <= value <= 1:
            raise SearchError(f"{name} = {value:g} is no share of tokens", "give a number from 0 to 1")
    if min_density is not None and max_density is not None and min_density > max_density:
        raise SearchError("min_density is above max_density", "exchange them")
