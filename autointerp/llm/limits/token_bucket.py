"""One of a server's limits by the minute: of requests, or of tokens of one kind.

Two rules, each only where something is known:

1. A token bucket. Its rate is the config's, or what the server's headers say, and then faster while they say that much
   remains: what remains is spread over a minute, on top of the rate. It holds a second's worth at most, since providers
   enforce a minute's limit over shorter times too. What is larger than the bucket makes it overdraw.
2. The headers' count of what remains now is never passed by what is in flight, until the moment at which it is reset.
"""

from autointerp.llm.protocol import Allowance

_MINUTE_S = 60.0
_BURST_S = 1.0
_RESET_AT_LATEST_S = 60.0
_RESET_UNSAID_S = 1.0


class Meter:
    """What may be sent of one kind.

    Args:
        per_minute: The config's limit; None to learn it from the server.
    """

    def __init__(self, per_minute: float | None = None) -> None:
        self._configured = per_minute
        self._rate: float | None = None if per_minute is None else per_minute / _MINUTE_S
        self._level: float | None = None  # full at the first look
        self._looked_at = 0.0
        self._remaining: float | None = None
        self._reset_at = 0.0

    @property
    def is_limited(self) -> bool:
        """Whether anything is known of a limit."""
        return self._rate is not None or self._remaining is not None

    def hear(self, allowance: Allowance, now: float) -> None:
        """Take in what the server says of this limit."""
        if allowance.remaining is not None:
            self._remaining = float(allowance.remaining)
            reset_s = _RESET_UNSAID_S if allowance.reset_s is None else allowance.reset_s
            # A limit by the day resets in hours, but is refilled all the time: look again.
            self._reset_at = now + min(reset_s, _RESET_AT_LATEST_S)
        if self._configured is None and allowance.per_minute:
            self._refill(now)
            self._rate = (allowance.per_minute + (self._remaining or 0.0)) / _MINUTE_S

    def wait_s(self, amount: float, in_flight: float, now: float) -> float:
        """How long an attempt has to wait; 0 if it may be sent.

        Args:
            amount: What it needs.
            in_flight: What those under way need together.
            now: The time.
        """
        wait = 0.0
        if self._rate is not None:
            level = self._refill(now)
            wait = max(0.0, (min(amount, self._burst()) - level) / self._rate)
        if self._remaining is not None and in_flight + amount > self._remaining:
            if now < self._reset_at:
                wait = max(wait, self._reset_at - now)
            else:
                self._remaining = None
        return wait

    def take(self, amount: float, now: float) -> None:
        """Count what is sent."""
        if self._rate is not None:
            self._level = self._refill(now) - amount

    def give_back(self, amount: float, now: float) -> None:
        """Correct what was counted: it took less, or more if negative."""
        if self._rate is not None:
            self._level = min(self._burst(), self._refill(now) + amount)

    def _burst(self) -> float:
        assert self._rate is not None, "only a limit that is known has a bucket"
        return max(1.0, self._rate * _BURST_S)

    def _refill(self, now: float) -> float:
        if self._rate is None:
            return 0.0
        if self._level is None:
            self._level = self._burst()
        else:
            self._level = min(self._burst(), self._level + self._rate * (now - self._looked_at))
        self._looked_at = now
        return self._level
