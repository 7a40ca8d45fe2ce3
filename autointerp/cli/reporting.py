"""Progress bars and summary lines on standard error, so that what a command prints can be piped."""

import time
from collections.abc import Sequence
from types import TracebackType

import typer
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

from autointerp.cli.tables import with_words
from autointerp.config import Pipeline
from autointerp.run.features import ChosenFeatures, count_features
from autointerp.run.missing import NOT_TRIED, Missing
from autointerp.run.pipeline import Outcome
from autointerp.run.progress import StageSummary, duration, with_time_left
from autointerp.valid_text import visible

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
        if n_done:  # the first item may have waited for what all share, as for the pool's embedding
            self._began.setdefault(stage, (now, n_done))
        began, n_before = self._began.get(stage, (now, n_done))
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

    def say(self, line: str) -> None:
        """Print it."""
        self._console.print(line, markup=False, soft_wrap=True)


def tell_missing(pipeline: Pipeline, outcome: Outcome) -> None:
    """Say on standard error what a run has not got and why; end with 1 if something that was asked for is not done.

    Raises:
        typer.Exit: If something that was asked for is not done.
    """
    lines = missing_lines(outcome.missing, outcome.features)
    if lines:
        lines.append(f"`autointerp status {pipeline.run_folder}` shows all reasons")
    for line in lines:
        typer.echo(visible(line), err=True)
    if outcome.n_failed:
        raise typer.Exit(1)


def missing_lines(missing: Sequence[Missing], chosen: ChosenFeatures) -> list[str]:
    """What is missing, why, and what can be done about it, for people; nothing where nothing is missing."""
    lines = []
    if labels := [of for of in missing if of.is_label]:
        n = sum(of.n for of in labels)
        n_asked = count_features(chosen)
        lines.append(f"{n} of {n_asked} feature{'' if n_asked == 1 else 's'} without a label: {_counts(labels)}")
    by_stage: dict[str, list[Missing]] = {}
    for of in missing:
        if not of.is_label:
            by_stage.setdefault(of.stage, []).append(of)
    lines += [f"{stage} lacks {sum(of.n for of in some)} scores: {_counts(some)}" for stage, some in by_stage.items()]
    told: set[str] = set()
    for of in missing:
        if of.example is not None and of.error_type not in told:
            told.add(of.error_type)
            lines.append(f"  {of.error_type}: feature {of.example.feature_index}: {with_words(of.example)}")
    if missing:
        lines.append(_what_to_do(missing))
    return lines


def _counts(missing: Sequence[Missing]) -> str:
    return ", ".join(f"{of.n} {of.error_type}" for of in missing)


def _what_to_do(missing: Sequence[Missing]) -> str:
    n_retried = sum(of.n_retried for of in missing)
    n_findings = sum(of.n for of in missing if of.is_finding)
    n_left = sum(of.n for of in missing) - n_retried - n_findings
    parts = []
    if n_retried:
        parts.append(f"the same command tries {n_retried} of them again")
    if n_findings:
        parts.append(
            f"{n_findings} tell of features that this corpus can't label or score, and stay; more text"
            " (corpus.n_tokens) may change that"
        )
    if n_left:
        is_tried = all(of.error_type != NOT_TRIED for of in missing)
        why = "would only fail again" if is_tried else "are not tried by this command: run `autointerp explain`"
        parts.append(f"{n_left} {why}")
    return "; ".join(parts)
