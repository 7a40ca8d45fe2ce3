"""Progress bars and summary lines on standard error, so that what a command prints can be piped."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from autointerp.run.progress import StageSummary, duration, with_time_left

_LINE_EVERY_S = 30.0


class ConsoleReporter:
    """Draws one bar for the stage under way, and prints a line for each that ends.

    Where standard error is no terminal (a batch job's log) a line now and then stands for the bar.
    """

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description:<9}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._began: dict[str, tuple[float, int]] = {}
        self._last_line = time.monotonic()

    def __enter__(self) -> "ConsoleReporter":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def progress(
        self, stage: str, n_done: int, n_total: int, note: str = "", *, seconds_left: float | None = None
    ) -> None:
        """Move the stage's bar."""
        note = with_time_left(note, seconds_left)
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=n_total, note=note)
        self._bars.update(self._tasks[stage], completed=n_done, total=n_total, note=note)
        now = time.monotonic()
        began, n_before = self._began.setdefault(stage, (now, n_done))
        if not self._console.is_terminal and now - self._last_line >= _LINE_EVERY_S:
            self._last_line = now
            a_second = (n_done - n_before) / (now - began) if now > began else 0.0
            is_guessed = seconds_left is None and a_second > 0
            left = f", about {duration((n_total - n_done) / a_second)} left" if is_guessed else ""
            parts = (f"{n_done} of {n_total}{left}", note)
            self._console.print(f"{stage:<9} {'; '.join(p for p in parts if p)}", markup=False, soft_wrap=True)

    def finished(self, summary: StageSummary) -> None:
        """Take the bar away and print the summary."""
        self._began.pop(summary.stage, None)
        task = self._tasks.pop(summary.stage, None)
        if task is not None:
            self._bars.remove_task(task)
        self._console.print(summary.line(), markup=False, soft_wrap=True)
