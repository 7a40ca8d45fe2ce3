"""Folders of labels: what Delphi and Neuronpedia write, with what they say besides the labels."""

import asyncio
import gzip
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from autointerp.config import ExplainConfig
from autointerp.errors import PipelineError
from autointerp.explain.explainers.outside import OutsideExplainer
from autointerp.explain.label_files.read import read_labels
from autointerp.records import Explanation, FeatureEvidence
from tests.explain.explaining import tools

SOURCE = "gpt2-small@5-res-jb"
EXAMPLE = {"str_tokens": ["a"], "activations": [0.0], "distance": 1, "probability": None}


def example(activating: bool, correct: bool | None) -> dict[str, Any]:
    return EXAMPLE | {"activating": activating, "prediction": None, "correct": correct}


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


@pytest.fixture
def delphi(tmp_path: Path) -> Path:
    """Results of one hook point: labels, scores of two scorers, one of them in part, and how it was run."""
    folder = tmp_path / "results"
    for index, label in ((12, "rivers"), (4, "months"), (5, "Explanation could not be parsed.")):
        write(folder / f"explanations/layers.5_latent{index}.txt", label)
        (folder / f"explanations/layers.5_latent{index}.txt").write_text(json.dumps(label))
    answers = [example(True, True), example(True, False), example(False, True), example(False, None)]
    write(folder / "scores/detection/layers.5_latent4.txt", answers)
    write(folder / "scores/fuzz/layers.5_latent4.txt", answers[:2])
    write(folder / "scores/simulation/layers.5_latent4.txt", [{"distance": 1}])
    write(folder / "scores/detection/layers.5_latent12.txt", "[{")
    write(folder / "run_config.json", {"explainer_model": "llama", "explainer": "default", "hookpoints": ["layers.5"]})
    (folder / "latents").mkdir()
    return folder


@pytest.mark.parametrize("part", ["", "explanations", "layers.5", "explanations/layers.5"])
def test_delphi_s_results_name_author_method_and_hook_point_and_carry_its_scores(delphi: Path, part: str) -> None:
    months, rivers = read_labels(delphi / part, None).labels
    assert [(of.feature_index, of.label, of.author) for of in (months, rivers)] == [
        (4, "months", "llama"),
        (12, "rivers", "llama"),
    ]
    assert months.said == {
        "method": "delphi default",
        "hook_point": "layers.5",
        "scores": {
            "detection": {"n": 4, "n_unanswered": 1, "balanced_accuracy": 0.75},
            "fuzz": {"n": 2, "n_unanswered": 0},
        },
    }
    assert rivers.said == {"method": "delphi default", "hook_point": "layers.5"}, "a score that can't be read is none"


def test_what_others_say_of_a_label_stands_in_its_detail(delphi: Path) -> None:
    config = ExplainConfig(explainer="outside", labels=str(delphi))
    evidence = FeatureEvidence(SOURCE, 4, 0.01, 3.0, (), (), ())
    label = asyncio.run(OutsideExplainer(tools(config)).explain(evidence))
    assert isinstance(label, Explanation)
    assert (label.label, label.model) == ("months", "llama")
    assert label.detail["scores"]["detection"]["balanced_accuracy"] == 0.75
    assert (label.detail["file"], label.detail["place"]) == ("results", "layers.5_latent4.txt")


def test_labels_of_another_layer_than_the_source_s_are_refused(delphi: Path) -> None:
    labels = read_labels(delphi, None)
    assert list(labels.by_source({SOURCE: 100})[SOURCE]) == [4, 12]
    assert list(labels.by_source({"mine@res": 100})["mine@res"]) == [4, 12], "it does not say of which layer it is"
    with pytest.raises(
        PipelineError, match=r"of the hook point layers.5, and the source is gpt2-small@6-res-jb"
    ) as raised:
        labels.by_source({"gpt2-small@6-res-jb": 100})
    assert len(raised.value.faults) == 2
    with pytest.raises(PipelineError, match=r"has no feature 12: its features are 0 to 11"):
        labels.by_source({SOURCE: 12})


def test_of_several_hook_points_one_is_named_behind_the_folder(delphi: Path) -> None:
    write(delphi / "explanations/layers.50.mlp_latent4.txt", '"winters"')
    with pytest.raises(PipelineError, match=r"of 2 hook points \(layers\.5, layers\.50\.mlp\).*behind it"):
        read_labels(delphi, None)
    assert [of.label for of in read_labels(delphi / "layers.5", None).labels] == ["months", "rivers"]
    assert [of.label for of in read_labels(delphi / "layers.50.mlp", None).labels] == ["winters"]
    with pytest.raises(PipelineError, match=r"can't be read|is not a file"):
        read_labels(delphi / "layers.7", None)


