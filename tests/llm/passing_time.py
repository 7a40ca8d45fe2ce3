"""Time that passes only when a test says so."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from autointerp.llm.limits.clock import Clock

_T = TypeVar("_T")


class PassingTime:
    """A clock to wait by, and to set forward."""

    def __init__(self) -> None:
        self.now = 0.0
        self.clock = Clock(self._sleep, lambda: self.now)
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    @property
    def n_sleepers(self) -> int:
        return len(self._sleepers)

    async def _sleep(self, seconds: float) -> None:
        sleeper = self.now + seconds, asyncio.get_running_loop().create_future()
        self._sleepers.append(sleeper)
        try:
            await sleeper[1]
        finally:
            self._sleepers.remove(sleeper)

    async def passes(self, seconds: float = 0.0) -> None:
        """Set the clock forward, waking whoever waits for a moment on the way."""
        end = self.now + seconds
        await settle()
        while self._sleepers and min(self._sleepers, key=lambda s: s[0])[0] <= end:
            moment, sleeping = min(self._sleepers, key=lambda s: s[0])
            self.now = max(self.now, moment)
            sleeping.set_result(None)
            await settle()
        self.now = end

    async def until_done(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Let time pass until some work is done; it must not wait for anything but this clock."""
        task = asyncio.ensure_future(work)
        await settle()
        while not task.done():
            assert self._sleepers, "nothing will ever wake it"
            await self.passes(min(moment for moment, _ in self._sleepers) - self.now)
        return task.result()


async def settle() -> None:
    """Let everybody go on who can."""
    for _ in range(10):
        await asyncio.sleep(0)
