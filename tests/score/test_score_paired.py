from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from autointerp.score import metrics
from autointerp.score.confusion import confusion
from autointerp.score.paired import (
    Difference,
    auroc_difference,
    balanced_accuracy_difference,
    f1_difference,
    interval_difference,
    with_unanswered,
)
from tests.score.world import UNHURRIED

trials = st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=2, max_size=40)
TRUTH = np.arange(40) < 20


def wrong_on(*places: int) -> np.ndarray:
    verdict = TRUTH.copy()
    verdict[list(places)] ^= True
    return verdict


@UNHURRIED
@given(trials)
def test_the_difference_is_that_of_the_two_balanced_accuracies(rows: list[tuple[bool, bool, bool]]) -> None:
    truth, first, second = (np.array(column) for column in zip(*rows, strict=True))
    found = balanced_accuracy_difference(truth, first, second)
    one, other = (metrics.balanced_accuracy(confusion(truth, of)) for of in (first, second))
    if one is None or other is None:
        assert found is None
    else:
        assert found is not None
        assert found.value == pytest.approx(other.value - one.value)


@UNHURRIED
@given(trials)
def test_exchanging_the_two_turns_the_difference_round(rows: list[tuple[bool, bool, bool]]) -> None:
    truth, first, second = (np.array(column) for column in zip(*rows, strict=True))
    documents = np.arange(truth.size) // 2
    there, back = (
        balanced_accuracy_difference(truth, one, other, documents) for one, other in ((first, second), (second, first))
    )
    if there is not None:
        assert back is not None
        assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))
        assert back.p_value == pytest.approx(there.p_value)


def test_of_trials_apart_the_test_is_mcnemars_mid_p_one() -> None:
    first, second = wrong_on(0, 1, 2, 3, 20, 21, 22), wrong_on(19)
    found = balanced_accuracy_difference(TRUTH, first, second)
    assert found is not None
    assert found.value == pytest.approx((4 / 20 - 1 / 20 + 3 / 20) / 2)
    assert found.p_value == pytest.approx(binomtest(7, 8).pvalue - binom.pmf(7, 8, 0.5))


