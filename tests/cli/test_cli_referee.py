"""Where a rule that is as good as the truth disputes a label, and whose label of several was taken, is told."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from autointerp import export_run, open_run
from autointerp.records import Explanation
from autointerp.store.results import RefereeCounts
from autointerp.store.writer import Writer
from tests.command import printed
from tests.store.making import make

RULE = '"cat" or "cats"'


def scored(
    writer: Writer, explanation: Explanation, agreement: float, low: float, high: float, scorer: str = "detection"
) -> None:
    graded = make.graded(explanation, scorer)
    detail = {
        "referee": RULE,
        "referee_precision": 0.98,
        "referee_recall": 0.97,
        "n_referee_windows": 21,
        "referee_agreement": agreement,
        "referee_agreement_interval": {"low": low, "high": high},
        "n_referee_agreement": 40,
    }
    writer.add_explanations([explanation])
    writer.add_scores([replace(graded, score=replace(graded.score, detail=detail))])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The rule disputes the label of feature 1, it doesn't that of 2, it is that of 3; of 4 there is none."""
    writer = Writer(tmp_path / "run")
    writer.add_source(make.source(8))
    writer.add_features([make.feature(i) for i in range(1, 5)])
    taken = {1: "keywords", 2: "keywords", 3: "rules", 4: "keywords"}
    of = {
        i: replace(make.explanation(i, RULE if by == "rules" else f"label {i}"), detail={"chosen": by})
        for i, by in taken.items()
    }
    scored(writer, of[1], 0.61, 0.45, 0.75)
    scored(writer, of[2], 0.8, 0.65, 0.9)
    scored(writer, of[3], 1.0, 0.91, 1.0)
    writer.add_explanations([of[4]])
    writer.add_scores([make.graded(of[4])])
    return tmp_path / "run"


def test_show_says_by_which_rule_a_label_is_disputed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = (
        f"a rule of precision .98 and recall .97 says otherwise: {RULE}; the judge agrees with it on 61 % [45 75] of"
        " 40 trials"
    )
    assert told in printed(capsys, "show", str(run), "1")
    for other in ("2", "3", "4"):
        assert "says otherwise" not in printed(capsys, "show", str(run), other)


def test_status_counts_them_and_the_candidates_that_wrote_the_labels(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = printed(capsys, "status", str(run))
    assert "labels by the candidate that wrote them: 3 keywords, 1 rules" in told
    assert (
        "labels of features with a rule that is as good as the truth: 3, of which that rule itself: 1, disputed by it:"
        " 1 (`show` says how)" in told
    )
    as_json = json.loads(printed(capsys, "status", str(run), "--json"))
    assert as_json["referees"] == {"n": 3, "n_disputed": 1, "of_rules": 1}
    assert as_json["chosen"] == {"keywords": 3, "rules": 1}


def test_a_label_that_two_scorers_set_against_the_rule_counts_once_and_is_disputed_by_either(run: Path) -> None:
    scored(Writer(run), make.explanation(2, "label 2"), 0.6, 0.45, 0.75, "mine")
    opened = open_run(run)
    assert opened.reader.referee_counts() == RefereeCounts(n=3, n_disputed=2, of_rules=1)
    said = opened.feature(2).refereed
    assert said is not None
    assert (said.is_disputed, said.agreement) == (True, 0.6)


def test_show_says_which_candidate_wrote_the_label_that_was_taken(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "       by keywords (written by rules), " in printed(capsys, "show", str(run), "3")


def test_exports_and_python_have_the_rule_and_whether_it_disputes(run: Path, tmp_path: Path) -> None:
    with export_run(run, tmp_path / "labels.csv").path.open(newline="") as file:
        rows = [(row["referee"], row["referee_agreement"], row["is_disputed"]) for row in csv.DictReader(file)]
    assert rows == [(RULE, "0.61", "True"), (RULE, "0.8", "False"), (RULE, "1.0", "False"), ("", "", "")]
    lines = export_run(run, tmp_path / "labels.jsonl").path.read_text().splitlines()
    assert [json.loads(line)["is_disputed"] for line in lines] == [True, False, False, None]
    opened = open_run(run)
    said = opened.feature(1).refereed
    assert said is not None
    assert (said.is_disputed, said.referee.rule, said.n_trials) == (True, RULE, 40)
    assert opened.feature(4).refereed is None


def test_the_report_lists_them(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed(capsys, "report", str(run), "-o", str(tmp_path / "report.html"))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    section = page[page.index("Labels that a rule disputes") :]
    assert "3 labels are of features" in section
    assert "<td>label 1</td>" in section
    assert "<td>label 2</td>" not in section
