"""How many calls a server can take at once, found by trying.

Nobody says it: an API refuses what is too much, a server of one's own (vLLM, llama.cpp) lets it queue. So the *window*,
the calls that may be in flight, is tried wider while that pays, as in congestion control.

1. Time is cut into rounds. A round is over when as many calls have come back as were in flight when the first of them
   did: one round trip, whatever the calls' lengths, and one that is slow does not hold it up.
2. A round that used the whole window widens it. While nothing was ever too wide it doubles (slow start, Jacobson 1988);
   then it goes half way to just below what was too wide (as BIC does, Xu, Harfoush & Rhee 2004); there it creeps on, by
   steps that begin at next to nothing and grow with each round, so that a server that has become larger is found out.
3. Calls that are refused, or get no answer in time, narrow it by a tenth, once a round trip (AIMD, Chiu & Jain 1989).
   A few in two rounds, as many as about the root of the window, are no sign of too much: they come by chance. A server
   that takes nothing at all says nothing of its width: the window is then halved at each refusal, and doubles, once
   there are answers, up to where it was.
4. By Little's law, a wider window means more answers a second, or a longer wait for each. If less than half of the
   window's growth shows in the rate, the calls only queue (the sign that TCP Vegas goes by, Brakmo & Peterson 1995, and
   Netflix' concurrency-limits): the window goes back to what that rate needs. The first round of a wider window has
   connections to open; only the second tells against it.
"""

from dataclasses import dataclass
from math import inf, sqrt
from typing import Literal

_AT_FIRST = 10.0
_NARROWER = 0.9
_FULL = 0.9
_TOLD_APART = 1.25  # less growth than that can't be seen in the rate
_FIRST_STEP = 1 / 1024
_STEP_GROWS = 1.1

Return = Literal["answer", "overload", "other"]


@dataclass(slots=True)
class _Round:
    """One round trip.

    Attributes:
        began: When.
        n_to_come: Calls that end it; 0 until the first comes back.
        is_late: Whether its calls were sent before the window was narrowed: they say nothing of the new one.
        n_back: Calls that came back.
        n_full: Those that were in flight with a whole window.
        n_answers: Those that were answered.
        n_refused: Those that were refused.
    """

    began: float
    n_to_come: int = 0
    is_late: bool = False
    n_back: int = 0
    n_full: int = 0
    n_answers: int = 0
    n_refused: int = 0


class Capacity:
    """The window of one server.

    Args:
        most: The widest window, from the config.
        is_known: Whether that is what it takes, and nothing is to be tried: a model in this process forms its batches
            of what there is.
    """

    def __init__(self, most: int, *, is_known: bool = False) -> None:
        self._most = float(most)
        self._is_known = is_known
        self._window = self._most if is_known else min(self._most, _AT_FIRST)
        self._too_wide = inf
        self._step = _FIRST_STEP
        self._good = 0.0  # the widest window that paid, and the answers a second that it brought
        self._good_rate: float | None = None
        self._is_doubtful = False
        self._has_answered = False
        self._n_refused_before = 0
        self._round = _Round(0.0)

    @property
    def window(self) -> int:
        """Calls that may be in flight, at least 1."""
        return int(self._window)

    def begin(self, now: float) -> None:
        """The first call after none was in flight is sent; the time before belongs to no round."""
        self._begin_round(now)

    def came_back(self, what: Return, n_in_flight: int, now: float) -> None:
        """Take in a call that has ended.

        Args:
            what: `overload` if the server refused it for want of room, or did not answer in time.
            n_in_flight: Calls that were in flight, this one included.
            now: The time.
        """
        if self._is_known:
            return
        trip = self._round
        trip.n_to_come = trip.n_to_come or n_in_flight
        trip.n_back += 1
        trip.n_full += n_in_flight >= self.window
        trip.n_answers += what == "answer"
        trip.n_refused += what == "overload"
        self._has_answered |= what == "answer" and not trip.is_late
        if what == "overload" and not trip.is_late and self._is_too_much():
            self._narrow(n_in_flight)
            self._begin_round(now)
            if n_in_flight > 1:
                self._round.n_to_come, self._round.is_late = n_in_flight - 1, True
        elif trip.n_back >= trip.n_to_come:
            if not trip.is_late and trip.n_answers and trip.n_full >= _FULL * trip.n_back:
                self._end_full_round(trip.n_answers / max(now - trip.began, 1e-9))
            self._begin_round(now)

    def _begin_round(self, now: float) -> None:
        self._n_refused_before = self._round.n_refused
        self._round = _Round(now)

    def _is_too_much(self) -> bool:
        n_refused = self._round.n_refused + self._n_refused_before
        return not self._has_answered or n_refused > max(1.0, sqrt(self._window) - 0.5)

    def _narrow(self, n_in_flight: int) -> None:
        if self._has_answered:
            self._too_wide, self._step = self._window, _FIRST_STEP
            self._window = max(1.0, _NARROWER * min(self._window, n_in_flight))
            if self._window < self._good:
                self._good, self._good_rate = self._window, None
        else:
            self._window = max(1.0, self._window / 2)
        self._has_answered = False

    def _end_full_round(self, rate: float) -> None:
        """Widen after a round that used the whole window, unless the last widening did not pay.

        Args:
            rate: Answers a second.
        """
        if self._good_rate is not None and self._window >= _TOLD_APART * self._good:
            wider, faster = self._window / self._good, rate / self._good_rate
            if faster - 1 < (wider - 1) / 2:
                self._is_doubtful = not self._is_doubtful
                if not self._is_doubtful:
                    self._window = max(self._good, min(self._window, self._good * faster))
                    self._too_wide, self._step = self._window, _FIRST_STEP
                    self._good, self._good_rate = self._window, rate
                return
            self._good_rate = None
        if self._good_rate is None and self._window >= self._good:
            self._good, self._good_rate = self._window, rate
        self._is_doubtful = False
        half_way = (self._too_wide - 1 - self._window) / 2
        if half_way < self._step:
            self._step *= _STEP_GROWS
        self._window = min(self._most, self._window + min(self._window, max(half_way, self._step)))
