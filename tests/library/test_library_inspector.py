"""An inspected text: what fires, in which order, and how it is shown."""

import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autointerp
from autointerp.errors import ActivationRangeError, AutointerpError, SearchError, SubjectError
from autointerp.library.client import Client
from autointerp.library.feature import Feature, FeatureGroup
from autointerp.library.inspector import ContextInspector
from autointerp.library.run import Run
from autointerp.library.scales import Scales
from autointerp.records.live import ActivationHistograms, TextFirings
from autointerp.subject.source import load_sources
from tests.library.test_library_aggregate import firings
from tests.run.planted import COLOURS, EVERYWHERE, FEATURES

SHIP, RIVER, COLOUR = FEATURES.index(("ship",)), FEATURES.index(("river",)), FEATURES.index(COLOURS)
SOURCE = "planted@0-res-12"
TEXT = "the ship is red and the river is blue"
Inspect = Callable[..., ContextInspector]


@pytest.fixture(scope="module")
def client(planted_runs: Path) -> Client:
    return autointerp.open(planted_runs / "runs/demo")


@pytest.fixture(scope="module")
def inspect(client: Client) -> Inspect:
    def of(text: Any, features: Sequence[int] | None = None, aggregate_by: str = "frequency") -> ContextInspector:
        (found,) = client.run.firings([text])
        fired = np.unique(found.feature).tolist()
        scales = Scales(client.run.activation_histograms(fired))
        return ContextInspector(found, scales, client.features.lookup, features, aggregate_by)

    return of


def made(of: TextFirings, density: Sequence[int], features: Sequence[int] | None = None) -> ContextInspector:
    """An inspector of made firings; each feature fires on so many of 1,000 tokens, evenly up to 1."""
    labels = ["a", None, "<b>&amp; \x1b[2J", "c" * 200, "d", "e"]
    group = [
        Feature("m@s", index, label, None, None, {}, {}, 0.1, None, None, "r") for index, label in enumerate(labels)
    ]
    histograms = ActivationHistograms(
        n_tokens=1000,
        feature_index=np.arange(6),
        n_active=np.array(density),
        max_activation=np.ones(6),
        counts=np.array([[0, n] for n in density]),
        edges=np.array([0.25, 0.5, 1.0]),
    )
    return ContextInspector(of, Scales(histograms), lambda some: FeatureGroup(group[i] for i in some), features)


def indices(fired: Sequence[Any]) -> list[int]:
    return [of.feature.index for of in fired]


@pytest.mark.parametrize("aggregate", ["frequency", "max", "mean", "sum"])
def test_the_most_surprising_of_a_text_come_first(inspect: Inspect, aggregate: str) -> None:
    ranked = inspect(TEXT).top(9, aggregate)
    assert {of.feature.index for of in ranked} == {SHIP, RIVER, COLOUR, EVERYWHERE}
    surprise = [of.surprise for of in ranked]
    assert surprise == sorted(surprise, reverse=True)
    assert surprise[-1] > 0


def test_each_token_tells_what_fires_on_it(inspect: Inspect) -> None:
    text = inspect(TEXT)
    words = {token.text.strip(): token for token in text.tokens}
    assert [fired.feature.label for fired in words["ship"].inspect()] == ["ship"]
    assert words["and"].inspect() == []
    assert words["blue"].lookup()[0].label == "red green blue"
    assert words["ship"].vector().nonzero()[0].tolist() == [SHIP]
    assert text.text.strip() == TEXT
    assert sorted(feature.index for feature in text.lookup()) == sorted({SHIP, RIVER, COLOUR, EVERYWHERE})


def test_top_is_chosen_by_the_aggregate_that_is_asked_for() -> None:
    # Feature 0 on every token, weakly; feature 1 once, and large.
    of = firings(*((t, 0, 0.6) for t in range(8)), (3, 1, 0.9), n_tokens=8)
    text = made(of, [100] * 6)
    assert indices(text.top(1, "frequency")) == [0]
    assert indices(text.top(1, "max")) == [1]
    assert indices(text.top(1, "sum")) == [0]
    assert indices(text.top(1)) == [0], "as the inspector was made"
    strong = text.top(2, "max", "percentile")
    assert [(s.feature.index, s.peak, s.n_tokens) for s in strong] == [(1, 3, 1), (0, 0, 8)]
    assert strong[0].activation == pytest.approx(0.9)
    assert strong[0].percentile == pytest.approx(80)


