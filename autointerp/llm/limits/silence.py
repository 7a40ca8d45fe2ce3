"""Tells why a model gives no answer, while that is waited out.

Each call waits by itself, and soon a hundred do; what a user wants to know is one thing: that nothing comes, what the
server says, how long that has been so, and when it will be given up. It is told after ten seconds without any answer,
and then ever more seldom, once a minute at last; also in the log of a job that nobody watches. A refusal that stays one
is an answer too; and when nobody waits any more, nothing is told.
"""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, repeat

from autointerp.config import ModelConfig
from autointerp.llm.protocol import Trouble

_LOG = logging.getLogger(__name__)
_INTERVALS_S = (10.0, 20.0, 30.0, 60.0)


class Silence:
    """The time since a model's server gave its last answer, once it has refused one; for one event loop.

    Args:
        config: The model.
        patience_s: How long a call waits for a server that is overloaded or out of reach.
        intervals_s: Between what is told; the last is repeated.
    """

    def __init__(self, config: ModelConfig, patience_s: float, intervals_s: tuple[float, ...] = _INTERVALS_S) -> None:
        self._config = config
        self._patience_s = patience_s
        self._intervals_s = intervals_s
        self._last: Trouble | None = None
        self._began = 0.0
        self._is_told = False
        self._intervals: Iterator[float] = iter(())
        self._timer: asyncio.TimerHandle | None = None
        self._n_waiting = 0

    @contextmanager
    def waited(self) -> Iterator[None]:
        """Somebody waits for an answer meanwhile, whatever comes of it."""
        self._n_waiting += 1
        try:
            yield
        finally:
            self._n_waiting -= 1
            if self._n_waiting == 0:
                self.close()

    def goes_on(self, trouble: Trouble) -> None:
        """Take in what a server has said in place of an answer, where it is asked again."""
        self._last = trouble
        if self._timer is None:
            self._began, self._is_told = time.monotonic(), False
            self._intervals = chain(self._intervals_s, repeat(self._intervals_s[-1]))
            self._wait()

    def ends(self) -> None:
        """There is an answer."""
        if self._timer is not None and self._is_told:
            _LOG.warning("%s answers again, after %.0f s", self._config.model, time.monotonic() - self._began)
        self.close()

    def close(self) -> None:
        """Nobody waits any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(next(self._intervals), self._tell)

    def _tell(self) -> None:
        assert self._last is not None, "silence begins with trouble"
        asked = self._last.retry_after_s
        most = (
            f"when it has waited {self._patience_s:.0f} s (llm.patience_s)"
            if self._last.is_overload
            else f"after {self._config.max_attempts} attempts (max_attempts)"
        )
        _LOG.warning(
            "%s has given no answer for %.0f s: %s%s; a call is given up %s",
            self._config.model,
            time.monotonic() - self._began,
            self._last.message,
            f"; it asks to wait {asked:.0f} s" if asked else "",
            most,
        )
        self._is_told = True
        self._wait()
