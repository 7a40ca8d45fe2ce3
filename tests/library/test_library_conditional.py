"""AutoConditional: thresholds for a rate of false alarms, held-out figures, and no condition where nothing tells."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import autointerp
from autointerp.errors import SearchError
from autointerp.library.client import Client
from autointerp.library.steer.thresholds import Share, chance_of_as_many, largest_of_texts, threshold_for
from autointerp.records.on_texts import OnTexts
from tests.run.planted import FEATURES
from tests.score.world import UNHURRIED

RIVER = FEATURES.index(("river",))
FRAMES = [f"{first} {{}} {last}" for first in ("down", "out", "up", "back") for last in ("now", "also", "more", "some")]
ABOUT, OTHER, SILENT = ([frame.format(word) for frame in FRAMES] for word in ("river", "window", "way"))


@pytest.fixture(scope="module")
def client(planted_runs: Path) -> Client:
    return autointerp.open(planted_runs / "runs/demo")


@UNHURRIED
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.5, 4.0]), min_size=1, max_size=20), st.integers(0, 22))
def test_a_threshold_is_the_lowest_that_no_more_texts_pass_than_allowed(largest: list[float], n_allowed: int) -> None:
    of = np.array(largest, dtype=np.float32)
    threshold = threshold_for(of, n_allowed)
    assert (of > threshold).sum() <= n_allowed
    lower = [value for value in (0.0, *largest) if value < threshold]
    assert not lower or (of > max(lower)).sum() > n_allowed


def test_intervals_are_clopper_and_pearsons() -> None:
    assert Share(0, 10).interval == pytest.approx((0, 0.3085), abs=1e-4)
    assert Share(5, 10).interval == pytest.approx((0.1871, 0.8129), abs=1e-4)
    assert Share(10, 10).interval == pytest.approx((0.6915, 1), abs=1e-4)
    assert Share(0, 0).interval == (0.0, 1.0)
    assert chance_of_as_many(Share(2, 2), 0.1) == pytest.approx(0.01)
    assert chance_of_as_many(Share(0, 2), 0.1) == 1.0


def test_the_largest_of_a_text_is_over_its_own_tokens() -> None:
    on = OnTexts(3, np.array([0, 0, 2]), (7,), np.array([[0.5], [2.0], [1.0]], dtype=np.float32))
    assert largest_of_texts(on)[:, 0].tolist() == [2.0, 0.0, 1.0]
    assert largest_of_texts(on.only(2, 3))[:, 0].tolist() == [1.0]


def test_a_condition_from_words_is_of_the_feature_that_fires_on_them(client: Client) -> None:
    found = client.features.AutoConditional("river", false_alarms=0.3)
    assert found.condition is not None
    assert found.condition.names() == (("planted@0-res-12", RIVER),)
    of = found.receipt
    assert (of.kept[0].label, of.hits, of.why_none) == ("river", None, None)
    assert of.false_alarms is not None
    # By hand: on the half that thresholds were not chosen on.
    own = client.run.on_own_texts([RIVER], 400)
    middle = own.n_texts // 2
    quiet, held_out = largest_of_texts(own)[:middle, 0], largest_of_texts(own)[middle:, 0]
    assert of.kept[0].threshold == threshold_for(quiet, int(0.3 * middle))
    assert (of.false_alarms.n_yes, of.false_alarms.n) == (
        int((held_out > of.kept[0].threshold).sum()),
        own.n_texts - middle,
    )
    assert of.false_alarms.interval[0] <= 0.3
    client.variant().abort_when(found.condition)
    plain = json.loads(of.to_json())
    assert plain["false_alarms"]["n_yes"] == of.false_alarms.n_yes
    assert "tells 'river'" in repr(found)
    assert "false alarms (at most 30.00 % asked for)" in repr(found)


def test_texts_of_its_own_are_of_different_documents(client: Client) -> None:
    from autointerp.run.own_texts import draw_documents

    blocks = client.run.live.blocks
    drawn = draw_documents(blocks, 0, 50)
    assert len(drawn) == 50
    assert len(set(blocks.read(drawn).document_ids)) == 50
    assert draw_documents(blocks, 0, 20).tolist() == drawn[:20].tolist()
    assert len(draw_documents(blocks, 0, 10**6)) == len(set(blocks.read(np.arange(blocks.n_blocks)).document_ids))


@pytest.mark.parametrize("nonsense", ["zzgrk", "customs and taxes", "xqvw plomf", "the seventh of nine hats"])
def test_nothing_is_chosen_for_what_no_feature_tells(client: Client, nonsense: str) -> None:
    found = client.features.AutoConditional(nonsense, false_alarms=0.3)
    assert found.condition is None
    assert found.receipt.why_none
    assert repr(found).startswith("no feature here tells")


def test_examples_choose_and_are_reported_on_by_halves(client: Client) -> None:
    found = client.features.AutoConditional("river", ABOUT, OTHER, false_alarms=0.3)
    of = found.receipt
    assert found.condition is not None
    assert of.hits is not None
    assert of.alarms_on_negatives is not None
    assert (of.hits.n, of.alarms_on_negatives.n) == (8, 8)
    assert (of.hits.n_yes, of.alarms_on_negatives.n_yes) == (8, 0)
    assert of.kept[0].hits.n == 8


def test_examples_that_the_found_features_do_not_fire_on_get_no_condition(client: Client) -> None:
    found = client.features.AutoConditional("river", SILENT, false_alarms=0.3)
    assert found.condition is None
    (river,) = [of for of in found.receipt.dropped if of.label == "river"]
    assert river.why == "in none of 8 texts that are about it, it fires above its threshold"


def test_what_makes_no_sense_is_an_error(client: Client) -> None:
    auto = client.features.AutoConditional
    with pytest.raises(SearchError, match="the specification is empty"):
        auto(" ")
    with pytest.raises(SearchError, match=r"false_alarms is 1\.5"):
        auto("river", false_alarms=1.5)
    with pytest.raises(SearchError, match="3 positive examples are too few"):
        auto("river", ABOUT[:3])
    with pytest.raises(SearchError, match="0 positive examples are too few"):
        auto("river", (), OTHER)
    with pytest.raises(SearchError, match=r"0\.10 % is not one"):
        auto("river", false_alarms=0.001)
