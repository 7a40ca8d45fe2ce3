"""Calls in flight, waits between attempts, and costs, checked by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.config import ModelConfig
from autointerp.llm import Reply
from autointerp.llm.cost import Prices, prices_of
from autointerp.llm.protocol import RawAnswer
from autointerp.llm.retries import Retries
from autointerp.records import Usage
from tests.llm.asking import Asker, label_request
from tests.loopback.server import Always, LoopbackServer, Provider, Raw, Say

GOOD = Say('{"label": "months"}')


@pytest.mark.parametrize("concurrency", [1, 5])
def test_no_more_calls_are_in_flight_than_asked_for(asker: Asker, provider: Provider, concurrency: int) -> None:
    requests = [label_request(f"feature {i}") for i in range(4 * concurrency)]
    with LoopbackServer(Always(GOOD), latency_s=0.1) as server:
        asker.ask(server, *requests, provider=provider, concurrency=concurrency)
        assert len(server.calls) == 4 * concurrency
        assert server.most_in_flight == concurrency


def test_waits_double_up_to_a_limit_and_spread_over_a_factor_of_two() -> None:
    retries = Retries(max_attempts=10, first_delay_s=1.0, longest_delay_s=10.0)
    for attempt, longest in [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 10.0), (9, 10.0)]:
        waits = [retries.delay_s(attempt, f"request {i}", None) for i in range(200)]
        assert longest / 2 <= min(waits) < 0.55 * longest
        assert 0.95 * longest < max(waits) <= longest


@given(st.integers(1, 60), st.text(), st.none() | st.floats(0, 1e6))
def test_a_wait_is_the_same_in_every_run_and_never_under_what_the_server_asks(
    attempt: int, key: str, asked: float | None
) -> None:
    retries = Retries(max_attempts=60)
    wait = retries.delay_s(attempt, key, asked)
    assert wait == retries.delay_s(attempt, key, asked)
    assert wait >= (asked or 0.0)
    assert wait > 0.0


def test_cost_by_hand() -> None:
    # 400 fresh tokens at 2.50, 600 cached at 0.25, 100 out at 10, each by the million: 0.001 + 0.00015 + 0.001
    assert Prices(2.5, 0.25, 10.0).cost_usd(1000, 600, 100) == pytest.approx(0.00215)


def test_cached_tokens_cost_as_others_where_no_price_is_given() -> None:
    assert Prices(2.0, None, 10.0).cost_usd(1000, 600, 0) == pytest.approx(0.002)


def test_an_unknown_price_is_unknown_and_not_zero() -> None:
    assert prices_of(ModelConfig()).cost_usd(10, 0, 10) is None
    assert Prices(1.0, None, None).cost_usd(10, 0, 10) is None
    assert Prices(None, None, 1.0).cost_usd(10, 0, 10) is None
    assert Prices(0.0, None, 0.0).cost_usd(10, 0, 10) == 0.0


def test_one_unknown_cost_makes_the_sum_unknown() -> None:
    known = Prices(1.0, None, 1.0).usage(RawAnswer("", "complete", "m", 1_000_000, 0, 1_000_000))
    unknown = Prices(None, None, None).usage(RawAnswer("", "complete", "m", 1, 0, 1))
    assert known == Usage(1, 1_000_000, 0, 1_000_000, 2.0)
    assert (known + known).cost_usd == 4.0
    assert (known + unknown).cost_usd is None


def test_tokens_and_cost_are_read_from_either_provider(asker: Asker, provider: Provider) -> None:
    with LoopbackServer(Always(Say('{"label": "months"}', tokens=(1000, 600, 100)))) as server:
        outcome = asker.ask_one(
            server,
            provider=provider,
            usd_per_million_input=2.5,
            usd_per_million_cached_input=0.25,
            usd_per_million_output=10.0,
        )
    assert isinstance(outcome, Reply)
    assert outcome.usage == Usage(1, 1000, 600, 100, 0.00215)


def test_a_server_that_counts_nothing_has_an_unknown_cost(asker: Asker) -> None:
    body = '{"choices": [{"message": {"content": "{\\"label\\": \\"months\\"}"}}]}'
    with LoopbackServer(Always(Raw(body, content_type="application/json"))) as server:
        outcome = asker.ask_one(server, usd_per_million_input=2.5, usd_per_million_output=10.0)
    assert isinstance(outcome, Reply)
    assert outcome.usage == Usage(1, 0, 0, 0, None)
