"""Requests that gather until they make a batch: it is full, or nobody has asked for a moment."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autointerp.llm.batch.ledger import BatchedCall
from autointerp.llm.batch.poller import Poller
from autointerp.llm.limits.retries import Sleep
from autointerp.llm.protocol import RawAnswer, Repair, Request, Trouble

if TYPE_CHECKING:
    from autointerp.llm.batch.sdk import SdkBatches

_IDLE_S = 1.0
_SHARE_OF_THE_BYTES = 0.95


@dataclass(slots=True, eq=False)
class Asked:
    """A request that somebody waits for.

    Attributes:
        key: The request's.
        request: What is asked.
        repair: The second turn, if this is one.
        call: Its size and its most, for the ledger.
        told: What it came to.
        n_attempts: Batches that have held it and brought no answer.
    """

    key: str
    request: Request[Any]
    repair: Repair | None
    call: BatchedCall
    told: "asyncio.Future[RawAnswer | Trouble]"
    n_attempts: int = 0


class Gathering:
    """Requests on their way into batches, in order.

    Args:
        service: The provider's batch endpoint, which writes the lines and bounds their bytes.
        poller: Knows how many requests a batch may hold, and in which form they are asked.
        sleep: How to wait.
    """

    def __init__(self, service: "SdkBatches[Any]", poller: Poller, sleep: Sleep) -> None:
        self._service = service
        self._poller = poller
        self._sleep = sleep
        self._gathered: deque[Asked] = deque()
        self._n_gathered = 0
        self._has_gathered = asyncio.Event()

    def add(self, calls: Sequence[Asked]) -> None:
        """Put requests into the next batch that has room."""
        self._gathered.extend(calls)
        self._n_gathered += len(calls)
        if calls:
            self._has_gathered.set()

    async def next_batch(self) -> tuple[dict[str, BatchedCall], list[bytes]]:
        """Wait until a batch is full, or nobody has asked for a moment, and take it.

        Returns:
            The calls by key, and the line of each; empty if nobody waits for any of them any more.
        """
        await self._has_gathered.wait()
        n_before = -1
        while len(self._gathered) < self._poller.most_requests and n_before != self._n_gathered:
            n_before = self._n_gathered
            await self._sleep(_IDLE_S)
        packed = self._pack()
        if not self._gathered:
            self._has_gathered.clear()
        return packed

    def _pack(self) -> tuple[dict[str, BatchedCall], list[bytes]]:
        """Take the next batch from what has gathered, in order; what nobody waits for any more is dropped.

        Returns:
            The calls by key, and the line of each.
        """
        calls: dict[str, BatchedCall] = {}
        lines: list[bytes] = []
        n_bytes = 0
        while self._gathered and len(calls) < self._poller.most_requests:
            asked = self._gathered.popleft()
            if asked.told.done():
                continue
            line = self._service.line(asked.key, asked.request, asked.repair, self._poller.learned.manner)
            n_bytes += len(line) + 1
            if calls and n_bytes > _SHARE_OF_THE_BYTES * self._service.most_bytes:
                self._gathered.appendleft(asked)
                break
            calls[asked.key] = asked.call
            lines.append(line)
        return calls, lines
