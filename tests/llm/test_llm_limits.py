"""Calls in flight, waits between attempts, and costs, checked by hand; and what a server with limits has to refuse."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.config import ModelConfig
from autointerp.llm import CallFailure, Journal, Reply, connect
from autointerp.llm.limits.retries import Retries
from autointerp.llm.prices import Prices, prices_of
from autointerp.llm.protocol import RawAnswer
from autointerp.records import Usage
from tests.llm.asking import Asker, Label, label_request
from tests.loopback.server import Always, Call, Http, LoopbackServer, Outcome, Provider, Raw, Say

GOOD = Say('{"label": "months"}')


@pytest.mark.slow
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


class Crowded:
    """An oracle that refuses what is more than it has room for."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.server: LoopbackServer | None = None
        self.refused_at: list[int] = []

    def reply(self, call: Call) -> Outcome:
        assert self.server is not None, "the test names the server"
        if self.server.n_in_flight > self.room:
            self.refused_at.append(call.index)
            return Http(429, kind="rate_limit_error", headers={"Retry-After": "1"})
        return Say('{"label": "months"}')


@pytest.mark.slow
def test_a_crowded_server_refuses_few_calls_and_answers_all(asker: Asker, provider: Provider) -> None:
    oracle = Crowded(room=15)
    with LoopbackServer(oracle, latency_s=0.02) as server:
        oracle.server = server
        requests = [label_request(f"feature {i}") for i in range(600)]
        outcomes = asker.ask(server, *requests, provider=provider, concurrency=200)
        n_calls = len(server.calls)
    assert all(isinstance(outcome, Reply) for outcome in outcomes)
    assert n_calls == 600 + len(oracle.refused_at)
    assert len(oracle.refused_at) <= 90
    assert sum(index > n_calls / 2 for index in oracle.refused_at) <= 30


class Metered:
    """An oracle with a budget of requests that its headers tell; what comes beyond it is refused until the reset."""

    def __init__(self, allowed: int, reset_s: float) -> None:
        self._allowed, self._reset_s = allowed, reset_s
        self._began, self._n = 0.0, 0
        self.n_refused = 0

    def reply(self, call: Call) -> Outcome:
        now = time.monotonic()
        if now >= self._began + self._reset_s:
            self._began, self._n = now, 0
        self._n += 1
        left_s = self._began + self._reset_s - now
        says = {
            "x-ratelimit-remaining-requests": str(max(0, self._allowed - self._n)),
            "x-ratelimit-reset-requests": f"{left_s * 1000 + 5:.0f}ms",
        }
        if self._n > self._allowed:
            self.n_refused += 1
            return Http(429, kind="rate_limit_error", headers={**says, "Retry-After": "0.1"})
        return Say('{"label": "months"}', headers=says)


def test_a_server_that_says_what_remains_is_not_asked_for_more(journal: Journal) -> None:
    oracle = Metered(allowed=20, reset_s=0.5)

    async def run(url: str) -> list[Reply[Label] | CallFailure]:
        config = ModelConfig(model="m", base_url=url, concurrency=10)
        async with connect(config, journal) as model:
            return await asyncio.gather(*(model.ask(label_request(f"feature {i}")) for i in range(60)))

    with LoopbackServer(oracle, latency_s=0.01) as server:
        outcomes = asyncio.run(run(server.openai_url))
    assert all(isinstance(outcome, Reply) for outcome in outcomes)
    assert oracle.n_refused <= 3
