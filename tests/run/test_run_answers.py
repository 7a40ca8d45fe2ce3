"""Trials of a run that a person answers, and what the run's scores come to by that."""

import csv
from pathlib import Path

import pytest

from autointerp import open_run, run_pipeline
from autointerp.cli import main
from autointerp.config.file import load_pipeline
from autointerp.errors import CalibrationError
from autointerp.library import answers
from autointerp.library.answers import COLUMNS, draw_questions, read_answers, score_answers
from autointerp.library.run import Run
from tests.run.planted import LABELLED, Planted
from tests.run.prepared import WithContexts

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pipeline_file(planted: Planted, with_contexts: WithContexts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("answered")
    file = folder / "mine.toml"
    indices = ",".join(map(str, LABELLED))
    more = ("[features]", f'indices = "{indices}"', "[score]", 'scorers = ["detection", "fuzzing"]')
    file.write_text(planted.toml("mine", folder / "runs", *more), encoding="utf-8")
    run_pipeline(with_contexts(load_pipeline(file)))
    return file


@pytest.fixture(scope="module")
def run(pipeline_file: Path) -> Run:
    return open_run(pipeline_file.parent / "runs" / "mine")


def answer(file: Path, says: str | None = None) -> None:
    """Answer all rows alike, or in turn."""
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, COLUMNS)
        writer.writeheader()
        for number, row in enumerate(rows):
            writer.writerow({**row, "answer": says if says is not None else ("yes", " No")[number % 2]})


def test_trials_are_drawn_of_both_classes_and_say_neither_truth_nor_verdict(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "answers.csv"
    assert draw_questions(run, 60, file) == 120
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert tuple(rows[0]) == COLUMNS
    assert {row["answer"] for row in rows} == {""}
    trials = {
        (of.explanation_id, of.scorer, of.context_id): of.truth
        for label in run.reader.explanations()
        for of in run.reader.trials(label.explanation_id)
    }
    for scorer in ("detection", "fuzzing"):
        of_scorer = [row for row in rows if row["scorer"] == scorer]
        truths = [trials[row["explanation_id"], scorer, row["context_id"]] for row in of_scorer]
        assert (truths.count(True), truths.count(False)) == (30, 30)
        assert truths != sorted(truths), "their order tells nothing"
    assert all("<<" in row["text"] for row in rows if row["scorer"] == "fuzzing")
    with pytest.raises(CalibrationError, match="is there already"):
        draw_questions(run, 60, file)


def test_a_spreadsheet_runs_nothing_of_what_is_drawn(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many a text of documentation begins with a hyphen."""
    monkeypatch.setattr(answers, "plain_text", lambda context: f"- {context.text}")
    draw_questions(run, 4, tmp_path / "answers.csv")
    with (tmp_path / "answers.csv").open(encoding="utf-8", newline="") as opened:
        texts = [row["text"] for row in csv.DictReader(opened) if row["scorer"] == "detection"]
    assert texts
    assert all(text.startswith("'- ") for text in texts)


def test_a_person_s_answers_move_the_mean_to_what_is_right(run: Run, tmp_path: Path) -> None:
    """A person who says no to everything finds every label as good as chance."""
    file = tmp_path / "answers.csv"
    draw_questions(run, 60, file)
    answer(file, "no")
    for of in score_answers(run, read_answers(file)):
        assert of.n_known == 60
        assert of.by_judge is not None
        assert of.by_answers is not None
        assert of.by_judge.value > 0.8
        assert of.by_answers.low <= 0.5 <= of.by_answers.high
        assert of.sensitivity is None


def test_few_answers_are_too_few_and_that_is_said(
    run: Run, pipeline_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "answers.csv"
    with pytest.raises(SystemExit) as drawn:
        main(["calibrate", str(pipeline_file), "--answers", str(file), "--draw", "10"])
    assert not drawn.value.code
    answer(file)
    with pytest.raises(SystemExit) as told:
        main(["calibrate", str(pipeline_file), "--answers", str(file)])
    assert not told.value.code
    assert "detection: of 5 firing windows it is known what is right, and 20 are needed" in capsys.readouterr().out


HEAD = "explanation_id,scorer,context_id,answer\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f"{HEAD}e,detection,c,maybe\n", "row 2: the answer 'maybe' is neither yes nor no"),
        (f"{HEAD}e,detection,c,yes\ne,detection,c,no\n", "row 3: an earlier row answers the same otherwise"),
        (f"{HEAD}e,detection,c,\n", "has no answers"),
        ("", "has no answers"),
        ("a,b\n1,2\n", "has no column 'explanation_id'"),
        ("explanation_id,scorer,context_id,answer\ne\n", "has no answers"),
    ],
)
def test_a_mistake_in_the_answers_is_one_line(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "answers.csv"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(CalibrationError) as raised:
        read_answers(file)
    assert said in str(raised.value)


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "answers.csv").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(CalibrationError, match="no CSV in UTF-8"):
        read_answers(tmp_path / "answers.csv")


def test_answers_of_another_run_are_told(run: Run) -> None:
    with pytest.raises(CalibrationError, match="1 of 1 answers are of no answered trial"):
        score_answers(run, {("e", "detection", "c"): True})
