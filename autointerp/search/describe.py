"""Features that are named, as search shows those that it finds: each with its best label."""

from collections.abc import Sequence

from autointerp.identity import FeatureKey
from autointerp.records import SearchHit
from autointerp.search.hits import by_explanation, hit_of, unlabelled_hit
from autointerp.store.known import feature_keys
from autointerp.store.reader import Reader

NAN = float("nan")


def describe(store: Reader, features: Sequence[FeatureKey], source_id: str | None = None) -> list[SearchHit]:
    """Features of one source, ascending, each once, with the label whose scores have the highest mean.

    Args:
        store: The run's.
        features: Their names.
        source_id: Their source; the run's only one where None.

    Returns:
        Hits whose relevance is NaN; of a feature without a label, `label` and `explanation_id` are empty.

    Raises:
        UnknownFeatureError: If there is no such feature.
    """
    named, given = feature_keys(features, source_id)
    if not given:
        return []
    with store.session() as reader:
        records = reader.features(given, named)
        source = records[0].source_id
        scores_of = by_explanation(reader.scores(given, source_id=source))
        density = {record.feature_index: record.density for record in records}
        best: dict[int, tuple[float, SearchHit]] = {}
        for explanation in reader.explanations(given, source):
            scores = scores_of.get(explanation.explanation_id, ())
            mean = sum(score.value for score in scores) / len(scores) if scores else -1.0
            index = explanation.feature_index
            if index not in best or mean > best[index][0]:
                best[index] = mean, hit_of(explanation, NAN, density[index], scores)
    return [best[of.feature_index][1] if of.feature_index in best else unlabelled_hit(of, NAN) for of in records]
