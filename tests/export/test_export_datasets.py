"""A folder for Hugging Face's `datasets`: its own library loads it, and the card says what the run says."""

import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset
from huggingface_hub.repocard import metadata_load

from autointerp.errors import DiskFullError, ExportError
from autointerp.export.export import export_run
from autointerp.export.options import ExportOptions
from autointerp.records import FeatureFilter
from autointerp.store.reader import Reader
from autointerp.store.results import RunRecord
from autointerp.store.writer import Writer
from tests.export.row_by_row import flat_rows
from tests.store.making import make

LABELS = ("months", "=1+1", "two\nlines — 熱 🙂", "\x00nul")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Four labels with scores, one with a shuffled one's beside it, and a feature without a label."""
    folder = tmp_path / "run"
    writer = Writer(folder)
    writer.set_run(RunRecord("sm`all|\n---", {}, "0.1.0", make.moment))
    writer.add_source(make.source(5))
    writer.add_features([make.feature(index) for index in range(5)])
    labels = [replace(make.explanation(i, text), prompt_sha256="f" * 64) for i, text in enumerate(LABELS)]
    baseline = make.explanation(0, "shuffled", fingerprint="b1", label_from=1)
    writer.add_explanations([*labels, baseline])
    writer.add_scores([*(make.graded(label, value=0.75) for label in labels), make.graded(baseline, value=0.5)])
    return folder


def loaded(folder: Path, cache: Path) -> Any:
    return load_dataset(str(folder), split="train", cache_dir=str(cache))


def test_the_library_loads_the_rows_of_the_run(run: Path, tmp_path: Path) -> None:
    written = export_run(run, tmp_path / "shared", "datasets")
    assert (written.n_rows, written.format) == (5, "datasets")
    found = loaded(written.path, tmp_path / "cache")
    rows = list(flat_rows(Reader(run)))
    assert [{name: row[name] for name in rows[0]} for row in found] == rows
    assert found[0]["top_tokens"][0]["token"] == " Wärme"
    assert sorted(file.name for file in written.path.iterdir()) == ["README.md", "data"]


def test_shards_are_one_data_set(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autointerp.export.datasets._ROWS_A_SHARD", 2)
    monkeypatch.setattr("autointerp.store.reader._FEATURES_OF_ROWS", 2)
    whole = Reader.export_rows
    monkeypatch.setattr(Reader, "export_rows", lambda *a, **k: whole(*a, **(k | {"n_features": 2})))
    path = export_run(run, tmp_path / "shared", "datasets").path
    assert len(list((path / "data").iterdir())) == 3
    assert loaded(path, tmp_path / "cache")["feature_index"] == [0, 1, 2, 3, 4]


def test_an_export_of_nothing_is_a_data_set_without_rows(run: Path, tmp_path: Path) -> None:
    options = ExportOptions(FeatureFilter(min_score={"detection": 0.9}))
    written = export_run(run, tmp_path / "shared", "datasets", options)
    assert written.n_rows == 0
    # Without streaming the library loads no split that has no rows.
    found = load_dataset(str(written.path), split="train", streaming=True)
    assert (list(found), "detection_ci_low" in found.features) == ([], True)


def test_the_card_says_what_it_is_and_how_it_was_made(run: Path, tmp_path: Path) -> None:
    where = FeatureFilter(["tiny@1-res-64"], [0, 1, 4], {"detection": 0.7}, 0.001, 0.5, "keywords")
    path = export_run(run, tmp_path / "shared", "datasets", ExportOptions(where, baselines=True)).path
    card = (path / "README.md").read_text(encoding="utf-8")
    _, _, text = card.split("---\n", 2)
    about = metadata_load(path / "README.md")
    assert about is not None
    assert about["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*.parquet"}]}
    ]
    assert about["size_categories"] == ["n<1K"]
    assert "license" not in about
    assert "| `keywords` | `local` | `" + "f" * 64 + "` | 4 |" in text
    assert "| `detection` | `local` | `balanced accuracy` | 4 | 0.750 | 0.750 to 0.750 | 0.500 | 0.500 |" in text
    assert "The local judge compares words" in text
    assert "could not be tried on so few" in text
    assert (
        "autointerp export run shared --format datasets --baselines --min-score detection=0.7 --min-density 0.001"
        " --max-density 0.5 --source tiny@1-res-64 --explainer keywords --features 0,1,4"
    ) in text
    assert str(tmp_path) not in card


def test_a_run_without_labels_has_a_card_too(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "run")
    writer.add_source(make.source(2))
    writer.add_features([make.feature(0), make.feature(1)])
    written = export_run(tmp_path / "run", tmp_path / "shared", "datasets")
    assert written.n_rows == 2
    assert "Nothing is scored." in (written.path / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("format_name", ["datasets", "neuronpedia", "saebench"])
def test_a_folder_with_anything_in_it_is_left_alone(run: Path, tmp_path: Path, format_name: str) -> None:
    target = tmp_path / "mine"
    target.mkdir()
    (target / "notes.md").write_text("mine")
    with pytest.raises(ExportError, match="is in the way"):
        export_run(run, target, format_name)
    assert [file.name for file in tmp_path.iterdir() if file.name != "run"] == ["mine"]
    assert (target / "notes.md").read_text() == "mine"
    (target / "notes.md").unlink()
    assert export_run(run, target, format_name).path.is_dir()
    with pytest.raises(ExportError, match="is in the way"):
        export_run(run, target / "README.md" if format_name == "datasets" else run / "store.duckdb", format_name)


@pytest.mark.parametrize("format_name", ["datasets", "neuronpedia", "saebench"])
def test_a_disk_that_fills_leaves_nothing_behind(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_name: str
) -> None:
    whole = Reader.export_rows

    def fail_midway(*arguments: Any, **keywords: Any) -> Any:
        yield from whole(*arguments, **(keywords | {"n_features": 2}))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Reader, "export_rows", fail_midway)
    with pytest.raises(DiskFullError, match="no space left"):
        export_run(run, tmp_path / "out" / "shared", format_name)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("format_name", ["neuronpedia", "saebench"])
def test_what_a_format_has_no_room_for_is_told(run: Path, tmp_path: Path, format_name: str) -> None:
    with pytest.raises(ExportError, match="no room for shuffled labels"):
        export_run(run, tmp_path / "out", format_name, ExportOptions(baselines=True))
    with pytest.raises(ExportError, match="no room for contexts"):
        export_run(run, tmp_path / "out", format_name, ExportOptions(contexts=True))
    with pytest.raises(
        ExportError, match="name one with --format: jsonl, csv, parquet, datasets, neuronpedia, saebench"
    ):
        export_run(run, tmp_path / "out")
