"""How many calls are in flight to one server."""

import asyncio

from autointerp.config import ModelConfig
from autointerp.llm.protocol import Sent
from autointerp.llm.retries import Sleep


class Gate:
    """Lets attempts through to one server.

    Args:
        config: Its limits.
        sleep: How to wait.
    """

    def __init__(self, config: ModelConfig, sleep: Sleep = asyncio.sleep) -> None:
        self._places = asyncio.Semaphore(config.concurrency)
        self._n_in_flight = 0
        self._sleep = sleep

    @property
    def n_in_flight(self) -> int:
        """Attempts under way."""
        return self._n_in_flight

    async def enter(self, n_tokens: float) -> None:
        """Wait until an attempt may be sent.

        Args:
            n_tokens: Input and output tokens to be expected of it.
        """
        await self._places.acquire()
        self._n_in_flight += 1

    def leave(self, n_tokens: float, sent: Sent | None) -> None:
        """Give the place back.

        Args:
            n_tokens: As given to `enter`.
            sent: What came of the attempt; None if it was broken off.
        """
        self._n_in_flight -= 1
        self._places.release()
