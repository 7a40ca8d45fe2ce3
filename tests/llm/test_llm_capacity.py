"""The window of calls in flight, by hand and against servers that are made up."""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.llm.limits.capacity import Capacity, Return


def go_round(capacity: Capacity, now: float, seconds: float = 1.0, n_refused: int = 0) -> float:
    """One full round: the whole window comes back at its end, refusals first."""
    n = capacity.window
    if now == 0.0:
        capacity.begin(0.0)
    for index in range(n):
        capacity.came_back("overload" if index < n_refused else "answer", n, now + seconds)
    return now + seconds


def test_the_window_doubles_while_a_wider_one_brings_more_answers() -> None:
    capacity, now = Capacity(200), 0.0
    widths = []
    for _ in range(7):
        widths.append(capacity.window)
        now = go_round(capacity, now)
    assert widths == [10, 20, 40, 80, 160, 200, 200]


def test_it_never_starts_wider_than_the_config_allows() -> None:
    assert [Capacity(most).window for most in (1, 3, 64)] == [1, 3, 10]


def test_where_calls_only_queue_the_window_goes_back_to_what_the_rate_needs() -> None:
    # A server that does 25 calls a second, each in one second: 10 in 1 s, 20 in 1 s, 40 in 1.6 s.
    capacity, now = Capacity(200), 0.0
    now = go_round(capacity, now)
    now = go_round(capacity, now)
    assert capacity.window == 40
    now = go_round(capacity, now, 1.6)
    assert capacity.window == 40  # the first round may have had connections to open
    now = go_round(capacity, now, 1.6)
    assert capacity.window == 25
    for _ in range(20):
        now = go_round(capacity, now)
        assert capacity.window == 25
    for _ in range(60):  # by and by it is tried whether there is more by now: there is
        now = go_round(capacity, now)
    assert capacity.window > 40


def test_a_slow_first_round_of_a_wider_window_is_not_held_against_it() -> None:
    capacity, now = Capacity(200), 0.0
    now = go_round(capacity, now)
    now = go_round(capacity, now, 3.0)
    assert capacity.window == 20
    go_round(capacity, now, 1.0)
    assert capacity.window == 40


def test_refusals_narrow_the_window_once_a_round_trip_and_it_widens_half_way_to_them() -> None:
    capacity, now = Capacity(200), 0.0
    for _ in range(2):
        now = go_round(capacity, now)
    assert capacity.window == 40
    for n_in_flight in range(40, 35, -1):
        capacity.came_back("overload", n_in_flight, now)
    assert capacity.window == 40
    for n_in_flight in range(35, 0, -1):  # from the sixth on; those that were sent before we knew say nothing more
        capacity.came_back("overload", n_in_flight, now)
        assert capacity.window == 31
    widths = []
    for _ in range(6):
        now = go_round(capacity, now)
        widths.append(capacity.window)
    assert widths == [35, 37, 38, 38, 38, 38]
    for _ in range(20):
        now = go_round(capacity, now)
        assert capacity.window < 40


def test_few_refusals_in_two_rounds_are_no_sign_of_too_much() -> None:
    capacity, now = Capacity(10), 0.0
    for _ in range(2):
        now = go_round(capacity, now)
    now = go_round(capacity, now, n_refused=1)
    now = go_round(capacity, now, n_refused=1)
    assert capacity.window == 10
    now = go_round(capacity, now)
    now = go_round(capacity, now, n_refused=2)
    assert capacity.window == 10
    go_round(capacity, now, n_refused=1)
    assert capacity.window == 9


def test_a_server_that_takes_nothing_is_asked_one_at_a_time_and_regains_its_window_by_doubling() -> None:
    capacity, now = Capacity(64), 0.0
    for _ in range(5):
        now = go_round(capacity, now)
    assert capacity.window == 64
    for _ in range(40):
        n = capacity.window
        for _ in range(n):
            capacity.came_back("overload", n, now)
    assert capacity.window == 1
    widths = []
    for _ in range(7):
        now = go_round(capacity, now)
        widths.append(capacity.window)
    assert widths[:5] == [2, 4, 8, 16, 32]
    assert widths[6] >= 50


