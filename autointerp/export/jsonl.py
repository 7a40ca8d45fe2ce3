"""JSON lines: one object a label, nested, with the scores' details and, where asked for, the contexts."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from autointerp.export.items import ExportItem, Provenance
from autointerp.identity import feature_id, stable_uuid


def write_jsonl(items: Iterable[ExportItem], known: Provenance, path: Path, *, contexts: bool) -> int:
    """Write the lines to a new file, and return their number."""
    n_rows = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for item in items:
            line = nested_row(item, known, contexts=contexts)
            file.write(json.dumps(line, ensure_ascii=False, allow_nan=False, default=_plain) + "\n")
            n_rows += 1
    return n_rows


def nested_row(item: ExportItem, known: Provenance, *, contexts: bool) -> dict[str, Any]:
    """One line: the records' own fields under `source`, `feature`, `explanation`, `scores`, `failures`, `contexts`."""
    labelled = item.labelled
    name = feature_id(labelled.source.source_id, labelled.feature.feature_index)
    row: dict[str, Any] = {
        "feature_id": name,
        "feature_uuid": stable_uuid(name),
        "label": labelled.explanation.label if labelled.explanation else None,
        "source": asdict(labelled.source),
        "feature": asdict(labelled.feature),
        "explanation": asdict(labelled.explanation) if labelled.explanation else None,
        "tier": tier.name if (tier := labelled.tier) else None,
        "scores": [asdict(score) for score in labelled.scores],
        "failures": [asdict(failure) for failure in labelled.failures],
        "run": known.run,
        "program_version": known.program_version,
    }
    if contexts:
        row["contexts"] = [asdict(context) for context in item.contexts]
    return row


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")
