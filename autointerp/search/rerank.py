"""A closer look at given features: at their labels, and at what they fire on, by a reranker."""

from collections.abc import Sequence

from autointerp.errors import SearchError
from autointerp.identity import FeatureKey
from autointerp.records import Context, FeatureFilter, SearchHit
from autointerp.search.hits import by_explanation, hit_of
from autointerp.search.rerankers.base import BaseReranker, ShownLabel
from autointerp.store.known import feature_keys
from autointerp.store.reader import Reader

NAN = float("nan")


def rerank(
    store: Reader,
    reranker: BaseReranker,
    features: Sequence[FeatureKey],
    query: str,
    source_id: str | None,
    where: FeatureFilter,
) -> list[SearchHit]:
    """Order given features by a closer look; see `SearchEngine.rerank`.

    Their own order, with a relevance of NaN, where the reranker could not tell.
    """
    named, given = feature_keys(features, source_id)
    indices = list(dict.fromkeys(given))
    with store.session() as reader:
        where.check(reader.known_names())
        if not indices:
            return []
        records = {record.feature_index: record for record in reader.features(indices, named)}
        source = records[indices[0]].source_id
        explanations = reader.explanations(indices, source)
        contexts_of = {
            of.feature_index: _strongest(of.of("explain", active=True), reranker.n_contexts)
            for of in reader.feature_contexts(indices, source)
        }
        scores_of = by_explanation(reader.scores(indices, source_id=source))
    unlabelled = set(indices) - {e.feature_index for e in explanations}
    if unlabelled:
        raise SearchError(f"feature {min(unlabelled)} of {source} has no label", "leave it out, or explain it first")

    explanations = [
        e for e in explanations if where.admits(records[e.feature_index], e, scores_of.get(e.explanation_id, ()))
    ]
    if not explanations:
        return []
    shown = [ShownLabel(e.label, contexts_of.get(e.feature_index, ())) for e in explanations]
    relevance = reranker.relevance(query, shown)
    best: dict[int, SearchHit] = {}
    for place, explanation in enumerate(explanations):
        index, value = explanation.feature_index, NAN if relevance is None else relevance[place]
        if index not in best or value > best[index].relevance:
            scores = scores_of.get(explanation.explanation_id, ())
            best[index] = hit_of(explanation, value, records[index].density, scores)
    if relevance is None:
        return [best[index] for index in indices if index in best]
    return sorted(best.values(), key=lambda hit: (-hit.relevance, hit.feature_index))


def _strongest(contexts: Sequence[Context], n: int) -> tuple[Context, ...]:
    return tuple(sorted(contexts, key=lambda context: (-context.max_activation, context.context_id))[:n])