def test_trials_of_one_document_count_together() -> None:
    first, second = wrong_on(0, 1, 2, 3, 4, 5, 6, 7), wrong_on()
    apart = balanced_accuracy_difference(TRUTH, first, second)
    together = balanced_accuracy_difference(TRUTH, first, second, np.arange(40) // 4)
    assert apart is not None
    assert together is not None
    assert apart.p_value == pytest.approx(1 / 2**8)
    assert together.p_value == pytest.approx(1 / 2**2)
    assert together.high - together.low > apart.high - apart.low


def test_two_who_say_the_same_don_t_differ_and_are_not_certain_of_it() -> None:
    same = wrong_on(3, 30)
    scores = np.linspace(0, 1, 40)
    mass, rng = np.ones(40), np.random.default_rng(0)
    for found in (
        balanced_accuracy_difference(TRUTH, same, same),
        auroc_difference(TRUTH, scores, scores),
        f1_difference(TRUTH, same, same, mass, 0.1, rng),
    ):
        assert found is not None
        assert found.value == 0
        assert found.low < 0 < found.high
        assert found.p_value == 1


def test_of_many_differing_groups_the_test_is_that_of_all_flips_drawn_at_random() -> None:
    rng = np.random.default_rng(3)
    truth = np.arange(400) < 200
    first = np.where(rng.random(400) < 0.80, truth, ~truth)
    second = np.where(rng.random(400) < 0.86, truth, ~truth)
    found = balanced_accuracy_difference(truth, first, second)
    assert found is not None
    differs = (second == truth).astype(int) - (first == truth)
    flips = rng.choice([-1, 1], size=(20_000, 400))
    drawn = np.mean(np.abs(flips @ differs) >= abs(differs.sum()))
    assert found.p_value == pytest.approx(drawn, abs=0.015)


def test_the_difference_of_two_areas_is_that_of_the_areas() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.normal(size=40) + TRUTH, rng.normal(size=40) * 7 + 20 * TRUTH
    areas = [metrics.auroc(TRUTH, of) for of in (first, second)]
    found = auroc_difference(TRUTH, first, second)
    assert found is not None
    assert areas[0] is not None
    assert areas[1] is not None
    assert found.value == pytest.approx(areas[1].value - areas[0].value)
    assert found.p_value < 0.05


def test_f1s_differ_as_worked_out_by_hand() -> None:
    # 2 of 4 firing windows found against 4, no false alarm against 1 of 10 silent windows; it fires in a fifth.
    truth = np.arange(14) < 4
    first = np.isin(np.arange(14), (0, 1))
    second = np.isin(np.arange(14), (0, 1, 2, 3, 9))
    found = f1_difference(truth, first, second, np.ones(14), 0.2, np.random.default_rng(0))
    assert found is not None
    precision = 0.2 / (0.2 + 0.8 * 0.1)
    assert found.value == pytest.approx(2 * precision / (1 + precision) - 2 * 0.5 / 1.5)
    assert found.low < found.value < found.high


def test_mass_and_not_the_number_of_windows_is_recalled() -> None:
    truth = np.arange(20) < 10
    strong = np.arange(20) < 5
    mass = np.where(strong, 9.0, 1.0)
    found = f1_difference(truth, strong, truth & ~strong, mass, 0.5, np.random.default_rng(0))
    assert found is not None
    assert found.value == pytest.approx(2 * 0.1 / 1.1 - 2 * 0.9 / 1.9)


@pytest.mark.parametrize("truth", [np.ones(4, bool), np.zeros(4, bool)])
def test_without_trials_of_one_class_nothing_is_compared(truth: np.ndarray) -> None:
    said = np.array([True, False, True, False])
    assert balanced_accuracy_difference(truth, said, ~said) is None
    assert auroc_difference(truth, said * 1.0, ~said * 1.0) is None
    assert f1_difference(truth, said, ~said, np.ones(4), 0.1, np.random.default_rng(0)) is None


def test_two_intervals_are_put_together_in_quadrature() -> None:
    found = interval_difference((0.5, 0.4, 0.6), (0.8, 0.7, 0.85))
    assert found.value == pytest.approx(0.3)
    assert (found.low, found.high) == pytest.approx((0.3 - 0.1 * 2**0.5, 0.3 + (0.05**2 + 0.1**2) ** 0.5))
    assert found.p_value < 0.001


def test_what_was_left_unanswered_may_turn_a_difference_round() -> None:
    seen = Difference(0.2, 0.1, 0.3, 0.001)
    near, far = Difference(0.1, 0.05, 0.2, 0.02), Difference(0.3, 0.2, 0.4, 0.0001)
    assert with_unanswered(seen, (near, far)) == Difference(0.2, 0.05, 0.4, 0.02)
    turned = Difference(-0.1, -0.2, 0.0, 0.03)
    assert with_unanswered(seen, (turned, far)) == Difference(0.2, -0.2, 0.4, 1.0)


def test_no_more_than_one_in_twenty_equal_pairs_is_called_different() -> None:
    rng = np.random.default_rng(11)
    documents = np.arange(40) // 2
    p_values, areas = [], []
    for _ in range(400):
        hard = rng.normal(size=20)[documents] + rng.normal(size=40)
        first, second = (np.where(hard + rng.normal(size=40) < 1, TRUTH, ~TRUTH) for _ in range(2))
        found = balanced_accuracy_difference(TRUTH, first, second, documents)
        one, other = (hard + rng.normal(size=40) + TRUTH for _ in range(2))
        area = auroc_difference(TRUTH, one, other, documents)
        assert found is not None
        assert area is not None
        p_values.append(found.p_value)
        areas.append(area.p_value)
    for level, found_by in product((0.05, 0.01), (p_values, areas)):
        assert np.mean(np.array(found_by) <= level) <= level + 0.02
