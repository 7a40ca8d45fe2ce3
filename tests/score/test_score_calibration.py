"""A judge's calibration: rates worked out by hand, its file, and whose scores it may correct."""

import json
from pathlib import Path

import numpy as np
import pytest

from autointerp.errors import CalibrationError
from autointerp.score.calibration import (
    Calibrated,
    Calibration,
    Cell,
    judge_rates,
    rate_rows,
    read_calibration,
    write_calibration,
)
from autointerp.score.scorers.detection import DETECTION, DetectionScorer
from autointerp.score.scorers.embedding import EmbeddingScorer
from autointerp.score.scorers.fuzzing import FUZZING
from tests.score.world import Scripted, read, tools

JUDGE = Scripted(read)


def cell(
    described: tuple[int, int],
    other: tuple[int, int],
    *,
    puzzle: str = "cat",
    fault: str = "true",
    kind: str = "token",
    unanswered: int = 0,
) -> Cell:
    """A cell of (answers, of these yes)."""
    return Cell(
        task="detection",
        kind=kind,
        puzzle=puzzle,
        fault=fault,
        n_described=described[0],
        n_described_yes=described[1],
        n_other=other[0],
        n_other_yes=other[1],
        n_unanswered=unanswered,
    )


def calibration(*cells: Cell, judge: Scripted = JUDGE) -> Calibration:
    return Calibration(
        judge=judge.name,
        judged_by={task.name: judge.fingerprint(task) for task in (DETECTION, FUZZING)},
        made_of="questions",
        cells=cells or tuple(cell((10, 9), (10, 2), puzzle=f"p{i}") for i in range(8)),
    )


def kept(tmp_path: Path, of: Calibration) -> Path:
    write_calibration(of, tmp_path / "calibration.json")
    return tmp_path / "calibration.json"


def test_rates_are_those_of_all_cells_together() -> None:
    rates = judge_rates([cell((10, 9), (20, 2)), cell((30, 15), (20, 8), puzzle="dog")])
    assert (rates.counts.true_positive, rates.counts.n_positive) == (24, 40)
    assert (rates.counts.true_negative, rates.counts.n_negative) == (30, 40)
    assert rates.youden == pytest.approx(24 / 40 + 30 / 40 - 1)


def test_what_a_judge_gets_wrong_by_the_puzzle_tells_as_little_as_there_are_puzzles() -> None:
    alike = judge_rates([cell((20, 16), (20, 4), puzzle=f"p{i}") for i in range(10)])
    apart = judge_rates([cell((20, 20 * (i < 8)), (20, 20 * (i >= 8)), puzzle=f"p{i}") for i in range(10)])
    assert alike.youden == pytest.approx(apart.youden)
    assert apart.counts.positive_worth < 0.15 < alike.counts.positive_worth


def test_the_spread_is_what_labels_differ_by_beyond_chance() -> None:
    rng = np.random.default_rng(0)
    shift = rng.normal(0, 0.1, 400)
    drawn = [
        cell((30, int(rng.binomial(30, 0.75 + s))), (30, int(rng.binomial(30, 0.2))), puzzle=f"p{i}")
        for i, s in enumerate(np.clip(shift, -0.7, 0.24))
    ]
    alike = [
        cell((30, int(rng.binomial(30, 0.75))), (30, int(rng.binomial(30, 0.2))), puzzle=f"p{i}") for i in range(400)
    ]
    assert judge_rates(drawn).spread == pytest.approx(0.1, abs=0.02)
    assert judge_rates(alike).spread < 0.04


def test_a_label_that_describes_no_window_or_all_says_nothing_of_the_spread() -> None:
    rates = judge_rates([cell((10, 9), (10, 1)), cell((0, 0), (20, 5)), cell((20, 0), (0, 0))])
    assert (rates.n_labels, rates.spread) == (1, 0.0)


def test_a_judge_who_never_errs_errs_alike_on_all_labels() -> None:
    rates = judge_rates([cell((10, 10), (10, 0), puzzle=f"p{i}") for i in range(6)])
    assert (rates.youden, rates.spread, rates.n_labels) == (1.0, 0.0, 6)


