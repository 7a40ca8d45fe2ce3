"""The thread that generates: takes requests in, gives their tokens out, and sleeps while there are none."""

import atexit
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence

from torch import Tensor

from autointerp.errors import AutointerpError, BusyError, GenerationError, TimeLimitError, in_one_line
from autointerp.live.generation.batch import Batch
from autointerp.live.generation.choose import Chosen
from autointerp.live.generation.request import GeneratedToken, Generation, GenerationLimits
from autointerp.live.generation.row import LONGEST_PASS, Asked, Row
from autointerp.live.generation.stream import Flight
from autointerp.live.generation.together import together
from autointerp.records.live import SourceEdits

_LONGEST_EXIT_S = 10.0


class Worker:
    """Generates in a thread of its own, begun with the first request.

    Args:
        batch: The answers under way.
        new_row: Begins one.
        ends: Tokens that end an answer.
        window: Tokens that the model reads at once; None for no limit.
        limits: What is taken on.
    """

    def __init__(
        self,
        batch: Batch,
        new_row: Callable[[Flight], Row],
        ends: frozenset[int],
        window: int | None,
        limits: GenerationLimits,
    ) -> None:
        self._batch, self._new_row, self._ends, self._window, self._limits = batch, new_row, ends, window, limits
        self._wake = threading.Condition()
        self._waiting: deque[Flight] = deque()
        self._alone: deque[tuple[Flight, Row]] = deque()
        self._flights: dict[int, Flight] = {}
        self._answers: deque[tuple[Row, tuple[tuple[SourceEdits, ...] | None, ...] | BaseException]] = deque()
        self._thread: threading.Thread | None = None
        self._is_closing = self._is_stopped = False
        _WORKERS.add(self)

    def submit(self, flight: Flight) -> None:
        """Take a request.

        Raises:
            BusyError: If too many wait.
        """
        limits = self._limits
        with self._wake:
            if len(self._waiting) + len(self._flights) >= limits.n_at_once + limits.n_waiting:
                raise BusyError(
                    f"{limits.n_at_once} requests are answered at once, and {limits.n_waiting} wait",
                    "ask again in a while",
                )
            if limits.seconds is not None:
                flight.deadline = time.monotonic() + limits.seconds
            flight.wake = self.wake
            self._waiting.append(flight)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="generator", daemon=True)
                self._thread.start()
            self._wake.notify()

    def wake(self) -> None:
        """Have the thread look at its requests."""
        with self._wake:
            self._wake.notify()

    def close(self) -> None:
        """End the thread once the requests that there are have been answered."""
        with self._wake:
            self._is_closing = True
            self._wake.notify()

    def stop(self) -> None:
        """End the thread now, and what is under way."""
        with self._wake:
            self._is_closing = self._is_stopped = True
            self._wake.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_LONGEST_EXIT_S)

    def _run(self) -> None:
        while self._await_work():
            try:
                self._round()
            except BaseException as error:  # whoever waits must learn of it, and the thread goes on
                self._fail_all(error)
        self._fail_all(GenerationError("the generator was stopped", "begin another"))

    def _await_work(self) -> bool:
        """Sleep until there is something to do; says whether there may be more."""
        with self._wake:
            while not self._is_stopped:
                is_asking = all(row.asked for _, row in self._alone)
                is_idle = not self._batch.rows and is_asking and not self._answers
                if not is_idle or (self._waiting and len(self._flights) < self._limits.n_at_once):
                    return True
                if self._is_closing and not self._flights and not self._waiting:
                    return False
                under_way = [*self._flights.values(), *self._waiting]
                if any(flight.cancelled.is_set() for flight in under_way):
                    return True
                deadlines = [flight.deadline for flight in under_way if flight.deadline is not None]
                left = min(deadlines) - time.monotonic() if deadlines else None
                if left is not None and left <= 0:
                    return True
                self._wake.wait(left)
        return False

    def _round(self) -> None:
        """One step of all that is under way."""
        self._admit()
        self._end_unwanted()
        self._take_answers()
        self._read_waiting()
        for row, given in self._batch.step():
            flight = self._flights[id(row)]
            if isinstance(given, Chosen):
                if self._give(flight, row, given):
                    self._batch.drop(row)
            elif isinstance(given, BaseException):
                self._batch.drop(row, wipe=True)
                self._end(flight, row, given)
            elif row.is_aborted:
                self._batch.drop(row)
                self._end(flight, row, self._answer(row, "abort"))
        for row in [row for row in (self._rows_left()) if row not in self._batch.rows]:
            self._stand_alone(self._flights[id(row)], row)

    def _rows_left(self) -> list[Row]:
        """Rows under way that stand nowhere: they have left the batch."""
        alone = {id(row) for _, row in self._alone} | {id(row) for row in self._batch.rows}
        return [flight.row for key, flight in self._flights.items() if key not in alone and flight.row is not None]

    def _admit(self) -> None:
        while True:
            with self._wake:
                if not self._waiting or len(self._flights) >= self._limits.n_at_once:
                    return
                flight = self._waiting.popleft()
            row = self._new_row(flight)
            flight.row = row
            self._flights[id(row)] = flight
            self._alone.append((flight, row))

    def _end_unwanted(self) -> None:
        """Let go what was cancelled, and what took too long."""
        now = time.monotonic()

        def is_unwanted(flight: Flight) -> bool:
            return flight.cancelled.is_set() or (flight.deadline is not None and flight.deadline <= now)

        with self._wake:
            gone = [flight for flight in self._waiting if is_unwanted(flight)]
            for flight in gone:
                self._waiting.remove(flight)
        for flight in gone:
            flight.give(self._too_long())
        for flight in [flight for flight in self._flights.values() if is_unwanted(flight)]:
            assert flight.row is not None
            self._end_anywhere(flight, flight.row, self._too_long())

    def _too_long(self) -> TimeLimitError:
        seconds = self._limits.seconds
        return TimeLimitError(
            f"the request took more than the {seconds or 0:g} s that one may take", "ask for fewer tokens, or later"
        )

    def _read_waiting(self) -> None:
        """Read on in rows that stand alone, those that wait longest first, for as long as others may wait for it."""
        waiting = [row for _, row in self._alone if not row.asked]
        n_read = 0
        while waiting and not (n_read >= LONGEST_PASS and self._batch.rows):
            rows = [waiting[0]]
            if self._batch.can_begin_with_others(rows[0]):
                able = [row for row in waiting if self._batch.can_begin_with_others(row)]
                rows = [able[n] for n in together([len(row.tokens) for row in able], self._batch.longest_pass)]
            of = {id(row) for row in rows}
            waiting = [row for row in waiting if id(row) not in of]
            self._alone = deque((flight, row) for flight, row in self._alone if id(row) not in of)
            n_before = sum(row.n_read for row in rows)
            self._read(rows)
            n_read += max(1, sum(row.n_read for row in rows) - n_before)

    def _read(self, rows: Sequence[Row]) -> None:
        """Read on in rows that stand alone, in one pass where there are several of which nothing was read."""
        found: Sequence[Tensor | BaseException | None]
        try:
            found = self._batch.begin(rows) if len(rows) > 1 else [self._batch.read_on(rows[0])]
        except BaseException as error:  # whichever request it is of: it alone is to end
            if len(rows) > 1:
                for row in rows:
                    self._read([row])
                return
            found = [error]
        for row, logits in zip(rows, found, strict=True):
            self._go_on(self._flights[id(row)], row, logits)

    def _go_on(self, flight: Flight, row: Row, logits: Tensor | BaseException | None) -> None:
        """Have a row that was read on go on alone, join the others, or end."""
        try:
            if isinstance(logits, BaseException):
                raise logits
            is_over = logits is not None and self._give(flight, row, self._batch.choose_alone(row, logits))
        except BaseException as error:  # it ends this request only
            self._end(flight, row, error)
            return
        if row.is_aborted:
            self._end(flight, row, self._answer(row, "abort"))
        elif row.asked:
            self._stand_alone(flight, row)
        elif logits is None:
            self._alone.append((flight, row))
        elif not is_over:
            if self._batch.can_join(row):
                self._batch.join(row)
            else:
                self._alone.append((flight, row))

    def _stand_alone(self, flight: Flight, row: Row) -> None:
        self._alone.append((flight, row))
        if row.asked:
            threading.Thread(target=self._ask, args=(row, row.asked), name="handler", daemon=True).start()

    def _ask(self, row: Row, asked: tuple[Asked, ...]) -> None:
        """Ask handlers, in a thread of their own."""
        given: list[tuple[SourceEdits, ...] | None] = []
        try:
            for one in asked:
                assert one.event.handler is not None
                given.append(one.event.handler(one.happening))
        except BaseException as error:  # of whoever wrote the handler: whoever waits for the answer must learn of it
            self._put(row, error)
        else:
            self._put(row, tuple(given))

    def _put(self, row: Row, given: tuple[tuple[SourceEdits, ...] | None, ...] | BaseException) -> None:
        with self._wake:
            self._answers.append((row, given))
            self._wake.notify()

    def _take_answers(self) -> None:
        while self._answers:
            row, given = self._answers.popleft()
            flight = self._flights.get(id(row))
            if flight is None or flight.row is not row:
                continue
            if isinstance(given, BaseException):
                self._end_anywhere(flight, row, given)
                continue
            for asked, edits in zip(row.asked, given, strict=True):
                row.add(edits or (), asked.rule.lasting == "rest", asked.happening.position)
            row.asked = ()

    def _give(self, flight: Flight, row: Row, chosen: Chosen) -> bool:
        """Pass on a token; says whether it ends the answer, which is then passed on too."""
        row.take(chosen)
        certain = "" if chosen.token_id in self._ends else row.text.add(chosen.token_id)
        is_full = len(row.log_probs) >= self._limit(row) or (
            self._window is not None and len(row.tokens) >= self._window
        )
        is_stopped = chosen.token_id in self._ends or row.text.is_stopped
        if is_full or is_stopped:
            certain += row.text.end()
        flight.give(GeneratedToken(chosen.token_id, certain, chosen.log_prob, row.untold(), chosen.likeliest))
        if is_stopped:
            self._end(flight, row, self._answer(row, "stop"))
        elif is_full:
            self._end(flight, row, self._answer(row, "length"))
        return is_stopped or is_full

    def _limit(self, row: Row) -> int:
        longest = self._limits.longest_answer
        return row.request.max_new_tokens if longest is None else min(longest, row.request.max_new_tokens)

    def _answer(self, row: Row, reason: str) -> Generation:
        row.text.end()
        in_prompt, in_answer = row.n_edited()
        return Generation(
            tuple(row.tokens[row.n_prompt :]),
            row.text.text,
            tuple(row.log_probs),
            "stop" if reason == "stop" else "length" if reason == "length" else "abort",
            row.n_prompt,
            in_prompt,
            in_answer,
            tuple(row.events),
            tuple(row.likeliest),
        )

    def _end_anywhere(self, flight: Flight, row: Row, given: Generation | BaseException) -> None:
        if row in self._batch.rows:
            self._batch.drop(row)
        self._alone = deque((f, r) for f, r in self._alone if r is not row)
        self._end(flight, row, given)

    def _end(self, flight: Flight, row: Row, given: Generation | BaseException) -> None:
        with self._wake:
            del self._flights[id(row)]
        flight.row = None
        flight.give(given)

    def _fail_all(self, error: BaseException) -> None:
        """End all requests: the model failed, or nobody goes on."""
        told = (
            error
            if isinstance(error, AutointerpError)
            else GenerationError(
                f"the model can't go on ({in_one_line(error, with_kind=True)})",
                "ask for less at once, or begin another run",
            )
        )
        told.__cause__ = error if told is not error else None
        with self._wake:
            under_way = list(self._flights.values())
            self._flights.clear()
            if self._is_stopped:
                under_way += self._waiting
                self._waiting.clear()
        self._alone.clear()
        self._batch.clear()
        for flight in under_way:
            flight.give(told)


_WORKERS: "weakref.WeakSet[Worker]" = weakref.WeakSet()


@atexit.register
def _stop_workers() -> None:
    """Threads that compute while the interpreter ends may take it down."""
    for worker in list(_WORKERS):
        worker.stop()
