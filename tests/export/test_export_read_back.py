"""What `export` writes, the explainer `outside` reads: each label of each feature, in every format."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from autointerp.explain.label_files.read import read_labels
from autointerp.export.export import export_run
from autointerp.export.options import ExportOptions
from autointerp.identity import feature_id
from autointerp.store.results import RunRecord
from autointerp.store.writer import Writer
from tests.store.making import make

LABELS = (
    "names of months", ".", '"$", "_", "{"', "=1+1", "'=1+1", "''=", "-", "+ and -", "@home", "'quoted'", 'say "no"',
    "a, b; c", "熱い", "العربية", "🙂", "none", "N/A", "123", "1.0", "0012", "true", "null",
    "word " * 60 + "end", "\\n",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with these labels, a shuffled one beside the first, and a feature without."""
    folder = tmp_path_factory.mktemp("read_back") / "run"
    n_features = len(LABELS) + 1
    writer = Writer(folder)
    writer.set_run(RunRecord("small", {}, "0.1.0", make.moment))
    writer.add_source(make.source(n_features))
    writer.add_features([make.feature(index) for index in range(n_features)])
    labels = [make.explanation(index, label) for index, label in enumerate(LABELS)]
    writer.add_explanations([*labels, make.explanation(0, "shuffled", fingerprint="b1", label_from=1)])
    writer.add_scores([make.graded(labels[0])])
    writer.add_failures([make.failure(n_features - 1)])
    return folder


@pytest.mark.parametrize("baselines", [False, True])
@pytest.mark.parametrize("format_name", ["jsonl", "csv", "parquet"])
def test_every_label_comes_back_as_it_was(run: Path, tmp_path: Path, format_name: str, baselines: bool) -> None:
    options = ExportOptions(baselines=baselines, contexts=format_name == "jsonl")
    path = export_run(run, tmp_path / f"labels.{format_name}", options=options).path
    labels = read_labels(path, None)
    source = make.source(1).source_id
    assert {feature_id(str(of.source_id), of.feature_index): of.label for of in labels.labels} == {
        feature_id(source, index): label for index, label in enumerate(LABELS)
    }
    assert list(labels.by_source({source: len(LABELS)})) == [source]


@pytest.mark.parametrize("format_name", ["jsonl", "csv", "parquet"])
def test_the_author_is_the_model_or_a_local_explainer(tmp_path: Path, format_name: str) -> None:
    writer = Writer(tmp_path / "run")
    writer.add_source(make.source(2))
    writer.add_features([make.feature(0), make.feature(1)])
    by_model = replace(make.explanation(0, "months"), explainer="examples", model="gpt-5-mini")
    writer.add_explanations([by_model, replace(make.explanation(1, "rivers"), explainer="keywords", model="local")])
    path = export_run(tmp_path / "run", tmp_path / f"labels.{format_name}").path
    assert [label.label for label in read_labels(path, "gpt-5-mini").labels] == ["months"]
    assert [label.label for label in read_labels(path, "keywords").labels] == ["rivers"]


def test_a_label_of_a_file_that_is_no_export_keeps_its_apostrophe(run: Path, tmp_path: Path) -> None:
    path = export_run(run, tmp_path / "labels.csv").path
    with path.open(encoding="utf-8", newline="") as file:
        cells = {row["feature_index"]: row["label"] for row in csv.DictReader(file)}
    assert (cells["3"], cells["4"]) == ("'=1+1", "''=1+1"), "which no spreadsheet runs"
    other = tmp_path / "other.csv"
    other.write_text("feature,label\n3,'=1+1\n", encoding="utf-8")
    assert [label.label for label in read_labels(other, None).labels] == ["'=1+1"]
