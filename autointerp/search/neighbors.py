"""Neighbors of a feature in spaces whose neighbors the run has stored: `decoder` and `coactivation`."""

from autointerp.records import FeatureFilter, SearchHit
from autointerp.search.hits import by_explanation, hit_of, unlabelled_hit
from autointerp.store.reader import Reader


def stored_neighbors(
    store: Reader, source: str, feature: int, space: str, top_k: int, where: FeatureFilter
) -> list[SearchHit]:
    """The neighbors of a feature that the run has stored, closest first, with their labels where they have one."""
    with store.session() as reader:
        found = reader.neighbors(feature, space, source_id=source)
        indices = [neighbor.feature_index for neighbor in found]
        records = {record.feature_index: record for record in reader.features(indices, source)}
        explanations = reader.explanations(indices, source)
        scores_of = by_explanation(reader.scores(indices, source_id=source))
        where.check(reader.known_names())
    hits: list[SearchHit] = []
    for neighbor in found:
        record = records[neighbor.feature_index]
        own = [e for e in explanations if e.feature_index == neighbor.feature_index]
        passing = [e for e in own if where.admits(record, e, scores_of.get(e.explanation_id, ()))]
        if passing:
            scores = scores_of.get(passing[0].explanation_id, ())
            hits.append(hit_of(passing[0], neighbor.similarity, record.density, scores))
        elif not own and where.admits(record, None, ()):
            hits.append(unlabelled_hit(record, neighbor.similarity))
    return hits[:top_k]
