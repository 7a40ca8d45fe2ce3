"""Percentiles and surprise from histograms, beside what every single activation says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from autointerp.library.scales import Scales
from autointerp.records.live import ActivationHistograms
from tests.score.world import UNHURRIED

EDGES = 2.0 ** np.arange(-8, 9)
ACTIVATIONS = st.lists(st.floats(2.0**-12, 2.0**12, width=32), min_size=1, max_size=40)


def scales_of(*activations: list[float], n_tokens: int = 1000) -> Scales:
    """Scales of features whose activations over a corpus are these."""
    binned = []
    for of in activations:
        places = np.clip(np.searchsorted(EDGES, of, side="right") - 1, 0, len(EDGES) - 2)
        binned.append(np.bincount(places, minlength=len(EDGES) - 1))
    return Scales(
        ActivationHistograms(
            n_tokens=n_tokens,
            feature_index=10 * np.arange(len(activations), dtype=np.int64),
            n_active=np.array([len(of) for of in activations], dtype=np.int64),
            max_activation=np.array([max(of, default=0.0) for of in activations]),
            counts=np.array(binned, dtype=np.int64),
            edges=EDGES,
        )
    )


def same(feature: int, values: list[float]) -> NDArray[np.int64]:
    return np.full(len(values), feature)


@UNHURRIED
@given(ACTIVATIONS, ACTIVATIONS)
def test_a_percentile_is_as_far_from_the_exact_one_as_its_bound_says_at_most(
    of_corpus: list[float], asked: list[float]
) -> None:
    asked = [*asked, *of_corpus]
    scales, values = scales_of([1.0], of_corpus), np.array(asked)
    found = scales.percentile(same(10, asked), values)
    exact = np.array([100 * np.mean(np.array(of_corpus) < value) for value in asked])
    bound = scales.percentile_error(same(10, asked), values)
    assert (np.abs(found - exact) <= bound + 1e-9).all()
    assert (found >= 0).all()
    assert (found <= 100).all()


@UNHURRIED
@given(ACTIVATIONS, ACTIVATIONS)
def test_what_is_larger_is_at_no_lower_percentile_and_as_surprising_at_least(
    of_corpus: list[float], asked: list[float]
) -> None:
    scales, values = scales_of(of_corpus), np.sort(asked)
    feature = same(0, asked)
    assert (np.diff(scales.percentile(feature, values)) >= -1e-9).all()
    assert (np.diff(scales.surprise(feature, values)) >= -1e-9).all()


def test_inside_a_bin_activations_are_taken_to_lie_evenly() -> None:
    scales = scales_of([1.0, 1.2, 1.9, 2.5, 2.5, 2.5, 2.5, 3.0])
    # Three below 2; from there to the largest, 3, lie five.
    assert scales.percentile(same(0, [0, 0, 0]), np.array([1.0, 2.0, 2.5])) == pytest.approx([0, 37.5, 68.75])
    assert scales.percentile(same(0, [0, 0]), np.array([3.0, 7.0])) == pytest.approx([100, 100])
    assert scales.percentile_error(same(0, [0]), np.array([2.5])) == pytest.approx([31.25])


def test_surprise_is_of_the_tokens_that_have_a_feature_as_active() -> None:
    scales = scales_of([1.0] * 9 + [4.0], [3.0] * 99, [], n_tokens=999)
    (at_least_ten,) = scales.surprise(same(0, [0]), np.array([0.001]))
    assert at_least_ten == pytest.approx(np.log10(1000 / 11), abs=0.01)
    (largest,) = scales.surprise(same(0, [0]), np.array([4.0]))
    assert largest == pytest.approx(np.log10(1000 / 2)), "the corpus's own largest is one token that is as large"
    (larger,) = scales.surprise(same(0, [0]), np.array([5.0]))
    assert larger == pytest.approx(3)
    (dead,) = scales.surprise(same(20, [0]), np.array([0.1]))
    assert dead == pytest.approx(3)
    assert scales.percentile(same(20, [0]), np.array([0.1])) == pytest.approx([100])


def test_a_tokens_surprise_is_on_the_mean_what_is_expected_of_it() -> None:
    draw = np.random.default_rng(0)
    activations = np.exp(draw.normal(0, 1, 3000)).astype(np.float32)
    scales = scales_of(activations.tolist(), n_tokens=10_000)
    mean = scales.surprise(np.zeros(3000, dtype=np.int64), activations).sum() / 10_000
    assert mean == pytest.approx(scales.expected_surprise(np.array([0]))[0], rel=0.05)


def test_how_often_a_feature_fires_is_surprising_by_its_chance() -> None:
    scales = scales_of([1.0] * 499, n_tokens=999)
    found = scales.count_surprise(np.array([0, 0, 0]), np.array([1, 2, 10]), 10)
    assert found == pytest.approx(-np.log10([1 - 0.5**10, 1 - 11 * 0.5**10, 0.5**10]), abs=1e-9)


@UNHURRIED
@given(ACTIVATIONS, st.floats(0, 100))
def test_the_activation_at_a_percentile_is_at_that_percentile(of_corpus: list[float], percentile: float) -> None:
    scales = scales_of([1.0], of_corpus)
    value = scales.at_percentile(10, percentile)
    assert 0 <= value <= max(of_corpus)
    around = np.array([value * (1 - 1e-6), value * (1 + 1e-6) + 1e-12])
    below, above = scales.percentile(same(10, [value, value]), around)
    assert below - 1e-4 <= percentile <= above + 1e-4
