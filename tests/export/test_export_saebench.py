"""SAEBench's results of autointerp: a file a source, from the scorer detection."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from autointerp.errors import ExportError
from autointerp.export.export import export_run
from autointerp.export.options import ExportOptions
from autointerp.records import FeatureFilter
from autointerp.store.results import RunRecord
from autointerp.store.writer import Writer
from tests.store.making import make


def a_run(folder: Path, scorer: str = "detection") -> Path:
    writer = Writer(folder)
    writer.set_run(RunRecord("small", {}, "0.1.0", make.moment))
    writer.add_source(replace(make.source(4), coder="gemma-scope/layer_1"))
    writer.add_features([make.feature(index) for index in range(4)])
    labels = [make.explanation(index, text) for index, text in enumerate(["=1", "é 🙂\n", "unscored"])]
    second = replace(make.explanation(0, "of another", fingerprint="z"), explainer="other")
    writer.add_explanations([*labels, second, make.explanation(0, "shuffled", fingerprint="b", label_from=1)])
    writer.add_scores([make.graded(labels[0], scorer, 0.5), make.graded(labels[1], scorer, 1.0)])
    return folder


def test_the_file_has_what_saebench_writes(tmp_path: Path) -> None:
    written = export_run(a_run(tmp_path / "run"), tmp_path / "out", "saebench")
    assert written.n_rows == 2
    (file,) = written.path.iterdir()
    assert file.name == "tiny_1-res-64_eval_results.json"
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["eval_type_id"] == "autointerp"
    scores = found["eval_result_metrics"]["autointerp"]
    assert scores["autointerp_score"] == 0.75
    assert math.isclose(scores["autointerp_std_dev"], math.sqrt(0.125))
    assert found["eval_result_unstructured"]["1"] == {
        "latent": 1, "explanation": "é 🙂\n", "predictions": [1], "correct seqs": [1], "score": 1.0,
    }  # fmt: skip
    assert list(found["eval_result_unstructured"]) == ["0", "1"]
    assert (found["eval_config"]["n_latents"], found["eval_config"]["metric"]) == (2, "balanced accuracy")
    assert (found["sae_lens_release_id"], found["sae_lens_id"]) == ("gemma-scope", "layer_1")
    assert 0 < found["datetime_epoch_millis"] <= 9999999999999


def test_filters_choose_labels_and_nothing_is_no_score(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    options = ExportOptions(FeatureFilter(features=[3]))
    (file,) = export_run(run, tmp_path / "out", "saebench", options).path.iterdir()
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["eval_result_metrics"]["autointerp"] == {"autointerp_score": None, "autointerp_std_dev": None}
    assert found["eval_result_unstructured"] == {}


def test_a_run_without_detection_is_told(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no label has a score of 'detection'"):
        export_run(a_run(tmp_path / "run", "embedding"), tmp_path / "out", "saebench")
    assert not (tmp_path / "out").exists()
