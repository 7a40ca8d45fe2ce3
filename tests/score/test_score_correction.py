"""Scores without the judge's errors: values worked out by hand, and how often the intervals hold the truth."""

import numpy as np
import pytest

from autointerp.score import metrics
from autointerp.score.confusion import Confusion
from autointerp.score.correction import Corrected, Judged, JudgeRates, prediction_powered, rogan_gladen
from autointerp.score.metrics import Estimate


def rates(sensitivity: float, specificity: float, n: int = 1000, spread: float = 0.0, n_labels: int = 50) -> JudgeRates:
    yes, no = round(sensitivity * n), round(specificity * n)
    return JudgeRates(Confusion(yes, n - yes, n - no, no), spread, n_labels)


def corrected(seen: Estimate, by: JudgeRates) -> Corrected:
    result = rogan_gladen(seen, by)
    assert isinstance(result, Corrected), result
    return result


def width(estimate: Estimate) -> float:
    return estimate.high - estimate.low


SEEN = Estimate(0.65, 0.55, 0.74)


def test_a_value_s_distance_to_chance_is_divided_by_what_the_judge_shows_of_it() -> None:
    assert corrected(SEEN, rates(0.9, 0.7)).estimate.value == pytest.approx(0.5 + 0.15 / 0.6)


def test_chance_stays_chance_and_what_is_below_goes_further_down() -> None:
    assert corrected(Estimate(0.5, 0.4, 0.6), rates(0.9, 0.7)).estimate.value == 0.5
    assert corrected(Estimate(0.41, 0.3, 0.52), rates(0.9, 0.7)).estimate.value == pytest.approx(0.35)


def test_a_judge_who_never_errs_changes_next_to_nothing() -> None:
    result = corrected(SEEN, rates(1.0, 1.0, n=100_000)).estimate
    assert result.value == SEEN.value
    assert (result.low, result.high) == pytest.approx((SEEN.low, SEEN.high), abs=1e-3)


def test_what_passes_1_is_cut_and_what_it_was_is_kept() -> None:
    result = corrected(Estimate(0.9, 0.8, 0.96), rates(0.9, 0.7))
    assert result.estimate.value == result.estimate.high == 1.0
    assert result.estimate.low < 1.0
    assert result.unclipped == pytest.approx(0.5 + 0.4 / 0.6)


def test_the_interval_grows_with_what_is_not_known_of_the_judge() -> None:
    seen = Estimate(0.7, 0.6, 0.78)
    known = width(corrected(seen, rates(0.9, 0.8, n=5000)).estimate)
    assert width(corrected(seen, rates(0.9, 0.8, n=60)).estimate) > 1.1 * known
    assert width(corrected(seen, rates(0.9, 0.8, n=5000, spread=0.2)).estimate) > 1.1 * known


def test_where_labels_of_one_judge_may_be_judged_by_guessing_nothing_is_ruled_out() -> None:
    result = corrected(SEEN, rates(0.7, 0.6, spread=0.4)).estimate
    assert (result.low, result.high) == (0.0, 1.0)


def test_the_lower_end_stays_above_chance_where_what_is_seen_and_every_judge_s_rate_do() -> None:
    result = corrected(SEEN, rates(0.75, 0.7, n=5000, spread=0.2)).estimate
    assert SEEN.low < result.low < 0.65
    assert result.high == 1.0


@pytest.mark.parametrize(
    ("by", "said"),
    [
        (rates(1.0, 0.0), "can't be told from guessing: sensitivity + specificity - 1 is 0.00"),
        (rates(0.0, 1.0), "can't be told from guessing"),
        (rates(0.55, 0.5, n=50), "can't be told from guessing"),
        (rates(0.3, 0.3), "can't be told from guessing"),
        (JudgeRates(Confusion(10, 0, 0, 0), 0.0, 50), "no answered trials that labels describe, or none that they"),
        (JudgeRates(Confusion(0, 0, 0, 0), 0.0, 50), "no answered trials"),
        (rates(0.9, 0.9, n_labels=4), "has 4 labels with windows of both kinds, and 5 are needed"),
    ],
)
def test_a_judge_of_whom_too_little_or_nothing_good_is_known_corrects_nothing(by: JudgeRates, said: str) -> None:
    result = rogan_gladen(SEEN, by)
    assert isinstance(result, str)
    assert said in result


@pytest.mark.parametrize(("sensitivity", "specificity"), [(0.75, 0.9), (0.9, 0.95), (0.7, 0.7)])
@pytest.mark.parametrize(("described", "alarming"), [(0.8, 0.1), (0.6, 0.3), (0.5, 0.5)])
def test_intervals_hold_the_truth_as_often_as_they_say(
    sensitivity: float, specificity: float, described: float, alarming: float
) -> None:
    """Both samples drawn anew each time: 40 trials of either class, and 600 windows that the judge is calibrated on."""
    rng = np.random.default_rng(0)
    truth, inside, off = (1 + described - alarming) / 2, [], []
    for _ in range(1500):
        yes, no = (rng.binomial(600, rate) for rate in (sensitivity, specificity))
        by = JudgeRates(Confusion(int(yes), int(600 - yes), int(600 - no), int(no)), 0.0, 50)
        hits, alarms = (
            int(rng.binomial(40, sensitivity * share + (1 - specificity) * (1 - share)))
            for share in (described, alarming)
        )
        seen = metrics.balanced_accuracy(Confusion(hits, 40 - hits, alarms, 40 - alarms))
        assert seen is not None
        result = corrected(seen, by)
        inside.append(result.estimate.low <= truth <= result.estimate.high)
        off.append(result.unclipped - truth)
    assert 0.93 < np.mean(inside) < 0.975
    assert abs(np.mean(off)) < 0.01


