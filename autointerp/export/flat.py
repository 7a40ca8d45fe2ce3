"""One export line as flat columns, for CSV and Parquet.

Each scorer that graded anything has the columns `NAME`, `NAME_ci_low`, `NAME_ci_high`, `NAME_n_trials`,
`NAME_n_unanswered`, `NAME_metric`, `NAME_judge` and `NAME_fingerprint`; they are empty where a label has no such score.
What else an explainer says of its label is JSON in `explanation_detail`.
"""

import json
from datetime import datetime

from autointerp.export.items import ExportItem, Provenance
from autointerp.identity import feature_id, stable_uuid

Cell = str | int | float | bool | datetime | None

_FEATURE_COLUMNS: dict[str, type] = {
    "feature_id": str,
    "feature_uuid": str,
    "source_id": str,
    "feature_index": int,
    "subject_model": str,
    "hook": str,
    "coder": str,
    "corpus": str,
    "n_tokens": int,
    "n_active": int,
    "density": float,
    "max_activation": float,
    "mean_activation": float,
    "status": str,
}
_LABEL_COLUMNS: dict[str, type] = {
    "label": str,
    "explanation_id": str,
    "explainer": str,
    "explainer_model": str,
    "prompt_sha256": str,
    "cost_usd": float,
    "created_at": datetime,
    "label_from": int,
    "explanation_fingerprint": str,
    "side": str,
    "n_contexts": int,
    "excludes": str,
    "explanation_detail": str,
    "tier": str,
}
SCORE_COLUMNS: dict[str, type] = {
    "": float,
    "_ci_low": float,
    "_ci_high": float,
    "_n_trials": int,
    "_n_unanswered": int,
    "_metric": str,
    "_judge": str,
    "_fingerprint": str,
}
_RUN_COLUMNS: dict[str, type] = {"failures": str, "run": str, "program_version": str}
OWN_COLUMNS = frozenset({*_FEATURE_COLUMNS, *_LABEL_COLUMNS, *_RUN_COLUMNS})
"""Columns that are named after no scorer."""


def flat_columns(known: Provenance) -> dict[str, type]:
    """Names and types of the columns, in order."""
    scores = {f"{scorer}{end}": kind for scorer in known.scorers for end, kind in SCORE_COLUMNS.items()}
    return {**_FEATURE_COLUMNS, **_LABEL_COLUMNS, **scores, **_RUN_COLUMNS}


def flat_row(item: ExportItem, known: Provenance) -> dict[str, Cell]:
    """The cells of one line, in the order of `flat_columns`; failures as `stage: Type: message`, one a line."""
    source, feature, label = item.labelled.source, item.labelled.feature, item.labelled.explanation
    name = feature_id(source.source_id, feature.feature_index)
    row: dict[str, Cell] = {
        "feature_id": name,
        "feature_uuid": stable_uuid(name),
        "source_id": source.source_id,
        "feature_index": feature.feature_index,
        "subject_model": source.model,
        "hook": source.hook,
        "coder": source.coder,
        "corpus": source.corpus,
        "n_tokens": source.n_tokens,
        "n_active": feature.n_active,
        "density": feature.density,
        "max_activation": feature.max_activation,
        "mean_activation": feature.mean_activation,
        "status": feature.status,
        **dict.fromkeys(_LABEL_COLUMNS),
    }
    if label is not None:
        cells_of_label: tuple[Cell, ...] = (
            label.label,
            label.explanation_id,
            label.explainer,
            label.model,
            label.prompt_sha256,
            label.cost_usd,
            label.created_at,
            label.label_from,
            label.fingerprint,
            label.side,
            label.n_contexts,
            label.excludes,
            json.dumps(label.detail, ensure_ascii=False, sort_keys=True) if label.detail else None,
            tier.name if (tier := item.labelled.tier) else None,
        )
        row.update(zip(_LABEL_COLUMNS, cells_of_label, strict=True))
    for scorer in known.scorers:
        score = item.score_of(scorer)
        cells: tuple[Cell, ...] = (None,) * len(SCORE_COLUMNS)
        if score is not None:
            counts = (score.n_trials, score.n_unanswered)
            cells = (score.value, score.ci_low, score.ci_high, *counts, score.metric, score.judge, score.fingerprint)
        row.update({f"{scorer}{end}": cell for end, cell in zip(SCORE_COLUMNS, cells, strict=True)})
    failures = [f"{f.stage}: {f.error_type}: {f.message}" for f in item.labelled.failures]
    row["failures"] = "\n".join(failures) or None
    row["run"] = known.run
    row["program_version"] = known.program_version
    return row