def test_equal_activations_of_a_rare_and_a_dense_feature_differ_in_surprise() -> None:
    text = made(firings((1, 0, 0.75), (1, 4, 0.75)), [900, 0, 0, 0, 9, 0])
    rare, dense = text.tokens[1].inspect(2)
    assert (rare.feature.index, dense.feature.index) == (4, 0)
    assert rare.percentile == dense.percentile == pytest.approx(50)
    assert rare.surprise == pytest.approx(np.log10(1001 / 5.5))
    assert dense.surprise == pytest.approx(np.log10(1001 / 451))


def test_the_same_is_asked_of_some_features_in_their_order(inspect: Inspect) -> None:
    text = inspect(TEXT, [RIVER, 9, SHIP])
    assert text.matrix().shape == (len(text.tokens), 3)
    assert set(indices(text.top(9))) == {SHIP, RIVER}
    ship = next(token for token in text.tokens if token.text == " ship")
    assert (ship.vector() > 0).tolist() == [False, False, True]
    whole = inspect(TEXT).matrix()
    assert whole.shape == (len(text.tokens), len(FEATURES))
    np.testing.assert_array_equal(whole[:, [RIVER, 9, SHIP]].toarray(), text.matrix().toarray())


def test_a_frequency_has_no_percentile(inspect: Inspect) -> None:
    with pytest.raises(SearchError, match="has no percentile"):
        inspect(TEXT).top(3, "frequency", "percentile")


@pytest.mark.parametrize(
    ("ask", "problem"),
    [
        (lambda of: of.top(0), "k can't be 0"),
        (lambda of: of.top(2, "median"), "no aggregate 'median'"),
        (lambda of: of.top(2, rank_by="luck"), "no ranking 'luck'"),
        (lambda of: of.tokens[0].inspect(-1), "k can't be -1"),
        (lambda of: of.tokens[0].inspect(1, "luck"), "no ranking 'luck'"),
    ],
)
def test_what_makes_no_sense_is_told(inspect: Inspect, ask: Callable[[ContextInspector], Any], problem: str) -> None:
    with pytest.raises(SearchError, match=problem):
        ask(inspect(TEXT))


@pytest.mark.parametrize(
    ("text", "features", "aggregate", "problem"),
    [
        ("", None, "max", "the text has no token"),
        (TEXT, [], "max", "no feature to look at"),
        (TEXT, None, "most", "no aggregate 'most'"),
    ],
)
def test_what_can_not_be_inspected_is_told(
    inspect: Inspect, text: str, features: list[int] | None, aggregate: str, problem: str
) -> None:
    with pytest.raises(SearchError, match=problem):
        inspect(text, features, aggregate)


def test_what_overflowed_is_told() -> None:
    with pytest.raises(ActivationRangeError, match="on the text are not finite"):
        made(firings((0, 1, np.inf)), [1] * 6)


def test_printed_it_is_a_table_of_tokens(inspect: Inspect) -> None:
    lines = repr(inspect(TEXT)).splitlines()
    assert lines[0] == f"9 tokens, on which 4 features of {SOURCE} fire"
    assert lines[1].split() == ["token", "fires", "most", "surprisingly", "activation", "pct", "surprise"]
    ship = next(line for line in lines if " ship " in line)
    assert f"{SHIP} ship" in ship
    assert len(lines) == 11
    long = repr(inspect(" ".join([TEXT] * 4)))
    assert long.endswith("… and 6 more tokens")


def test_of_a_text_in_windows_it_is_said(inspect: Inspect) -> None:
    text = inspect(" ".join([TEXT] * 20))
    note = "read in 3 windows, of which none sees another: they begin at tokens 0, 64, 128"
    assert note in repr(text)
    assert note in text._repr_html_()


def test_roles_and_special_tokens_are_shown() -> None:
    of = firings((1, 2, 0.75), n_tokens=2, special=(0,))
    of = TextFirings(**{name: getattr(of, name) for name in TextFirings.__slots__} | {"roles": (None, "user")})
    text = made(of, [1] * 6)
    assert text.tokens[1].role == "user"
    assert not text.tokens[0].is_counted
    assert repr(text.tokens[0]) == "<InspectedToken 0 't0 ', special>"
    lines = repr(text).splitlines()
    assert lines[2].split() == ["0", "t0", "-", "(special)"]
    assert lines[3].split()[:3] == ["1", "t1", "user"]
    nothing = made(firings(n_tokens=1, special=(0,)), [1] * 6)
    assert "no token counts: all are special" in repr(nothing)
    assert nothing.top(3) == []
    assert nothing.matrix().nnz == 0


