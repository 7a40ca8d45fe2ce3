import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, false_discovery_control, ttest_1samp, ttest_ind

from autointerp.score.compare import compare_pairs, compare_samples, q_values
from autointerp.score.metrics import proportion
from tests.score.world import UNHURRIED

shares = st.floats(0, 1, allow_nan=False)


def values(n: int, mean: float, seed: int = 0) -> np.ndarray:
    return np.clip(np.random.default_rng(seed).normal(mean, 0.1, n), 0, 1)


def test_the_mean_difference_has_students_interval_and_test() -> None:
    first, second = values(30, 0.6), values(30, 0.63, seed=1)
    found, theirs = compare_pairs(first, second).mean, ttest_1samp(second - first, 0)
    assert found.value == pytest.approx(float(np.mean(second - first)))
    interval = theirs.confidence_interval()
    assert (found.low, found.high, found.p_value) == pytest.approx((interval.low, interval.high, theirs.pvalue))


def test_two_samples_have_welchs_interval_and_test() -> None:
    first, second = values(30, 0.6), values(12, 0.7, seed=1)
    found, theirs = compare_samples(first, second), ttest_ind(second, first, equal_var=False)
    interval = theirs.confidence_interval()
    assert (found.mean.low, found.mean.high, found.mean.p_value) == pytest.approx(
        (interval.low, interval.high, theirs.pvalue)
    )
    assert found.won.value == np.mean(second[:, None] > first[None, :])
    assert (found.n_first, found.n_second) == (30, 12)


def test_a_tie_is_won_by_half() -> None:
    found = compare_pairs(np.array([0.5, 0.5, 0.5, 0.5]), np.array([0.9, 0.5, 0.5 + 1e-15, 0.1]))
    assert found.won == proportion(2, 4)


@pytest.mark.parametrize("n", [6, 11, 20, 45])
def test_the_medians_interval_leaves_as_little_outside_as_a_fair_coin_allows(n: int) -> None:
    found = compare_pairs(np.zeros(n), np.arange(1, n + 1) / n).median
    assert found.low is not None
    below = round(found.low * n) - 1
    # With one place more on either side outside it would hold the median less than 95 times in 100.
    assert binomtest(below, n).pvalue <= 0.05
    assert binomtest(below + 1, n).pvalue > 0.05
    assert found.high == pytest.approx((n - below) / n)


def test_of_few_features_there_is_no_interval_rather_than_a_narrow_one() -> None:
    of_five = compare_pairs(values(5, 0.5), values(5, 0.6, seed=1))
    assert (of_five.median.low, of_five.median.high) == (None, None)
    of_one = compare_pairs(np.array([0.4]), np.array([0.9]))
    assert of_one.mean.value == 0.5
    assert (of_one.mean.low, of_one.mean.p_value, of_one.mean.n_to_settle, of_one.mean.detectable) == (None,) * 4
    assert not of_one.mean.is_settled
    assert compare_samples(np.array([0.4]), values(9, 0.5)).mean.low is None


def test_as_many_features_as_it_says_settle_a_difference_four_times_in_five() -> None:
    rng = np.random.default_rng(2)
    seen = rng.normal(0.03, 0.1, 4000)
    n = compare_pairs(np.full(4000, 0.5), 0.5 + seen).mean.n_to_settle
    assert n is not None
    settled = [compare_pairs(np.full(n, 0.5), 0.5 + rng.normal(0.03, 0.1, n)).mean.is_settled for _ in range(1500)]
    assert np.mean(settled) == pytest.approx(0.8, abs=0.04)


def test_the_least_difference_that_shows_is_seen_four_times_in_five() -> None:
    rng = np.random.default_rng(3)
    least = compare_pairs(np.full(25, 0.5), 0.5 + rng.permutation(np.linspace(-0.17, 0.17, 25))).mean.detectable
    assert least is not None
    spread = float(np.linspace(-0.17, 0.17, 25).std(ddof=1))
    settled = [
        compare_pairs(np.full(25, 0.5), 0.5 + rng.normal(least, spread, 25)).mean.is_settled for _ in range(1500)
    ]
    assert np.mean(settled) == pytest.approx(0.8, abs=0.04)


def test_features_that_all_differ_by_the_same_don_t_tell_how_others_would() -> None:
    found = compare_pairs(values(9, 0.5), values(9, 0.5)).mean
    assert (found.value, found.low, found.p_value, found.n_to_settle) == (0, None, None, None)


@UNHURRIED
@given(st.lists(shares, max_size=50))
def test_q_values_are_those_of_scipy(p_values: list[float]) -> None:
    given_p = np.array(p_values)
    theirs = false_discovery_control(given_p) if p_values else given_p
    assert q_values(given_p) == pytest.approx(theirs)
