"""What a feature's page says, by the library's own calls; and that it is said again only while it is true."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import autointerp
from autointerp.library.run import Run
from autointerp.records import Score, ScoreWithTrials
from autointerp.records.store import fires_on
from autointerp.serve.kept import KeptViews
from autointerp.serve.limits import Limits
from autointerp.serve.serving import Serving
from autointerp.serve.views.feature import FeatureView, feature_view, kept_view
from autointerp.store import store_file
from autointerp.store.writer import Writer
from tests.serve.asking import SOURCE


@pytest.fixture(scope="module")
def run(planted_runs: Path) -> Run:
    """The planted run."""
    return autointerp.open_run(planted_runs / "runs/demo")


@pytest.fixture
def serving(planted_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:
    """A copy of it that may be written, served; its files count as at rest at once."""
    monkeypatch.setattr(store_file, "_RESTS_NS", 0)
    shutil.copytree(planted_runs / "runs/demo", tmp_path / "runs/demo")
    serving = Serving(autointerp.open(tmp_path / "runs/demo"), Limits())
    yield serving
    serving.close()


def _scored(label: str, value: float) -> ScoreWithTrials:
    return ScoreWithTrials(Score(label, "more", "judge", "balanced accuracy", value, 0, 1, 2, 0, {}, "made"), (), ())


def test_what_is_near_is_what_the_library_finds(run: Run) -> None:
    n_named = 0
    for index in range(run.reader.source(SOURCE).n_features):
        view = feature_view(run, SOURCE, index)
        for space in view.near.spaces:
            if space.space == "label":
                continue
            stored = run.reader.neighbors(index, space.space, 8, SOURCE)
            assert [(of.index, of.similarity) for of in space.features] == [
                (of.feature_index, of.similarity) for of in stored
            ]
            described = {hit.feature_index: hit for hit in run.describe([of.index for of in space.features], SOURCE)}
            for of in space.features:
                assert of.label == (described[of.index].label or fires_on(described[of.index].tokens))
                n_named += 1
        same = run.reader.features_with_label(view.label, SOURCE) if view.label else []
        assert view.near.n_same_label == len(set(same) - {index})
        for other in view.near.same_label:
            assert other.density == run.reader.feature(other.index, SOURCE).density
    assert n_named > 20


def test_of_several_labels_the_one_that_scores_best_is_told(serving: Serving) -> None:
    run = serving.client.run
    features = range(run.reader.source(SOURCE).n_features)
    one = run.reader.explanations([1], SOURCE)[0]
    others = [replace(one, explanation_id=f"{place}-of-one", label=f"label {place}") for place in "az"]
    values = {"a-of-one": 0.01, "z-of-one": 0.999}
    writer = Writer(run.reader.path)
    writer.add_explanations(others)
    for best in ("river", "label z"):
        told = run.reader.best_labels(features, SOURCE)
        assert told == {hit.feature_index: hit.label for hit in run.describe(features, SOURCE) if hit.label}
        assert told[1] == best
        writer.add_scores([_scored(name, value) for name, value in values.items()])


def test_a_view_is_said_again_until_something_is_written(serving: Serving) -> None:
    run = serving.client.run

    def view() -> FeatureView:
        return kept_view(serving, SOURCE, 1, "count")

    first = view()
    assert view() is first
    assert kept_view(serving, SOURCE, 1, "value") is not first
    run.notes.star((SOURCE, 1))
    starred = view()
    assert (first.notes.is_starred, starred.notes.is_starred) == (False, True)
    assert view() is starred
    (label,) = (of for of in starred.labels if of.null is None)
    Writer(run.reader.path).add_scores([_scored(label.id, 0.5)])
    (scored,) = (of for of in view().labels if of.null is None)
    assert [of.scorer for of in scored.scores if of.scorer not in {s.scorer for s in label.scores}] == ["more"]


def test_nothing_is_kept_of_a_file_that_was_written_this_moment(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_file, "_RESTS_NS", 10**15)
    assert kept_view(serving, SOURCE, 1, "count") is not kept_view(serving, SOURCE, 1, "count")
    assert serving.client.run.reader.file_state() is None


def test_texts_are_of_the_very_view_and_the_oldest_goes() -> None:
    kept = KeptViews(n_most=2)
    written: list[int] = []

    def write() -> str:
        written.append(1)
        return f"text {len(written)}"

    views: dict[str, list[str]] = {name: kept.view(name, "state", list, lambda _: True) for name in "ab"}
    assert [kept.text(views["a"], "html", write), kept.text(views["a"], "html", write)] == ["text 1", "text 1"]
    assert kept.text(views["a"], "json", write) == "text 2"
    assert kept.text([], "html", write) == "text 3"  # equal, and another
    kept.view("c", "state", lambda: ["c"], lambda _: True)
    assert kept.text(views["a"], "html", write) == "text 4"
    assert kept.view("b", "state", lambda: ["new"], lambda _: True) is views["b"]
    assert kept.view("b", "later", lambda: ["new"], lambda _: True) == ["new"]
    assert kept.view("d", "state", lambda: ["d"], lambda _: False) == ["d"]
    assert kept.view("d", "state", lambda: ["e"], lambda _: False) == ["e"]
