"""Progress bars and summary lines on standard error, so that what a command prints can be piped."""

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

from autointerp.run.progress import StageSummary


class ConsoleReporter:
    """Draws one bar for the stage under way, and prints a line for each that ends.

    Where standard error is no terminal, only the lines are printed.
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

    def __enter__(self) -> "ConsoleReporter":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def progress(self, stage: str, n_done: int, n_total: int, note: str = "") -> None:
        """Move the stage's bar."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=n_total, note=note)
        self._bars.update(self._tasks[stage], completed=n_done, total=n_total, note=note)

    def finished(self, summary: StageSummary) -> None:
        """Take the bar away and print the summary."""
        task = self._tasks.pop(summary.stage, None)
        if task is not None:
            self._bars.remove_task(task)
        self._console.print(summary.line(), markup=False, soft_wrap=True)
