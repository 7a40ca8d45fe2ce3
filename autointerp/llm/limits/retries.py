"""When to ask again, and after how long.

The wait before attempt n + 1 is `first_delay_s * 2^(n-1)`, at most `longest_delay_s`, times a factor in [1/2, 1] that
a keyed hash of the request and the attempt gives: spread over requests, and the same in every run. Where the server
says how long to wait, that is the least.

A call is given up after `max_attempts`. An attempt that a server turned away because it is overloaded or out of reach
says nothing about the call: it does not count, and is repeated for `patience_s`.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from itertools import count

from autointerp.identity import hash_key
from autointerp.llm.protocol import RawAnswer, Trouble

_LOG = logging.getLogger(__name__)
# Past any longest wait, and far from where a float ends.
_MOST_DOUBLINGS = 60
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Retries:
    """How attempts follow each other.

    Attributes:
        max_attempts: Attempts of one call, the first included, those that an overloaded server turned away apart.
        first_delay_s: Wait after the first attempt, before the factor.
        longest_delay_s: Longest wait of our own choosing.
        patience_s: Sum of the waits for an overloaded server; a server that asks for more than is left ends the call.
    """

    max_attempts: int
    first_delay_s: float = 0.5
    longest_delay_s: float = 30.0
    patience_s: float = 600.0

    def delay_s(self, attempt: int, key: str, retry_after_s: float | None) -> float:
        """Wait after an attempt that failed.

        Args:
            attempt: Its number, from 1.
            key: The request's key.
            retry_after_s: What the server asked for.
        """
        factor = 0.5 + hash_key(attempt, "retry", key) / 2**65
        own = min(self.longest_delay_s, self.first_delay_s * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS)) * factor
        return max(own, retry_after_s or 0.0)


async def with_retries(
    attempt: Callable[[], Awaitable[RawAnswer | Trouble]], key: str, retries: Retries, sleep: Sleep
) -> RawAnswer | Trouble:
    """Attempt until there is an answer, trouble that no repetition mends, or no attempt left."""
    n_counted, waited_s = 0, 0.0
    for number in count(1):
        outcome = await attempt()
        if isinstance(outcome, RawAnswer) or not outcome.retriable:
            return outcome
        n_counted += not outcome.is_overload
        delay_s = retries.delay_s(number, key, outcome.retry_after_s)
        asked = f"; the server asks to wait {outcome.retry_after_s:.0f} s" if outcome.retry_after_s else ""
        if n_counted == retries.max_attempts or waited_s + delay_s > retries.patience_s:
            plural = "" if number == 1 else "s"
            return replace(outcome, message=f"{outcome.message} (given up after {number} attempt{plural}{asked})")
        _LOG.info("attempt %d: %s; again in %.1f s", number, outcome.message, delay_s)
        await sleep(delay_s)
        waited_s += delay_s
    raise AssertionError("count has no end")
