"""Two labels of one feature, held against each other on the same trials."""

from collections.abc import Mapping

from autointerp.library.run import Run
from autointerp.records import Explanation
from autointerp.score.same_trials import Compared, ScoredTrials, compare_scores
from autointerp.store.compared import ComparedStore


def compare_labels(run: Run, first: Explanation, second: Explanation) -> dict[str, Compared]:
    """How the scores of two labels of one feature differ, by each scorer that has scored both and measures the same.

    Args:
        run: Theirs.
        first: One label.
        second: Another; every difference is its value less the first's.

    Returns:
        By scorer: the difference with its 95 % interval, from pairs of the same trials where these are the same.

    Example:
        >>> from autointerp.library.label_difference import compare_labels
        >>> true, shuffled = (of.explanation for of in client.run.feature(1).labels[:2])
        >>> compare_labels(client.run, true, shuffled)["detection"].difference.value < 0
        True
    """
    store = ComparedStore(run.reader.path)
    with store.session():
        one, other = _scores(store, first), _scores(store, second)
    return {
        scorer: compare_scores(one[scorer], other[scorer])
        for scorer in one
        if scorer in other and one[scorer].metric == other[scorer].metric
    }


def _scores(store: ComparedStore, of: Explanation) -> Mapping[str, ScoredTrials]:
    labels = next(
        some for some in store.label_sets() if (some.fingerprint, some.explainer) == (of.fingerprint, of.explainer)
    )
    scores = [some for some in store.score_sets(labels) if some.is_current]
    found = store.scored_features(labels, scores, of.source_id, of.feature_index, of.feature_index)
    return found[0].scores if found else {}