def test_a_folder_that_is_neither_is_told(tmp_path: Path) -> None:
    (tmp_path / "explanations").mkdir()
    with pytest.raises(PipelineError, match=r"labels are read from .* Delphi's results"):
        read_labels(tmp_path, None)
    write(tmp_path / "explanations" / "notes.txt", "")
    with pytest.raises(PipelineError, match="labels are read from"):
        read_labels(tmp_path, None)


def line(index: int | str, label: str, model: str = "gpt-4o-mini", method: str | None = "np_max-act") -> dict[str, Any]:
    named = {"modelId": "gpt2-small", "layer": "5-res-jb", "index": index, "description": label}
    return named | {"explanationModelName": model, "typeName": method, "embedding": "[0.1, 0.2]", "authorId": "x"}


def batch(folder: Path, number: int, lines: list[dict[str, Any]]) -> Path:
    path = folder / "explanations" / f"batch-{number}.jsonl.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(json.dumps(of) + "\n" for of in lines).encode()))
    return path


def test_neuronpedia_s_batches_are_read_in_the_order_of_their_numbers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    batch(tmp_path, 10, [line(7, "later"), line("9", "=last") | {"embedding": [0.5], "scores": [{"value": 0.5}]}])
    batch(tmp_path, 2, [line("7", "first"), line(7, "first"), line(650, "months")])
    with caplog.at_level(logging.WARNING):
        labels = read_labels(tmp_path, None)
    assert [(of.source_id, of.feature_index, of.label) for of in labels.labels] == [
        (SOURCE, 7, "first"),
        (SOURCE, 650, "months"),
        (SOURCE, 9, "=last"),
    ]
    assert labels.labels[2].said == {"method": "np_max-act", "scores": [{"value": 0.5}]}
    assert labels.labels[2].place == "explanations/batch-10.jsonl.gz, line 2"
    assert "1 features have several labels of one author; the first of each is taken" in caplog.text


def test_an_author_who_wrote_by_several_methods_is_chosen_with_one(tmp_path: Path) -> None:
    lines = [line(1, "a", method="oai_token-act-pair"), line(1, "b"), line(1, "c", model="o3"), line(2, "d")]
    batch(tmp_path, 0, lines)
    with pytest.raises(PipelineError, match=r"labels of 3 authors \(gpt-4o-mini by np_max-act, .*, o3\)"):
        read_labels(tmp_path, None)
    with pytest.raises(PipelineError, match=r"choose one with explain.author"):
        read_labels(tmp_path, "gpt-4o-mini")
    assert [of.label for of in read_labels(tmp_path, "gpt-4o-mini by np_max-act").labels] == ["b", "d"]
    assert [of.label for of in read_labels(tmp_path, "o3").labels] == ["c"]
    with pytest.raises(PipelineError, match="holds no labels of 'nobody'"):
        read_labels(tmp_path, "nobody")


def test_what_is_wrong_in_a_batch_is_told_with_its_name(tmp_path: Path) -> None:
    path = batch(tmp_path, 0, [line(1, "a"), line("x", "b"), line(3, " ")])
    path.write_bytes(path.read_bytes() + gzip.compress(b"{\n"))
    with pytest.raises(PipelineError) as raised:
        read_labels(tmp_path, None)
    assert sorted(fault.partition(":")[0] for fault in raised.value.faults) == [
        f"explanations/batch-0.jsonl.gz, line {number}" for number in (2, 3, 4)
    ]


def test_a_batch_that_is_changed_is_read_again(tmp_path: Path) -> None:
    batch(tmp_path, 0, [line(1, "a")])
    assert read_labels(tmp_path, None).labels[0].label == "a"
    batch(tmp_path, 0, [line(1, "another")])
    assert read_labels(tmp_path, None).labels[0].label == "another"


def test_scores_that_json_can_t_hold_are_left_out(tmp_path: Path) -> None:
    batch(tmp_path, 0, [line(1, "a") | {"scores": [{"value": float("nan")}]}, line(2, "b") | {"scores": "high"}])
    assert [of.said for of in read_labels(tmp_path, None).labels] == [{"method": "np_max-act"}] * 2
