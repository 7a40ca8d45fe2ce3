"""From requests that have gathered to the next batch."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any

from autointerp.llm.batch.intake import Fetched
from autointerp.llm.batch.ledger import LedgerCall
from autointerp.llm.batch.service import BatchService
from autointerp.llm.protocol import Repair, Request, Trouble

_SHARE_OF_THE_BYTES = 0.95


@dataclass(slots=True, eq=False)
class Asked:
    """A request that somebody waits for.

    Attributes:
        key: The request's.
        request: What is asked.
        repair: The second turn, if this is one.
        call: Its size and its most, for the ledger.
        asked_at: Unix time at which the journal had no answer.
        told: What it came to.
        n_attempts: Batches that have held it and brought no answer.
    """

    key: str
    request: Request[Any]
    repair: Repair | None
    call: LedgerCall
    asked_at: float
    told: "asyncio.Future[Fetched | Trouble]"
    n_attempts: int = 0


def pack(
    gathered: deque[Asked], service: BatchService, most_requests: int, *, structured: bool
) -> tuple[list[Asked], dict[str, bytes]]:
    """Take the next batch from what has gathered, in order; what nobody waits for any more is dropped.

    Args:
        gathered: What waits; shortened by what is taken.
        service: The batch endpoint, with its limits.
        most_requests: In the batch.
        structured: Whether the answers' schema is sent along.

    Returns:
        The requests, and the line of each by key.
    """
    calls: list[Asked] = []
    lines: dict[str, bytes] = {}
    n_bytes = 0
    while gathered and len(calls) < most_requests:
        asked = gathered.popleft()
        if asked.told.done():
            continue
        line = service.line(asked.key, asked.request, asked.repair, structured=structured)
        n_bytes += len(line) + 1
        if calls and n_bytes > _SHARE_OF_THE_BYTES * service.most_bytes:
            gathered.appendleft(asked)
            break
        calls.append(asked)
        lines[asked.key] = line
    return calls, lines
