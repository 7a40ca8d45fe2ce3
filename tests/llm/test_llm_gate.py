"""The gate to one server, with a clock that a test sets forward: who goes when, and who never waits."""

import asyncio
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.config import ModelConfig
from autointerp.llm.limits.gate import Gate
from autointerp.llm.protocol import Allowance, RawAnswer, Sent, ServerLimits, Trouble
from tests.llm.passing_time import PassingTime, settle

ANSWERED = Sent(RawAnswer("", "complete", "m", 90, 0, 10))


def refused(retry_after_s: float | None = None) -> Sent:
    return Sent(Trouble("RateLimited", "HTTP 429", None, True, retry_after_s, is_overload=True))


def answered(n_input: int = 90, n_output: int = 10, **limits: Allowance) -> Sent:
    return Sent(RawAnswer("", "complete", "m", n_input, 0, n_output), ServerLimits(**limits))


@dataclass
class Door:
    """A gate, and a note of who went through it when."""

    hours: PassingTime
    gate: Gate
    went: list[tuple[str, float]] = field(default_factory=list)
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def queue(self, *names: str, n_tokens: float = 100.0) -> None:
        for name in names:
            self.tasks[name] = asyncio.create_task(self._enter(name, n_tokens))

    async def _enter(self, name: str, n_tokens: float) -> None:
        await self.gate.enter(n_tokens)
        self.went.append((name, round(self.hours.now, 3)))

    @property
    def names(self) -> str:
        return "".join(name for name, _ in self.went)


def door(**config: Any) -> Door:
    hours = PassingTime()
    return Door(hours, Gate(ModelConfig(**{"concurrency": 10, **config}), hours.clock))


def test_whoever_comes_first_goes_first_and_nobody_beyond_the_width() -> None:
    async def run() -> None:
        at = door(concurrency=2)
        at.queue(*"abcde")
        await settle()
        assert (at.names, at.gate.n_in_flight) == ("ab", 2)
        at.gate.leave(100, ANSWERED)
        await settle()
        assert at.names == "abc"
        at.gate.leave(100, ANSWERED)
        at.gate.leave(100, None)
        await settle()
        assert (at.names, at.gate.n_in_flight) == ("abcde", 2)

    asyncio.run(run())


def test_requests_by_the_minute_are_spread_over_the_minute() -> None:
    async def run() -> None:
        at = door(requests_per_minute=120)
        at.queue(*"abcdef")
        await at.hours.passes(10)
        assert at.went == [("a", 0.0), ("b", 0.0), ("c", 0.5), ("d", 1.0), ("e", 1.5), ("f", 2.0)]
        assert at.hours.n_sleepers == 0

    asyncio.run(run())


def test_tokens_by_the_minute_are_counted_as_expected_and_corrected_by_what_was_used() -> None:
    async def run() -> None:
        at = door(tokens_per_minute=6000)  # 100 a second
        at.queue(*"abc", n_tokens=200)
        await at.hours.passes(0)
        assert at.names == "a"  # larger than a second's worth: it overdraws by 100
        await at.hours.passes(1.9)
        assert at.names == "a"
        at.gate.leave(200, answered(90, 10))  # it took 100 less, which come back
        await at.hours.passes(0)
        assert at.names == "ab"
        at.gate.leave(200, answered(900, 100))  # it took 800 more
        await at.hours.passes(9.5)
        assert at.names == "ab"
        await at.hours.passes(1)
        assert at.names == "abc"

    asyncio.run(run())


def test_what_a_server_does_not_count_stays_as_it_was_expected() -> None:
    async def run() -> None:
        at = door(tokens_per_minute=6000)
        at.queue(*"ab", n_tokens=200)
        await settle()
        at.gate.leave(200, answered(0, 0))
        await at.hours.passes(1.9)
        assert at.names == "a"
        await at.hours.passes(0.2)
        assert at.names == "ab"

    asyncio.run(run())


