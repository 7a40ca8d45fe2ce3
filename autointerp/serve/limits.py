"""How much a client may ask for, and how many may ask at once.

Work is done by threads, a few for each kind of it. What would have to wait behind too many others is refused at once,
with the seconds after which to try again; a client that goes away, and a request that takes too long, stop waiting.
A thread can't be stopped amid a call: it keeps its place until the call is done.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from starlette.types import Message, Receive

from autointerp.errors import AutointerpError, BusyError, TimeLimitError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may ask for.

    Attributes:
        body_bytes: Of a request's body.
        n_waiting: Requests that wait for the model, or for the store, beside those under way; more are refused.
        n_chats: Answers that are being written at once; others wait for their places.
        seconds: Of a request, from its first byte to the last of the answer.
        longest_prompt: Tokens of a conversation that is answered; None for what the model reads.
        longest_answer: Tokens; who asks for more gets so many.
        n_steering_prompts: Instructions that are answered to find edits, where a request does not say.
        steering_tokens: Of each of these answers, likewise.
        false_alarms: Share of the corpus's texts in which a condition that is chosen may hold, likewise.
    """

    body_bytes: int = 8 * 2**20
    n_waiting: int = 64
    n_chats: int = 64
    seconds: float = 300.0
    longest_prompt: int | None = None
    longest_answer: int = 2048
    n_steering_prompts: int = 48
    steering_tokens: int = 32
    false_alarms: float = 0.02


class Waiting(Protocol):
    """Who waits for an answer: a request, whose next message tells that its client is gone."""

    @property
    def receive(self) -> Receive: ...


class Patient:
    """Waits for as long as it is not cancelled."""

    async def receive(self) -> Message:
        """Never."""
        never: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        return await never


class ClientGoneError(ConnectionError):
    """Nobody waits for the answer any more."""


class ReplicaLostError(AutointerpError):
    """The process that answered is gone, and what it began can't be gone on with."""


class Line:
    """Threads for one kind of work, and who waits for them.

    Args:
        kind: What the work is, for errors.
        n_threads: So much is done at once.
        limits: How many may wait, and for how long.
    """

    def __init__(self, kind: str, n_threads: int, limits: Limits) -> None:
        self._kind = kind
        self._n_most = n_threads + limits.n_waiting
        self._seconds = limits.seconds
        self._pool = ThreadPoolExecutor(n_threads, thread_name_prefix=f"serve-{kind}")
        self._lock = threading.Lock()
        self.n_taken = 0

    async def answer(self, request: Waiting, work: Callable[[], T]) -> T:
        """Do some work in a thread, for as long as the client of a request waits for it.

        Raises:
            BusyError: If too many wait.
            TimeLimitError: If it took too long.
            ClientGoneError: If the client is gone.
        """
        done = asyncio.wrap_future(self.submit(work))
        gone = asyncio.ensure_future(disconnected(request))
        try:
            either: set[asyncio.Future[Any]] = {done, gone}
            await asyncio.wait(either, timeout=self._seconds, return_when=asyncio.FIRST_COMPLETED)
            if done.done():
                return done.result()
            if gone.done():
                raise ClientGoneError
            raise TimeLimitError(f"no answer in {self._seconds:g} s", "ask for less, or later")
        finally:
            gone.cancel()
            done.cancel()

    def submit(self, work: Callable[[], T]) -> "Future[T]":
        """Have some work done by a thread, whoever waits for it.

        Raises:
            BusyError: If too many wait.
        """
        with self._lock:
            if self.n_taken >= self._n_most:
                raise BusyError(f"{self.n_taken} requests wait for the {self._kind}", "try again in a few seconds")
            self.n_taken += 1
        future = self._pool.submit(work)
        future.add_done_callback(self._free)
        return future

    def _free(self, future: "Future[T]") -> None:
        with self._lock:
            self.n_taken -= 1

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


async def disconnected(request: Waiting) -> None:
    """Wait until the client of a request, whose body was read, is gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
