"""The report: one page that loads nothing, with the numbers that the stores hold."""

import json
import re
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from autointerp.export.report import figures
from autointerp.export.report.gather import TRUE, ReportedRun, gather
from autointerp.library.run import open_run
from autointerp.store.reader import Reader
from autointerp.store.results import LabelledFeature
from autointerp.store.writer import Writer
from tests.command import complaint, printed
from tests.store.making import make

VALUES = (0.9, 0.5, 0.7, 0.8)
UGLY = '</script><script>alert(1)</script> "x" & é 熱 <b>bold</b>'


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Four labelled features, one with a shuffled label, one dead, one that failed, one that nobody asked about."""
    folder = tmp_path / "first"
    folder.mkdir()
    writer = Writer(folder)
    writer.add_source(make.source(7))
    writer.add_features([make.feature(index, 0.001 * (index + 1)) for index in range(6)])
    writer.add_features([make.feature(6, 0.0, "dead")])
    writer.add_failures([make.failure(4)])
    for index, value in enumerate(VALUES):
        label = make.explanation(index, UGLY if index == 0 else f"label {index}")
        writer.add_explanations([label])
        for scorer, shift in (("detection", 0.0), ("fuzzing", -0.1)):
            graded = make.graded(label, scorer, value + shift)
            detail = {"sensitivity_by_quantile": {"0": value - 0.4, "9": value, "5": None}}
            writer.add_scores([replace(graded, score=replace(graded.score, detail=detail))])
    shuffled = make.explanation(1, "label 0", label_from=0)
    writer.add_explanations([shuffled])
    writer.add_scores([make.graded(shuffled, "detection", 0.45)])
    return folder


@pytest.fixture
def gathered(run: Path) -> ReportedRun:
    opened = open_run(run)
    return gather(opened.reader, tuple(opened.status()), "first")


def test_a_plot_sets_labels_made_partly_wrong_against_the_true_ones_and_tells_how_many_lie_below(
    run: Path, gathered: ReportedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert figures.partly_wrong(gathered) is None
    writer = Writer(run)
    low = gathered.scored["detection"][TRUE].lows[0]
    for index, value in enumerate((low - 0.01, low + 0.01, 0.1)):
        wrong = replace(make.explanation(index, label_from=index), explainer="too_narrow")
        writer.add_explanations([wrong])
        writer.add_scores([make.graded(wrong, "detection", value)])
    opened = open_run(run)
    figure = figures.partly_wrong(gather(opened.reader, tuple(opened.status()), "first"))
    assert figure is not None
    (points, _) = figure.data
    assert points.name == "detection, too narrow: 67% of 3 below"
    assert list(points.x) == list(VALUES[:3])
    assert points.y[2] == 0.1
    file = tmp_path / "report.html"
    printed(capsys, "report", str(run), "-o", str(file))
    page = file.read_text(encoding="utf-8")
    assert "Labels made partly wrong" in page
    assert '<td>too narrow</td><td class="n">3</td>' in page


class Page(HTMLParser):
    """What a page loads, runs and shows."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.tags: list[str] = []
        self.shown: list[str] = []
        self._in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        self._in_script = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if not self._in_script:
            self.shown.append(data.strip())


def read(text: str) -> Page:
    page = Page()
    page.feed(text)
    return page


def test_the_scores_are_gathered_by_scorer_and_kind_of_label(gathered: ReportedRun) -> None:
    assert {scorer: sorted(kinds) for scorer, kinds in gathered.scored.items()} == {
        "detection": ["shuffled", TRUE],
        "fuzzing": [TRUE],
    }
    of = gathered.scored["detection"][TRUE]
    assert of.values.tolist() == list(VALUES)
    assert of.labels[0] == UGLY
    assert of.densities.tolist() == pytest.approx([0.001, 0.002, 0.003, 0.004])
    assert np.all(of.lows <= of.values)
    assert gathered.scored["detection"]["shuffled"].values.tolist() == [0.45]
    assert gathered.chance == {"detection": 0.5, "fuzzing": 0.5}


