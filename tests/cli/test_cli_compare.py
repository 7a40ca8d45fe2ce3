"""`compare` on a real run that went on with another explainer's settings."""

import json
import re
from pathlib import Path

import pytest

from tests.command import complaint, exit_status, printed
from tests.run.planted import Planted


@pytest.fixture(scope="module")
def run(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels of one word, then of three: the second count now."""
    folder = tmp_path_factory.mktemp("compare")
    file = folder / "p.toml"
    file.write_text(planted.toml("p", folder / "runs"), encoding="utf-8")
    for n_keywords in (1, 3):
        assert exit_status("run", str(file), "--features", "0-2,6-11", "--set", f"explain.n_keywords={n_keywords}") == 0
    return folder / "runs" / "p"


def test_shuffled_labels_are_worse_in_every_row(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "compare", str(run), "--explainer", "shuffled", "--scorer", "detection")
    assert "differs in explainer: keywords and shuffled" in text
    row = next(line for line in text.splitlines() if line.startswith("detection  "))
    assert "yes" in row
    assert "detection, feature by feature (from pairs of the same trials; Benjamini-Hochberg" in text


def test_json_has_every_feature_and_what_would_settle_it(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, "compare", str(run), "--explainer", "shuffled", "--json"))
    assert [of["scorer"] for of in found["scorers"]] == ["detection", "embedding", "fuzzing", "recall"]
    detection = found["scorers"][0]
    assert detection["overall"]["n_first"] == len(detection["features"])
    assert detection["overall"]["mean"]["value"] < 0
    assert {"source_id", "feature_index"} == set(detection["worse"][0])
    assert found["scorers"][3]["features"][0]["by_trials"] is False


def test_several_settings_of_one_explainer_are_told_apart(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = complaint(capsys, "compare", str(run))
    assert "name another run" in told
    earlier = told.split("keywords ")[1].split(",")[0]
    assert "of earlier settings" in told
    text = printed(capsys, "compare", str(run), "--explainer", earlier, "-k", "0")
    assert "differs in labels: " in text


def test_a_copy_of_a_run_does_not_differ(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "store.duckdb").write_bytes((run / "store.duckdb").read_bytes())
    text = printed(capsys, "compare", str(run), str(tmp_path))
    assert "0 better, 0 worse" in text
    assert "unknown: all 9 features differ by the same" in text
    of_recall = next(line for line in text.splitlines() if line.startswith("recall, feature by feature"))
    assert "from two intervals, which sees less: their trials can't be paired" in of_recall


def test_a_copy_of_a_run_agrees_with_it_throughout(
    run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "store.duckdb").write_bytes((run / "store.duckdb").read_bytes())
    text = printed(capsys, "agreement", str(run), str(tmp_path))
    row = next(line for line in text.splitlines() if line.startswith("detection"))
    assert re.search(r" \d+ of \d+  1\.000 \[0\.[1-9]\d\d 1\.000\] ", row), "a share with its features, and room below"
    assert "[1.000 1.000]" not in row
    found = json.loads(printed(capsys, "agreement", str(run), str(tmp_path), "--json"))
    embedding = next(of for of in found["scorers"] if of["scorer"] == "embedding")
    assert embedding["verdicts"] is None, "similarities are no verdicts"


def test_a_folder_without_a_run_is_told(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "there is no store" in complaint(capsys, "compare", str(run), str(tmp_path / "none"))
