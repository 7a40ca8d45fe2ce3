"""Carrying out many independent, partly paid questions: bounded in number, kept in time, stopped cleanly.

The questions come in chunks, the next of which is read in a thread while earlier ones are under way: neither the
slowest question of a chunk nor the reading holds the others up. Results are handed on in batches, in the order of the
questions, so that the store is written in few transactions. When the run must stop (a refused key, a budget that is
used up, a full disk, an interrupt), what has been answered is handed on first; where only the language model says no,
the calls in flight, which are paid for, are waited for too.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Generic, TypeVar

from autointerp.errors import AutointerpError, LanguageModelError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_BATCH_SECONDS = 2.0
# Longer than a call takes that was sent before the run had to stop.
_GRACE_S = 120.0


async def ask_all(
    chunks: Iterable[Sequence[_Item]],
    ask: Callable[[_Item], Awaitable[_Result]],
    keep: Callable[[list[_Result]], None],
    *,
    n_at_once: int,
    batch_size: int,
) -> None:
    """Ask about every item, at most `n_at_once` at a time, and keep the results batch by batch.

    Args:
        chunks: What to ask about; taken one chunk ahead, in another thread.
        ask: Gives one result an item. An exception stops the whole, after what is finished has been kept.
        keep: Stores results; called with at most what has finished since, every two seconds or `batch_size` results.
        n_at_once: Questions under way together.
        batch_size: Results that are worth a transaction.

    Raises:
        Exception: The first that `ask`, `keep` or the reading of a chunk raised.
    """
    results = _Results(keep, batch_size)
    room = asyncio.Semaphore(n_at_once)
    running: set[asyncio.Task[None]] = set()
    errors: list[BaseException] = []
    n_asked = 0

    async def ask_one(number: int, item: _Item) -> None:
        results.add(number, await ask(item))

    def end(task: asyncio.Task[None]) -> None:
        running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            errors.append(error)
        room.release()

    try:
        async with aclosing(_read_ahead(chunks, n_at_once)) as items:
            async for item in items:
                await room.acquire()
                if errors:
                    break
                task = asyncio.create_task(ask_one(n_asked, item))
                n_asked += 1
                running.add(task)
                task.add_done_callback(end)
        if running and not errors:
            await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
        if running and _spares_other_calls(errors[0]):
            await _await_in_flight(running, results)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        results.hand_on()
    if errors:
        raise errors[0]


def _spares_other_calls(error: BaseException) -> bool:
    """Whether the calls in flight, which are paid for, can still end."""
    # What is no error of ours is of one call only; what is, of disk or store, meets the others too.
    return isinstance(error, LanguageModelError) or not isinstance(error, AutointerpError)


async def _await_in_flight(running: set[asyncio.Task[None]], results: "_Results[_Result]") -> None:
    """Let calls end for as long as they can and their answers can be kept."""
    end = time.monotonic() + _GRACE_S
    while running and results.were_kept and (left := end - time.monotonic()) > 0:
        await asyncio.wait(running, timeout=left, return_when=asyncio.FIRST_COMPLETED)


async def _read_ahead(chunks: Iterable[Sequence[_Item]], n_left: int) -> AsyncGenerator[_Item]:
    """The items of all chunks; while the last `n_left` of one are taken, the next is read in a thread."""
    remaining = iter(chunks)

    def read() -> asyncio.Task[Sequence[_Item] | None]:
        return asyncio.create_task(asyncio.to_thread(next, remaining, None))

    reading = read()
    try:
        while (chunk := await asyncio.shield(reading)) is not None:
            first_of_last = max(0, len(chunk) - n_left)
            for item in chunk[:first_of_last]:
                yield item
            reading = read()
            for item in chunk[first_of_last:]:
                yield item
    finally:
        await asyncio.gather(reading, return_exceptions=True)  # a thread can't be broken off


class _Results(Generic[_Result]):
    """Results that wait for their transaction."""

    def __init__(self, keep: Callable[[list[_Result]], None], batch_size: int) -> None:
        self._keep = keep
        self._batch_size = batch_size
        self._finished: dict[int, _Result] = {}
        self._last_kept = time.monotonic()
        self._n_handed_on = 0
        self._n_kept = 0

    @property
    def were_kept(self) -> bool:
        """Whether all that were handed on could be kept."""
        return self._n_kept == self._n_handed_on

    def add(self, number: int, result: _Result) -> None:
        """Take the result of the question with this number; hand all on if it is time."""
        self._finished[number] = result
        if len(self._finished) >= self._batch_size or time.monotonic() - self._last_kept >= _BATCH_SECONDS:
            self.hand_on()

    def hand_on(self) -> None:
        """Hand on what there is, in the order of the questions."""
        finished, self._finished = self._finished, {}
        if finished:
            self._n_handed_on += len(finished)
            self._keep([finished[number] for number in sorted(finished)])
            self._n_kept += len(finished)
        self._last_kept = time.monotonic()
