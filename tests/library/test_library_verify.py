"""Stored contexts computed anew: equal up to rounding, and told where they are not."""

import json
import shutil
from pathlib import Path

import pytest

import autointerp
from autointerp.errors import AutointerpError, SearchError
from autointerp.library.run import Run
from autointerp.library.verify import verify_contexts
from tests.run.planted import DEAD, LABELLED


@pytest.fixture(scope="module")
def run(planted_runs: Path) -> Run:
    return autointerp.open_run(planted_runs / "runs/demo")


@pytest.mark.parametrize("feature", LABELLED)
def test_what_the_pass_stored_is_what_the_model_gives_now(run: Run, feature: int) -> None:
    found = verify_contexts(run, feature, 12)
    assert found.is_equal
    assert found.largest_difference < 1e-5
    assert len(found.contexts) == 12
    kinds = [max(of.context.activations) > 0 for of in found.contexts]
    assert any(kinds)
    assert not all(kinds), "contexts in which it is silent are verified too"
    assert "equal; largest difference" in repr(found)
    assert "NOT" not in repr(found)


def test_a_dead_feature_has_nothing_to_verify(run: Run) -> None:
    found = verify_contexts(run, DEAD)
    assert found.contexts == ()
    assert found.is_equal


def test_another_coder_is_told(run: Run, planted_runs: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(planted_runs / "coder", tmp_path / "coder")
    shutil.copytree(planted_runs / "runs/demo", tmp_path / "demo")
    weights = load_file(tmp_path / "coder/sae_weights.safetensors")
    weights["W_enc"] = 1.1 * weights["W_enc"]
    save_file(weights, tmp_path / "coder/sae_weights.safetensors")
    file = tmp_path / "demo/run.json"
    content = json.loads(file.read_text())
    content["pipeline"]["coder"][0]["path"] = str(tmp_path / "coder")
    file.write_text(json.dumps(content))
    found = verify_contexts(autointerp.open_run(tmp_path / "demo"), LABELLED[0], 4)
    assert not found.is_equal
    assert found.largest_difference > 0.05
    assert "NOT equal" in repr(found)


def test_a_run_without_its_corpus_says_so(planted_runs: Path, tmp_path: Path) -> None:
    shutil.copytree(planted_runs / "runs/demo", tmp_path / "demo")
    shutil.rmtree(tmp_path / "demo/corpus")
    with pytest.raises(AutointerpError, match="corpus"):
        verify_contexts(autointerp.open_run(tmp_path / "demo"), LABELLED[0])


def test_what_makes_no_sense_is_told(run: Run) -> None:
    with pytest.raises(SearchError, match="n can't be 0"):
        verify_contexts(run, 1, 0)
    with pytest.raises(AutointerpError, match="has no feature 99"):
        verify_contexts(run, 99)