def test_retry_after_stops_everybody_until_then_and_keeps_the_line() -> None:
    async def run() -> None:
        at = door(concurrency=3)
        at.queue(*"abc")
        await settle()
        at.queue(*"def")
        at.gate.leave(100, refused(20.0))
        at.gate.leave(100, ANSWERED)
        at.gate.leave(100, refused(5.0))  # asks for less: the longer one holds
        await at.hours.passes(19.9)
        assert at.names == "abc"
        assert at.hours.n_sleepers == 1
        await at.hours.passes(0.2)
        assert at.went[3:] == [("d", 20.0), ("e", 20.0), ("f", 20.0)][: len(at.went) - 3]
        assert len(at.went) > 3

    asyncio.run(run())


def test_a_server_that_asks_for_longer_than_a_call_waits_stops_nobody_else() -> None:
    async def run() -> None:
        at = door(concurrency=1)
        at.queue("a")
        await settle()
        at.queue("b")
        at.gate.leave(100, refused(7200.0))
        await settle()
        assert at.names == "ab"

    asyncio.run(run())


def test_a_slow_call_does_not_hold_the_others_up() -> None:
    async def run() -> None:
        at = door(concurrency=2)
        at.queue("s")  # never comes back
        for name in "abcdefgh":
            at.queue(name)
            await at.hours.passes(1)
            at.gate.leave(100, ANSWERED)
        assert at.names == "sabcdefgh"

    asyncio.run(run())


def test_what_the_headers_say_remains_is_not_passed_by_what_is_in_flight_until_it_is_reset() -> None:
    async def run() -> None:
        at = door()
        at.queue("a")
        await settle()
        at.gate.leave(100, answered(requests=Allowance(None, 2, 30.0)))
        at.queue(*"bcde")
        await at.hours.passes(29.9)
        assert at.names == "abc"
        await at.hours.passes(0.2)
        assert at.went[3:] == [("d", 30.0), ("e", 30.0)]

    asyncio.run(run())


def test_none_remaining_stops_everybody_until_a_newer_answer_says_otherwise() -> None:
    async def run() -> None:
        at = door()
        at.queue(*"ab")
        await settle()
        at.gate.leave(100, answered(tokens=Allowance(None, 0, 45.0)))
        at.queue(*"cd")
        await at.hours.passes(10)
        assert at.names == "ab"
        at.gate.leave(100, answered(tokens=Allowance(None, 150, 45.0)))
        await settle()
        assert at.names == "abc"
        await at.hours.passes(46)
        assert at.names == "abcd"
        assert at.hours.n_sleepers == 0

    asyncio.run(run())


def test_a_limit_by_the_day_is_looked_at_again_after_a_minute() -> None:
    async def run() -> None:
        at = door()
        at.queue("a")
        await settle()
        at.gate.leave(100, answered(requests=Allowance(None, 0, 80_000.0)))
        at.queue("b")
        await at.hours.passes(61)
        assert at.went == [("a", 0.0), ("b", 60.0)]

    asyncio.run(run())


def test_output_tokens_are_limited_by_the_share_of_output_in_the_answers() -> None:
    async def run() -> None:
        at = door()
        at.queue("a", n_tokens=1000)
        await settle()
        # One token in ten is output: 25 left are enough for two calls of 100 tokens, not for three.
        at.gate.leave(1000, answered(900, 100, output_tokens=Allowance(None, 25, 30.0)))
        at.queue(*"bcd")
        await settle()
        assert at.names == "abc"
        await at.hours.passes(31)
        assert at.names == "abcd"

    asyncio.run(run())


def test_a_rate_learnt_from_headers_spreads_what_remains_over_a_minute() -> None:
    async def run() -> None:
        at = door(concurrency=1)
        at.queue("a")
        await settle()
        at.gate.leave(100, answered(requests=Allowance(60, 60, 0.0)))
        # 60 a minute and 60 that remain: two a second, for as long as the server says so.
        for name in "bcde":
            at.queue(name)
            await at.hours.passes(3)
            at.gate.leave(100, ANSWERED)
        assert at.names == "abcde"
        at.queue(*"fgh")
        await settle()
        at.gate.leave(100, answered(requests=Allowance(60, 0, 60.0)))
        await at.hours.passes(59)
        assert at.names == "abcdef"

    asyncio.run(run())


def test_a_limit_from_the_config_is_not_widened_by_the_servers_headers() -> None:
    async def run() -> None:
        at = door(requests_per_minute=60)
        at.queue("a")
        await settle()
        at.gate.leave(100, answered(requests=Allowance(60_000, 60_000, 0.0)))
        at.queue(*"bc")
        await at.hours.passes(5)
        assert at.went == [("a", 0.0), ("b", 1.0), ("c", 2.0)]

    asyncio.run(run())


