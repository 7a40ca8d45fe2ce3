from fractions import Fraction as F

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom, binomtest
from sklearn.metrics import balanced_accuracy_score, f1_score, matthews_corrcoef, roc_auc_score

from autointerp.score import metrics
from autointerp.score.confusion import Confusion, confusion
from autointerp.score.metrics import Estimate, Rate, Stratum
from tests.score.world import UNHURRIED

counts = st.integers(0, 60)
confusions = st.builds(Confusion, counts, counts, counts, counts)
bits = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def certain(value: float) -> Rate:
    return Rate(value, np.full(100, value))


def test_a_worked_confusion_gives_the_fractions_worked_out_by_hand() -> None:
    worked = Confusion(true_positive=8, false_negative=2, false_positive=3, true_negative=7)
    balanced = metrics.balanced_accuracy(worked)
    assert balanced is not None
    assert balanced.value == pytest.approx(float(F(8, 10) / 2 + F(7, 10) / 2))
    assert metrics.f1(worked) == pytest.approx(float(F(16, 21)))
    assert metrics.matthews(worked) == pytest.approx((8 * 7 - 3 * 2) / (11 * 10 * 10 * 9) ** 0.5)


def test_mover_limits_of_a_worked_confusion_are_the_distances_added_in_quadrature() -> None:
    worked = Confusion(true_positive=8, false_negative=2, false_positive=3, true_negative=7)
    yes_low, yes_high = beta(8 + 1 / 3, 2 + 1 / 3).ppf([0.025, 0.975])
    no_low, no_high = beta(7 + 1 / 3, 3 + 1 / 3).ppf([0.025, 0.975])
    balanced = metrics.balanced_accuracy(worked)
    assert balanced is not None
    assert balanced.low == pytest.approx(0.75 - ((0.8 - yes_low) ** 2 + (0.7 - no_low) ** 2) ** 0.5 / 2)
    assert balanced.high == pytest.approx(0.75 + ((yes_high - 0.8) ** 2 + (no_high - 0.7) ** 2) ** 0.5 / 2)


def test_what_has_no_trials_is_undefined_rather_than_zero() -> None:
    assert metrics.proportion(0, 0) is None
    assert metrics.balanced_accuracy(Confusion(0, 0, 3, 7)) is None
    assert metrics.balanced_accuracy(Confusion(3, 7, 0, 0)) is None
    assert metrics.f1(Confusion(0, 0, 0, 9)) is None
    assert metrics.matthews(Confusion(5, 0, 5, 0)) is None
    assert metrics.auroc(np.array([True, True]), np.array([0.1, 0.2])) is None
    assert metrics.precision_at_base_rate(certain(0.0), certain(0.0), certain(0.1)) is None


def test_an_always_yes_has_a_balanced_accuracy_of_a_half() -> None:
    balanced = metrics.balanced_accuracy(Confusion(20, 0, 20, 0))
    assert balanced is not None
    assert balanced.value == 0.5
    assert balanced.low < 0.5 < balanced.high


@UNHURRIED
@given(n=st.integers(1, 200), data=st.data())
def test_wilsons_interval_is_that_of_scipy(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    ours, theirs = metrics.proportion(k, n), binomtest(k, n).proportion_ci(method="wilson")
    assert ours is not None
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@UNHURRIED
@given(bits)
def test_rates_are_those_of_sklearn_where_both_are_defined(pairs: list[tuple[bool, bool]]) -> None:
    truth, verdict = (np.array(side) for side in zip(*pairs, strict=True))
    ours = confusion(truth, verdict)
    balanced, f1, matthews = metrics.balanced_accuracy(ours), metrics.f1(ours), metrics.matthews(ours)
    if balanced is not None:
        assert balanced.value == pytest.approx(balanced_accuracy_score(truth, verdict))
    if f1 is not None:
        assert f1 == pytest.approx(f1_score(truth, verdict, zero_division=0))
    if matthews is not None:
        assert matthews == pytest.approx(matthews_corrcoef(truth, verdict))


@UNHURRIED
@given(confusions)
def test_flipping_every_verdict_mirrors_balanced_accuracy_and_its_interval(one: Confusion) -> None:
    flipped = Confusion(one.false_negative, one.true_positive, one.true_negative, one.false_positive)
    a, b = metrics.balanced_accuracy(one), metrics.balanced_accuracy(flipped)
    if a is None or b is None:
        assert a is b
        return
    assert (b.value, b.low, b.high) == pytest.approx((1 - a.value, 1 - a.high, 1 - a.low))


@UNHURRIED
@given(confusions)
def test_swapping_truth_and_verdict_changes_neither_f1_nor_matthews(one: Confusion) -> None:
    swapped = Confusion(one.true_positive, one.false_positive, one.false_negative, one.true_negative)
    assert metrics.f1(swapped) == metrics.f1(one)
    assert metrics.matthews(swapped) == (None if (m := metrics.matthews(one)) is None else pytest.approx(m))


@UNHURRIED
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40))
def test_auroc_is_that_of_sklearn_and_mirrors_with_its_interval(pairs: list[tuple[bool, int]]) -> None:
    truth = np.array([t for t, _ in pairs])
    scores = np.array([s for _, s in pairs], dtype=np.float64)
    ours, mirrored = metrics.auroc(truth, scores), metrics.auroc(truth, -scores)
    if ours is None or mirrored is None:
        assert truth.all() or not truth.any()
        return
    assert ours.value == pytest.approx(roc_auc_score(truth, scores))
    assert (mirrored.value, mirrored.low, mirrored.high) == pytest.approx(
        (1 - ours.value, 1 - ours.high, 1 - ours.low), abs=1e-6
    )


