"""What several pages show: a feature on one line, its scores with intervals, and contexts to shade.

Nothing here is markup: texts are as they are, and a template escapes them.
"""

from collections.abc import Mapping
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict

from autointerp.contexts.render import shown_activations
from autointerp.library.feature import Feature
from autointerp.records import Context

_BEFORE, _BEHIND = 16, 10


class View(BaseModel):
    """What a page, or a part of one, says."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Chip(View):
    """A score of a label.

    Attributes:
        scorer: Who gave it.
        value: In [0, 1].
        low: Lower end of the 95 % interval; None where nobody found one.
        high: Upper end.
    """

    scorer: str
    value: float
    low: float | None = None
    high: float | None = None


class Snippet(View):
    """A context around its largest activation.

    Attributes:
        context_id: The context.
        tokens: Some of its tokens; joined without a separator they are its text.
        activations: Of each, in the coder's own units.
        max_activation: The largest.
        peak: Offset of that among these tokens.
        cut_before: Whether tokens before them were left out.
        cut_behind: Whether tokens behind them were.
    """

    context_id: str
    tokens: tuple[str, ...]
    activations: tuple[float, ...]
    max_activation: float
    peak: int
    cut_before: bool
    cut_behind: bool


class FeatureLine(View):
    """A feature on one line.

    Attributes:
        id: `model@source:index`.
        source_id: Its source.
        index: Its index there.
        path: Of its page here.
        label: Its best label; None where it has none.
        told: The label; where it has none, in brackets on what it fires.
        explainer: Who wrote the label.
        chips: The label's scores, by scorer.
        density: Share of the corpus's tokens on which it fires; None where nobody counted.
        relevance: To what found it; None where it was not searched for.
        n_alike: Others with the same label, or nearly; None where nobody counted.
        snippet: A context in which it fires much; None where none was asked for, or there is none.
    """

    id: str
    source_id: str
    index: int
    path: str
    label: str | None
    told: str
    explainer: str | None
    chips: tuple[Chip, ...]
    density: float | None
    relevance: float | None = None
    n_alike: int | None = None
    snippet: Snippet | None = None


def source_path(source_id: str) -> str:
    """The page of a source."""
    model, _, source = source_id.partition("@")
    return f"/{quote(model, safe='')}/{quote(source, safe='')}"


def feature_path(source_id: str, index: int) -> str:
    """The page of a feature."""
    return f"{source_path(source_id)}/{index}"


def chips(scores: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]) -> tuple[Chip, ...]:
    """Scores with their intervals, by scorer."""
    found = []
    for scorer in sorted(scores):
        low, high = intervals.get(scorer, (None, None))
        found.append(Chip(scorer=scorer, value=scores[scorer], low=low, high=high))
    return tuple(found)


def snippet(context: Context, before: int = _BEFORE, behind: int = _BEHIND) -> Snippet:
    """A context's tokens around its peak.

    Args:
        context: The context.
        before: Tokens shown before the peak, at most.
        behind: Tokens shown behind it, at most.
    """
    first, last = max(0, context.peak - before), min(len(context.tokens), context.peak + behind + 1)
    return Snippet(
        context_id=context.context_id,
        tokens=context.tokens[first:last],
        activations=tuple(float(value) for value in shown_activations(context)[first:last]),
        max_activation=context.max_activation,
        peak=context.peak - first,
        cut_before=first > 0,
        cut_behind=last < len(context.tokens),
    )


def feature_line(feature: Feature, context: Context | None = None) -> FeatureLine:
    """A feature on one line, with a context where one is given."""
    return FeatureLine(
        id=feature.id,
        source_id=feature.source_id,
        index=feature.index,
        path=feature_path(feature.source_id, feature.index),
        label=feature.label,
        told=feature.told,
        explainer=feature.explainer,
        chips=chips(feature.scores, feature.intervals),
        density=None if feature.density != feature.density else feature.density,
        relevance=feature.relevance,
        n_alike=feature.n_alike,
        snippet=None if context is None else snippet(context),
    )
