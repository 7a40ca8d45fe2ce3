"""Answers that are being written: each by a thread of its own, while the event loop passes on what it writes.

1. A place is taken, or waited for, or refused (`limits`).
2. A thread asks the client for the answer as a stream, and hands each piece to the event loop.
3. Where the client of the request goes away, the request takes too long or the server ends, the stream is closed: what
   it has in the model's batch is free at once, and so is the thread.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any

from starlette.requests import Request

from autointerp.errors import TimeLimitError
from autointerp.library.chat.completions import ChatStream
from autointerp.library.chat.replies import ChatCompletionChunk, HeldCondition
from autointerp.serve.limits import ClientGoneError, Limits, Line, disconnected

Begin = Callable[[], ChatStream]
"""Asks for an answer; may take its time, and raise what is wrong with the request."""


class _Writer:
    """The thread's side of one answer."""

    def __init__(self, begin: Begin, give: Callable[[ChatCompletionChunk | None], None]) -> None:
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


class Chats:
    """The line of answers.

    Args:
        limits: How many are written at once, how many wait, and for how long.
    """

    def __init__(self, limits: Limits) -> None:
        self.line = Line("chat", limits.n_chats, limits)
        self._seconds = limits.seconds

    async def pieces(self, request: Request, begin: Begin) -> AsyncGenerator[ChatCompletionChunk]:
        """An answer's pieces as they come, for as long as the client of a request waits for them.

        Raises:
            BusyError: If too many wait.
            TimeLimitError: If it takes too long.
            ClientGoneError: If the client is gone.
            AutointerpError: As of `begin`.
        """
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[ChatCompletionChunk | None]()

        def give(piece: ChatCompletionChunk | None) -> None:
            with suppress(RuntimeError):  # the server has ended meanwhile
                loop.call_soon_threadsafe(queue.put_nowait, piece)

        writer = _Writer(begin, give)
        written = asyncio.wrap_future(self.line.submit(writer.write))
        gone = asyncio.ensure_future(disconnected(request))
        deadline = loop.time() + self._seconds
        try:
            while (piece := await self._next(queue, gone, deadline)) is not None:
                yield piece
            await written
        finally:
            gone.cancel()
            written.cancel()
            writer.stop()

    async def _next(
        self, queue: "asyncio.Queue[ChatCompletionChunk | None]", gone: "asyncio.Future[None]", deadline: float
    ) -> ChatCompletionChunk | None:
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

    async def whole(self, request: Request, begin: Begin) -> ChatCompletionChunk:
        """A whole answer: its last piece, with all that was said, and all that happened.

        Raises:
            As `pieces`.
        """
        said, events = "", list[HeldCondition]()
        last: ChatCompletionChunk | None = None
        async with aclosing(self.pieces(request, begin)) as pieces:
            async for last in pieces:
                said += last.choices[0].delta.content
                events += last.events
        assert last is not None
        (choice,) = last.choices
        return replace(
            last, choices=(replace(choice, delta=replace(choice.delta, content=said)),), events=tuple(events)
        )
