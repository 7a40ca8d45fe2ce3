"""When an attempt may be sent to a server: its limits by the minute, its pauses, and how much it takes at once.

1. Attempts wait in one line, first come, first served; who is cancelled leaves it. The first in line goes as soon as
   the window (`capacity`), every limit by the minute (`token_bucket`) and the server's pause allow.
2. Tokens are estimated when an attempt enters, and corrected when its answer says what it took. Where the server limits
   input and output apart, they are told from the tokens together by the share of output in the answers so far.
3. A server that refuses for want of room and says when to come back is left alone until then, by all.

Nothing is polled: who leaves lets the next in, and one task sleeps until the moment at which the first in line may go.
"""

import asyncio
import logging
from collections import deque
from dataclasses import dataclass

from autointerp.config import ModelConfig
from autointerp.llm.limits.capacity import Capacity, Return
from autointerp.llm.limits.clock import Clock
from autointerp.llm.limits.token_bucket import Meter
from autointerp.llm.protocol import RawAnswer, Sent, ServerLimits, Trouble

_LOG = logging.getLogger(__name__)
_LONGEST_PAUSE_S = 600.0
_OUTPUT_SHARE_AT_FIRST = 0.1
_SOON_S = 1e-6  # rounding can leave a wait too short to pass


@dataclass(frozen=True, slots=True)
class _Waiting:
    n_tokens: float
    may_go: asyncio.Future[None]