def test_an_auroc_of_one_is_not_certain_and_grows_surer_with_trials() -> None:
    lows = [metrics.auroc_limits(1.0, n, n)[0] for n in (3, 20, 200)]
    assert 0 < lows[0] < lows[1] < lows[2] < 1
    assert metrics.auroc_limits(1.0, 20, 20)[1] == 1.0
    assert metrics.auroc_limits(0.0, 20, 20) == pytest.approx((0.0, 1 - lows[1]), abs=1e-6)


def test_aurocs_limits_lie_where_newcombes_equation_holds() -> None:
    for limit in metrics.auroc_limits(0.8, 20, 30):
        n_star = 24.0
        spread = 1 + n_star * (1 - limit) / (2 - limit) + n_star * limit / (1 + limit)
        assert abs(limit - 0.8) == pytest.approx(metrics.Z_95 * (limit * (1 - limit) * spread / 600) ** 0.5)


def test_recall_of_mass_weighs_contexts_by_their_activation() -> None:
    of = metrics.recovered(np.array([True, False, True]), np.array([5.0, 3.0, 2.0]), 500, rng())
    assert of.mass.value == pytest.approx(float(F(7, 10)))
    assert of.contexts.value == pytest.approx(float(F(2, 3)))


def test_equal_masses_give_the_neutral_posterior_of_their_count() -> None:
    verdict = np.array([True] * 12 + [False] * 3)
    of = metrics.recovered(verdict, np.full(15, 4.0), 40_000, rng())
    assert np.allclose(of.mass.draws, of.contexts.draws)
    wanted = beta(12 + 1 / 3, 3 + 1 / 3).ppf([0.025, 0.5, 0.975])
    assert np.quantile(of.mass.draws, [0.025, 0.5, 0.975]) == pytest.approx(wanted, abs=0.01)


@UNHURRIED
@given(
    st.lists(st.tuples(st.booleans(), st.floats(0.01, 100)), min_size=1, max_size=20),
    st.floats(0.01, 100),
)
def test_recall_of_mass_does_not_depend_on_the_unit_of_activation(
    trials: list[tuple[bool, float]], unit: float
) -> None:
    verdict, mass = np.array([v for v, _ in trials]), np.array([m for _, m in trials])
    one = metrics.recovered(verdict, mass, 100, rng()).mass.estimate
    other = metrics.recovered(verdict, mass * unit, 100, rng()).mass.estimate
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))


