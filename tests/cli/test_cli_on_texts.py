"""`inspect` and `contrast` on a run of the planted model."""

import json
from pathlib import Path

import pytest

from tests.command import complaint, printed


def texts(path: Path, word: str) -> str:
    others = ["and", "of", "to", "in", "was", "it", "for", "on", "with", "as", "at", "by"]
    lines = (json.dumps({"text": f"{word} {other} the bread"}) + "\n" for other in others)
    path.write_text("".join(lines), encoding="utf-8")
    return str(path)


def test_a_text_is_shown_token_by_token_and_as_a_whole(planted_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(planted_runs / "runs/demo")
    lines = printed(capsys, "inspect", run, "a river and a tiger", "-k", "1", "--aggregate", "max").splitlines()
    assert lines[0] == "5 tokens, on which 2 features of planted@0-res-12 fire"
    assert lines[3].split()[:4] == ["1", "river", "1", "river"]
    assert lines[-2].split() == ["feature", "label", "max", "surprise", "tokens"]
    assert lines[-1].split()[1] in ("river", "tiger")
    found = json.loads(printed(capsys, "inspect", run, "a river", "--json"))
    assert [[of["label"] for of in token["features"]] for token in found["tokens"]] == [[], ["river"]]
    assert set(found["top"][0]["scores"]) == {"detection", "embedding", "fuzzing", "recall"}


def test_two_sets_of_texts_are_told_apart(
    planted_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, ship, tiger = (
        str(planted_runs / "runs/demo"), texts(tmp_path / "a.jsonl", "ship"), texts(tmp_path / "b.jsonl", "tiger")
    )  # fmt: skip
    lines = printed(capsys, "contrast", run, ship, tiger).splitlines()
    assert lines[0].startswith("<Contrast of 12 texts and 12, mean of a text: ")
    assert [line.split()[1] for line in lines if line[:2] in ("0 ", "9 ")] == ["ship", "tiger"]
    found = json.loads(printed(capsys, "contrast", run, ship, tiger, "--json"))
    assert [(of["label"], of["stronger_in"]) for of in found["features"] if of["is_found"]] == [
        ("ship", 1),
        ("tiger", 2),
    ]
    assert "nothing found" in printed(capsys, "contrast", run, ship, texts(tmp_path / "c.jsonl", "ship"))
    for name, word in (("d", "ship"), ("e", "tiger")):
        (tmp_path / f"{name}.jsonl").write_text((json.dumps({"text": word}) + "\n") * 12, encoding="utf-8")
    copies = printed(capsys, "contrast", run, str(tmp_path / "d.jsonl"), str(tmp_path / "e.jsonl"))
    assert "nothing found" in copies, "twelve copies of a text are one text"


def test_what_can_t_be_read_is_told(planted_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, ship = str(planted_runs / "runs/demo"), texts(tmp_path / "a.jsonl", "ship")
    assert "there is no " in complaint(capsys, "contrast", run, ship, str(tmp_path / "none"))
    assert "has no token" in complaint(capsys, "inspect", run, "")
    assert "there is no aggregate 'median'" in complaint(capsys, "inspect", run, "a ship", "--aggregate", "median")
    assert "there is no ranking 'size'" in complaint(capsys, "inspect", run, "a ship", "--rank-by", "size")
    assert "k can't be 0" in complaint(capsys, "inspect", run, "a ship", "-k", "0")
    assert "there is no source 'x@y'" in complaint(capsys, "inspect", run, "a ship", "--source", "x@y")