class Gate:
    """Lets attempts through to one server; for one event loop.

    Args:
        config: Its limits.
        clock: The time, and how to wait.
        longest_pause_s: A server that asks for more is not obeyed here: its calls are to fail, not to wait.
    """

    def __init__(
        self, config: ModelConfig, clock: Clock | None = None, *, longest_pause_s: float = _LONGEST_PAUSE_S
    ) -> None:
        self._clock = clock or Clock()
        self._longest_pause_s = longest_pause_s
        self._capacity = Capacity(config.concurrency, is_known=config.provider == "local")
        self._requests = Meter(config.requests_per_minute)
        self._tokens = Meter(config.tokens_per_minute)
        self._input_tokens, self._output_tokens = Meter(), Meter()
        self._n_input, self._n_output = 0, 0
        self._n_in_flight = 0
        self._tokens_in_flight = 0.0
        self._line: deque[_Waiting] = deque()
        self._paused_until = 0.0
        self._waker: asyncio.Task[None] | None = None
        self._wakes_at = 0.0
        self._is_open = False

    @property
    def n_in_flight(self) -> int:
        """Attempts under way."""
        return self._n_in_flight

    @property
    def window(self) -> int:
        """Attempts that may be under way at once, as far as is known of the server."""
        return self._capacity.window

    async def enter(self, n_tokens: float) -> None:
        """Wait until an attempt may be sent.

        Args:
            n_tokens: Input and output tokens to be expected of it.
        """
        waiting = _Waiting(n_tokens, asyncio.get_running_loop().create_future())
        self._line.append(waiting)
        self._let_in()
        if waiting.may_go.done():
            return
        try:
            await waiting.may_go
        except asyncio.CancelledError:
            if waiting.may_go.done() and not waiting.may_go.cancelled():
                # It was let in and broken off before it could be sent.
                now = self._clock.now()
                self._take_out(n_tokens)
                self._requests.give_back(1, now)
                for meter, amount in self._token_meters(n_tokens):
                    meter.give_back(amount, now)
            waiting.may_go.cancel()
            self._let_in()
            raise

    def leave(self, n_tokens: float, sent: Sent | None) -> None:
        """Give the place back.

        Args:
            n_tokens: As given to `enter`.
            sent: What came of the attempt; None if it was broken off.
        """
        now = self._clock.now()
        if sent is not None and sent.limits is not None:
            self._hear(sent.limits, now)
        outcome = None if sent is None else sent.outcome
        self._capacity.came_back(_what(outcome), self._n_in_flight, now)
        if isinstance(outcome, RawAnswer):
            self._correct(n_tokens, outcome, now)
        elif outcome is not None and outcome.is_overload and outcome.retry_after_s is not None:
            self._pause(outcome.retry_after_s, now)
        self._take_out(n_tokens)
        self._let_in()

    def open(self) -> None:
        """Let in everybody, now and from now on: the run stops, and whoever is in line must learn of it."""
        self._is_open = True
        self._let_in()

    def _let_in(self) -> None:
        """Let in whoever may go, and see to it that the next is let in when it may."""
        while self._line:
            first = self._line[0]
            if first.may_go.cancelled():
                self._line.popleft()
                continue
            now = self._clock.now()
            if not self._is_open:
                if self._n_in_flight >= self._capacity.window:
                    return  # whoever leaves comes here again
                wait_s = self._wait_s(first.n_tokens, now)
                if wait_s > _SOON_S:
                    self._wake_at(now + wait_s)
                    return
            self._line.popleft()
            self._put_in(first.n_tokens, now)
            first.may_go.set_result(None)
        if self._waker is not None:
            self._waker.cancel()
            self._waker = None

    def _put_in(self, n_tokens: float, now: float) -> None:
        if self._n_in_flight == 0:
            self._capacity.begin(now)
        self._n_in_flight += 1
        self._tokens_in_flight += n_tokens
        self._requests.take(1, now)
        for meter, amount in self._token_meters(n_tokens):
            meter.take(amount, now)

    def _take_out(self, n_tokens: float) -> None:
        self._n_in_flight -= 1
        self._tokens_in_flight -= n_tokens

    def _wait_s(self, n_tokens: float, now: float) -> float:
        wait = max(0.0, self._paused_until - now)
        if self._requests.is_limited:
            wait = max(wait, self._requests.wait_s(1, self._n_in_flight, now))
        if self._n_in_flight == 0:
            self._tokens_in_flight = 0.0  # what rounding has left
        for meter, amount in self._token_meters(n_tokens):
            if meter.is_limited:
                share = amount / n_tokens if n_tokens else 0.0
                wait = max(wait, meter.wait_s(amount, self._tokens_in_flight * share, now))
        return wait

    def _token_meters(self, n_tokens: float) -> tuple[tuple[Meter, float], ...]:
        """The limits of tokens, each with its part of so many."""
        n_seen = self._n_input + self._n_output
        n_output = n_tokens * (self._n_output / n_seen if n_seen else _OUTPUT_SHARE_AT_FIRST)
        return (
            (self._tokens, n_tokens),
            (self._input_tokens, n_tokens - n_output),
            (self._output_tokens, n_output),
        )

    def _correct(self, n_tokens: float, answer: RawAnswer, now: float) -> None:
        if answer.input_tokens == 0:
            return  # the server does not count
        used = (answer.input_tokens + answer.output_tokens, answer.input_tokens, answer.output_tokens)
        for (meter, amount), really in zip(self._token_meters(n_tokens), used, strict=True):
            meter.give_back(amount - really, now)
        self._n_input += answer.input_tokens
        self._n_output += answer.output_tokens

    def _hear(self, limits: ServerLimits, now: float) -> None:
        heard = (
            (self._requests, limits.requests),
            (self._tokens, limits.tokens),
            (self._input_tokens, limits.input_tokens),
            (self._output_tokens, limits.output_tokens),
        )
        for meter, allowance in heard:
            if allowance is not None:
                meter.hear(allowance, now)

    def _pause(self, seconds: float, now: float) -> None:
        if seconds > self._longest_pause_s or now + seconds <= self._paused_until:
            return
        self._paused_until = now + seconds
        _LOG.info("the server asks to wait %.1f s; %d calls wait in line", seconds, len(self._line))

    def _wake_at(self, moment: float) -> None:
        if self._waker is not None:
            if self._wakes_at <= moment:
                return  # then it looks again
            self._waker.cancel()
        self._wakes_at = moment
        self._waker = asyncio.create_task(self._wake(moment))

    async def _wake(self, moment: float) -> None:
        await self._clock.sleep(max(0.0, moment - self._clock.now()))
        self._waker = None
        self._let_in()


def _what(outcome: RawAnswer | Trouble | None) -> Return:
    if isinstance(outcome, RawAnswer):
        return "answer"
    is_too_much = outcome is not None and (outcome.is_overload or outcome.error_type == "Timeout")
    return "overload" if is_too_much else "other"
