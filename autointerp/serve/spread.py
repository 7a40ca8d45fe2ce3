"""What is served where the model is in other processes, of which one may be lost at any time.

1. A question goes to a replica. Where that is lost, it goes to another: whoever asked only waits longer.
2. So do beginnings of answers. An answer whose pieces were passed on in part is written anew by its seed, which gives
   the same tokens, and goes on behind what was passed on; should it say something else, it ends with an error.
3. What loses its replica again and again is given up, since it may be what kills them.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from autointerp.errors import AutointerpError, BusyError, TimeLimitError
from autointerp.library.chat.replies import ChatCompletionChunk
from autointerp.library.client import Client
from autointerp.serve.chats import AnswerFailedError, Answering, Piece
from autointerp.serve.knows import Begin, Question
from autointerp.serve.limits import ClientGoneError, Limits, ReplicaLostError, Waiting, disconnected
from autointerp.serve.replica import Kind
from autointerp.serve.serving import Serving

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
_MOST_LOST = 3


class Coming(Protocol):
    """What a replica was asked for."""

    def cancel(self) -> object:
        """Have no more of it made."""


class ComingAnswer(Coming, Awaitable[Any], Protocol):
    """An answer."""


class ComingPieces(Coming, Protocol):
    """Pieces of answers."""

    def __anext__(self) -> Awaitable[Any]: ...


class Replicas(Protocol):
    """Processes that have the model (`replica.Replica`)."""

    @property
    def n(self) -> int:
        """How many there are, where none is lost."""

    @property
    def lost(self) -> tuple[type[Exception], ...]:
        """What is raised where a replica is lost."""

    @property
    def failed(self) -> tuple[type[Exception], ...]:
        """What is raised where a replica has failed otherwise."""

    def ask(self, kind: Kind, question: Question[Any]) -> ComingAnswer:
        """Send a question to one."""

    def write(self, begins: Sequence[Begin]) -> ComingPieces:
        """Have one write answers."""


class _Asking:
    """Waits for what replicas were asked for, for as long as the client of a request does.

    Args:
        replicas: Who is asked.
        request: Whose client waits.
        seconds: For how long.
    """

    def __init__(self, replicas: Replicas, request: Waiting, seconds: float) -> None:
        self._replicas, self._seconds = replicas, seconds
        self._deadline = asyncio.get_running_loop().time() + seconds
        self._gone = asyncio.ensure_future(disconnected(request))
        self._n_lost = 0

    async def next(self, coming: Awaitable[Any]) -> Any:
        """What comes.

        Raises:
            TimeLimitError: If it takes too long.
            ClientGoneError: If the client is gone.
            AutointerpError: As of what was asked.
        """
        given = asyncio.ensure_future(_as_coroutine(coming))
        either: set[asyncio.Future[Any]] = {given, self._gone}
        left = max(0.0, self._deadline - asyncio.get_running_loop().time())
        try:
            await asyncio.wait(either, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if given.done():
                return given.result()
            if self._gone.done():
                raise ClientGoneError
            raise TimeLimitError(f"no whole answer in {self._seconds:g} s", "ask for less, or later")
        except self._replicas.failed as error:
            _LOG.error("a replica failed: %r", error)
            raise AnswerFailedError("a replica failed", "see the log") from error
        finally:
            given.cancel()

    def lose(self, error: Exception) -> None:
        """Take note that a replica was lost.

        Raises:
            ReplicaLostError: If that was so too often.
        """
        self._n_lost += 1
        _LOG.warning("a replica is gone (%s); another is asked", type(error).__name__)
        if self._n_lost >= _MOST_LOST:
            raise ReplicaLostError(f"{self._n_lost} replicas died over this request", "see the log") from error

    def close(self) -> None:
        """Wait no longer."""
        self._gone.cancel()


class _Room:
    """How many may ask at once.

    Args:
        kind: What for, for errors.
        n_most: How many.
    """

    def __init__(self, kind: str, n_most: int) -> None:
        self._kind, self._n_most = kind, n_most
        self.n_taken = 0

    @contextmanager
    def taken(self, n: int = 1) -> Iterator[None]:
        """Have places.

        Raises:
            BusyError: If there are not so many.
        """
        if self.n_taken + n > self._n_most:
            raise BusyError(f"{self.n_taken} requests wait for the {self._kind}", "try again in a few seconds")
        self.n_taken += n
        try:
            yield
        finally:
            self.n_taken -= n


class SpreadChats(Answering):
    """Answers that replicas write.

    Args:
        replicas: Who writes.
        limits: How many are written at once by each, how many wait, and for how long.
    """

    def __init__(self, replicas: Replicas, limits: Limits) -> None:
        self._replicas, self._seconds = replicas, limits.seconds
        self._room = _Room("chat", replicas.n * limits.n_chats + limits.n_waiting)

    @property
    def n_taken(self) -> int:
        return self._room.n_taken

    def close(self) -> None:
        """Nothing is to be closed: replicas end by themselves."""

    async def pieces(self, request: Waiting, begins: Sequence[Begin]) -> AsyncGenerator[Piece]:
        with self._room.taken(len(begins)):
            asking = _Asking(self._replicas, request, self._seconds)
            passed = [_Passed() for _ in begins]
            try:
                while True:
                    coming = self._replicas.write(begins)
                    for one in passed:
                        one.begin()
                    try:
                        while True:
                            given = await asking.next(coming.__anext__())
                            if isinstance(given, AutointerpError):
                                raise given
                            if (chunk := passed[given.answer].new(given.chunk)) is not None:
                                yield Piece(given.answer, chunk)
                    except StopAsyncIteration:
                        return
                    except self._replicas.lost as error:
                        asking.lose(error)
                    finally:
                        coming.cancel()
            finally:
                asking.close()


class _Passed:
    """What was passed on of one answer."""

    def __init__(self) -> None:
        self._passed: list[ChatCompletionChunk] = []
        self._n_seen = 0

    def begin(self) -> None:
        """The answer is written from its beginning."""
        self._n_seen = 0

    def new(self, chunk: ChatCompletionChunk) -> ChatCompletionChunk | None:
        """A piece that is to be passed on, by the name of the first; None for what was.

        Raises:
            ReplicaLostError: If it is another than was passed on.
        """
        self._n_seen += 1
        if self._n_seen > len(self._passed):
            if self._passed:
                chunk = replace(chunk, id=self._passed[0].id, created=self._passed[0].created)
            self._passed.append(chunk)
            return chunk
        (before,), (now,) = self._passed[self._n_seen - 1].choices, chunk.choices
        if (before.delta, before.gf_token_index) != (now.delta, now.gf_token_index):
            raise ReplicaLostError("the replica that wrote the answer is gone, and another writes another", "ask again")
        return None


class SpreadServing(Serving):
    """Serves what replicas answer; the store is read here.

    Args:
        client: What knows the store.
        limits: What may be asked for, of each replica.
        aliases: Other names of sources.
        replicas: Have the model.
    """

    def __init__(self, client: Client, limits: Limits, aliases: Mapping[str, str] | None, replicas: Replicas) -> None:
        super().__init__(client, limits, aliases)
        self._replicas = replicas
        self.chats = SpreadChats(replicas, limits)
        self._rooms: dict[Kind, _Room] = {
            "model": _Room("model", replicas.n + limits.n_waiting),
            "steering": _Room("steering", replicas.n + limits.n_waiting),
        }

    async def ask(self, request: Waiting, question: Question[T]) -> T:
        return await self._asked(request, "model", question)

    async def ask_for_minutes(self, request: Waiting, question: Question[T]) -> T:
        return await self._asked(request, "steering", question)

    async def _asked(self, request: Waiting, kind: Kind, question: Question[T]) -> T:
        with self._rooms[kind].taken():
            asking = _Asking(self._replicas, request, self.limits.seconds)
            try:
                while True:
                    coming = self._replicas.ask(kind, question)
                    try:
                        given: T | AutointerpError = await asking.next(coming)
                    except self._replicas.lost as error:
                        asking.lose(error)
                        continue
                    finally:
                        coming.cancel()
                    if isinstance(given, AutointerpError):
                        raise given
                    return given
            finally:
                asking.close()


async def _as_coroutine(coming: Awaitable[T]) -> T:
    return await coming
