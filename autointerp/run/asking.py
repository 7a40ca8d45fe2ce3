"""Carrying out many independent, partly paid questions: bounded in number, kept in time, stopped cleanly.

Results are handed on in batches, in the order of the questions, so that the store is written in few transactions. When
the run must stop (a refused key, a full disk, an interrupt), what has been answered is handed on first.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_BATCH_SECONDS = 2.0


async def ask_all(
    items: Sequence[_Item],
    ask: Callable[[_Item], Awaitable[_Result]],
    keep: Callable[[list[_Result]], None],
    *,
    n_at_once: int,
    batch_size: int,
) -> None:
    """Ask about every item, at most `n_at_once` at a time, and keep the results batch by batch.

    Args:
        items: What to ask about.
        ask: Gives one result an item. An exception stops the whole, after what is finished has been kept.
        keep: Stores results; called with at most what has finished since, every two seconds or `batch_size` results.
        n_at_once: Questions under way together.
        batch_size: Results that are worth a transaction.

    Raises:
        Exception: The first that `ask` raised.
    """
    waiting = iter(items)
    running: dict[asyncio.Task[_Result], int] = {}
    finished: dict[int, _Result] = {}
    n_started = 0
    last_kept = time.monotonic()
    error: BaseException | None = None

    def hand_on() -> None:
        nonlocal last_kept
        if finished:
            keep([finished.pop(number) for number in sorted(finished)])
        last_kept = time.monotonic()

    try:
        while error is None:
            for item in islice(waiting, n_at_once - len(running)):
                running[asyncio.ensure_future(ask(item))] = n_started
                n_started += 1
            if not running:
                break
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                number = running.pop(task)
                if task.exception() is None:
                    finished[number] = task.result()
                else:
                    error = error or task.exception()
            if len(finished) >= batch_size or time.monotonic() - last_kept >= _BATCH_SECONDS:
                hand_on()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        hand_on()
    if error is not None:
        raise error
