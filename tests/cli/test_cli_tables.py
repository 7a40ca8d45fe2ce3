"""Tables have the columns of what is stored, whatever scorers there are."""

import re
from dataclasses import replace

import pytest
from rich.cells import cell_len

from autointerp.cli.tables import hit_rows, label_rows, summary_rows
from autointerp.records import SearchHit
from autointerp.store.results import ScoredLabel, ScorerSummary, ValueSummary
from autointerp.text_table import table
from tests.store.making import SOURCE, make


def test_a_scorer_of_any_name_has_a_column_and_one_that_graded_nothing_has_none() -> None:
    hits = [
        SearchHit(SOURCE, 1, "heat", "x", 0.5, 0.25, {"simulation": 0.75}),
        SearchHit(SOURCE, 2, "cold", "y", 0.25, 0.5, {"fuzzing": 0.5}),
    ]
    assert [line.split() for line in hit_rows(hits, with_source=False)] == [
        ["feature", "label", "relevance", "density", "fuzzing", "simulation"],
        ["1", "heat", ".50", "25.00", "%", "-", ".75"],
        ["2", "cold", ".25", "50.00", "%", ".50", "-"],
    ]


def test_a_feature_without_a_label_is_told_by_what_it_fires_on() -> None:
    hits = [SearchHit(SOURCE, 1, "", "", 0.5, 0.25, tokens=(" heat", '"')), SearchHit(SOURCE, 2, "", "", 0.5, 0.25)]
    lines = hit_rows(hits, with_source=False)
    assert lines[1].startswith('1        (fires on " heat", "\\"")')
    assert lines[2].startswith("2        (no label)")


def test_labels_stand_beside_the_shuffled_ones_of_the_same_scorer() -> None:
    own, shuffled = make.explanation(1, "heat"), make.explanation(1, "cold", "b1", label_from=2)
    scored = ScoredLabel(own, (make.graded(own, "simulation", 0.75).score,))
    baseline = ScoredLabel(shuffled, (make.graded(shuffled, "simulation", 0.25).score,))
    lines = label_rows([scored], {(SOURCE, 1): baseline}, with_source=False)
    assert [line.split() for line in lines] == [
        ["feature", "label", "simulation"],
        ["1", "heat", ".75", "[.65", ".85]", ".25"],
    ]


SHUFFLED = ValueSummary("shuffled", 100, 0.54, 0.5, 0.5, 0.61, 0.12, 0)
SUMMARY = ScorerSummary(
    scorer="fuzzing",
    judge="local",
    metric="balanced accuracy",
    chance=0.5,
    true=ValueSummary("true", 518, 0.78, 0.68, 0.8, 0.9, 0.91, 0),
    shuffled=SHUFFLED,
    other_nulls=(),
    n_paired=100,
    win_rate=0.95,
    share_above_shuffled=0.88,
)


def test_other_nulls_stand_below_the_shuffled_labels() -> None:
    nulls = (
        ValueSummary("most_frequent_token", 51, 0.7, 0.6, 0.72, 0.8, 0.75, 0),
        ValueSummary("no_label", 50, 0.5, 0.5, 0.5, 0.5, None, 0),
        ValueSummary("too_broad", 51, 0.6, 0.5, 0.6, 0.7, 0.75, 0, 0.84),
    )
    assert squeezed(summary_rows([replace(SUMMARY, other_nulls=nulls)]))[-3:] == [
        "  its top token  51  .72  .70  .60-.80  75 %  -",
        "  withheld  50  .50  .50  .50-.50  -  -",
        "  too broad  51  .60  .60  .50-.70  75 %  84 %",
    ]


def test_a_summary_sets_the_shuffled_labels_mean_and_share_above_chance_below_the_true_ones() -> None:
    assert squeezed(summary_rows([SUMMARY])) == [
        "scorer  labels  judge  n  median  mean  quartiles  chance  > chance  > shuffled  true label wins  < true"
        "  metric",
        "fuzzing  true  local  518  .80  .78  .68-.90  .50  91 %  88 %  95 % of 100  balanced accuracy",
        "  shuffled  100  .50  .54  .50-.61  12 %  -",
    ]


def test_a_summary_counts_labels_that_got_one_answer_where_there_are_any() -> None:
    lines = squeezed(summary_rows([replace(SUMMARY, shuffled=replace(SHUFFLED, n_uninformative=68))]))
    assert "one answer" in lines[0]
    assert lines[2].endswith("  12 %  -  68")


def test_a_scorer_without_shuffled_labels_and_without_a_chance_has_one_row() -> None:
    of = replace(
        SUMMARY,
        chance=None,
        true=ValueSummary("true", 518, 0.78, 0.68, 0.8, 0.9, None, 0),
        shuffled=None,
        n_paired=0,
        win_rate=None,
        share_above_shuffled=None,
    )
    assert squeezed(summary_rows([of]))[1:] == [
        "fuzzing  true  local  518  .80  .78  .68-.90  -  -  -  -  balanced accuracy"
    ]


def squeezed(lines: list[str]) -> list[str]:
    return [re.sub(" {2,}", "  ", line) for line in lines]


HOSTILE = (
    "[bold]markup[/bold] stays",
    "\x1b[31mred\x1b[0m and a bell \x07",
    "one line\nand another\r\nand a\ttab",
    "例外の処理と記録について書かれた長い説明の文である",
    "👩‍👩‍👧 families and 🎹 pianos",
    "e\u0301\u0323 combining marks",
    "\u202eturned around",
    "a-word-that-is-longer-than-any-column-would-ever-like-it-to-be",
)


def rows_of(columns: int | None, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    if columns is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", str(columns))
    rows = [[str(place), text, ".50", f"1.00 [.93 1.00] .{place}0"] for place, text in enumerate(HOSTILE)]
    return table(["feature", "label", "relevance", "detection"], rows, left=(0, 1))


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
def test_a_table_keeps_to_the_terminal_whatever_its_text_holds(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = rows_of(columns, monkeypatch)
    assert max(map(cell_len, lines)) <= columns
    text = "\n".join(lines)
    assert not any(ord(mark) < 32 and mark != "\n" for mark in text)
    assert "\u202e" not in text
    numbers = sum("[.93" in line for line in lines)
    assert numbers == len(HOSTILE)


def test_columns_stay_below_each_other_where_text_is_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = rows_of(60, monkeypatch)
    assert lines[0].split() == ["feature", "label", "relevance", "detection"]
    ends = {cell_len(line.partition("[.93")[0]) for line in lines if "[.93" in line}
    assert len(ends) == 1, "numbers stand flush in spite of wide characters"
    assert sum("[.93" in line for line in lines) == len(HOSTILE)
    assert len(lines) > 1 + len(HOSTILE), "long text takes several lines"


def test_where_numbers_alone_are_too_wide_each_stands_behind_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = rows_of(40, monkeypatch)
    assert lines[:3] == ["0  [bold]markup[/bold] stays", "  relevance .50", "  detection 1.00 [.93 1.00] .00"]


def test_without_a_terminal_a_row_is_a_line_of_any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = rows_of(None, monkeypatch)
    assert len(lines) == 1 + len(HOSTILE)
    assert HOSTILE[-1] in lines[-1]
