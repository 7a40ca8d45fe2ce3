"""What people wrote about features goes with them, into each format in its own way."""

import csv
import gzip
import json
import shutil
from pathlib import Path

import pytest

import autointerp
from autointerp import export_run


@pytest.fixture
def run(planted_runs: Path, tmp_path: Path) -> Path:
    """A copy of the run, in which somebody has written about a feature."""
    copy = tmp_path / "runs/demo"
    shutil.copytree(planted_runs / "runs/demo", copy, ignore=shutil.ignore_patterns("notes.sqlite*"))
    client = autointerp.open(copy)
    feature = client.features.get(1)
    feature.star()
    feature.vote(1, "Ada")
    feature.comment("=SUM(A1)", "")
    feature.write_label("brooks", "Bob")
    client.lists.new("Water").add(feature)
    return copy


def test_notes_go_with_their_feature_into_every_format(run: Path, tmp_path: Path) -> None:
    export_run(run, tmp_path / "out.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    with_notes = {line["feature"]["feature_index"]: line["notes"] for line in lines if "notes" in line}
    assert list(with_notes) == [1]
    notes = with_notes[1]
    assert (notes["is_starred"], notes["votes"][0]["author"], notes["lists"][0]["name"]) == (True, "Ada", "Water")
    (own,) = notes["labels"]
    assert (own["label"], own["author"]) == ("brooks", "Bob")
    assert {of["scorer"] for of in own["scores"]} >= {"detection", "embedding"}

    export_run(run, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = {int(row["feature_index"]): row for row in csv.DictReader(file)}
    told = [rows[1][name] for name in ("starred", "approval", "lists", "comments", "own_labels")]
    assert told == ["true", "1", "Water", "'=SUM(A1)", "brooks"]
    assert [rows[0][name] for name in ("starred", "approval", "comments")] == ["", "", ""]

    export_run(run, tmp_path / "np", "neuronpedia")
    (file_of_labels,) = (tmp_path / "np").rglob("explanations/batch-0.jsonl.gz")
    labels = [json.loads(line) for line in gzip.decompress(file_of_labels.read_bytes()).splitlines()]
    by_text = {of["description"]: of for of in labels if of["index"] == "1"}
    assert set(by_text) == {"river", "brooks"}
    assert set(by_text["brooks"]) == set(by_text["river"])
    assert (by_text["brooks"]["typeName"], by_text["brooks"]["explanationModelName"]) == ("own", "Bob")
