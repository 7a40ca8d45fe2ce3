"""Neuronpedia's bulk files: laid out as its own, and read back by the explainer `outside` as the same labels."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autointerp.errors import ExportError
from autointerp.explain.label_files.read import read_labels
from autointerp.export.export import export_run
from autointerp.export.options import ExportOptions
from autointerp.records import FeatureFilter, SourceRecord
from autointerp.store.results import RunRecord
from autointerp.store.writer import Writer
from tests.store.making import SOURCE, make

N_FEATURES = 2100
LABELS = {
    0: "=1+1",
    1: "'=1",
    2: "熱い 🙂",
    1023: "the last of a file",
    1024: "the first of one",
    2099: "x " * 90 + "y",
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 2,100 features in one source, some labelled, one by a model, and a second source without labels."""
    folder = tmp_path_factory.mktemp("neuronpedia")
    writer = Writer(folder / "run")
    writer.set_run(RunRecord("small", {}, "0.1.0", make.moment))
    writer.add_source(make.source(N_FEATURES), histogram_edges=(0.5, 1, 2, 4))
    writer.add_source(SourceRecord("org/tiny@2-mlp", "org/tiny", "blocks.2", "coder2", 1, "docstrings", 10))
    writer.add_features([make.feature(index) for index in range(N_FEATURES)])
    writer.add_features([replace(make.feature(0), source_id="org/tiny@2-mlp")])
    writer.add_contexts([make.contexts(1024)], "c1")
    labels = {index: make.explanation(index, text) for index, text in LABELS.items()}
    writer.add_explanations([*labels.values(), make.explanation(0, "shuffled", fingerprint="b1", label_from=1)])
    writer.add_scores([make.graded(labels[0]), make.graded(labels[0], "recall", 0.5)])
    export_run(folder / "run", folder / "out", "neuronpedia")
    return folder


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().splitlines()]


def test_files_hold_1024_features_each_and_none_is_empty(exported: Path) -> None:
    folder = exported / "out" / "tiny" / "1-res-64"
    names = {str(file.relative_to(exported / "out")) for file in (exported / "out").rglob("*") if file.is_file()}
    about = {f"{name}.jsonl" for name in ("release", "model", "sourceset", "source")}
    batches = {f"features/batch-{n}" for n in range(3)} | {f"explanations/batch-{n}" for n in range(3)}
    batches |= {"activations/batch-1"}
    assert names == (
        {f"tiny/1-res-64/{name}" for name in about}
        | {f"tiny/1-res-64/{name}.jsonl.gz" for name in batches}
        | {f"org_tiny/2-mlp/{name}" for name in (*about, "features/batch-0.jsonl.gz")}
    )
    assert [len(lines(folder / "features" / f"batch-{n}.jsonl.gz")) for n in range(3)] == [1024, 1024, 52]
    assert [of["index"] for of in lines(folder / "features/batch-1.jsonl.gz")][:2] == ["1024", "1025"]


def test_lines_have_the_fields_of_its_downloads(exported: Path) -> None:
    folder = exported / "out" / "tiny" / "1-res-64"
    feature = lines(folder / "features/batch-1.jsonl.gz")[0]
    named = {"modelId": "tiny", "layer": "1-res-64", "index": "1024"}
    expected = named | {"sourceSetName": "res-64", "maxActApprox": 4.25, "frac_nonzero": 0.01, "hookName": "blocks.1"}
    expected |= {"pos_str": [" heat", " fire"], "pos_values": [0.75, 0.5], "neg_str": [" ice"], "neg_values": [-0.5]}
    expected |= {"freq_hist_data_bar_heights": [0, 3, 5], "freq_hist_data_bar_values": [0.5, 1, 2]}
    assert {name: feature[name] for name in expected} == expected
    first, second = lines(folder / "explanations/batch-0.jsonl.gz")[:2]
    assert (first["description"], first["typeName"], first["explanationModelName"]) == ("=1+1", "keywords", "keywords")
    assert [(of["scorer"], of["value"], of["ci_high"]) for of in first["autointerpScores"]] == [
        ("detection", 0.75, 0.85),
        ("recall", 0.5, 0.6),
    ]
    assert first.keys() == second.keys(), "its importer takes the fields of the first line for all"
    assert second["autointerpScores"] == []
    top, explain, score = lines(folder / "activations/batch-1.jsonl.gz")
    assert {name: top[name] for name in named} == named
    assert (top["tokens"], top["values"], top["maxValueTokenIndex"]) == ([" a", " b", " c"], [0.25, 0.5, 0.75], 2)
    assert [(of["binMin"], of["binMax"], of["binContains"]) for of in (top, explain, score)] == [
        (-1, -1, -1),
        (0.75, 0.75, 1),
        (0.75, 0.75, 1),
    ]
    (source,) = (json.loads(line) for line in (folder / "source.jsonl").read_text().splitlines())
    assert (source["id"], source["modelId"], source["setName"]) == ("1-res-64", "tiny", "res-64")


@pytest.mark.parametrize("part", ["", "tiny", "tiny/1-res-64", "tiny/1-res-64/explanations"])
def test_the_labels_come_back_as_they_were(exported: Path, part: str) -> None:
    labels = read_labels(exported / "out" / part, None)
    assert {(of.source_id, of.feature_index): of.label for of in labels.labels} == {
        (SOURCE, index): text for index, text in LABELS.items()
    }
    assert {of.author for of in labels.labels} == {"keywords"}
    first = next(of for of in labels.labels if of.feature_index == 0)
    assert first.said["method"] == "keywords"
    assert [of["scorer"] for of in first.said["scores"]] == ["detection", "recall"]
    assert list(labels.by_source({SOURCE: N_FEATURES})) == [SOURCE]


def test_filters_choose_features(exported: Path, tmp_path: Path) -> None:
    options = ExportOptions(FeatureFilter(features=[1024, 2099, 5], labelled=True))
    assert export_run(exported / "run", tmp_path / "out", "neuronpedia", options).n_rows == 2
    (batch,) = (tmp_path / "out").rglob("features/*")
    assert [of["index"] for of in lines(batch)] == ["1024", "2099"]
    nothing = ExportOptions(FeatureFilter(min_score={"detection": 1.0}))
    assert export_run(exported / "run", tmp_path / "none", "neuronpedia", nothing).n_rows == 0
    assert list((tmp_path / "none").iterdir()) == []


def test_a_source_without_a_name_for_its_folder_is_told(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "run")
    writer.add_source(replace(make.source(1), source_id="tiny@.."))
    writer.add_features([replace(make.feature(0), source_id="tiny@..")])
    with pytest.raises(ExportError, match="makes no name of a folder"):
        export_run(tmp_path / "run", tmp_path / "out", "neuronpedia")
    assert not (tmp_path / "out").exists()
