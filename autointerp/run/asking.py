"""Carrying out many independent, partly paid questions: bounded in number, kept in time, stopped cleanly.

The questions come in chunks, the next of which is read in a thread while earlier ones are under way: neither the
slowest question of a chunk nor the reading holds the others up. Results are handed on in batches, in the order of the
questions, so that the store is written in few transactions. When the run must stop (a refused key, a budget that is
used up, a full disk, an interrupt), what has been answered is handed on first; where only the language model says no,
the calls in flight, which are paid for, are waited for too.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

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
        Exception: The first that `ask` or the reading of a chunk raised.
    """
    source = iter(chunks)
    waiting: deque[_Item] = deque()
    running: dict[asyncio.Task[_Result], int] = {}
    ended: deque[asyncio.Task[_Result]] = deque()
    finished: dict[int, _Result] = {}
    reading: asyncio.Task[Sequence[_Item] | None] | None = None
    happened = asyncio.Event()
    is_read, n_started, last_kept = False, 0, time.monotonic()
    error: BaseException | None = None

    def hand_on() -> None:
        nonlocal last_kept
        if finished:
            keep([finished.pop(number) for number in sorted(finished)])
        last_kept = time.monotonic()

    def take(task: asyncio.Task[_Result]) -> None:
        nonlocal error
        number = running.pop(task)
        if task.cancelled():
            return
        if task.exception() is None:
            finished[number] = task.result()
        else:
            error = error or task.exception()

    def note_end(task: asyncio.Task[_Result]) -> None:
        ended.append(task)
        happened.set()

    async def read() -> Sequence[_Item] | None:
        return await asyncio.to_thread(next, source, None)

    async def ask_one(item: _Item) -> _Result:
        return await ask(item)

    try:
        while error is None:
            while waiting and len(running) < n_at_once:
                task = asyncio.create_task(ask_one(waiting.popleft()))
                task.add_done_callback(note_end)
                running[task], n_started = n_started, n_started + 1
            if reading is None and not is_read and len(waiting) < n_at_once:
                reading = asyncio.create_task(read())
                reading.add_done_callback(lambda _: happened.set())
            if not running and reading is None:
                break
            await happened.wait()
            happened.clear()
            while ended:
                take(ended.popleft())
            if reading is not None and reading.done():
                chunk, reading = reading.result(), None
                waiting.extend(chunk or ())
                is_read = chunk is None
            if len(finished) >= batch_size or time.monotonic() - last_kept >= _BATCH_SECONDS:
                hand_on()
        # What is no error of ours is of one call only; what is, of disk or store, leaves nowhere to keep answers.
        if (isinstance(error, LanguageModelError) or not isinstance(error, AutointerpError)) and running:
            await asyncio.wait(running, timeout=_GRACE_S)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, *([reading] if reading else []), return_exceptions=True)
        for task in list(running):
            take(task)
        hand_on()
    if error is not None:
        raise error
