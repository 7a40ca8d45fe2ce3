"""Time as it passes for those who wait."""

import asyncio
import time
from collections.abc import Callable

from autointerp.llm.limits.retries import Sleep


class Clock:
    """Tells the time and sleeps.

    After `sleep(d)` at least d seconds have passed on this clock, also where the sleep that was given returns sooner:
    a test need not wait, and whoever waits for a moment does not wait for ever.

    Args:
        sleep: How to wait.
        seconds: The time that passes by itself.
    """

    def __init__(self, sleep: Sleep = asyncio.sleep, seconds: Callable[[], float] = time.monotonic) -> None:
        self._sleep = sleep
        self._seconds = seconds
        self._skipped = 0.0

    def now(self) -> float:
        """Seconds since some moment."""
        return self._seconds() + self._skipped

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        end = self.now() + seconds
        await self._sleep(seconds)
        self._skipped += max(0.0, end - self.now())
