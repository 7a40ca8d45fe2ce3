"""`autointerp calibrate`: how often the judge is wrong, as a table or as JSON."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from autointerp.cli.reporting import ConsoleReporter
from autointerp.config import Pipeline
from autointerp.library.answers import draw_questions, read_answers, score_answers
from autointerp.library.run import open_run
from autointerp.run.calibrate import calibrate, plan_calibration
from autointerp.run.dry_run import CostPlan
from autointerp.score.calibration import Calibration, RateRow, judge_rates, rate_rows
from autointerp.score.correction import LEAST_LABELS
from autointerp.score.metrics import Estimate, balanced_accuracy
from autointerp.text_table import number, table

_PARTS = {"all": "all", "label": "labels: ", "kind": "puzzles: "}
_FEW = 3


def run_calibrate(pipeline: Pipeline, kinds: list[str], file: Path | None) -> tuple[Calibration, Path]:
    """Calibrate, with progress on standard error."""
    with ConsoleReporter() as reporter:
        return calibrate(pipeline, kinds, file, reporter)


def plan_calibrate(pipeline: Pipeline, kinds: list[str]) -> CostPlan:
    """Plan, with progress on standard error."""
    typer.echo("Planning: questions are made as they would be asked; no call is made.", err=True)
    with ConsoleReporter() as reporter:
        return plan_calibration(pipeline, kinds, reporter)


def calibration_lines(calibration: Calibration, file: Path) -> list[str]:
    """The rates as lines for people, and what to do with them."""
    rows = rate_rows(calibration)
    lines = [f"How often the judge {calibration.judge} is right about what a label says of a text:", ""]
    header = ["task", "of", "puzzles", "yes is right", "sensitivity", "no is right", "specificity", "unanswered"]
    lines += table(header, [_cells(row) for row in rows], left=(0, 1))
    lines.append("")
    for row in rows:
        if row.uninformative is not None and row.part == "all":
            lines.append(f"uninformative in {row.task}: {row.uninformative}")
    for task in calibration.tasks:
        lines.append(_gain(calibration, task))
    few = sorted({row.name for row in rows if row.part == "kind" and row.n_puzzles < _FEW})
    if few:
        lines.append(
            f"Of {', '.join(few)} there are fewer than {_FEW} puzzles: their rates say little of such features."
        )
    for reason, names in _left_out(calibration).items():
        lines.append(f"Left out{reason}: {names}")
    lines.append(
        f'Written to {file}; scores are corrected by it where the pipeline has  [judge] calibration = "{file}"'
    )
    return lines


def calibration_as_json(calibration: Calibration, file: Path) -> dict[str, Any]:
    """The rates as plain values."""
    return {
        "judge": calibration.judge,
        "file": str(file),
        "rates": [
            {
                "task": row.task,
                "part": row.part,
                "name": row.name,
                "n_puzzles": row.n_puzzles,
                "n_described": row.n_described,
                "sensitivity": _plain(row.sensitivity),
                "n_other": row.n_other,
                "specificity": _plain(row.specificity),
                "n_unanswered": row.n_unanswered,
                "uninformative": row.uninformative,
            }
            for row in rate_rows(calibration)
        ],
        "left_out": [of.model_dump() for of in calibration.left_out],
    }


def answers_lines(folder: Path, file: Path, draw: int | None) -> tuple[list[str], Any]:
    """What a person's answers say of a run's scores, for people and as plain values; or that they are to be given.

    Args:
        folder: The run's.
        file: The answers.
        draw: Trials of each scorer to write there, to be answered; None to read it.
    """
    run = open_run(folder)
    if draw is not None:
        n = draw_questions(run, draw, file)
        line = f"Wrote {n} trials to {file}: write yes or no into the column answer, is the label right about the text"
        return [f"{line} (where a text has marks << >>: about what is marked)?"], {"n_trials": n, "file": str(file)}
    found = score_answers(run, read_answers(file))
    header = ["scorer", "judge", "trials", "answered", "by the judge", "by the answers", "sensitivity", "specificity"]
    rows = [
        [
            *(of.scorer, of.judge, f"{of.n_trials:,}", f"{of.n_known:,}"),
            *map(_rate, (of.by_judge, of.by_answers, of.sensitivity, of.specificity)),
        ]
        for of in found
    ]
    lines = ["Balanced accuracy over all trials of true labels:", "", *table(header, rows, left=(0, 1))]
    lines += [f"{of.scorer}: {of.why_none}" for of in found if of.why_none is not None]
    return lines, [asdict(of) for of in found]


def _cells(row: RateRow) -> list[str]:
    return [
        row.task if row.part == "all" else "",
        f"{_PARTS[row.part]}{row.name}",
        str(row.n_puzzles),
        f"{row.n_described:,}",
        _rate(row.sensitivity),
        f"{row.n_other:,}",
        _rate(row.specificity),
        f"{row.n_unanswered:,}",
    ]


def _rate(rate: Estimate | None) -> str:
    return "-" if rate is None else f"{number(rate.value)} [{number(rate.low)} {number(rate.high)}]"


def _plain(rate: Estimate | None) -> dict[str, float] | None:
    return None if rate is None else {"value": rate.value, "low": rate.low, "high": rate.high}


def _gain(calibration: Calibration, task: str) -> str:
    """What of a label's worth a score shows, in words."""
    rates = judge_rates(calibration.of(task))
    mean = balanced_accuracy(rates.counts)
    if mean is None or mean.low <= 0.5:
        return f"{task}: the judge can't be told from one who guesses, and no score can be corrected for it"
    if rates.n_labels < LEAST_LABELS:
        return (
            f"{task}: {rates.n_labels} labels with windows of both kinds; from {LEAST_LABELS} on scores are corrected"
        )
    return (
        f"{task}: a score shows {number(2 * mean.value - 1)} of what a label is better than chance, differing by"
        f" {number(rates.spread)} from label to label"
    )


def _left_out(calibration: Calibration) -> dict[str, str]:
    """Names of the puzzles that were left out, by why; with the task, where it is not all."""
    told: dict[str, list[str]] = {}
    tasks: dict[tuple[str, str], list[str]] = {}
    for of in calibration.left_out:
        tasks.setdefault((of.puzzle, of.reason), []).append(of.task)
    for (puzzle, reason), names in tasks.items():
        where = "" if len(names) == len(calibration.tasks) else f" of {', '.join(names)}"
        told.setdefault(f"{where} ({reason})", []).append(puzzle)
    return {reason: ", ".join(puzzles) for reason, puzzles in told.items()}