def test_who_is_cancelled_in_line_lets_the_next_go_and_leaves_no_timer() -> None:
    async def run() -> None:
        at = door(requests_per_minute=60)
        at.queue(*"abc")
        await settle()
        at.tasks["b"].cancel()
        await at.hours.passes(1)
        assert at.went == [("a", 0.0), ("c", 1.0)]
        at.queue("d")
        await settle()
        assert at.hours.n_sleepers == 1
        at.tasks["d"].cancel()
        await settle()
        assert (at.hours.n_sleepers, at.gate.n_in_flight) == (0, 2)

    asyncio.run(run())


def test_who_is_cancelled_just_as_it_is_let_in_gives_place_and_tokens_back() -> None:
    async def run() -> None:
        at = door(concurrency=1, tokens_per_minute=6000)
        at.queue("a", n_tokens=10)
        await settle()
        at.queue(*"bc", n_tokens=90)
        await settle()
        at.gate.leave(10, None)  # b is let in, and cancelled before it could go on
        at.tasks["b"].cancel()
        await at.hours.passes(0)
        assert at.names == "ac"
        assert at.gate.n_in_flight == 1

    asyncio.run(run())


def test_who_is_cancelled_just_as_it_is_let_in_gives_its_request_of_the_minute_back() -> None:
    async def run() -> None:
        at = door(concurrency=1, requests_per_minute=60)
        at.queue("a")
        await at.hours.passes(1)
        at.queue(*"bc")
        await settle()
        at.gate.leave(100, None)  # b is let in with the second's request, and cancelled before it could go on
        at.tasks["b"].cancel()
        await settle()
        assert at.went == [("a", 0.0), ("c", 1.0)]

    asyncio.run(run())


def test_an_open_gate_lets_everybody_learn_that_the_run_has_stopped() -> None:
    async def run() -> None:
        at = door(concurrency=1, requests_per_minute=1)
        at.queue(*"abcd")
        await settle()
        assert at.names == "a"
        at.gate.open()
        await settle()
        assert at.names == "abcd"
        assert at.hours.n_sleepers == 0

    asyncio.run(run())


@settings(max_examples=60, deadline=None)
@given(
    per_minute=st.integers(1, 300),
    concurrency=st.integers(1, 20),
    calls=st.lists(st.tuples(st.floats(0, 5), st.floats(0, 30), st.booleans()), min_size=1, max_size=40),
)
def test_everybody_is_served_within_the_limits_and_whoever_gives_up_leaves_nothing_behind(
    per_minute: int, concurrency: int, calls: list[tuple[float, float, bool]]
) -> None:
    went: list[float] = []
    served: set[int] = set()
    most = 0

    async def run() -> int:
        hours = PassingTime()
        gate = Gate(ModelConfig(concurrency=concurrency, requests_per_minute=per_minute), hours.clock)

        async def call(index: int, arrives: float, lasts: float) -> None:
            nonlocal most
            await hours.clock.sleep(arrives)
            await gate.enter(100)
            went.append(hours.now)
            most = max(most, gate.n_in_flight)
            sent: Sent | None = None
            try:
                await hours.clock.sleep(lasts)
                sent = ANSWERED
                served.add(index)
            finally:
                gate.leave(100, sent)

        async def all_calls() -> None:
            tasks = [asyncio.ensure_future(call(i, arrives, lasts)) for i, (arrives, lasts, _) in enumerate(calls)]
            await hours.clock.sleep(3)
            for task, (_, _, gives_up) in zip(tasks, calls, strict=True):
                if gives_up:
                    task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        await hours.until_done(all_calls())
        return gate.n_in_flight + hours.n_sleepers

    assert asyncio.run(run()) == 0
    assert served >= {i for i, (_, _, gives_up) in enumerate(calls) if not gives_up}
    assert most <= concurrency
    burst = max(1.0, per_minute / 60)
    for start in went:
        assert sum(start <= moment < start + 60 for moment in went) <= per_minute + burst + 1e-3
    assert all(one <= other for one, other in pairwise(went))
