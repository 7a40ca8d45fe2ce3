"""`show` prints a feature's evidence: histogram, tokens it fires on, is followed by and promotes, neighbors."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autointerp.cli.tables import bars
from autointerp.explain.graph_neighbors import NamedNeighbor, Naming
from autointerp.records import FiringNeighbor, FiringPlace, TokenCount
from autointerp.store.writer import Writer
from tests.command import complaint, printed
from tests.store.making import SOURCE, make


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Feature 1 has all there is, 2 is its labelled neighbor, 3 is dead."""
    writer = Writer(tmp_path)
    writer.add_source(make.source(4), histogram_edges=[0.5, 1.0, 2.0, 4.0])
    writer.add_features([make.feature(0), make.feature(1), make.feature(2), make.feature(3, 0.0, "dead")])
    writer.add_explanations([make.explanation(2, "the cold of winter mornings and evenings")])
    features = np.array([1], np.int32)
    similarity = np.array([[0.875, 0.5]], np.float32)
    writer.add_neighbors(SOURCE, "decoder", features, np.array([[2, 0]], np.int32), similarity)
    writer.add_neighbors(SOURCE, "coactivation", features, np.array([[0, -1]], np.int32), similarity)
    return tmp_path


def test_show_prints_all_evidence_on_a_feature(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "show", str(run), "1")
    assert text.splitlines()[:11] == [
        "tiny@1-res-64:1  (ok)",
        "fires on 100 tokens (1.00 %), mean 1.12, max 4.25",
        "activations     ▅█  from 1 to 4, doubling at each bar; the last holds all above",
        "fires most on   ' Wärme' x7, '熱' x3",
        "                each of these counts may be up to 2 too low",
        "followed by     \"'s\" x5 (12), ' 熱' x1 (0.2)",
        "                of 8 sampled peaks, 7 have a next token; in brackets: times its share of the corpus",
        "promotes        ' heat' +0.75, ' fire' +0.50",
        "suppresses      ' ice' -0.50",
        "fires with      0 .88",
        "close decoders  2 .88 (the cold of winter morn…), 0 .50",
    ]


