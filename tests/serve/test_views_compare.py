"""What the page of comparisons says."""

import shutil
from pathlib import Path

import pytest

import autointerp
from autointerp.errors import AutointerpError
from autointerp.serve.limits import Limits
from autointerp.serve.serving import Serving
from autointerp.serve.views.compare import compare_view
from autointerp.serve.views.compare_shapes import CompareAsked
from tests.serve.asking import SOURCE


@pytest.fixture(scope="module")
def serving(planted_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Serving:
    """The run and a copy of it, nothing of them loaded."""
    copy = tmp_path_factory.mktemp("runs") / "again"
    shutil.copytree(planted_runs / "runs/demo", copy)
    return Serving(autointerp.open([planted_runs / "runs/demo", copy]), Limits())


def test_two_features_stand_side_by_side_and_tell_how_close_they_are(serving: Serving) -> None:
    found = compare_view(serving, CompareAsked(a="1", b=f" {SOURCE}:7 ")).features
    assert found is not None
    assert (found.first.line.label, found.second.line.label) == ("river", "piano")
    assert [label.explainer for label in found.first.labels] == ["outside"]
    assert found.first.tokens[0].token == " river"
    assert len(found.second.snippets) == 5
    assert found.shared_tokens == ()
    closeness = {of.space: of for of in found.closeness}
    assert set(closeness) == {"label", "decoder"}
    back = compare_view(serving, CompareAsked(a="7", b="1")).features
    assert back is not None
    assert {of.space: of.similarity for of in back.closeness} == pytest.approx(
        {space: of.similarity for space, of in closeness.items()}, nan_ok=True
    )


def test_a_feature_without_a_label_is_compared_all_the_same(serving: Serving) -> None:
    found = compare_view(serving, CompareAsked(a="1", b="3")).features
    assert found is not None
    assert (found.second.line.label, found.second.status, found.second.snippets) == (None, "dead", ())


def test_two_labels_tell_their_difference_on_the_same_trials(serving: Serving) -> None:
    found = compare_view(serving, CompareAsked(of="labels", feature="1")).labels
    assert found is not None
    assert (found.first.null, found.second.null) == (None, "shuffled")
    by = {of.scorer: of for of in found.differences}
    assert by["detection"].by_trials
    assert by["detection"].high < 0, "the shuffled label is worse"
    assert by["detection"].value == pytest.approx(by["detection"].second.value - by["detection"].first.value)
    assert found.trials
    assert all(of.first != of.second for of in found.trials)
    wrong = [of for of in found.trials if of.scorer == "detection"]
    assert all(of.first == of.truth for of in wrong)
    named = compare_view(
        serving, CompareAsked(of="labels", feature="1", label=(found.second.id[:8], found.first.id))
    ).labels
    assert named is not None
    assert named.differences[0].value == pytest.approx(-found.differences[0].value)


def test_explainers_of_one_run_are_compared_and_no_folder_is_named(serving: Serving) -> None:
    view = compare_view(serving, CompareAsked(of="runs", run=("demo",), explainer=("shuffled",)))
    assert {of.explainer for of in view.label_sets if of.run == "demo"} == {"outside", "shuffled"}
    found = view.compared_runs
    assert found is not None
    assert (found.first, found.second) == ("demo (outside, unknown author)", "demo (shuffled)")
    by = {of.scorer: of for of in found.scorers}
    assert by["detection"].value < 0
    assert by["detection"].n_worse == len(by["detection"].worse) > 0
    assert str(serving.client.runs[0].reader.path.parent.parent) not in view.model_dump_json()


def test_two_runs_that_say_the_same_do_not_differ(serving: Serving) -> None:
    found = compare_view(serving, CompareAsked(of="runs", run=("demo", "again"))).compared_runs
    assert found is not None
    assert [(of.value, of.n_better, of.n_worse) for of in found.scorers] == [(0.0, 0, 0)] * 4


def test_nothing_named_is_no_trouble(serving: Serving) -> None:
    for of in ("features", "labels", "runs"):
        view = compare_view(serving, CompareAsked.model_validate({"of": of, "a": "", "run": ["", ""]}))
        assert (view.features, view.labels, view.compared_runs) == (None, None, None)
    assert view.runs == ("demo", "again")


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"a": "1", "b": "99"}, "has no feature 99"),
        ({"a": "1", "b": "<script>"}, "<script>"),
        ({"of": "labels", "feature": "3"}, "has 0 labels"),
        ({"of": "labels", "feature": "1", "label": ["zz", "zz"]}, "has 0 labels 'zz'"),
        ({"of": "labels", "feature": "1", "label": ["a", "b", "c"]}, "3 labels are named"),
        ({"of": "runs", "run": ["demo", "nowhere"]}, "there is no run 'nowhere' here"),
        ({"of": "runs", "run": ["demo"] * 3}, "3 runs are named"),
        ({"of": "runs", "run": ["demo"], "explainer": ["nobody"]}, "there is no label by 'nobody' in demo"),
        ({"of": "runs", "run": ["demo", "demo"]}, "both sides are demo (outside, unknown author)"),
    ],
)
def test_what_makes_no_sense_is_told_in_one_line(serving: Serving, asked: dict[str, object], line: str) -> None:
    with pytest.raises(AutointerpError) as error:
        compare_view(serving, CompareAsked.model_validate(asked))
    assert line in str(error.value)
    assert "\n" not in str(error.value)
    assert str(serving.client.runs[1].reader.path.parent.parent) not in str(error.value)
