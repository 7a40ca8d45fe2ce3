"""Null runs on the planted model: densities as the coder's own, directions and weights that nobody learned."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel

from autointerp import compare_runs, load_pipeline, open_run, run_pipeline
from autointerp.config import Pipeline
from autointerp.run.null_names import NullRun, null_of
from autointerp.run.null_run import null_pipeline
from autointerp.subject.source import load_sources
from tests.command import complaint, exit_status
from tests.run.planted import FEATURES, LABELLED, Planted


@pytest.fixture
def pipeline(planted: Planted, tmp_path: Path) -> Pipeline:
    file = tmp_path / "p.toml"
    file.write_text(planted.toml("p", tmp_path / "runs"), encoding="utf-8")
    return load_pipeline(str(file), ('score.scorers=["detection"]',))


@pytest.fixture(scope="module")
def true_densities(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    folder = tmp_path_factory.mktemp("true")
    file = folder / "p.toml"
    file.write_text(planted.toml("p", folder / "runs"), encoding="utf-8")
    run_pipeline(load_pipeline(str(file)), ("corpus", "collect"))
    return np.array([of.density for of in open_run(folder / "runs" / "p").reader.features()])


@pytest.mark.parametrize("kind", ["random-coder", "random-model"])
def test_a_null_run_s_features_fire_as_often_as_the_coder_s_own(
    kind: NullRun, pipeline: Pipeline, true_densities: np.ndarray
) -> None:
    null = null_pipeline(pipeline, kind)
    assert null.name == f"p-{kind}"
    run_pipeline(null, ("corpus", "collect"))
    run = open_run(null.run_folder)
    (source,) = run.sources()
    assert null_of(source.source_id) == kind
    densities = np.array([of.density for of in run.reader.features()])
    fires = np.array([bool(words) for words in FEATURES])
    # Made on these very tokens, of which some are read as the very same; what never fires stays all but silent.
    assert densities[fires] == pytest.approx(true_densities[fires], rel=0.1, abs=0.0005)
    assert (densities[~fires] < 0.001).all()


def test_random_directions_have_nothing_of_the_coder_s(pipeline: Pipeline) -> None:
    null = null_pipeline(pipeline, "random-coder")
    own, drawn = (load_sources(of.subject, of.coder).sources[0].coder.decoder for of in (pipeline, null))
    cosines = torch.nn.functional.cosine_similarity(own, drawn, dim=1)
    assert cosines.abs().max() < 0.4
    assert null.subject == pipeline.subject


def test_a_shuffled_model_has_the_same_entries_in_other_places(pipeline: Pipeline, planted: Planted) -> None:
    null = null_pipeline(pipeline, "random-model")
    own = dict(AutoModel.from_pretrained(planted.model).named_parameters())
    for name, weight in AutoModel.from_pretrained(null.subject.model).named_parameters():
        if weight.dim() > 1:
            assert torch.equal(weight.flatten().sort().values, own[name].flatten().sort().values)
            assert weight.unique().numel() == 1 or not torch.equal(weight, own[name])
        else:
            assert torch.equal(weight, own[name])


def test_the_parts_are_made_once_and_anew_where_the_seed_is_another(pipeline: Pipeline) -> None:
    null = null_pipeline(pipeline, "random-coder")
    weights = Path(null.coder[0].path or "") / "sae_weights.safetensors"
    first, content = weights.stat().st_mtime_ns, weights.read_bytes()
    null_pipeline(pipeline, "random-coder")
    assert weights.stat().st_mtime_ns == first
    null_pipeline(pipeline.model_copy(update={"seed": 7}), "random-coder")
    assert weights.read_bytes() != content
    null_pipeline(pipeline, "random-coder")
    assert weights.read_bytes() == content, "the same seed draws the same directions"


@pytest.mark.slow
def test_a_null_run_is_compared_with_the_run_as_two_samples(
    pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "p.toml")
    settings = ("--set", 'score.scorers=["detection"]', "--set", "score.baseline=false")
    run_pipeline(pipeline)
    assert exit_status("run", file, *settings, "--null", "random-coder") == 0
    found = compare_runs(tmp_path / "runs/p", tmp_path / "runs/p-random-coder")
    assert "two samples of other features are compared" in found.warnings[0]
    (of,) = found.scorers
    assert not of.is_paired
    assert of.overall.n_first == len(LABELLED)
    capsys.readouterr()
    assert exit_status("status", str(tmp_path / "runs/p-random-coder")) == 0
    assert "null run: a coder of random directions" in capsys.readouterr().out


def test_a_null_that_there_is_not_is_told(
    pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = complaint(capsys, "run", str(tmp_path / "p.toml"), "--null", "random")
    assert "there is no null run 'random'" in told
    assert "random-coder, random-model" in told
