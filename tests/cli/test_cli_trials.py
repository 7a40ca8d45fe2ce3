"""`show --trials` prints what was asked, answered and true."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from autointerp.records import Trial
from autointerp.store.writer import Writer
from tests.command import complaint, printed
from tests.store.making import make


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Feature 1: a right, a wrong and an unanswered trial of detection, a similarity of embedding."""
    writer = Writer(tmp_path)
    writer.add_source(make.source(4))
    writer.add_features([make.feature(index) for index in range(3)])
    writer.add_contexts([make.contexts(1)], "c1")
    label = make.explanation(1, "heat")
    firing, silent = make.context(1, 3, "quantile", "score"), make.context(1, 4, "silent_similar", "score")
    graded = make.graded(label)
    name = label.explanation_id
    trials = (
        Trial(name, "detection", "local", firing.context_id, True, True, 0.875, (1,), prompt="ab12"),
        Trial(name, "detection", "local", silent.context_id, False, True, 0.75, (), 3.5),
        Trial(name, "detection", "local", firing.context_id, True, None, None, unanswered="refused"),
    )
    similar = make.graded(label, "embedding")
    of_embedding = (Trial(name, "embedding", "minilm", firing.context_id, True, None, 0.25),)
    shuffled = make.explanation(1, "cold", label_from=2)
    writer.add_explanations([label, make.explanation(2, "cold"), shuffled])
    writer.add_scores(
        [
            replace(graded, score=replace(graded.score, n_trials=3), trials=trials),
            replace(similar, score=replace(similar.score, judge="minilm"), trials=of_embedding),
            make.graded(shuffled),
        ]
    )
    return tmp_path


def test_each_trial_shows_truth_answer_and_the_text_as_the_judge_saw_it(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(capsys, "show", str(run), "1", "--trials", "--scorer", "detection").splitlines()
    first = lines.index("detection of 'heat' (keywords), judge local: .75 [.65 .85], 1 of 3 right")
    assert [line.rstrip() for line in lines[first + 1 : first + 5]] == [
        "  truth  answer",
        "  yes    yes  .88         a <<b>> c  (quantile, notes/3.txt, prompt ab12)",
        "  no     yes  .75  wrong  a b c  (silent_similar, notes/4.txt, weight 3.5)",
        "  yes    none: refused         a b c  (quantile, notes/3.txt)",
    ]
    assert any(line.startswith("detection of 'cold' (shuffled, of feature 2)") for line in lines)


def test_a_judge_of_similarities_has_no_verdicts(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "show", str(run), "1", "--trials", "--scorer", "embedding").splitlines()
    assert lines[1:3] == [
        "embedding of 'heat' (keywords), judge minilm: .75 [.65 .85]",
        "  truth  similarity",
    ]
    assert "  yes    -    .25         a b c" in lines[3]
    wrong = printed(capsys, "show", str(run), "1", "--errors", "--scorer", "embedding").splitlines()
    assert wrong[3] == "  a similarity is neither right nor wrong"


def test_simulated_activations_are_shown_by_marks_and_by_the_largest_of_them(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label, firing = make.explanation(1, "heat"), make.context(1, 3, "quantile", "score")
    graded = make.graded(label, "simulation")
    told = Trial(label.explanation_id, "simulation", "m", firing.context_id, True, None, None, simulated=(0, 10, 5))
    Writer(run).add_scores([replace(graded, trials=(told, replace(told, simulated=(0, 0, 1.25))))])
    lines = printed(capsys, "show", str(run), "1", "--trials", "--scorer", "simulation").splitlines()
    assert [line.split("  (")[0].rstrip() for line in lines[2:5]] == [
        "  truth  most told, told from 5 on marked",
        "  yes    -   10.0         a <<b c>>",
        "  yes    -    1.2         a b c",
    ]


def test_only_what_was_answered_wrong_or_not_at_all_is_shown(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    of_labels = json.loads(printed(capsys, "show", str(run), "1", "--errors", "--json"))
    (of,) = (of for of in of_labels if of["explanation"]["label"] == "heat" and of["score"]["scorer"] == "detection")
    assert [shown["trial"]["truth"] for shown in of["trials"]] == [False, True]
    assert (of["n_right"], of["score"]["n_trials"]) == (1, 3)
    assert of["trials"][0]["context"]["tokens"] == [" a", " b", " c"]


def test_what_is_not_there_is_said_in_one_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no scorer 'nope'" in complaint(capsys, "show", str(run), "1", "--scorer", "nope")
    assert "no score, so no trials" in complaint(capsys, "show", str(run), "2", "--trials")
    assert "not chosen together" in complaint(capsys, "show", str(run), "1", "--trials", "--contexts", "3")
