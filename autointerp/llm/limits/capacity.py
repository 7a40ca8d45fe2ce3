"""How many calls a server can take at once, found by trying.

Nobody says it: an API refuses what is too much, a server of one's own (vLLM, llama.cpp) lets it queue. So the *window*,
the calls that may be in flight, is tried wider while that pays, as in congestion control.

1. Time is cut into rounds. A round is over when as many calls have come back as were in flight when the first of them
   did: one round trip, whatever the calls' lengths, and one that is slow does not hold it up.
2. Slow start (Jacobson 1988): each round that used the whole window doubles it.
3. By Little's law, a wider window means more answers a second, or a longer wait for each. If less than half of the
   window's growth shows in the rate, the calls only queue (the sign that TCP Vegas goes by, Brakmo & Peterson 1995, and
   Netflix' concurrency-limits): the window goes back to what that rate needs, never below what worked before. The first
   round of a wider window has connections to open; only the second tells against it.
4. Calls that are refused, or get no answer in time, narrow the window at once, and once a round trip: back to what
   worked if it was wider, else by a tenth (AIMD, Chiu & Jain 1989). A single one in two rounds is no sign of too much.
5. After a try that failed the window is held for some rounds, and after each further one for twice as many. The next
   try goes half way to what was refused, and then one call further (BIC, Xu, Harfoush & Rhee 2004); where the server
   queues, half as wide again: less would not show.
6. A server that takes nothing at all says nothing of its width: the window is halved at each refusal, and doubles, once
   there are answers, up to what worked before.
"""

from math import inf
from typing import Literal

_AT_FIRST = 10.0
_NARROWER = 0.9
_WIDER = 1.5
_SHORTEST_HOLD = 4
_LONGEST_HOLD = 64
_FULL = 0.9

Return = Literal["answer", "overload", "other"]


class Capacity:
    """The window of one server.

    Args:
        most: The widest window, from the config.
    """

    def __init__(self, most: int) -> None:
        self._most = float(most)
        self._window = min(self._most, _AT_FIRST)
        self._worked = self._window / 2
        self._rate_at_worked: float | None = None
        self._limit: Literal["unknown", "refuses", "queues"] = "unknown"
        self._refused_at = inf
        self._hold = 0
        self._next_hold = _SHORTEST_HOLD
        self._has_answered = False
        self._is_recovering = False
        self._is_doubtful = False
        self._began = 0.0
        self._n_to_come = 0
        self._n_back = self._n_full = self._n_answers = self._n_refused = 0
        self._n_refused_before = 0

    @property
    def window(self) -> int:
        """Calls that may be in flight, at least 1."""
        return int(self._window)

    def begin(self, now: float) -> None:
        """The first call after none was in flight is sent; the time before belongs to no round."""
        self._begin_round(now)
        self._is_recovering = False

    def came_back(self, what: Return, n_in_flight: int, now: float) -> None:
        """Take in a call that has ended.

        Args:
            what: `overload` if the server refused it for want of room, or did not answer in time.
            n_in_flight: Calls that were in flight, this one included.
            now: The time.
        """
        if self._n_to_come == 0:
            self._n_to_come = n_in_flight
        self._n_back += 1
        self._n_full += n_in_flight >= self.window
        if what == "answer":
            self._n_answers += 1
            self._has_answered = True
        if what == "overload":
            self._n_refused += 1
        if what == "overload" and not self._is_recovering and self._is_too_much():
            self._narrow(n_in_flight)
            self._is_recovering = n_in_flight > 1  # those in flight were sent before we knew
            self._begin_round(now)
            self._n_to_come = n_in_flight - 1
        elif self._n_back >= self._n_to_come:
            if not self._is_recovering and self._n_answers and self._n_full >= _FULL * self._n_back:
                self._end_full_round(self._n_answers / max(now - self._began, 1e-9))
            self._is_recovering = False
            self._begin_round(now)

    def _begin_round(self, now: float) -> None:
        self._began = now
        self._n_to_come = 0  # known when the first comes back
        self._n_refused_before = self._n_refused
        self._n_back = self._n_full = self._n_answers = self._n_refused = 0

    def _end_full_round(self, rate: float) -> None:
        """Judge a round that used the whole window.

        Args:
            rate: Answers a second.
        """
        is_try = self._window > self._worked
        if self._hold:
            self._hold -= 1
            self._rate_at_worked = rate if self._rate_at_worked is None else (rate + self._rate_at_worked) / 2
            return
        if is_try and self._rate_at_worked is not None:
            wider, faster = self._window / self._worked, rate / self._rate_at_worked
            if faster - 1 < (wider - 1) / 2 and self._limit != "refuses":
                if not self._is_doubtful:
                    self._is_doubtful = True
                    return
                self._window = max(self._worked, min(self._window, self._worked * faster))
                self._worked, self._rate_at_worked = self._window, rate
                self._limit = "queues"
                self._hold_longer()
                return
        if self._window >= self._worked:
            self._worked, self._rate_at_worked = self._window, rate
        if is_try:
            self._next_hold = _SHORTEST_HOLD
        self._widen()

    def _widen(self) -> None:
        self._is_doubtful = False
        if self._window < self._worked:
            wider = min(2 * self._window, self._worked)
        elif self._limit == "refuses":
            wider = (self._window + self._refused_at) / 2
        else:
            wider = self._window * (2.0 if self._limit == "unknown" else _WIDER)
        self._window = min(self._most, max(wider, self._window + 1))

    def _narrow(self, n_in_flight: int) -> None:
        if not self._has_answered:
            self._window = max(1.0, self._window / 2)
        elif self._window > self._worked:
            self._refused_at = self._window
            self._window = max(1.0, self._worked)
            self._limit = "refuses"
            self._hold_longer()
        else:
            # It was not the last step that was too much.
            self._refused_at = self._window
            self._window = max(1.0, _NARROWER * min(self._window, n_in_flight))
            self._worked, self._rate_at_worked = self._window, None
            self._limit = "refuses"
            self._hold, self._next_hold = 0, _SHORTEST_HOLD
        self._has_answered = False

    def _is_too_much(self) -> bool:
        """Whether a refusal is due to the window: a single one, where nothing was tried, is not."""
        is_fine_try = self._limit == "refuses" and self._window > self._worked
        return not self._has_answered or is_fine_try or self._n_refused + self._n_refused_before > 1

    def _hold_longer(self) -> None:
        self._hold = self._next_hold
        self._next_hold = min(2 * self._next_hold, _LONGEST_HOLD)
