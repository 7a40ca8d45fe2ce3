"""Search results from a run's records, and the choice of one place a feature."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64, Int64

from autointerp.records import Explanation, FeatureRecord, Score, SearchHit, TokenCount
from autointerp.records.tokens import most_telling
from autointerp.search.labels import Labels

MAX_TOP_K = 10_000
ALIKE = 0.85
"""Cosine of labels that say nearly the same: of the demo's, pairs from here on share all words but one or two."""
_TOKENS = 3
_SORTED = 8
_MOST_COUNTED = 256
# Vectors with that cosine lie within this of each other in their cosine with any third one.
_REACH = float(np.sqrt(2 - 2 * ALIKE))


def best_of_each_feature(
    labels: Labels,
    rows: Int64[np.ndarray, " candidate"],
    relevance: Float64[np.ndarray, " candidate"],
    top_k: int,
) -> list[SearchHit]:
    """The most relevant row of each feature as a hit; see `best_places`."""
    places = best_places(labels, rows, relevance, top_k)
    return [labels.hit(int(rows[place]), float(relevance[place])) for place in places.tolist()]


def best_places(
    labels: Labels,
    rows: Int64[np.ndarray, " candidate"],
    relevance: Float64[np.ndarray, " candidate"],
    top_k: int,
) -> Int64[np.ndarray, " hit"]:
    """The most relevant row of each feature, the `top_k` most relevant of these; ties in the order of the rows.

    Args:
        labels: The labels.
        rows: Candidates, equally relevant ones in the order in which they are to be shown.
        relevance: Of each candidate.
        top_k: Features wanted.

    Returns:
        Places among the candidates.
    """
    n_sorted = _SORTED * top_k
    while True:
        places = _most_relevant(relevance, n_sorted)
        chosen: dict[tuple[str, int], int] = {}
        for place, feature in zip(places.tolist(), labels.features(rows[places]), strict=True):
            chosen.setdefault(feature, place)
        if len(chosen) >= top_k or len(places) == len(rows):
            break
        n_sorted *= _SORTED
    return np.array(list(chosen.values())[:top_k], dtype=np.int64)


def count_alike(
    places: Int64[np.ndarray, " hit"],
    rows: Int64[np.ndarray, " candidate"],
    meaning: Float64[np.ndarray, " candidate"],
    labels: Labels,
) -> list[int | None]:
    """How many features other than each hit's have, among the candidates, a label that says nearly the same.

    Args:
        places: Of the hits, among the candidates.
        rows: The candidates.
        meaning: Cosine of each with the query.
        labels: The labels.

    Returns:
        One number a hit; None of hits past the first `_MOST_COUNTED`.
    """
    counted = places[:_MOST_COUNTED]
    near = (meaning >= meaning[counted].min() - _REACH) & (meaning <= meaning[counted].max() + _REACH)
    found: list[int | None] = []
    alike = labels.alike(rows[counted], rows[near], ALIKE)
    for some, own in zip(alike, labels.features(rows[counted]), strict=True):
        found.append(len({*labels.features(some)} - {own}))
    return found + [None] * (len(places) - len(counted))


def _most_relevant(relevance: Float64[np.ndarray, " candidate"], n: int) -> Int64[np.ndarray, " some"]:
    """Places of the `n` most relevant, most relevant first, and of all that tie with the last; ties in their order."""
    if len(relevance) <= n:
        return np.argsort(-relevance, kind="stable")
    least = np.partition(relevance, len(relevance) - n)[len(relevance) - n]
    some = np.flatnonzero(relevance >= least)
    return some[np.argsort(-relevance[some], kind="stable")]


def hit_of(explanation: Explanation, relevance: float, density: float, scores: Sequence[Score]) -> SearchHit:
    """One label with its scores as a search result."""
    return SearchHit(
        source_id=explanation.source_id,
        feature_index=explanation.feature_index,
        label=explanation.label,
        explanation_id=explanation.explanation_id,
        relevance=relevance,
        density=density,
        scores={score.scorer: score.value for score in scores},
        explainer=explanation.explainer,
        intervals={score.scorer: (score.ci_low, score.ci_high) for score in scores},
    )


def unlabelled_hit(feature: FeatureRecord, relevance: float) -> SearchHit:
    """A feature without a label as a search result, with the tokens that tell of it."""
    tokens = shown_tokens(feature.density, feature.top_tokens)
    return SearchHit(feature.source_id, feature.feature_index, "", "", relevance, feature.density, tokens=tokens)


def shown_tokens(density: float, tokens: Sequence[TokenCount]) -> tuple[str, ...]:
    """The tokens that tell of a feature without a label, most telling first."""
    return tuple(of.token for of in (most_telling(tokens, density) or tokens)[:_TOKENS])


def by_explanation(scores: Sequence[Score]) -> Mapping[str, list[Score]]:
    """Scores by the explanation that they are of."""
    found: dict[str, list[Score]] = {}
    for score in scores:
        found.setdefault(score.explanation_id, []).append(score)
    return found
