"""A feature: all that its run tells of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from fastapi import Query

from autointerp.library.feature_page import ContextChoice, read_page
from autointerp.records import InputToken, NextToken, TokenLogit, input_tokens, next_tokens
from autointerp.serve.serving import Serving
from autointerp.serve.views.contexts import Band, SilentGroup, active_bands, silent_groups
from autointerp.serve.views.labels import ShownLabel, shown_labels
from autointerp.serve.views.served import named_source, run_of

_SHOWN_OF_A_BAND = 6
_SHOWN_SILENT = 4


@dataclass(frozen=True, slots=True)
class FeatureView:
    """What the page of a feature says.

    Attributes:
        id: `model@source:index`.
        source_id: `model@source`.
        index: The feature.
        run: Name of its run.
        status: `ok`, `dead`, `dense` or `few_contexts`.
        n_features: Of its source.
        label: Its first true label; None where it has none.
        labels: Its labels with their scores, true ones first, then nulls.
        same_label: Other features of the source that carry its label, to the letter.
        why_no_label: Why it has none; None where it has one.
        n_active: Tokens on which it fires.
        n_tokens: Of the corpus.
        density: The share.
        mean_activation: Where it fires.
        max_activation: Largest.
        input_tokens: What it fires on.
        next_tokens: What follows its sampled peaks.
        top_logits: What it raises most.
        bottom_logits: What it lowers most.
        no_logits: Why there are none; None where there may be.
        bands_by: How contexts are put into bands.
        bands: Contexts in which it fires.
        silent: Contexts in which it is silent.
        no_contexts: Why there are none; None where there are, or nothing is wrong.
        failures: What could not be done for it.
    """

    id: str
    source_id: str
    index: int
    run: str
    status: str
    n_features: int
    label: str | None
    labels: tuple[ShownLabel, ...]
    same_label: tuple[int, ...]
    why_no_label: str | None
    n_active: int
    n_tokens: int
    density: float
    mean_activation: float
    max_activation: float
    input_tokens: tuple[InputToken, ...]
    next_tokens: tuple[NextToken, ...]
    top_logits: tuple[TokenLogit, ...]
    bottom_logits: tuple[TokenLogit, ...]
    no_logits: str | None
    bands_by: str
    bands: tuple[Band, ...]
    silent: tuple[SilentGroup, ...]
    no_contexts: str | None
    failures: tuple[str, ...]


def feature(
    serving: Serving,
    model: str,
    source: str,
    index: int,
    bands: Annotated[Literal["count", "value"], Query(description="how contexts are put into bands")] = "count",
) -> FeatureView:
    """A feature with its labels, scores, tokens and contexts."""
    of = named_source(serving, model, source)
    run = run_of(serving, of)
    page = read_page(run, f"{of}:{index}", ContextChoice())
    record = page.feature
    labels = shown_labels(page.labels)
    label = next((shown.label for shown in labels if shown.null is None), None)
    return FeatureView(
        id=f"{of}:{index}",
        source_id=of,
        index=index,
        run=Path(run.name).name,
        status=record.status,
        n_features=page.source.n_features,
        label=label,
        labels=labels,
        same_label=page.same_label,
        why_no_label=None if label is not None else page.why_no_label,
        n_active=record.n_active,
        n_tokens=page.source.n_tokens,
        density=record.density,
        mean_activation=record.mean_activation,
        max_activation=record.max_activation,
        input_tokens=input_tokens(record),
        next_tokens=next_tokens(record),
        top_logits=record.top_logits,
        bottom_logits=record.bottom_logits,
        no_logits=page.source.no_logits,
        bands_by=bands,
        bands=active_bands(page.contexts, record.max_activation, bands, _SHOWN_OF_A_BAND),
        silent=silent_groups(page.contexts, _SHOWN_SILENT),
        no_contexts=page.no_contexts,
        failures=tuple(f"{f.stage}: {f.error_type}: {f.message}" for f in page.failures),
    )
