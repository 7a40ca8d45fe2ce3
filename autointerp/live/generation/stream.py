"""An answer as it comes: the two ends of one request's queue, the worker's and the asker's."""

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import TYPE_CHECKING, Self

from autointerp.errors import GenerationError
from autointerp.live.generation.request import GeneratedToken, Generation, GenerationRequest

if TYPE_CHECKING:
    from autointerp.live.generation.row import Row


class Flight:
    """The worker's end of a request.

    Attributes:
        request: What is asked.
        cancelled: Set once nobody waits for the answer any more.
        is_whole: Set where nobody reads single tokens any more: a thread that is woken for each takes time from the one
            that computes.
        deadline: Of `time.monotonic`, in seconds; None where there is none.
        wake: Tells the worker to look.
        row: What the worker has of it while it is under way.
    """

    def __init__(self, request: GenerationRequest) -> None:
        self.request = request
        self.cancelled = threading.Event()
        self.is_whole = False
        self.deadline: float | None = None
        self.wake: Callable[[], None] = _nothing
        self.row: Row | None = None
        self.queue: SimpleQueue[GeneratedToken | Generation | BaseException] = SimpleQueue()

    def give(self, what: GeneratedToken | Generation | BaseException) -> None:
        """Pass on a token; or the whole answer, or why there is none, as the last."""
        if not (self.is_whole and isinstance(what, GeneratedToken)):
            self.queue.put(what)


class Stream(Iterator[GeneratedToken]):
    """An answer's tokens as they come, for one thread to read.

    Closed, or let go of, it cancels what is not generated yet.

    Example:
        >>> with generator.submit(request) as stream:
        ...     for token in stream:
        ...         print(token.text, end="")
        ...     answer = stream.result()
    """

    def __init__(self, flight: Flight) -> None:
        self._flight = flight
        self._ended: Generation | BaseException | None = None

    def __next__(self) -> GeneratedToken:
        """The next token.

        Raises:
            GenerationError: If the request took too long, was cancelled or can't be answered.
            Exception: What a rule's handler raised.
        """
        if self._ended is None:
            given = self._flight.queue.get()
            if isinstance(given, GeneratedToken):
                return given
            self._ended = given
        if isinstance(self._ended, BaseException):
            raise self._ended
        raise StopIteration

    def result(self) -> Generation:
        """The whole answer; waits for it, and passes over the tokens that were not read.

        Raises:
            GenerationError: As of `__next__`.
        """
        self._flight.is_whole = True
        for _ in self:
            pass
        assert isinstance(self._ended, Generation)
        return self._ended

    def cancel(self) -> None:
        """Free the request's place; nothing happens to one that has ended."""
        if not self._flight.cancelled.is_set():
            self._leave()
            self._flight.give(GenerationError("the request was cancelled", "submit it again"))

    def _leave(self) -> None:
        self._flight.cancelled.set()
        self._flight.wake()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    def __del__(self) -> None:
        if not self._flight.cancelled.is_set():
            self._leave()  # nobody is left to be told, and at the interpreter's end there is no error to make


def _nothing() -> None:
    """Nobody is told."""
