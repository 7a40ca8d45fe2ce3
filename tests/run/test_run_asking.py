"""Many questions at once: none is lost, none holds the others up, and the run stops cleanly."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from autointerp.errors import BudgetError, DiskFullError
from autointerp.run.asking import ask_all


def kept_by(
    chunks: list[list[int]], n_at_once: int, *, batch_size: int = 1000, slow: int | None = None
) -> tuple[list[int], int]:
    """Ask for the double of each number; what was kept, in order, and the most that were under way."""
    kept: list[int] = []
    n_running = most = 0

    async def double(item: int) -> int:
        nonlocal n_running, most
        n_running += 1
        most = max(most, n_running)
        await asyncio.sleep(0.05 if item == slow else 0)
        n_running -= 1
        return 2 * item

    asyncio.run(ask_all(chunks, double, kept.extend, n_at_once=n_at_once, batch_size=batch_size))
    return kept, most


@pytest.mark.parametrize("n_at_once", [1, 3, 100])
@pytest.mark.parametrize("chunks", [[], [[]], [[1]], [[1, 2, 3], [], [4], [5, 6, 7, 8]]], ids=len)
def test_every_question_is_answered_once_and_no_more_are_under_way_than_asked_for(
    chunks: list[list[int]], n_at_once: int
) -> None:
    items = [item for chunk in chunks for item in chunk]
    kept, most = kept_by(chunks, n_at_once)
    assert sorted(kept) == [2 * item for item in items]
    assert most <= n_at_once


def test_results_are_handed_on_in_the_order_of_the_questions() -> None:
    kept, _ = kept_by([[3, 1], [2]], 3, slow=3)
    assert kept == [6, 2, 4]


def test_a_slow_question_does_not_hold_up_the_chunks_behind_it() -> None:
    release = asyncio.Event()
    answered: list[int] = []

    async def ask(item: int) -> int:
        if item == 0:
            await release.wait()
        answered.append(item)
        if len(answered) == 8:
            release.set()
        return item

    chunks = [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    asyncio.run(asyncio.wait_for(ask_all(chunks, ask, lambda _: None, n_at_once=2, batch_size=1), timeout=20))
    assert answered == [1, 2, 3, 4, 5, 6, 7, 8, 0]


def test_a_chunk_is_read_in_another_thread_while_questions_are_under_way() -> None:
    was_asked = threading.Event()

    def chunks() -> Iterator[list[int]]:
        yield [1]
        # Read in the thread that asks, this would wait for what it keeps from happening.
        assert was_asked.wait(timeout=20)
        yield [2]

    async def ask(item: int) -> int:
        await asyncio.sleep(0)
        was_asked.set()
        return item

    kept: list[int] = []
    asyncio.run(ask_all(chunks(), ask, kept.extend, n_at_once=4, batch_size=10))
    assert kept == [1, 2]


def test_when_the_budget_is_used_up_calls_in_flight_are_waited_for_and_kept() -> None:
    async def ask(item: int) -> int:
        if item == 2:
            raise BudgetError("it is used up", "raise it")
        await asyncio.sleep(0.05)
        return item

    kept: list[int] = []
    with pytest.raises(BudgetError, match="used up"):
        asyncio.run(ask_all([[0, 1, 2, 3, 4]], ask, kept.extend, n_at_once=3, batch_size=10))
    assert kept == [0, 1]


def test_on_another_error_what_is_finished_is_kept_and_the_rest_is_broken_off() -> None:
    broken_off = False

    async def ask(item: int) -> int:
        nonlocal broken_off
        if item == 0:
            return item
        if item == 1:
            await asyncio.sleep(0.01)
            raise DiskFullError("no space", "free some")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            broken_off = True
            raise
        return item

    kept: list[int] = []
    with pytest.raises(DiskFullError):
        asyncio.run(ask_all([[0, 1, 2]], ask, kept.extend, n_at_once=3, batch_size=10))
    assert kept == [0]
    assert broken_off


def test_a_chunk_that_can_not_be_read_stops_the_run_with_its_own_error() -> None:
    def chunks() -> Iterator[list[int]]:
        yield [1]
        raise DiskFullError("no space", "free some")

    async def ask(item: int) -> int:
        return item

    with pytest.raises(DiskFullError):
        asyncio.run(ask_all(chunks(), ask, lambda _: None, n_at_once=1, batch_size=1))


def test_results_that_can_not_be_kept_stop_the_run_with_their_own_error() -> None:
    async def ask(item: int) -> int:
        return item

    def keep(results: list[int]) -> None:
        raise DiskFullError("no space", "free some")

    with pytest.raises(DiskFullError):
        asyncio.run(ask_all([[0, 1, 2, 3]], ask, keep, n_at_once=2, batch_size=1))


@pytest.mark.parametrize("refused_first", [False, True], ids=["", "while calls are waited for"])
def test_where_results_can_not_be_kept_calls_in_flight_are_broken_off(refused_first: bool) -> None:
    """Also if the error is none of ours, as the store's own."""
    broken_off = False

    async def ask(item: int) -> int:
        nonlocal broken_off
        if item == 0 and refused_first:
            raise BudgetError("it is used up", "raise it")
        try:
            await asyncio.sleep(60 if item == 2 else 0.05 * item)
        except asyncio.CancelledError:
            broken_off = True
            raise
        return item

    def keep(results: list[int]) -> None:
        raise RuntimeError("the store is gone")

    asked = ask_all([[0, 1, 2]], ask, keep, n_at_once=3, batch_size=1)
    with pytest.raises(BudgetError if refused_first else RuntimeError):
        asyncio.run(asyncio.wait_for(asked, timeout=20))
    assert broken_off


def test_what_is_finished_when_the_run_is_interrupted_is_kept() -> None:
    kept: list[int] = []

    async def ask(item: int) -> int:
        if item == 2:
            await asyncio.sleep(60)
        return item

    async def interrupted() -> None:
        asking = asyncio.create_task(ask_all([[0, 1, 2]], ask, kept.extend, n_at_once=3, batch_size=10))
        await asyncio.sleep(0.2)
        asking.cancel()
        await asking

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupted())
    assert kept == [0, 1]