def test_rates_are_told_by_fault_and_by_kind_with_the_unanswered_apart() -> None:
    rows = rate_rows(
        calibration(
            cell((10, 9), (10, 1), unanswered=3),
            cell((0, 0), (20, 20), fault="unrelated", kind="topic", puzzle="space"),
        )
    )
    assert [(row.part, row.name, row.n_puzzles, row.n_described, row.n_other, row.n_unanswered) for row in rows] == [
        ("all", "", 2, 10, 30, 3),
        ("label", "true", 1, 10, 10, 3),
        ("label", "unrelated", 1, 0, 20, 0),
        ("kind", "token", 1, 10, 10, 3),
        ("kind", "topic", 1, 0, 20, 0),
    ]
    assert rows[2].sensitivity is None
    assert rows[2].uninformative == "the judge said yes to all 20 questions"
    assert rows[0].uninformative is None


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    of = calibration(cell((10, 9), (10, 1)))
    assert read_calibration(kept(tmp_path, of)) == of


@pytest.mark.parametrize("place", ["", "..", "folder"])
def test_a_folder_is_no_place_for_it(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CalibrationError, match="is a folder, and a file is needed"):
        write_calibration(calibration(), Path(place))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("}", "", "is damaged"),
        ('"n_other_yes": 2', '"n_other_yes": 12', "more answers yes than answers"),
        ('"n_other_yes": 2', '"n_other_yes": -1', "greater than or equal to 0"),
        ('"format": 1', '"format": 2', "format"),
        ('"judge":', '"umpire":', "judge"),
    ],
)
def test_a_damaged_file_is_one_line_that_names_it(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = kept(tmp_path, calibration())
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(CalibrationError) as raised:
        read_calibration(path)
    assert said in str(raised.value)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[]", b"null", b'{"cells": []}', b"[" * 5000])
def test_what_is_no_calibration_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other.json").write_bytes(content)
    with pytest.raises(CalibrationError, match=r"other\.json"):
        read_calibration(tmp_path / "other.json")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="there is no"):
        Calibrated.read(str(tmp_path / "none.json"))


def test_one_judge_s_calibration_corrects_no_other_s_scores(tmp_path: Path) -> None:
    calibrated = Calibrated.read(str(kept(tmp_path, calibration())))
    assert calibrated.rates_for(JUDGE, DETECTION).n_labels == 8
    with pytest.raises(CalibrationError, match="is of the judge 'scripted', and 'another' judges here"):
        calibrated.rates_for(Scripted(read, name="another"), DETECTION)
    with pytest.raises(CalibrationError, match="with other settings for detection"):
        calibrated.rates_for(Scripted(read, made_of="another prompt"), DETECTION)
    only_detection = calibration().model_copy(update={"judged_by": {"detection": JUDGE.fingerprint(DETECTION)}})
    with pytest.raises(CalibrationError, match="knows nothing of the task 'fuzzing'"):
        Calibrated.read(str(kept(tmp_path, only_detection))).rates_for(JUDGE, FUZZING)


def test_a_calibration_makes_other_scores_of_what_it_corrects_and_of_nothing_else(tmp_path: Path) -> None:
    calibrated = Calibrated.read(str(kept(tmp_path, calibration())))
    plain, named = tools(JUDGE), tools(JUDGE, calibrated=calibrated)
    assert DetectionScorer(plain).fingerprint != DetectionScorer(named).fingerprint
    assert EmbeddingScorer(plain).fingerprint == EmbeddingScorer(named).fingerprint
    later = Calibrated.read(str(kept(tmp_path, calibration(cell((10, 9), (10, 3))))))
    assert DetectionScorer(tools(JUDGE, calibrated=later)).fingerprint != DetectionScorer(named).fingerprint


def test_json_of_the_file_holds_no_more_than_counts(tmp_path: Path) -> None:
    content = json.loads(kept(tmp_path, calibration()).read_text(encoding="utf-8"))
    assert set(content) == {"format", "judge", "judged_by", "made_of", "cells", "left_out"}
