"""The dose that moves the next token by one nat: where it is, and that it says so where there is none."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from autointerp.live.dose import USUAL_METHOD, DoseSeeker, percentile, search
from autointerp.live.subject import LiveSubject
from autointerp.records.live import Edit
from tests.live.test_live_divergence import make_live, texts_of

__all__ = ["make_live"]
METHOD = replace(USUAL_METHOD, n_tokens=200, n_few=50)
# Small random models are moved by less than a nat.
SMALL = replace(METHOD, nats=0.1)
Found = tuple[float | None, float, str | None]


def sought(
    of_few: Callable[[float], float], of_all: Callable[[float], float]
) -> tuple[Found, list[tuple[float, bool]]]:
    """What a search finds where the percentile is a function of the size, and what it tried."""
    searching, tried = search(METHOD), list[tuple[float, bool]]()
    trial = next(searching)
    while True:
        tried.append((trial.size, trial.on_all))
        try:
            trial = searching.send((of_all if trial.on_all else of_few)(trial.size))
        except StopIteration as ended:
            return ended.value, tried


@settings(deadline=None, max_examples=200)
@given(
    st.floats(-6, 2.5), st.floats(0.3, 6), st.floats(0, 3), st.floats(-0.3, 0.3), st.sampled_from([math.inf, 1.5, 30.0])
)
@example(-6.0, 6.0, 0.0, 0.3, 1.5)
def test_a_rising_percentile_is_found_in_few_steps(
    at: float, slope: float, bend: float, differs: float, most: float
) -> None:
    def of(middle: float) -> Callable[[float], float]:
        # A power of the size, steeper on one side, up to a ceiling: as far as the model's answers go.
        def nats(size: float) -> float:
            x = math.log(size) - middle
            return min(most, math.exp(min(300.0, slope * x + (bend * x if x > 0 else 0.0))))

        return nats

    (size, nats, why), tried = sought(of(at), of(at + differs))
    assert size is not None
    assert why is None
    assert nats == pytest.approx(of(at + differs)(size)) == pytest.approx(1, abs=METHOD.tolerance + 1e-9)
    assert len(tried) <= 2 * METHOD.n_steps
    assert METHOD.least <= min(size for size, _ in tried)
    assert max(size for size, _ in tried) <= METHOD.most


def test_where_the_percentile_goes_by_a_power_few_steps_will_do() -> None:
    _, tried = sought(lambda size: 20 * size**1.8, lambda size: 24 * size**1.8)
    assert [on_all for _, on_all in tried] == [False] * 2 + [True] * 2


def test_what_moves_nothing_has_no_dose() -> None:
    (size, nats, why), tried = sought(lambda size: 1e-3 * min(1, size), lambda size: 2e-3 * min(1, size))
    assert (size, why) == (None, "20 times the stream's length move it by less")
    assert nats == pytest.approx(2e-3)
    assert max(size for size, _ in tried) == pytest.approx(METHOD.most)
    assert sought(lambda _: 0.0, lambda _: 0.0)[0][0] is None


def test_what_moves_too_little_on_few_tokens_may_do_so_on_all() -> None:
    (size, nats, _), _ = sought(lambda size: 0.9 * min(1, size / 20), lambda size: size / 12)
    assert size == pytest.approx(12, rel=0.03)
    assert nats == pytest.approx(1, abs=0.02)


def test_where_numbers_overflow_there_is_none() -> None:
    (size, nats, why), _ = sought(lambda _: math.nan, lambda _: math.nan)
    assert (size, why) == (None, "the model's numbers overflow")
    assert math.isnan(nats)


def test_where_only_large_edits_overflow_there_is_one() -> None:
    def nats(size: float) -> float:
        return math.nan if size > 0.1 else (size / 0.05) ** 2

    assert sought(nats, nats)[0][0] == pytest.approx(0.05, rel=0.02)


def test_a_jump_ends_the_search_at_the_closest_size() -> None:
    (size, nats, _), tried = sought(lambda size: 0.5 + (size > 3), lambda size: 0.5 + (size > 3))
    assert size == pytest.approx(3, rel=0.05)
    assert nats in (pytest.approx(0.5), pytest.approx(1.5))
    assert sum(on_all for _, on_all in tried) < METHOD.n_steps


def test_a_dose_moves_the_next_token_by_one_nat_at_the_percentile(make_live: Callable[..., LiveSubject]) -> None:
    live, texts = make_live("llama"), texts_of(20, 16)
    seeker = DoseSeeker(live, "tiny@s", texts, SMALL)
    features = [5, 3, 60]
    for index, dose in zip(features, seeker.find(features), strict=True):
        assert dose.unit is not None
        (kl,) = seeker.meter.measure([(Edit(index, "add", dose.unit),)])
        assert np.percentile(kl, 95) == pytest.approx(dose.divergence, rel=1e-3) == pytest.approx(0.1, rel=0.02)
        assert seeker.size(index, dose.unit) == pytest.approx(dose.size)
    (alone,) = seeker.find([3])
    assert alone.unit == pytest.approx(seeker.find(features)[1].unit, rel=1e-4), "whatever is sought beside it"


def test_a_direction_of_no_length_or_of_no_number_has_none(make_live: Callable[..., LiveSubject]) -> None:
    live, texts = make_live("gpt2"), texts_of(8, 16)
    decoder = live.source("tiny@s").coder.sae.W_dec
    decoder.data[2] = 0
    decoder.data[4, 1] = math.nan
    seeker = DoseSeeker(live, "tiny@s", texts, SMALL)
    nothing, usual, broken = seeker.find([2, 3, 4])
    assert (nothing.unit, nothing.why) == (None, "its direction has no length: adding it changes nothing")
    assert (broken.unit, broken.why) == (None, "its direction holds a number that is not finite")
    assert usual.unit is not None


def test_a_percentile_over_what_is_no_number_is_none() -> None:
    assert math.isnan(percentile(np.array([0.1, math.inf]), 95))
    assert percentile(np.arange(101.0), 95) == 95


def test_a_rough_dose_goes_by_few_tokens_alone() -> None:
    searching = search(METHOD, roughly=True)
    trial, tried = next(searching), 0
    found: Found = (None, 0.0, None)
    while tried < METHOD.n_steps:
        assert not trial.on_all
        tried += 1
        try:
            trial = searching.send(20 * trial.size**1.8)
        except StopIteration as ended:
            found = ended.value
            break
    assert found[0] == pytest.approx(20 ** (-1 / 1.8), rel=METHOD.tolerance_few)
    assert tried == 2
