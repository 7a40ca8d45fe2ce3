"""Export rows made from records one by one, in Python: what the rows that DuckDB makes in bulk have to equal."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from autointerp.export.token_lists import token_lists
from autointerp.identity import feature_id, stable_uuid
from autointerp.records import EVERY_FEATURE, FeatureFilter
from autointerp.records.tokens import most_telling
from autointerp.store.reader import Reader
from autointerp.store.results import LabelledFeature

_LABEL = (
    "label", "explanation_id", "explainer", "explainer_model", "prompt_sha256", "cost_usd", "created_at", "label_from",
    "explanation_fingerprint", "side", "n_contexts", "excludes", "explanation_detail", "tier", "referee",
    "referee_agreement", "is_disputed",
)  # fmt: skip
_SCORE = ("", "_ci_low", "_ci_high", "_n_trials", "_n_unanswered", "_metric", "_judge", "_fingerprint")


def flat_rows(
    reader: Reader, where: FeatureFilter = EVERY_FEATURE, *, baselines: bool = False
) -> Iterator[dict[str, Any]]:
    """The cells of each row by column, in order."""
    run, scorers = reader.run(), reader.scorers()
    about = {"run": run.name if run else "", "program_version": run.program_version if run else ""}
    for one in reader.labelled_features(where, baselines=baselines):
        yield _flat(one, scorers) | about


def nested_rows(
    reader: Reader, where: FeatureFilter = EVERY_FEATURE, *, baselines: bool = False
) -> Iterator[dict[str, Any]]:
    """Each row as JSON has it, read back."""
    run = reader.run()
    about = {"run": run.name if run else "", "program_version": run.program_version if run else ""}
    for one in reader.labelled_features(where, baselines=baselines):
        yield json.loads(json.dumps(_nested(one) | about, default=_plain))


def _flat(labelled: LabelledFeature, scorers: Sequence[str]) -> dict[str, Any]:
    source, feature, label = labelled.source, labelled.feature, labelled.explanation
    name = feature_id(source.source_id, feature.feature_index)
    telling = most_telling(feature.top_tokens, feature.density)
    row: dict[str, Any] = {
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
        "telling_tokens": json.dumps([t.token for t in telling[:5]], ensure_ascii=False) if telling else None,
        **dict.fromkeys(_LABEL),
    }
    if label is not None:
        said = labelled.refereed
        cells_of_label: tuple[Any, ...] = (
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
            tier.name if (tier := labelled.tier) else None,
            *((said.referee.rule, said.agreement, said.is_disputed) if said else (None, None, None)),
        )
        row.update(zip(_LABEL, cells_of_label, strict=True))
    for scorer in scorers:
        score = next((score for score in labelled.scores if score.scorer == scorer), None)
        cells: tuple[Any, ...] = (None,) * len(_SCORE)
        if score is not None:
            counts = (score.n_trials, score.n_unanswered)
            cells = (score.value, score.ci_low, score.ci_high, *counts, score.metric, score.judge, score.fingerprint)
        row.update({f"{scorer}{end}": cell for end, cell in zip(_SCORE, cells, strict=True)})
    failures = [f"{f.stage}: {f.error_type}: {f.message}" for f in labelled.failures]
    row["failures"] = "\n".join(failures) or None
    return row


def _nested(labelled: LabelledFeature) -> dict[str, Any]:
    name = feature_id(labelled.source.source_id, labelled.feature.feature_index)
    return {
        "feature_id": name,
        "feature_uuid": stable_uuid(name),
        "label": labelled.explanation.label if labelled.explanation else None,
        "source": asdict(labelled.source),
        "feature": asdict(labelled.feature) | token_lists(labelled.feature),
        "explanation": asdict(labelled.explanation) if labelled.explanation else None,
        "tier": tier.name if (tier := labelled.tier) else None,
        "is_disputed": said.is_disputed if (said := labelled.refereed) else None,
        "scores": [asdict(score) for score in labelled.scores],
        "failures": [asdict(failure) for failure in labelled.failures],
    }


def _plain(value: Any) -> Any:
    assert isinstance(value, datetime)
    return value.isoformat()
