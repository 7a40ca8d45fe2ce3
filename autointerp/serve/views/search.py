"""The page of search: features whose labels are about something, by meaning and words.

Every filter comes before the limit. Where no label is about the query, the page says so, and shows the nearest apart.
"""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from autointerp.errors import FilterError
from autointerp.library.feature import FeatureGroup
from autointerp.serve.serving import Serving
from autointerp.serve.shapes import Text
from autointerp.serve.views.asked import Asked, OneOf, Share
from autointerp.serve.views.shown import FeatureLine, View, feature_line
from autointerp.store.known import shown

MOST_SHOWN = 200
_STEPS = (0.5, 0.6, 0.7, 0.8, 0.9)


class SearchAsked(Asked):
    """What is searched for, as it stands in the page's address.

    Attributes:
        q: Any text; nothing is searched for where it is empty.
        min_score: Least scores, each as `scorer:value`.
        density_from: Least share of tokens on which a feature fires.
        density_to: Largest share.
        source: Only features of this source.
        explainer: Only labels that it wrote.
        n: Features wanted.
    """

    q: Text = ""
    min_score: tuple[Text, ...] = ()
    density_from: Share = None
    density_to: Share = None
    source: OneOf = None
    explainer: OneOf = None
    n: Annotated[int, Field(ge=1, le=MOST_SHOWN)] = 20


class SearchOptions(View):
    """What can be chosen.

    Attributes:
        scorers: Scorers by which labels have scores.
        sources: Sources that are served.
        explainers: Who wrote labels.
        steps: Least scores that are offered.
    """

    scorers: tuple[str, ...]
    sources: tuple[str, ...]
    explainers: tuple[str, ...]
    steps: tuple[float, ...] = _STEPS


class SearchView(View):
    """What was found.

    Attributes:
        asked: What was searched for.
        least: The least score of each scorer that one is asked of.
        options: What can be chosen.
        is_searched: Whether anything was searched for.
        is_about: Whether a label is about the query; else what was found is merely the nearest.
        found: Features, the most relevant first.
        is_filtered: Whether a filter leaves features out.
    """

    asked: SearchAsked
    least: dict[str, float]
    options: SearchOptions
    is_searched: bool
    is_about: bool
    found: tuple[FeatureLine, ...]
    is_filtered: bool


def search_view(serving: Serving, asked: SearchAsked) -> SearchView:
    """Search.

    Raises:
        SearchError: If the labels can't be searched.
        FilterError: If a filter asks for what no run knows, or makes no sense.
    """
    least = least_scores(asked.min_score)
    is_searched, found, is_about = bool(asked.q.strip()), FeatureGroup(), False
    if is_searched:
        found = _found(serving, asked, least, None)
        is_about = bool(found)
        if not found:
            found = _found(serving, asked, least, 0.0)
    contexts = found.strongest(len(found), 1)
    return SearchView(
        asked=asked,
        least=least,
        options=options(serving),
        is_searched=is_searched,
        is_about=is_about,
        found=tuple(feature_line(of, next(iter(contexts.get(of, ())), None)) for of in found),
        is_filtered=bool(least or asked.source or asked.explainer)
        or (asked.density_from, asked.density_to) != (None, None),
    )


def least_scores(given: Sequence[str]) -> dict[str, float]:
    """Least scores that are written as `scorer:value`; empty ones are passed over.

    Raises:
        FilterError: If one is something else.
    """
    least = {}
    for one in given:
        if not one.strip():
            continue
        scorer, _, value = one.rpartition(":")
        try:
            least[scorer] = float(value)
        except ValueError as error:
            raise FilterError(f"min_score {shown(one)} is no score", "write it as detection:0.8") from error
        if not scorer:
            raise FilterError(f"min_score {shown(one)} names no scorer", "write it as detection:0.8")
    return least


def options(serving: Serving) -> SearchOptions:
    """What the runs that are served can be filtered by."""
    known = [run.reader.known_names() for run in serving.client.runs]
    return SearchOptions(
        scorers=tuple(sorted({name for of in known for name in of.scorers})),
        sources=tuple(serving.names.sources),
        explainers=tuple(sorted({name for of in known for name in of.explainers})),
    )


def _found(serving: Serving, asked: SearchAsked, least: dict[str, float], min_relevance: float | None) -> FeatureGroup:
    return serving.client.features.search(
        asked.q,
        asked.n,
        min_score=least,
        density=(
            0.0 if asked.density_from is None else asked.density_from,
            1.0 if asked.density_to is None else asked.density_to,
        ),
        source=asked.source,
        explainer=asked.explainer,
        min_relevance=min_relevance,
    )
