"""A feature: all that its run tells of it."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from fastapi import Query
from starlette.requests import Request

from autointerp.library.feature_page import ContextChoice, FeaturePage, read_page
from autointerp.library.lists import FeatureList
from autointerp.library.run import Run
from autointerp.records import InputToken, NextToken, TokenLogit, input_tokens, next_tokens
from autointerp.records.tokens import in_order
from autointerp.serve.serving import Serving
from autointerp.serve.views.contexts import Band, SilentGroup, active_bands, silent_groups
from autointerp.serve.views.labels import ShownLabel, shown_labels
from autointerp.serve.views.near import Near, count_near, near
from autointerp.serve.views.noted import ShownNotes, shown_notes
from autointerp.serve.views.served import named_source, run_of
from autointerp.serve.views.statistics import Bin, filled_bins
from autointerp.serve.views.tested import MOST_CHARACTERS, Tested, test_text

_LOG = logging.getLogger(__name__)
_SHOWN_OF_A_BAND = 5
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
        why_no_label: Why it has none; None where it has one.
        n_active: Tokens on which it fires.
        n_tokens: Of the corpus.
        density: The share.
        mean_activation: Where it fires.
        max_activation: Largest.
        histogram: Its activations, in bins that double.
        input_tokens: What it fires on, the most telling first.
        n_missed: The most by which the count of one of these can be too low.
        next_tokens: What follows its sampled peaks, the most telling first.
        n_followed_peaks: Sampled peaks that something follows.
        top_logits: What it raises most.
        bottom_logits: What it lowers most.
        no_logits: Why there are none; None where there may be.
        bands_by: How contexts are put into bands.
        bands: Contexts in which it fires.
        silent: Contexts in which it is silent.
        no_contexts: Why there are none; None where there are, or nothing is wrong.
        near: Features near it.
        failures: What could not be done for it.
        notes: What people have written about it.
        tested: What it does on a text that was asked for; None where none was.
    """

    id: str
    source_id: str
    index: int
    run: str
    status: str
    n_features: int
    label: str | None
    labels: tuple[ShownLabel, ...]
    why_no_label: str | None
    n_active: int
    n_tokens: int
    density: float
    mean_activation: float
    max_activation: float
    histogram: tuple[Bin, ...]
    input_tokens: tuple[InputToken, ...]
    n_missed: int
    next_tokens: tuple[NextToken, ...]
    n_followed_peaks: int
    top_logits: tuple[TokenLogit, ...]
    bottom_logits: tuple[TokenLogit, ...]
    no_logits: str | None
    bands_by: str
    bands: tuple[Band, ...]
    silent: tuple[SilentGroup, ...]
    no_contexts: str | None
    near: Near
    failures: tuple[str, ...]
    notes: ShownNotes
    tested: Tested | None = None


Bands = Annotated[Literal["count", "value"], Query(description="how contexts are put into bands")]
Text = Annotated[str | None, Query(max_length=MOST_CHARACTERS, description="a text to try the feature on")]


async def feature(
    serving: Serving,
    request: Request,
    model: str,
    source: str,
    index: int,
    bands: Bands = "count",
    text: Text = None,
    defaulttesttext: Annotated[str | None, Query(max_length=MOST_CHARACTERS, description="the same as `text`")] = None,
) -> FeatureView:
    """A feature with its labels, scores, tokens, contexts and what is near it."""
    of = named_source(serving, model, source)
    view = await serving.store.answer(request, lambda: kept_view(serving, of, index, bands))
    asked = text or defaulttesttext
    if asked is None or not asked.strip():
        return view
    return replace(view, tested=await test_text(serving, request, of, index, asked))


def kept_view(serving: Serving, source: str, index: int, bands: Literal["count", "value"]) -> FeatureView:
    """What `feature_view` tells, told again for as long as neither stores nor notes are written."""
    run = run_of(serving, source)

    def is_whole(view: FeatureView) -> bool:
        # What could not be read may be mended by what no state tells of; a store by itself has nothing to mend.
        return (
            not run.has_late_labels
            and view.no_contexts is None
            and (view.near.no_together is None or not run.has_folder)
        )

    def make() -> FeatureView:
        return feature_view(run, source, index, bands, serving.client.lists)

    states = [of.file_state() for of in serving.client.runs]  # lists are beside any of them
    state = None if None in states else tuple(states)
    return serving.kept.view((run.name, source, index, bands), state, make, is_whole)


def feature_view(
    run: Run,
    source: str,
    index: int,
    bands: Literal["count", "value"] = "count",
    every_list: Iterable[FeatureList] = (),
) -> FeatureView:
    """What a run tells of a feature.

    Args:
        run: The run.
        source: `model@source`.
        index: The feature.
        bands: How contexts are put into bands.
        every_list: Lists that it could be put into.

    Raises:
        UnknownFeatureError: If there is no such feature.
    """
    counted = count_near(run, source, index)
    with run.reader.session() as reader:
        page = read_page(run, f"{source}:{index}", ContextChoice(), name_neighbors=False)
        labels, around = shown_labels(page.labels, reader.stages()), near(run, page, counted)
    record = page.feature
    return FeatureView(
        id=f"{source}:{index}",
        source_id=source,
        index=index,
        run=Path(run.name).name,
        status=record.status,
        n_features=page.source.n_features,
        label=next((shown.label for shown in labels if shown.null is None), None),
        labels=labels,
        why_no_label=page.why_no_label,
        n_active=record.n_active,
        n_tokens=page.source.n_tokens,
        density=record.density,
        mean_activation=record.mean_activation,
        max_activation=record.max_activation,
        histogram=filled_bins(page.histogram_edges, record.histogram),
        input_tokens=tuple(in_order(input_tokens(record), "pmi")),
        n_missed=record.top_tokens_n_missed,
        next_tokens=tuple(in_order(next_tokens(record), "pmi")),
        n_followed_peaks=record.n_followed_peaks,
        top_logits=record.top_logits,
        bottom_logits=record.bottom_logits,
        no_logits=page.source.no_logits,
        bands_by=bands,
        bands=active_bands(page.contexts, record.max_activation, bands, _SHOWN_OF_A_BAND),
        silent=silent_groups(page.contexts, _SHOWN_SILENT),
        no_contexts=_why_no_contexts(page),
        near=around,
        notes=shown_notes(run.notes.of_feature((source, index)), every_list),
        failures=tuple(f"{f.stage}: {f.error_type}: {f.message}" for f in page.failures),
    )


def _why_no_contexts(page: FeaturePage) -> str | None:
    if page.no_contexts is None:
        return None
    _LOG.warning("%s", page.no_contexts)  # it may name the server's own files
    return "what the pass over the corpus kept can't be read here: the server's log says why"