def test_a_window_that_is_not_used_does_not_grow() -> None:
    capacity = Capacity(64)
    capacity.begin(0.0)
    for second in range(100):
        capacity.came_back("answer", 3, float(second))
    assert capacity.window == 10


@dataclass
class World:
    """A server on paper: what a call that arrives meets, and how long it takes."""

    serve: Callable[[float, int], tuple[float, Return]]
    now: float = 0.0
    widths: list[int] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    def run(self, capacity: Capacity, n_answers: int) -> float:
        """Ask until there are so many answers; answers a second."""
        flying: list[tuple[float, int, Return]] = []
        n_done = n_sent = 0
        while n_done < n_answers:
            while len(flying) < capacity.window:
                if not flying:
                    capacity.begin(self.now)
                seconds, what = self.serve(self.now, len(flying))
                n_sent += 1
                heapq.heappush(flying, (self.now + seconds, n_sent, what))
            self.now, _, what = flying[0]
            capacity.came_back(what, len(flying), self.now)
            heapq.heappop(flying)
            n_done += what == "answer"
            if what == "overload":
                self.refused.append(self.now)
            self.widths.append(capacity.window)
        return n_answers / self.now


def latency(rng: random.Random) -> float:
    return rng.uniform(0.3, 1.7)


@pytest.mark.parametrize("room", [1, 3, 20, 75])
def test_a_server_that_refuses_is_used_to_its_capacity_and_hardly_ever_refuses_then(room: int) -> None:
    rng = random.Random(room)
    world = World(lambda _, n: (latency(rng), "answer") if n < room else (0.01, "overload"))
    rate = world.run(Capacity(200), 100 * room)
    assert rate > 0.85 * room
    refused_later = sum(moment > world.now / 2 for moment in world.refused)
    assert refused_later <= 0.02 * 50 * room + 2


@pytest.mark.parametrize("room", [20, 75])
def test_a_server_that_queues_is_used_to_its_capacity_and_not_pushed_far_beyond(room: int) -> None:
    rng = random.Random(room)
    free = [0.0] * room

    def serve(now: float, _: int) -> tuple[float, Return]:
        end = max(now, heapq.heappop(free)) + latency(rng)
        heapq.heappush(free, end)
        return end - now, "answer"

    world = World(serve)
    assert world.run(Capacity(1000), 100 * room) > 0.9 * room
    assert sum(world.widths) / len(world.widths) < 2.5 * room


def test_refusals_at_random_do_not_stop_the_work() -> None:
    rng = random.Random(1)
    world = World(lambda *_: (latency(rng), "answer") if rng.random() > 0.04 else (0.01, "overload"))
    assert world.run(Capacity(64), 3000) > 7


def test_after_a_minute_without_a_server_the_old_width_is_soon_reached_again() -> None:
    rng = random.Random(1)
    world = World(lambda now, _: (latency(rng), "answer") if not 20 < now < 80 else (0.5, "overload"))
    capacity = Capacity(64)
    world.run(capacity, 3000)
    assert capacity.window >= 60
    assert world.now < 120  # 3,000 s of work at 64 a second, and the minute, are 107 s
    assert min(world.widths) == 1


@given(st.integers(1, 100), st.lists(st.tuples(st.sampled_from(["answer", "overload", "other"]), st.floats(0, 2))))
def test_the_window_stays_between_one_and_what_the_config_says(most: int, events: list[tuple[Return, float]]) -> None:
    capacity, now = Capacity(most), 0.0
    capacity.begin(now)
    for what, seconds in events:
        now += seconds
        capacity.came_back(what, capacity.window, now)
        assert 1 <= capacity.window <= most
