"""Running a coroutine to its end wherever that is asked for: in a notebook too, whose thread runs a loop already."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from contextvars import copy_context
from typing import Any, TypeVar

_T = TypeVar("_T")


def run_to_end(main: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine in an event loop of its own, and wait for what it returns.

    Where this thread runs a loop already (a notebook, an async application), that loop stands still meanwhile, as it
    does during any call, and the coroutine runs in another thread. Ctrl-C ends it there as it ends `asyncio.run`: it is
    cancelled, what it has open is closed, and then KeyboardInterrupt is raised here.

    Args:
        main: What to run; what it raises is raised here.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(main)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="autointerp") as executor:
        begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = Future()
        ended = executor.submit(copy_context().run, asyncio.run, _tell(begun, main))
        try:
            return ended.result()
        except KeyboardInterrupt:
            either: tuple[Future[Any], ...] = (begun, ended)
            wait(either, return_when=FIRST_COMPLETED)
            if begun.done():
                loop, task = begun.result()
                with suppress(RuntimeError):  # it has ended in this very moment
                    loop.call_soon_threadsafe(task.cancel)
            raise


async def _tell(
    begun: "Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]]", main: Coroutine[Any, Any, _T]
) -> _T:
    task = asyncio.current_task()
    assert task is not None, "asyncio.run makes a task of it"
    begun.set_result((asyncio.get_running_loop(), task))
    return await main