def test_hostile_text_and_labels_are_data() -> None:
    of = firings((0, 2, 0.75), n_tokens=1)
    hostile = '<script>alert("x")</script>\x1b[2J\u202e'
    of = TextFirings(**{name: getattr(of, name) for name in TextFirings.__slots__} | {"tokens": (hostile,)})
    text = made(of, [1] * 6)
    for shown in (text._repr_html_(), repr(text)):
        assert "\x1b" not in shown
        assert "\u202e" not in shown
    shown = text._repr_html_()
    assert "<script" not in shown
    assert "<b>" not in shown
    assert 'alert("' not in shown
    assert "&lt;script&gt;" in shown


def test_a_text_does_the_same_whoever_asks_at_once_and_the_model_is_loaded_once(
    planted_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_loaded = 0

    def counting(*args: Any) -> Any:
        nonlocal n_loaded
        n_loaded += 1
        return load_sources(*args)

    monkeypatch.setattr("autointerp.run.session.load_sources", counting)
    run = autointerp.open_run(planted_runs / "runs/demo")
    found: list[TextFirings] = []
    threads = [threading.Thread(target=lambda: found.extend(run.firings([TEXT]))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert n_loaded == 1
    assert len({of.activation.tobytes() for of in found}) == 1
    assert len(found) == 4


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda folder: shutil.rmtree(folder / "coder"), "coder"),
        (lambda folder: shutil.rmtree(folder / "model"), "model"),
        (lambda folder: (folder / "runs/demo/run.json").unlink(), "there is no run in"),
        (lambda folder: (folder / "runs/demo/run.json").write_text("{"), "can't be read"),
        (
            lambda folder: shutil.copytree(folder / "coder_2", folder / "coder", dirs_exist_ok=True),
            "9 features now, and had 12|has no coder|hook",
        ),
    ],
)
def test_a_run_whose_model_cannot_be_loaded_any_more_says_so_in_one_line(
    planted_runs: Path, tmp_path: Path, damage: Callable[[Path], Any], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(planted_runs, tmp_path, dirs_exist_ok=True)
    shutil.copytree(tmp_path / "coder-2", tmp_path / "coder_2")
    file = tmp_path / "runs/demo/run.json"
    file.write_text(file.read_text().replace(str(planted_runs), str(tmp_path)))
    monkeypatch.chdir(tmp_path)
    damage(tmp_path)
    run = autointerp.open_run("runs/demo")
    with pytest.raises(AutointerpError, match=problem) as told:
        list(run.firings([TEXT]))
    assert "\n" not in told.value.problem
    assert told.value.remedy
    assert run.search("ship")[0].label == "ship", "what needs no model goes on"


def test_a_feature_of_another_source_is_told(client: Client) -> None:
    strings: Any = ["a"]
    with pytest.raises(AutointerpError, match="other@1"):
        list(client.run.firings([TEXT], "other@1"))
    with pytest.raises(AutointerpError, match="has no feature 99"):
        client.run.activation_histograms([99])
    with pytest.raises(SubjectError, match="is list of str"):
        list(client.run.firings([strings]))


def test_many_features_are_named_by_one_reading_of_each_store(
    planted_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_read, sources = 0, Run.sources

    def counting(run: Run) -> Any:
        nonlocal n_read
        n_read += 1
        return sources(run)

    monkeypatch.setattr(Run, "sources", counting)
    assert len(autointerp.open(planted_runs / "runs/demo").features.lookup(range(len(FEATURES)))) == len(FEATURES)
    assert n_read == 1


def test_each_token_is_told_by_any_ranking_and_looked_up_at_once() -> None:
    # On token 1 feature 4 surprises more, and feature 0 is more active.
    text = made(firings((1, 0, 0.9), (1, 4, 0.75), (2, 0, 0.5), n_tokens=4), [900, 0, 0, 0, 9, 0])
    assert [(place, indices(fired)) for place, fired in text.each(1)] == [(0, []), (1, [4]), (2, [0]), (3, [])]
    assert [indices(fired) for _, fired in text.each(2, "activation", n_tokens=2)] == [[], [0, 4]]
    assert text.on_tokens("activation").tolist() == pytest.approx([0, 0.9, 0.5, 0])
    assert text.on_tokens("activation", 4).tolist() == pytest.approx([0, 0.75, 0, 0])
    assert text.on_tokens("activation", 5).tolist() == [0, 0, 0, 0]
    assert text.n_firing == 2
