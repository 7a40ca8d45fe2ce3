"""What a run tells whoever watches it: how far a stage is, and how it ended."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StageSummary:
    """How a stage ended.

    Attributes:
        stage: For example `collect`.
        n_done: Items finished now.
        n_failed: Items recorded as failures now.
        n_skipped: Items that an earlier run had finished, or failed for good.
        seconds: Wall-clock.
        cost_usd: What was paid now; None where a price is unknown.
        note: One line more, for example tokens per second.
    """

    stage: str
    n_done: int
    n_failed: int = 0
    n_skipped: int = 0
    seconds: float = 0.0
    cost_usd: float | None = 0.0
    note: str = ""

    def line(self) -> str:
        """The summary as one line."""
        cost = "unknown" if self.cost_usd is None else f"${self.cost_usd:.4f}"
        counts = f"{self.n_done} done, {self.n_failed} failed, {self.n_skipped} skipped"
        return f"{self.stage:<9} {counts} in {self.seconds:.1f} s, cost {cost}" + (
            f"; {self.note}" if self.note else ""
        )


def duration(seconds: float) -> str:
    """A time to come in words, as exactly as it can be known: `40 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def with_time_left(note: str, seconds_left: float | None) -> str:
    """A note with the time to come behind it, where that is known."""
    return note if seconds_left is None else f"{note}, {duration(seconds_left)} left"


@asynccontextmanager
async def told_meanwhile(tell: Callable[[], None], every_s: float = 5.0) -> AsyncIterator[None]:
    """Tell how far work is also while none of it ends: a batch takes hours, a busy server minutes.

    Args:
        tell: Calls a reporter's `progress`.
        every_s: Between what is told; how much of it is shown is the reporter's to decide.
    """

    async def tell_on() -> None:
        while True:
            await asyncio.sleep(every_s)
            tell()

    telling = asyncio.create_task(tell_on())
    try:
        yield
    finally:
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling


class Reporter(Protocol):
    """Watches a run."""

    def progress(
        self, stage: str, n_done: int, n_total: int, note: str = "", *, seconds_left: float | None = None
    ) -> None:
        """Called often; `n_done` never falls within a stage.

        Args:
            stage: For example `collect`.
            n_done: Items finished.
            n_total: Items in all.
            note: What else there is to say, for example tokens per second.
            seconds_left: Of the stage, where it knows better than by counting items.
        """
        ...

    def finished(self, summary: StageSummary) -> None:
        """Called once at a stage's end."""
        ...

    def say(self, line: str) -> None:
        """Told what is to be known of the run before it goes on."""
        ...


class LogReporter:
    """Writes each stage's summary, and its progress at most every ten seconds, to the log."""

    def __init__(self) -> None:
        self._last = 0.0

    def progress(
        self, stage: str, n_done: int, n_total: int, note: str = "", *, seconds_left: float | None = None
    ) -> None:
        """Log how far the stage is, if it is time to."""
        if time.monotonic() - self._last >= 10.0:
            self._last = time.monotonic()
            _log.info("%s: %d of %d %s", stage, n_done, n_total, with_time_left(note, seconds_left))

    def finished(self, summary: StageSummary) -> None:
        """Log the summary."""
        _log.info("%s", summary.line())

    def say(self, line: str) -> None:
        """Log it."""
        _log.info("%s", line)
