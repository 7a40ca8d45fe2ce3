"""The end of a run's calls, for all of its language models together."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from autointerp.errors import AutointerpError

_Result = TypeVar("_Result")


class Stop:
    """Set once, by the first model that learns that no further call can succeed or may be paid; for one event loop."""

    def __init__(self) -> None:
        self._error: AutointerpError | None = None
        self._event = asyncio.Event()

    def set(self, error: AutointerpError) -> None:
        """Stop; the first error counts."""
        self._error = self._error or error
        self._event.set()

    def check(self) -> None:
        """Raise the error anew, if the run is to stop.

        Raises:
            AutointerpError: The one that was set.
        """
        if self._error is not None:
            raise type(self._error)(self._error.problem, self._error.remedy)

    async def unless(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Wait for something, or until the run stops.

        Raises:
            AutointerpError: The one that was set, if it was first.
        """
        working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(self._event.wait())
        try:
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
        finally:
            stopping.cancel()
            if not working.done():
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)
        self.check()
        raise AssertionError("one of the two has ended")
