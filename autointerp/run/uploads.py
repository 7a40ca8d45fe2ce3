"""Features that somebody uploads: a run of their own, in the folder `uploads` of the run beside which they are kept.

A run's own store holds what its pipeline made, and its writer may hold it for hours; a record there is never edited.
What is uploaded has no pipeline and may be uploaded again, so it gets a store of its own, with the same tables: whoever
reads runs reads it as another run. It is written by whoever takes uploads, a batch in one transaction, and indexed for
search by the run's embedder at once.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from autointerp.embedder import TextEmbedder
from autointerp.errors import NoteError
from autointerp.identity import feature_id, fingerprint, stable_uuid
from autointerp.records import Context, ContextKind, Explanation, FeatureRecord, SourceRecord
from autointerp.records.notes import LONGEST_AUTHOR, LONGEST_LABEL, checked_line
from autointerp.records.uploads import MOST_FEATURES, UploadedContext, UploadedFeature, UploadedLabel
from autointerp.search.embed_labels import index_labels
from autointerp.store.connection import store_path
from autointerp.store.reader import Reader
from autointerp.store.uploads import UploadedRows, add_uploaded
from autointerp.store.writer import Writer

UPLOADS = "uploads"
_UNKNOWN = "uploaded"
_FINGERPRINT = fingerprint("uploaded", 1)
_EMPTY = FeatureRecord("", 0, 0, 0.0, 0.0, 0.0, (), "few_contexts")


def uploads_folder(run_folder: Path) -> Path:
    """Where what is uploaded beside a run is kept."""
    return run_folder / UPLOADS


def keep_uploaded(run_folder: Path, source_id: str, features: Sequence[UploadedFeature], embedder: TextEmbedder) -> int:
    """Keep features, in place of what they were before, and index their labels.

    Args:
        run_folder: Of the run beside which they are kept.
        source_id: `model@source`; no source of the run.
        features: Of this source.
        embedder: The run's.

    Returns:
        How many features the source has then.

    Raises:
        NoteError: If a label is no line of some length, an index is named twice or too large, or a context's values are
            not finite or other than its tokens.
        StoreError: If the store can't be written.
        DiskFullError: If there is no room.
    """
    indices = [feature.index for feature in features]
    if len(set(indices)) < len(indices):
        raise NoteError("an index is named twice", "upload each feature once")
    if not indices or max(indices) >= MOST_FEATURES:
        raise NoteError(f"features have indices from 0 to {MOST_FEATURES - 1:,}", "upload such")
    path = store_path(uploads_folder(run_folder))
    model = source_id.partition("@")[0]
    source = SourceRecord(source_id, model, _UNKNOWN, _UNKNOWN, 0, _UNKNOWN, 0, no_logits=None)
    rows = UploadedRows(
        source,
        [_feature(source_id, of) for of in features],
        [context for of in features for context in _contexts(source_id, of)],
        [label for of in features for label in _explanations(source_id, of)],
        _FINGERPRINT,
    )
    n_features = add_uploaded(path, rows, replace(_EMPTY, source_id=source_id))
    index_labels(Reader(path), Writer(path), embedder)
    return n_features


def _feature(source_id: str, of: UploadedFeature) -> FeatureRecord:
    active = [value for context in of.contexts for value in context.values if value > 0]
    return FeatureRecord(
        source_id=source_id,
        feature_index=of.index,
        n_active=len(active),
        density=of.density,
        max_activation=max(active, default=0.0),
        mean_activation=math.fsum(active) / len(active) if active else 0.0,
        histogram=(),
        status="ok" if active else "few_contexts",
        top_logits=of.top_logits,
        bottom_logits=of.bottom_logits,
    )


def _contexts(source_id: str, of: UploadedFeature) -> list[Context]:
    least = sorted({context.least for context in of.contexts if context.least is not None})
    found = {}
    for place, context in enumerate(of.contexts):
        if not context.tokens or len(context.tokens) != len(context.values):
            raise NoteError(f"feature {of.index} has a context with other values than tokens", "give one a token")
        if not all(map(math.isfinite, context.values)):
            raise NoteError(f"feature {of.index} has an activation that is not finite", "leave the context out")
        made = _context(source_id, of.index, place, context, least)
        found[made.context_id] = made
    return list(found.values())


def _context(source_id: str, index: int, place: int, context: UploadedContext, least: Sequence[float]) -> Context:
    values = tuple(max(0.0, value) for value in context.values)
    strongest = max(values)
    name = fingerprint(feature_id(source_id, index), list(context.tokens), list(context.values))
    kind: ContextKind = "silent_random" if strongest == 0 else "top" if context.least is None else "quantile"
    return Context(
        context_id=stable_uuid(name),
        source_id=source_id,
        feature_index=index,
        kind=kind,
        split="explain",
        tokens=context.tokens,
        token_ids=(-1,) * len(context.tokens),
        activations=values,
        max_activation=strongest,
        peak=values.index(strongest),
        quantile=None if context.least is None or strongest == 0 else least.index(context.least),
        document_id=name[:32],
        block_index=place,
        start=0,
    )


def _explanations(source_id: str, of: UploadedFeature) -> list[Explanation]:
    found = {}
    for label in of.labels:
        made = _explanation(source_id, of.index, label)
        found[made.explanation_id] = made
    return list(found.values())


def _explanation(source_id: str, index: int, label: UploadedLabel) -> Explanation:
    text = checked_line(" ".join(label.text.split()), "a label", LONGEST_LABEL)
    method, model = (
        checked_line(said, what, LONGEST_AUTHOR)
        for said, what in ((label.method, "a method"), (label.model, "a model"))
    )
    of_label = fingerprint("uploaded", text, method, model)
    return Explanation(
        explanation_id=stable_uuid(f"{feature_id(source_id, index)}/{of_label}"),
        source_id=source_id,
        feature_index=index,
        label=text,
        explainer=method,
        model=model,
        prompt_sha256=None,
        cost_usd=None,
        created_at=datetime.now(UTC),
        fingerprint=of_label,
    )