def drawn(
    rng: np.random.Generator,
    n_known: int,
    n: int = 2000,
    *,
    described: float,
    alarming: float,
    sensitivity: float,
    specificity: float,
) -> Judged:
    """Windows of many labels, half of them firing, of some of which it is known what is right."""
    firing = np.arange(n) % 2 == 0
    right = rng.random(n) < np.where(firing, described, alarming)
    verdict = rng.random(n) < np.where(right, sensitivity, 1 - specificity)
    known = np.zeros(n, dtype=bool)
    for of in (firing, ~firing):
        known[rng.choice(np.flatnonzero(of), n_known, replace=False)] = True
    return Judged(firing, verdict, known, right, np.arange(n))


def powered(judged: Judged) -> Estimate:
    result = prediction_powered(judged)
    assert isinstance(result, Estimate), result
    return result


def test_a_judge_s_yes_is_moved_by_how_far_it_was_off_where_that_is_known() -> None:
    """It says yes to all firing windows, of which half are described, and is right about all silent ones."""
    firing = np.arange(400) < 200
    known = np.arange(400) % 200 < 100
    right = firing & (np.arange(400) % 2 == 0)
    verdict = firing.copy()
    result = powered(Judged(firing, verdict, known, right, np.arange(400)))
    assert result.value == pytest.approx(0.75, abs=1e-9)
    assert result.low < 0.75 < result.high


@pytest.mark.parametrize(("sensitivity", "specificity"), [(0.8, 0.9), (0.95, 0.97), (0.5, 0.5)])
@pytest.mark.parametrize(("described", "alarming"), [(0.9, 0.1), (0.7, 0.3), (0.8, 0.05)])
@pytest.mark.parametrize("n_known", [50, 100])
def test_prediction_powered_intervals_hold_the_truth_whatever_the_judge(
    sensitivity: float, specificity: float, described: float, alarming: float, n_known: int
) -> None:
    rng, truth = np.random.default_rng(0), (1 + described - alarming) / 2

    def one() -> Estimate:
        return powered(
            drawn(
                rng,
                n_known,
                described=described,
                alarming=alarming,
                sensitivity=sensitivity,
                specificity=specificity,
            )
        )

    results = [one() for _ in range(400)]
    assert np.mean([of.low <= truth <= of.high for of in results]) > 0.92
    assert abs(np.mean([of.value - truth for of in results])) < 0.01


def test_a_good_judge_s_verdicts_narrow_the_interval_and_a_bad_one_s_do_no_harm() -> None:
    rng = np.random.default_rng(0)
    good, bad = (
        np.mean(
            [
                width(powered(drawn(rng, 100, described=0.7, alarming=0.3, sensitivity=s, specificity=s)))
                for _ in range(50)
            ]
        )
        for s in (0.95, 0.5)
    )
    by_hand = 2 * 1.96 * (2 * 0.7 * 0.3 / 100) ** 0.5 / 2
    assert good < 0.65 * by_hand
    assert bad < 1.1 * by_hand


def test_errors_that_differ_by_label_and_by_class_are_put_right_where_rates_of_puzzles_could_not() -> None:
    """The judge is right about silent windows, and says no to a third of the described ones of firing windows only."""
    rng = np.random.default_rng(0)
    results = []
    for _ in range(200):
        judged = drawn(rng, 100, described=0.9, alarming=0.1, sensitivity=1.0, specificity=1.0)
        missed = judged.firing & (rng.random(judged.firing.size) < 1 / 3)
        results.append(
            powered(Judged(judged.firing, judged.verdict & ~missed, judged.known, judged.right, judged.cluster))
        )
    assert np.mean([of.value for of in results]) == pytest.approx(0.9, abs=0.01)


def test_too_few_known_answers_give_no_number() -> None:
    judged = drawn(np.random.default_rng(0), 19, described=0.9, alarming=0.1, sensitivity=0.9, specificity=0.9)
    result = prediction_powered(judged)
    assert result == "of 19 firing windows it is known what is right, and 20 are needed"


def test_where_all_is_known_the_judge_does_not_count() -> None:
    judged = drawn(np.random.default_rng(0), 50, 100, described=0.8, alarming=0.2, sensitivity=0.1, specificity=0.1)
    right = judged.right
    expected = (right[judged.firing].mean() + 1 - right[~judged.firing].mean()) / 2
    assert powered(judged).value == pytest.approx(expected)
