"""Neuronpedia's bulk files: a folder `MODEL/SOURCE` for each source, with features, activations and explanations.

`features/batch-N.jsonl.gz`, `explanations/…` and `activations/…` are of 1,024 features each, here of the same ones in
the order of the index; beside them are `release.jsonl`, `model.jsonl`, `sourceset.jsonl` and `source.jsonl`. Its
explanations carry no scores, so ours stand in a field of their own, `autointerpScores`, which its importer passes over.
A file without lines is not written: its importer can't read one.
"""

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autointerp.errors import ExportError
from autointerp.export.notes import read_notes
from autointerp.export.options import ExportFormat, Order
from autointerp.records import FeatureFilter, SourceRecord
from autointerp.records.notes import OWN, FeatureNotes, OwnLabel
from autointerp.store.export_rows.columns import FEATURE_INDEX, SOURCE_ID, Column
from autointerp.store.export_rows.neuronpedia import ACTIVATIONS, FEATURE, OWNER, SCORE, explanation_column
from autointerp.store.reader import Reader
from autointerp.store.results import RunRecord

FEATURES_A_FILE = 1024
_FEATURES_AT_ONCE = 4 * FEATURES_A_FILE
_LEVEL = 5


def write_neuronpedia(order: Order) -> int:
    """Write the folders, and return the number of explanations."""
    n_labels = 0
    sources = {source.source_id: source for source in order.reader.sources()}
    begun: dict[str, int] = {}
    for source_id, features, explanations, activations in _batches(order):
        folder = order.path / _folder(source_id)
        if source_id not in begun:
            _write_about(order, folder, sources[source_id])
        batch = begun.setdefault(source_id, 0)
        for kind, lines in (("features", features), ("explanations", explanations), ("activations", activations)):
            (folder / kind).mkdir(exist_ok=True)
            if lines:
                _write_lines(folder / kind / f"batch-{batch}.jsonl.gz", lines)
        begun[source_id] += 1
        n_labels += len(explanations)
    return n_labels


def _own(notes: Mapping[tuple[str, int], FeatureNotes], source_id: str, index: int) -> tuple[OwnLabel, ...]:
    of = notes.get((source_id, index))
    return () if of is None else of.labels


def _own_line(own: OwnLabel) -> str:
    """A label that somebody wrote, as a line among the explanations."""
    model, _, layer = own.source_id.partition("@")
    line = {
        "id": own.explanation_id,
        "modelId": model,
        "layer": layer,
        "index": str(own.feature_index),
        "authorId": OWNER,
        "description": own.label,
        "embedding": None,
        "typeName": OWN,
        "explanationModelName": own.author or OWN,
        "autointerpScores": [{name: getattr(of, name) for name in ("scorer", *SCORE)} for of in own.scores],
    }
    return json.dumps(line, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class FeatureLines:
    """One feature as its lines in these files are read.

    Attributes:
        feature: The feature.
        explanations: Its labels, best first.
        activations: Contexts in which it fires, strongest first.
        created_at: Of the run, in UTC.
    """

    feature: dict[str, Any]
    explanations: list[dict[str, Any]]
    activations: list[dict[str, Any]]
    created_at: str


def feature_lines(reader: Reader, source_id: str, feature_index: int) -> FeatureLines:
    """One feature of a run as its lines in these files say it.

    Args:
        reader: Of the run's store.
        source_id: Its source, which the run has.
        feature_index: The feature, which the source has.
    """
    where = FeatureFilter(sources=[source_id], features=[feature_index])
    rows = [
        row
        for table in reader.export_rows(_columns, where)
        for row in zip(*(column.to_pylist() for column in table.columns), strict=True)
    ]
    feature, activations = rows[0][2], rows[0][4] or []
    return FeatureLines(
        json.loads(feature),
        [json.loads(row[3]) for row in rows if row[3] is not None],
        sorted(map(json.loads, activations), key=lambda of: -of["maxValue"]),
        _created_at(reader.run()),
    )


def _created_at(run: RunRecord | None) -> str:
    return (run.created_at if run else datetime.fromtimestamp(0, UTC)).isoformat()


def _folder(source_id: str) -> Path:
    model, _, layer = source_id.partition("@")
    parts = [part.replace("/", "_") for part in (model, layer)]
    if any(part in {"", ".", ".."} for part in parts):
        raise ExportError(f"the source {source_id} makes no name of a folder", "export another format")
    return Path(*parts)


def _batches(order: Order) -> Iterator[tuple[str, list[str], list[str], list[str]]]:
    """Lines of features, explanations and activations, of at most so many features of one source as a file has."""
    notes = read_notes(order.reader)
    tables = order.reader.export_rows(_columns, order.options.where, n_features=_FEATURES_AT_ONCE)
    for table in tables:
        rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
        seen: dict[int, tuple[str, list[str], list[str]]] = {}
        for source_id, index, feature, explanation, activations in rows:
            if index not in seen:
                seen[index] = (feature, [_own_line(of) for of in _own(notes, source_id, index)], activations or [])
            _, explanations, _ = seen[index]
            if explanation is not None:
                explanations.append(explanation)
        found = list(seen.values())
        for first in range(0, len(found), FEATURES_A_FILE):
            some = found[first : first + FEATURES_A_FILE]
            yield (
                table["source_id"][0].as_py(),
                [feature for feature, _, _ in some],
                [line for _, lines, _ in some for line in lines],
                [line for _, _, lines in some for line in lines],
            )


def _columns(scorers: Sequence[str]) -> dict[str, Column]:
    return {
        "source_id": SOURCE_ID,
        "feature_index": FEATURE_INDEX,
        "feature": FEATURE,
        "explanation": explanation_column(scorers),
        "activations": ACTIVATIONS,
    }


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    text = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(text, _LEVEL, mtime=0))


def _write_about(order: Order, folder: Path, source: SourceRecord) -> None:
    """The four files about a source: its release, model, set and itself."""
    folder.mkdir(parents=True)
    run = order.reader.run()
    moment = _created_at(run)
    model, _, layer = source.source_id.partition("@")
    set_name, name = layer.partition("-")[2] or layer, run.name if run else source.source_id
    owner = {"creatorId": OWNER, "createdAt": moment}
    maker = {"creatorName": OWNER, "urls": [], "visibility": "PUBLIC"}
    said = f"Labelled and scored by autointerp{f' {run.program_version}' if run else ''}"
    about: Mapping[str, dict[str, Any]] = {
        "release": {"name": name, "description": said, "descriptionShort": said, **maker, **owner},
        "model": {"id": model, "displayName": model, "displayNameShort": model, "instruct": False}
        | {"layers": 0, "neuronsPerLayer": 0, "owner": "", "visibility": "PUBLIC", "updatedAt": moment, **owner},
        "sourceset": {"modelId": model, "name": set_name, "description": source.hook, "type": ""}
        | {"releaseName": name, **maker, **owner},
        "source": {"id": layer, "modelId": model, "setName": set_name, "dataset": source.corpus}
        | {"visibility": "PUBLIC", "hasDashboards": True, "inferenceEnabled": False, "notes": source.coder, **owner},
    }
    for kind, line in about.items():
        (folder / f"{kind}.jsonl").write_text(json.dumps(line, ensure_ascii=False) + "\n", encoding="utf-8")


FORMAT = ExportFormat(write_neuronpedia, is_folder=True, has_baselines=False)