@UNHURRIED
@given(n=st.integers(1, 60), n_draws=st.just(400), data=st.data())
def test_no_simulated_interval_is_certain_however_alike_the_trials(n: int, n_draws: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    verdict = np.arange(n) < k
    for rate in (
        metrics.binomial_rate(k, n, n_draws, rng()),
        metrics.recovered(verdict, np.arange(1.0, n + 1), n_draws, rng()).mass,
        metrics.stratified_rate((Stratum(n, n, k),), n_draws, rng()),
    ):
        assert rate.estimate.low < rate.estimate.high


def test_the_horvitz_thompson_rate_of_two_parts_worked_by_hand() -> None:
    # 20 candidates all judged, 5 yes; 980 others of which 20 were judged, 1 yes: (5 + 49 * 1) / 1000
    rate = metrics.stratified_rate((Stratum(20, 20, 5), Stratum(980, 20, 1)), 2000, rng())
    assert rate.value == pytest.approx(float(F(54, 1000)))
    assert rate.estimate.low < 0.054 < rate.estimate.high


def test_precision_at_a_base_rate_is_bayes_rule() -> None:
    # of 1000 contexts 10 fire, 9 of them found; of 990 silent ones 99 are claimed: 9 / 108
    precision = metrics.precision_at_base_rate(certain(0.9), certain(0.1), certain(0.01))
    assert precision is not None
    assert precision.value == pytest.approx(float(F(9, 108)))


def test_f1_at_a_base_rate_worked_by_hand() -> None:
    # precision 9/108 = 1/12, recall of mass 3/4: 2 (1/12)(3/4) / (1/12 + 3/4) = 3/20
    f1 = metrics.f1_at_base_rate(certain(0.75), certain(0.9), certain(0.1), certain(0.01))
    assert f1.value == pytest.approx(float(F(3, 20)))


def test_f1_of_a_label_that_recovers_nothing_is_zero_and_of_a_perfect_one_is_one() -> None:
    assert metrics.f1_at_base_rate(certain(0.0), certain(0.0), certain(0.0), certain(0.1)).value == 0.0
    assert metrics.f1_at_base_rate(certain(1.0), certain(1.0), certain(0.0), certain(0.1)).value == 1.0


@UNHURRIED
@given(st.floats(0.001, 0.5))
def test_f1_of_an_always_yes_falls_with_the_base_rate(base: float) -> None:
    f1 = metrics.f1_at_base_rate(certain(1.0), certain(1.0), certain(1.0), certain(base))
    assert f1.value == pytest.approx(2 * base / (1 + base))


def test_the_firing_rate_leans_on_the_density_where_the_feature_is_rare_and_on_the_pool_where_it_is_not() -> None:
    # prior of 4 firings in 4 / 0.002 contexts, pool of none in 1000: 4 / 3000
    assert metrics.firing_rate(0, 1000, 0.002, 100, rng()).value == pytest.approx(4 / 3000)
    assert metrics.firing_rate(300, 1000, 0.1, 100, rng()).value == pytest.approx(304 / 1040)
    assert metrics.firing_rate(1000, 1000, 1.0, 100, rng()).value == pytest.approx(1.0, abs=0.001)


def test_an_estimate_outside_its_own_interval_can_not_be_made() -> None:
    with pytest.raises(AssertionError):
        Estimate(0.5, 0.6, 0.7)


# --- how often the intervals cover the truth: seeded simulations; benchmarks/score_intervals.py runs more ------------


def coverage(hits: list[bool]) -> float:
    return sum(hits) / len(hits)


@pytest.mark.parametrize(("sensitivity", "specificity", "n"), [(0.7, 0.9, 20), (0.98, 0.98, 20), (0.6, 0.5, 100)])
def test_balanced_accuracys_interval_covers_the_truth_19_times_in_20(
    sensitivity: float, specificity: float, n: int
) -> None:
    covered = 0.0  # exact: the probability of every outcome whose interval holds the truth
    for tp, p_yes in enumerate(binom.pmf(np.arange(n + 1), n, sensitivity)):
        for tn, p_no in enumerate(binom.pmf(np.arange(n + 1), n, specificity)):
            if p_yes * p_no > 1e-9:
                estimate = metrics.balanced_accuracy(Confusion(tp, n - tp, n - tn, tn))
                assert estimate is not None
                covered += p_yes * p_no * (estimate.low <= (sensitivity + specificity) / 2 <= estimate.high)
    assert 0.92 <= covered <= 0.985


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
def test_aurocs_interval_covers_the_truth_about_19_times_in_20(shift: float) -> None:
    from scipy.stats import norm

    draw = np.random.default_rng(2)
    truth = np.arange(40) < 20
    area = float(norm.cdf(shift / 2**0.5))
    hits = []
    for _ in range(500):
        estimate = metrics.auroc(truth, draw.normal(size=40) + shift * truth)
        assert estimate is not None
        hits.append(estimate.low <= area <= estimate.high)
    assert coverage(hits) >= 0.92


@pytest.mark.parametrize("false_alarm", [0.002, 0.05])
def test_f1s_interval_covers_the_truth_about_19_times_in_20(false_alarm: float) -> None:
    draw = np.random.default_rng(3)
    base, sensitivity = 0.02, 0.8
    precision = base * sensitivity / (base * sensitivity + (1 - base) * false_alarm)
    true_f1 = 2 * precision * sensitivity / (precision + sensitivity)
    hits = []
    for _ in range(300):
        mass = draw.lognormal(size=20)
        of = metrics.recovered(draw.random(20) < sensitivity, mass, 300, draw)
        strata = (Stratum(20, 20, draw.binomial(20, false_alarm)), Stratum(980, 20, draw.binomial(20, false_alarm)))
        alarms = metrics.stratified_rate(strata, 300, draw)
        rate = metrics.firing_rate(draw.binomial(1000, base), 1000, base, 300, draw)
        estimate = metrics.f1_at_base_rate(of.mass, of.contexts, alarms, rate).estimate
        hits.append(estimate.low <= true_f1 <= estimate.high)
    assert coverage(hits) >= 0.9
