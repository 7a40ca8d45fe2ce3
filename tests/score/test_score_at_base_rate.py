import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.score.at_base_rate import chance_f1, draw_false_alarms, estimate
from autointerp.score.metrics import Rate, Recovered, Stratum, binomial_rate
from tests.score.world import UNHURRIED

N_DRAWS = 4000


def drawn(strata: tuple[Stratum, ...], true_yes: float = 1e-3) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return draw_false_alarms(strata, true_yes, N_DRAWS, np.random.default_rng(0))


def nearly_certain(value: float) -> Rate:
    return Rate(value, np.full(N_DRAWS, value))


@pytest.mark.parametrize("true_yes", [1e-6, 1e-4, 1e-2])
def test_before_anything_is_asked_precision_is_as_likely_to_be_anything_at_every_firing_rate(true_yes: float) -> None:
    """Of Beta(1, 1/2) the share below p is 1 - sqrt(1 - p)."""
    precision = true_yes / (true_yes + drawn((Stratum(1000, 1e-9, 0.0),), true_yes))
    for p in (0.2, 0.5, 0.75, 0.95):
        assert (precision < p).mean() == pytest.approx(1 - np.sqrt(1 - p), abs=0.03)


@pytest.mark.parametrize("n_yes", [3, 40, 500, 1000])
def test_where_all_is_judged_the_rate_is_the_share_seen(n_yes: int) -> None:
    draws = drawn((Stratum(1000, 1000, n_yes),), 0.05)
    share = n_yes / 1000
    assert np.median(draws) == pytest.approx(share, rel=0.2)
    spread = np.sqrt(n_yes * (1000 - n_yes) / 1000) / 1000
    assert draws.std() == pytest.approx(spread, rel=0.2, abs=0.002)


def test_what_is_found_closest_to_the_label_tells_of_the_rest() -> None:
    medians = [float(np.median(drawn((Stratum(20, 20, n), Stratum(980, 20, 0))))) for n in (0, 1, 5, 15)]
    assert medians == sorted(medians)
    assert medians[0] < 1e-3 < 15 / 1000 < medians[-1]


def test_a_draw_from_the_rest_that_meets_many_is_believed() -> None:
    assert np.median(drawn((Stratum(20, 20, 12), Stratum(980, 20, 10)))) == pytest.approx(0.5, abs=0.1)
    everything = drawn((Stratum(20, 20, 20), Stratum(980, 20, 20)))
    assert np.median(everything) > 0.9
    assert everything.max() <= 1.0


def test_no_false_alarm_among_few_questions_is_no_precision_of_one() -> None:
    told = estimate(
        Recovered(nearly_certain(0.9), nearly_certain(0.9)),
        (Stratum(20, 20, 0), Stratum(980, 20, 0)),
        nearly_certain(1e-3),
        np.random.default_rng(0),
    )
    assert told.precision is not None
    assert 0.5 < told.precision.value < 0.95
    assert told.precision.low < 0.1
    assert told.f1.low < 0.2 < told.f1.value < 0.92
    assert told.false_alarm.value == 0.0


def test_a_judge_who_never_says_yes_has_no_precision_and_an_f1_of_0() -> None:
    rng = np.random.default_rng(0)
    hit = binomial_rate(0, 20, N_DRAWS, rng)
    told = estimate(Recovered(hit, hit), (Stratum(20, 20, 0),), nearly_certain(0.01), rng)
    assert told.precision is None
    assert told.f1.value == 0.0
    assert told.f1.high > 0.0


@given(
    st.integers(0, 20),
    st.integers(0, 20),
    st.floats(1e-6, 0.9999),
    st.integers(1, 20),
    st.sampled_from([0, 1, 20]),
)
@UNHURRIED
def test_every_estimate_lies_in_its_interval_whatever_is_answered(
    closest: int, rest: int, base: float, n_hit: int, n_rest: int
) -> None:
    rng = np.random.default_rng(0)
    hit = binomial_rate(n_hit, 20, 200, rng)
    strata = (Stratum(20, 20, closest), Stratum(max(1, n_rest), 20, rest))
    told = estimate(Recovered(hit, hit), strata, Rate(base, np.full(200, base)), rng)
    assert 0 <= told.f1.low <= told.f1.value <= told.f1.high <= 1


def test_a_yes_to_everything_gets_twice_the_rate_over_one_and_the_rate() -> None:
    assert chance_f1(nearly_certain(0.1)) == pytest.approx(0.2 / 1.1)
    rng = np.random.default_rng(0)
    told = estimate(
        Recovered(nearly_certain(1.0), nearly_certain(1.0)), (Stratum(1000, 1000, 1000),), nearly_certain(0.1), rng
    )
    assert told.f1.value == pytest.approx(0.2 / 1.1, rel=0.02)
