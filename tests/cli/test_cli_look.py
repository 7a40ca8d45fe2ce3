"""Commands that look at a finished run print what the store holds, for people and as JSON."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from autointerp import open_run
from autointerp.cli.demo import demo_lines
from autointerp.cli.tables import marked
from autointerp.text_table import number, percent, shorten
from tests.command import exit_status, printed
from tests.run.planted import FEATURES, Planted


@pytest.fixture(scope="module")
def run(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("look")
    file = folder / "p.toml"
    file.write_text(planted.toml("p", folder / "runs"), encoding="utf-8")
    assert exit_status("run", str(file), "--features", "0-3,6-8") == 0
    return folder / "runs" / "p"


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    return json.loads(printed(capsys, *arguments, "--json"))


def test_search_finds_the_planted_word(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (hit,) = as_json(capsys, "search", str(run), "piano", "-k", "1")
    assert (hit["feature_index"], set(hit["scores"])) == (7, {"detection", "fuzzing", "embedding", "recall"})
    assert "piano" in printed(capsys, "search", str(run), "piano", "--rerank")


def test_search_filters_before_it_limits(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hits = as_json(capsys, "search", str(run), "piano", "--max-density", "0.0")
    assert hits == []
    every = as_json(capsys, "search", str(run), "piano", "--min-score", "embedding=.5")
    assert {hit["feature_index"] for hit in every} <= {0, 1, 2, 6, 7, 8}


@pytest.mark.parametrize("space", ["label", "decoder"])
def test_neighbors_in_each_space_leave_the_feature_itself_out(
    run: Path, capsys: pytest.CaptureFixture[str], space: str
) -> None:
    hits = as_json(capsys, "neighbors", str(run), "planted@0-res-12:7", "--space", space)
    assert 7 not in {hit["feature_index"] for hit in hits}


def test_show_has_statistics_labels_scores_and_marked_contexts(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "show", str(run), "7")
    assert "planted@0-res-12:7  (ok)" in text
    assert 'label  the word "piano"' in text
    assert "«piano»" in text
    assert "shuffled: the label of feature" in text
    lines = text.splitlines()
    assert "fires on        tokens, most above chance first (--tokens pmi, precision, count)" in lines
    assert any(line.startswith("  ' piano'") for line in lines)
    assert any(line.startswith("promotes        ' piano' +") for line in lines)
    assert any(line.startswith("followed by ") for line in lines)
    view = as_json(capsys, "show", str(run), "3")
    assert (view["feature"]["status"], view["failures"][0]["error_type"]) == ("dead", "DeadFeature")


def test_status_says_how_far_each_stage_is_and_why_something_failed(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = {stage["stage"]: stage for stage in as_json(capsys, "status", str(run))["stages"]}
    assert (stages["explain"]["status"], stages["explain"]["n_done"]) == ("done", 6)
    assert "DeadFeature" in printed(capsys, "status", str(run))


def test_exports_have_every_feature_and_read_back(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("labels.csv", "labels.parquet", "labels.jsonl"):
        assert f"Wrote {len(FEATURES)} rows" in printed(capsys, "export", str(run), str(tmp_path / name))
    with (tmp_path / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = pq.read_table(tmp_path / "labels.parquet").to_pydict()["label"]
    assert [row["label"] or None for row in rows] == labels


def test_the_demos_table_has_every_score_with_its_interval_and_a_shuffled_one(run: Path) -> None:
    text = "\n".join(demo_lines(open_run(run)))
    best = next(line for line in text.splitlines() if "piano" in line)
    assert best.count("[") == best.count("]") == 4
    assert "true label wins" in text


def test_numbers_are_short_and_never_lose_their_sign_of_zero() -> None:
    assert [number(v) for v in (0.0, 0.004, 0.5, 1.0, None)] == [".00", ".00", ".50", "1.00", "-"]
    assert (percent(0.0123), percent(0.00004)) == ("1.23 %", "0.004 %")
    assert shorten("a  long\nlabel", 6) == "a lon…"


@pytest.mark.parametrize("peak", [0, 3, 16, 31])
def test_a_context_that_is_cut_shows_its_peak(peak: int, run: Path) -> None:
    context = next(c for c in open_run(run).reader.contexts(7) if c.is_active)
    activations = tuple(2.0 if place == peak else 1.0 * (place == 31) for place in range(32))
    tokens = tuple(f" word{place:03d}" for place in range(32))
    line = marked(replace(context, tokens=tokens, activations=activations), width=100)
    assert f"«word{peak:03d}»" in line
    assert 100 <= len(line) <= 102
    assert line.startswith("…") == (peak > 3)
    assert line.endswith("…") == (peak < 31)


def test_marks_join_adjacent_tokens_and_keep_the_space_before(run: Path) -> None:
    context = next(c for c in open_run(run).reader.contexts(7) if c.is_active)
    assert " «" in marked(context) or marked(context).startswith("«")
    assert "« " not in marked(context)


def test_a_feature_on_a_part_of_a_character_has_its_mark_on_the_character(run: Path) -> None:
    context = next(c for c in open_run(run).reader.contexts(7) if c.is_active)
    tokens, activations = ("go", "", "", "🚀", " now"), (0.0, 2.0, 0.0, 0.0, 0.0)
    assert marked(replace(context, tokens=tokens, activations=activations)) == "go«🚀» now"
