"""Filters on features, as callers give them."""

from collections.abc import Iterable, Mapping

from autointerp.errors import FilterError
from autointerp.library.backend import Backend
from autointerp.records import FeatureFilter
from autointerp.store.known import shown


def feature_filter(
    run: Backend,
    min_score: float | Mapping[str, float] | None,
    density: float | tuple[float, float] | None,
    source: str | Iterable[str] | None,
    explainer: str | None,
) -> FeatureFilter:
    """The filter for one run.

    Args:
        run: Whose scorers are meant by one least score for all.
        min_score: Least score by scorer, or for every scorer.
        density: Largest density, or least and largest.
        source: Only of this source, or of these.
        explainer: Only labels that it wrote.

    Raises:
        FilterError: If one of these is none.
    """
    least = {} if min_score is None else min_score
    if not isinstance(least, Mapping):
        least = dict.fromkeys(run.scorers(), least)
    match density:
        case None:
            low, high = 0.0, 1.0
        case [low, high]:
            pass
        case _:
            low, high = 0.0, density
    if not (source is None or isinstance(source, Iterable)):
        raise FilterError(f"there is no source {shown(source)}", "name it as model@source, or several in a list")
    if not (explainer is None or isinstance(explainer, str)):
        raise FilterError(f"{shown(explainer)} is no explainer's name", "name one")
    sources = [source] if isinstance(source, str) else source
    return FeatureFilter(
        sources=None if sources is None else frozenset(sources),
        min_score=least,
        min_density=low,
        max_density=high,
        explainer=explainer,
    )
