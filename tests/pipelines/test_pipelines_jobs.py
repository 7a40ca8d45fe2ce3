"""The batch jobs, started as `ray job submit` starts them: a process of their own, status 0 only when all was done."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.run.planted import LABELLED, Planted

JOBS = Path(__file__).resolve().parents[2] / "pipelines"


def job(name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(JOBS / f"{name}.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_label_then_index_then_export(planted: Planted, tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text(planted.toml("p", tmp_path / "runs"), encoding="utf-8")
    run = tmp_path / "runs" / "p"
    quick = ("--set", 'contexts.negatives=["silent_random"]', "--set", 'score.scorers=["embedding"]')
    labelled = job("label", str(file), "--features", "0-1,6", *quick)
    assert labelled.returncode == 0, labelled.stderr
    indexed = job("build_index", str(run))
    assert indexed.returncode == 0, indexed.stderr
    assert "3 labels are in the index" in indexed.stdout
    exported = job("export", str(run), str(tmp_path / "labels.jsonl"))
    assert exported.returncode == 0, exported.stderr
    rows = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text(encoding="utf-8").splitlines()]
    labels = {row["feature"]["feature_index"]: row["label"] for row in rows if row["label"]}
    assert sorted(labels) == [0, 1, 6]
    assert "ship" in labels[0]
    assert set(LABELLED) <= {row["feature"]["feature_index"] for row in rows}


@pytest.mark.slow
def test_what_a_user_can_cause_is_one_line_and_status_1(tmp_path: Path) -> None:
    for name, arguments in (
        ("label", ["nothing.toml"]),
        ("build_index", [str(tmp_path)]),
        ("export", [str(tmp_path), str(tmp_path / "labels.csv")]),
    ):
        result = job(name, *arguments)
        assert result.returncode == 1
        assert result.stderr.strip().splitlines()[-1].startswith(f"{name}: ")
        assert "Traceback" not in result.stderr
