"""Answers that are being written: each by a thread of its own, while the event loop passes on what it writes.

1. A place is taken, or waited for, or refused (`limits`).
2. A thread asks the client for the answer as a stream, and hands each piece to the event loop.
3. Where the client of the request goes away, the request takes too long or the server ends, the stream is closed: what
   it has in the model's batch is free at once, and so is the thread.
"""

import asyncio
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from autointerp.errors import AutointerpError, TimeLimitError
from autointerp.library.chat.completions import ChatStream
from autointerp.library.chat.replies import ChatCompletionChunk, HeldCondition
from autointerp.serve.knows import Begin, Knows
from autointerp.serve.limits import ClientGoneError, Limits, Line, Waiting, disconnected

_LOG = logging.getLogger(__name__)


class Piece(NamedTuple):
    """A piece of one of the answers to a request."""

    answer: int
    chunk: ChatCompletionChunk


class AnswerFailedError(AutointerpError):
    """An answer ended by what is no error of ours: the log has it, and the client is told that there is one."""


class _Writer:
    """The thread's side of one answer."""

    def __init__(self, begin: Callable[[], ChatStream], give: Callable[[ChatCompletionChunk | None], None]) -> None:
        self._begin = begin
        self._give = give
        self._stream: ChatStream | None = None
        self._is_over = threading.Event()

    def write(self) -> None:
        """Pass on the pieces, and None when there are no more."""
        try:
            if not self._is_over.is_set():
                with self._begin() as self._stream:
                    if self._is_over.is_set():  # it was stopped before there was a stream to close
                        return
                    for piece in self._stream:
                        self._give(piece)
        finally:
            self._give(None)

    def stop(self) -> None:
        """Have nothing more written."""
        self._is_over.set()
        if (stream := self._stream) is not None:
            stream.close()


class Answering(ABC):
    """Where answers are written."""

    @property
    @abstractmethod
    def n_taken(self) -> int:
        """Answers under way, and those that wait."""

    @abstractmethod
    def close(self) -> None:
        """Begin nothing more."""

    @abstractmethod
    def pieces(self, request: Waiting, begins: Sequence[Begin]) -> AsyncGenerator[Piece]:
        """The pieces of one answer, or several, as they come, for as long as the client of a request waits for them.

        Raises:
            BusyError: If too many wait.
            TimeLimitError: If it takes too long.
            ClientGoneError: If the client is gone.
            AutointerpError: As of `begins`.
        """

    async def whole(self, request: Waiting, begins: Sequence[Begin]) -> list[ChatCompletionChunk]:
        """Whole answers: of each its last piece, with all that was said, and all that happened.

        Raises:
            As `pieces`.
        """
        given: list[list[ChatCompletionChunk]] = [[] for _ in begins]
        async with aclosing(self.pieces(request, begins)) as pieces:
            async for answer, chunk in pieces:
                given[answer].append(chunk)
        return [joined(chunks) for chunks in given]


class Chats(Answering):
    """The line of answers that this process writes.

    Args:
        knows: What answers.
        limits: How many are written at once, how many wait, and for how long.
    """

    def __init__(self, knows: Knows, limits: Limits) -> None:
        self.line = Line("chat", limits.n_chats, limits)
        self._knows = knows
        self._seconds = limits.seconds

    @property
    def n_taken(self) -> int:
        return self.line.n_taken

    def close(self) -> None:
        self.line.close()

    async def pieces(self, request: Waiting, begins: Sequence[Begin]) -> AsyncGenerator[Piece]:
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[tuple[int, ChatCompletionChunk | None]]()

        def give(answer: int, chunk: ChatCompletionChunk | None) -> None:
            with suppress(RuntimeError):  # the server has ended meanwhile
                loop.call_soon_threadsafe(queue.put_nowait, (answer, chunk))

        writers: list[_Writer] = []
        written: list[asyncio.Future[None]] = []
        gone = asyncio.ensure_future(disconnected(request))
        deadline = loop.time() + self._seconds
        try:
            for answer, begin in enumerate(begins):
                writers.append(_Writer(partial(begin, self._knows), partial(give, answer)))
                written.append(asyncio.wrap_future(self.line.submit(writers[-1].write)))
            n_left = len(written)
            while n_left:
                answer, chunk = await self._next(queue, gone, deadline)
                if chunk is not None:
                    yield Piece(answer, chunk)
                    continue
                n_left -= 1
                await asyncio.wait([written[answer]])
                _raise(written[answer].exception())
        finally:
            gone.cancel()
            for writer, done in zip(writers, written, strict=False):  # the last may have found no place
                done.cancel()
                writer.stop()

    async def _next(
        self,
        queue: "asyncio.Queue[tuple[int, ChatCompletionChunk | None]]",
        gone: "asyncio.Future[None]",
        deadline: float,
    ) -> tuple[int, ChatCompletionChunk | None]:
        given = asyncio.ensure_future(queue.get())
        either: set[asyncio.Future[Any]] = {given, gone}
        left = max(0.0, deadline - asyncio.get_running_loop().time())
        try:
            await asyncio.wait(either, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if given.done():
                return given.result()
            if gone.done():
                raise ClientGoneError
            raise TimeLimitError(f"no whole answer in {self._seconds:g} s", "ask for fewer tokens, or later")
        finally:
            given.cancel()


def joined(chunks: Sequence[ChatCompletionChunk]) -> ChatCompletionChunk:
    """All pieces of an answer as one."""
    said = "".join(chunk.choices[0].delta.content for chunk in chunks)
    events: list[HeldCondition] = [event for chunk in chunks for event in chunk.events]
    (choice,) = chunks[-1].choices
    told = [one for chunk in chunks for one in chunk.choices[0].logprobs or ()]
    logprobs = None if choice.logprobs is None else tuple(told)
    whole = replace(choice, delta=replace(choice.delta, content=said), logprobs=logprobs)
    return replace(chunks[-1], choices=(whole,), events=tuple(events))


def _raise(error: BaseException | None) -> None:
    """Raise what ended an answer, if something did."""
    if error is None:
        return
    if isinstance(error, AutointerpError):
        raise error
    _LOG.error("an answer ended by %r", error, exc_info=error)
    raise AnswerFailedError("the answer can't be written", "see the log") from error