def test_show_says_which_side_a_label_is_about_what_it_excludes_and_what_it_is_from(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label = replace(
        make.explanation(1, "predicts heat, but not fire"),
        explainer="evidence",
        model="m",
        side="output",
        n_contexts=20,
        excludes="fire",
        detail={"note": "looks ahead"},
    )
    Writer(run).add_explanations([label, make.explanation(0, "cold")])
    lines = printed(capsys, "show", str(run), "1").splitlines()
    first = lines.index("label  predicts heat, but not fire")
    assert lines[first + 1 : first + 5] == [
        "       by evidence, m, from 20 contexts",
        "       about the output: what it promotes",
        "       excludes: fire",
        "       looks ahead",
    ]
    (stored,) = json.loads(printed(capsys, "show", str(run), "1", "--json"))["labels"]
    assert (stored["explanation"]["side"], stored["explanation"]["excludes"]) == ("output", "fire")
    plain = printed(capsys, "show", str(run), "0")
    assert "       by keywords, local\n" in plain
    assert "excludes" not in plain


def test_show_tells_what_fires_before_and_after_a_feature_that_graph_labelled(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def met(feature: int, label: str | None, place: FiringPlace) -> dict[str, Any]:
        near = FiringNeighbor(SOURCE, feature, place, 41, 1059, 3.0, 80, 7, 1.5)
        return NamedNeighbor(near, Naming(label, ("x",))).account

    upstream = [met(0, "snow\nand ice", "with"), met(2, None, "before")]
    downstream = [met(n, f"label {n}", "after") for n in range(7)]
    detail = {"input": "cold", "output": None, "upstream": upstream, "downstream": downstream}
    others = replace(make.explanation(0, "cold"), detail={"upstream": [{"feature": 7}], "downstream": "none"})
    Writer(run).add_explanations([replace(make.explanation(1, "heat"), explainer="graph", detail=detail), others])
    lines = printed(capsys, "show", str(run), "1").splitlines()
    first = next(place for place, line in enumerate(lines) if "before it" in line)
    assert lines[first : first + 3] == [
        f"       before it  {SOURCE}:0 (snow and ice) on the same token at 41 of 1,059 firings, 3.0 by chance",
        f"                  {SOURCE}:2 (no label) before at 41 of 1,059 firings, 3.0 by chance",
        f"       after it   {SOURCE}:0 (label 0) after at 41 of 1,059 firings, 3.0 by chance",
    ]
    assert lines[first + 6 : first + 8] == [
        f"                  {SOURCE}:4 (label 4) after at 41 of 1,059 firings, 3.0 by chance",
        "                  and 2 more (--json)",
    ]
    assert "before it" not in printed(capsys, "show", str(run), "0")


def test_a_dead_feature_has_no_lines_about_its_firing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "show", str(run), "3")
    assert "(dead)" in text
    assert "followed by" not in text
    assert "too low" not in text
    assert "sampled peaks" not in text
    assert "promotes        ' heat' +0.75" in text


def test_nothing_is_said_of_counts_that_are_exact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = Writer(tmp_path)
    writer.add_source(make.source(4))
    writer.add_features([replace(make.feature(1), top_tokens_n_missed=0)])
    text = printed(capsys, "show", str(tmp_path), "1")
    assert "fires most on   ' Wärme' x7" in text
    assert "too low" not in text


TOKENS = (
    TokenCount(" the", 60, 1.0, 5000),
    TokenCount(" Wärme", 30, 1.5, 40),
    TokenCount("熱", 1, 4.0, 1),
)


def test_show_puts_first_what_tells_a_feature_from_chance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = Writer(tmp_path)
    writer.add_source(make.source(4))
    writer.add_features([replace(make.feature(1), top_tokens=TOKENS, top_tokens_n_missed=0)])
    lines = printed(capsys, "show", str(tmp_path), "1").splitlines()
    first = next(place for place, line in enumerate(lines) if line.startswith("fires on  "))
    assert lines[first + 1 : first + 5] == [
        "  token     fires  occurs  precision   recall     mass  PMI",
        "  ' Wärme'     30      40    75.00 %  30.00 %  40.00 %  5.1",
        "  '熱'          1       1   100.00 %   1.00 %   3.56 %  1.6",
        "  ' the'       60   5,000     1.20 %  60.00 %  53.33 %  0.3",
    ]
    for order, token in (("precision", "'熱'"), ("count", "' the'"), ("pmi", "' Wärme'")):
        lines = printed(capsys, "show", str(tmp_path), "1", "--tokens", order).splitlines()
        assert lines[first + 2].split()[0] == token.split()[0]
    stored = json.loads(printed(capsys, "show", str(tmp_path), "1", "--json"))["feature"]["top_tokens"]
    assert [of["token"] for of in stored] == [of.token for of in TOKENS]
    assert [round(of["pmi"], 1) for of in stored] == [0.3, 5.1, 1.6]
    assert [of["precision"] for of in stored] == [0.012, 0.75, 1.0]


def test_an_order_that_is_none_or_that_an_older_run_can_t_have_is_told(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "token orders are pmi, precision, count" in complaint(capsys, "show", str(run), "1", "--tokens", "npmi")
    told = complaint(capsys, "show", str(run), "1", "--tokens", "precision")
    assert "was collected before their occurrences were counted: ask for --tokens count" in told
    assert "fires most on   ' Wärme' x7" in printed(capsys, "show", str(run), "1", "--tokens", "count")


def test_show_says_why_there_are_no_logits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = Writer(tmp_path)
    writer.add_source(replace(make.source(4), no_logits="a model of type bert has no head"))
    writer.add_features([replace(make.feature(1), top_logits=(), bottom_logits=())])
    text = printed(capsys, "show", str(tmp_path), "1")
    assert "promotes        unknown: a model of type bert has no head" in text
    assert "activations" not in text  # the store was made without the bins' edges


def test_json_has_the_whole_evidence(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page: dict[str, Any] = json.loads(printed(capsys, "show", str(run), "1", "--json"))
    assert set(page) == {
        "source", "histogram_edges", "feature", "neighbors", "neighbor_labels", "labels", "tier", "same_label",
        "contexts", "failures", "no_contexts",
    }  # fmt: skip
    assert page["histogram_edges"] == [0.5, 1.0, 2.0, 4.0]
    assert page["feature"]["histogram"] == [0, 3, 5]
    assert page["feature"]["top_tokens_n_missed"] == 2
    following = page["feature"]["following_tokens"][0]
    assert following.pop("pmi") == pytest.approx(math.log2(5.5 / (5 / 12.5 + 0.5)))
    assert following == {"token": "'s", "n_peaks": 5, "lift": 12.5, "recall": 5 / 7}
    assert (page["feature"]["n_sampled_peaks"], page["feature"]["n_followed_peaks"]) == (8, 7)
    assert page["feature"]["bottom_logits"] == [{"token": " ice", "logit": -0.5}]
    assert [(n["space"], n["feature_index"], n["similarity"]) for n in page["neighbors"]] == [
        ("coactivation", 0, 0.875),
        ("decoder", 2, 0.875),
        ("decoder", 0, 0.5),
    ]
    assert page["neighbor_labels"] == {"2": "the cold of winter mornings and evenings"}


def test_bars_show_every_count_above_zero() -> None:
    assert bars([0, 1, 500, 1000, 0]) == " ▁▄█ "
    assert bars([]) == ""
    assert bars([0, 0]) == "  "


def test_show_says_why_a_feature_has_no_label_where_the_label_would_stand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = Writer(tmp_path)
    writer.add_source(make.source(4))
    writer.add_features([make.feature(1), make.feature(2, 0.0, "dead")])
    writer.add_failures([make.failure(1)])
    why = "no label: the model would not answer (explain: Refusal)"
    assert why in printed(capsys, "show", str(tmp_path), "1").splitlines()
    assert "no label: it is dead: it never fires in this corpus" in printed(capsys, "show", str(tmp_path), "2")


def test_show_says_what_unanswered_questions_could_change_and_that_one_answer_to_everything_tells_nothing(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label = make.explanation(1, "heat")
    graded = make.graded(label)
    detail: dict[str, object] = {
        "bounds": {"low": 0.5, "high": 0.875},
        "uninformative": "the judge said no to every question",
    }
    detail |= {"alone": "2 of 2 questions shared prompts"}
    Writer(run).add_explanations([label])
    Writer(run).add_scores([replace(graded, score=replace(graded.score, detail=detail))])
    lines = printed(capsys, "show", str(run), "1").splitlines()
    place = next(i for i, line in enumerate(lines) if "detection" in line)
    assert lines[place].endswith("2 trials, 1 unanswered (between .50 and .88, had they been)")
    assert lines[place + 1].strip() == "uninformative: the judge said no to every question"
    assert lines[place + 2].strip() == "prompts of one feature: 2 of 2 questions shared prompts"


@pytest.mark.parametrize(
    ("detail", "said"),
    [
        (
            {
                "corrected": 0.9,
                "corrected_interval": {"low": 0.7, "high": 1.0},
                "judge_rates": {"sensitivity": 0.8, "specificity": 0.75, "spread": 0.1},
            },
            ".90 [.70 1.00]  corrected for the judge's errors: sensitivity .80, specificity .75 on puzzles",
        ),
        (
            {"corrected": None, "undefined": {"corrected": "the judge can't be told from guessing"}},
            "not corrected for the judge's errors: the judge can't be told from guessing",
        ),
    ],
)
def test_show_says_what_a_score_is_without_the_judge_s_errors_or_why_that_is_not_known(
    run: Path, capsys: pytest.CaptureFixture[str], detail: dict[str, Any], said: str
) -> None:
    label = make.explanation(1, "heat")
    graded = make.graded(label)
    Writer(run).add_explanations([label])
    Writer(run).add_scores([replace(graded, score=replace(graded.score, detail=detail))])
    lines = printed(capsys, "show", str(run), "1").splitlines()
    place = next(i for i, line in enumerate(lines) if "detection" in line)
    assert lines[place + 1].strip() == said


def test_show_says_how_many_others_carry_the_same_label(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = Writer(run)
    writer.add_explanations([make.explanation(1, "heat"), make.explanation(0, "heat")])
    writer.add_explanations([make.explanation(2, "heat", label_from=1)])
    assert "       feature 0 carries the same label" in printed(capsys, "show", str(run), "1").splitlines()
    assert json.loads(printed(capsys, "show", str(run), "1", "--json"))["same_label"] == [0]
    writer.add_explanations([make.explanation(3, "heat")])
    lines = printed(capsys, "show", str(run), "1").splitlines()
    assert "       2 other features carry the same label: 0, 3" in lines
    assert "carries the same label" not in printed(capsys, "show", str(run), "2")


def test_show_counts_the_windows_of_the_pool_beside_the_trials(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = Writer(tmp_path)
    writer.add_source(make.source(4))
    writer.add_features([make.feature(1)])
    explanation = make.explanation(1, "heat")
    graded = make.graded(explanation)
    writer.add_explanations([explanation])
    writer.add_scores([replace(graded, score=replace(graded.score, detail={"n_tiles_judged": 1991}))])
    assert f"{graded.score.n_trials} trials and 1,991 windows of the pool" in printed(
        capsys, "show", str(tmp_path), "1"
    )


def test_show_tells_beside_the_headline_what_it_comes_to_at_the_feature_s_own_rate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = Writer(tmp_path)
    writer.add_source(make.source(4))
    writer.add_features([make.feature(1)])
    explanation = make.explanation(1, "heat")
    graded = make.graded(explanation)
    detail = {
        "base_rate": 0.01,
        "precision_at_base_rate": None,
        "f1_at_base_rate": 0.34,
        "f1_at_base_rate_interval": {"low": 0.1, "high": 0.6},
        "chance_f1_at_base_rate": 0.02,
    }
    writer.add_explanations([explanation])
    writer.add_scores([replace(graded, score=replace(graded.score, detail=detail))])
    told = "at its own firing rate: precision -, F1 .34 [.10 .60]; a yes to everything gets .01 and .02"
    assert told in printed(capsys, "show", str(tmp_path), "1")