def test_nothing_is_kept_of_the_details_of_scores(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Reader.labelled_features

    def with_large_details(self: Reader, *, baselines: bool) -> Iterator[LabelledFeature]:
        for labelled in read(self, baselines=baselines):
            for _ in range(20):
                yield replace(labelled, scores=tuple(replace(s, detail={"x": bytes(10**6)}) for s in labelled.scores))

    monkeypatch.setattr(Reader, "labelled_features", with_large_details)
    reader = open_run(run).reader
    tracemalloc.start()
    n = sum(of.values.size for kinds in gather(reader, (), "first").scored.values() for of in kinds.values())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == 9 * 20
    assert peak < 20 * 10**6


def test_features_are_counted_once_by_state(gathered: ReportedRun) -> None:
    assert gathered.n_features == {
        "labelled": 4,
        "no label: Refusal": 1,
        "no label was asked for": 1,
        "dead": 1,
    }


def test_sensitivity_is_the_mean_over_labels_that_have_the_quantile(gathered: ReportedRun) -> None:
    low, high = gathered.sensitivity["detection"]
    assert (low.quantile, high.quantile) == (0, 9)
    assert high.mean == pytest.approx(np.mean(VALUES))
    assert high.error == pytest.approx(np.std(VALUES, ddof=1) / 2)
    assert low.mean == pytest.approx(np.mean(VALUES) - 0.4)
    assert high.n == 4


def test_the_bars_of_a_distribution_are_shares(gathered: ReportedRun) -> None:
    figure = figures.distributions(gathered)
    true = next(trace for trace in figure.data if trace.name == TRUE)
    assert sum(true.y[:-1]) == pytest.approx(1.0)
    drawn = {round(float(x) + 0.0125, 3): y for x, y in zip(true.x, true.y, strict=True) if y > 0}
    assert drawn == {0.5: 0.25, 0.7: 0.25, 0.8: 0.25, 0.9: 0.25}


def test_two_scorers_are_drawn_on_the_labels_that_both_graded(gathered: ReportedRun) -> None:
    figure = figures.scorer_against_scorer(gathered)
    (points,) = figure.data
    assert sorted(zip(points.x, points.y, strict=True)) == [
        pytest.approx((value, value - 0.1)) for value in sorted(VALUES)
    ]
    assert [note.text for note in figure.layout.annotations] == ["n = 4, rank corr. 1.00"]


def test_a_box_of_a_run_holds_five_numbers_however_many_labels_there_are(gathered: ReportedRun) -> None:
    of = gathered.scored["detection"][TRUE]
    values = np.concatenate([np.linspace(0.5, 0.7, 10_001), [0.0]])
    many = replace(gathered, scored={"detection": {TRUE: replace(of, values=values)}})
    first, second = figures.by_run([gathered, many]).data
    assert list(first.x) == ["detection", "fuzzing"]
    assert [first.q1[0], first.median[0], first.q3[0]] == pytest.approx([0.65, 0.75, 0.825])
    assert [first.lowerfence[0], first.upperfence[0]] == [0.5, 0.9]
    box = [second.lowerfence, second.q1, second.median, second.q3, second.upperfence]
    assert [len(of) for of in box] == [1] * 5
    assert [of[0] for of in box] == pytest.approx([0.5, 0.55, 0.6, 0.65, 0.7], abs=1e-4)


def test_of_many_points_as_many_are_drawn_as_a_page_can_hold_the_same_in_each_plot(gathered: ReportedRun) -> None:
    of = gathered.scored["detection"][TRUE]
    n = 10_000
    many = replace(
        of,
        features=tuple(f"m@s:{i}" for i in range(n)),
        labels=("x",) * n,
        densities=np.full(n, 0.01),
        values=np.linspace(0, 1, n),
        lows=np.zeros(n),
        highs=np.ones(n),
    )
    reported = replace(gathered, scored={"detection": {TRUE: many}, "fuzzing": {TRUE: many}})
    (first, _), (points,) = figures.against_density(reported).data, figures.scorer_against_scorer(reported).data
    assert len(first.x) == len(points.x) == 3000
    assert sorted(first.y) == sorted(points.x)


def test_the_page_loads_nothing_and_no_label_becomes_markup(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new" / "report.html"
    printed(capsys, "report", str(run), "-o", str(file))
    text = file.read_text(encoding="utf-8")
    page = read(text)
    assert page.loaded == []
    assert not {"link", "img", "iframe", "b"} & set(page.tags)
    assert "alert(1)</script>" not in text
    assert "first" in page.shown
    assert "no label: Refusal" in text


def test_the_table_has_the_summary_s_numbers(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "report.html"
    printed(capsys, "report", str(run), "-o", str(file))
    shown = read(file.read_text(encoding="utf-8")).shown
    summary = next(s for s in open_run(run).score_summary() if s.scorer == "detection")
    assert [row.kind for row in summary.rows[:2]] == ["true", "shuffled"]
    for row in summary.rows:
        assert f"{row.mean:.3f}" in shown


def drawn_names(text: str) -> Sequence[str]:
    return re.findall(r'"name":\s*"([^"]*)"', text)


def test_several_runs_stand_side_by_side_those_of_one_name_numbered(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "elsewhere" / "first"
    other.mkdir(parents=True)
    (other / "store.duckdb").write_bytes((run / "store.duckdb").read_bytes())
    file = tmp_path / "report.html"
    printed(capsys, "report", str(run), str(other), "-o", str(file))
    text = file.read_text(encoding="utf-8")
    assert {"first", "first (2)"} <= set(map(json.loads, (f'"{name}"' for name in drawn_names(text))))
    assert {"first", "first (2)", "True labels by run"} <= set(read(text).shown)


def test_a_run_without_scores_has_a_report_of_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "bare"
    folder.mkdir()
    writer = Writer(folder)
    writer.add_source(make.source(2))
    writer.add_features([make.feature(0), make.feature(1)])
    file = tmp_path / "report.html"
    printed(capsys, "report", str(folder), "-o", str(file))
    shown = read(file.read_text(encoding="utf-8")).shown
    assert "Features by state" in shown
    assert "Scores and their nulls" not in shown


def test_what_can_t_be_written_is_one_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "does not end in .html" in complaint(capsys, "report", str(run), "-o", str(tmp_path / "r.pdf"))
    (tmp_path / "file").write_text("")
    assert "file" in complaint(capsys, "report", str(run), "-o", str(tmp_path / "file" / "r.html"))
    assert "there is no store" in complaint(capsys, "report", str(tmp_path), "-o", str(tmp_path / "r.html"))
