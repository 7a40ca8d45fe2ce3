"""How often a judge is wrong, counted on puzzles: what is kept of it in a file, and the rates that come of it.

A cell is one label of one puzzle in one task: of the windows it was asked about, how many the label truly describes,
and to how many of these, and of the others, the judge said yes. Rates of any part (a task, a kind of puzzle, a fault of
labels) are sums of cells. Windows of one puzzle are not independent: the judge may take its labels otherwise than they
are meant. Puzzles are therefore the clusters behind each interval.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from autointerp.errors import CalibrationError, file_error, in_one_line
from autointerp.identity import fingerprint
from autointerp.json_text import parse_json
from autointerp.score import metrics
from autointerp.score.confusion import Confusion, confusion
from autointerp.score.correction import JudgeRates, rogan_gladen
from autointerp.score.detail import Detail
from autointerp.score.judge import Judge, Task
from autointerp.score.metrics import Estimate
from autointerp.whole_file import whole_file

_AGAIN = "run `autointerp calibrate` again, or take judge.calibration away"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Cell(_Strict):
    """One label's trials in one task.

    Attributes:
        task: `detection` or `fuzzing`.
        kind: Of the puzzle.
        puzzle: Its name.
        fault: Of the label.
        n_described: Answered trials of what the label truly describes.
        n_described_yes: Of these, with the verdict yes.
        n_other: Answered trials of what it doesn't describe.
        n_other_yes: Of these, with the verdict yes.
        n_unanswered: Trials without an answer, in no other count.
    """

    task: str
    kind: str
    puzzle: str
    fault: str
    n_described: int = Field(ge=0)
    n_described_yes: int = Field(ge=0)
    n_other: int = Field(ge=0)
    n_other_yes: int = Field(ge=0)
    n_unanswered: int = Field(ge=0)

    @model_validator(mode="after")
    def _adds_up(self) -> "Cell":
        if self.n_described_yes > self.n_described or self.n_other_yes > self.n_other:
            raise ValueError("there are more answers yes than answers")
        return self

    @property
    def n_asked(self) -> int:
        """Trials."""
        return self.n_described + self.n_other + self.n_unanswered


class LeftOut(_Strict):
    """A puzzle that was not asked about in a task, and why."""

    task: str
    kind: str
    puzzle: str
    reason: str


class Calibration(_Strict):
    """How often one judge was right.

    Attributes:
        format: Of the file.
        judge: The judge's name.
        judged_by: Its fingerprint for each task: of model, settings and prompt.
        made_of: Fingerprint of text and contexts.
        cells: What was counted.
        left_out: Puzzles that could not be asked about.
    """

    format: Literal[1] = 1
    judge: str
    judged_by: dict[str, str]
    made_of: str
    cells: tuple[Cell, ...] = Field(min_length=1)
    left_out: tuple[LeftOut, ...] = ()

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks, in the order in which they were asked."""
        return tuple(dict.fromkeys(cell.task for cell in self.cells))

    def of(self, task: str) -> tuple[Cell, ...]:
        """The cells of one task."""
        return tuple(cell for cell in self.cells if cell.task == task)


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A calibration by which a run's scores are corrected.

    Attributes:
        file: Where it stands.
        calibration: What the file holds.
        digest: Fingerprint of that.
    """

    file: Path
    calibration: Calibration
    digest: str

    @classmethod
    def read(cls, file: str) -> "Calibrated":
        """Read the file that `judge.calibration` names.

        Raises:
            CalibrationError: If it is not there, damaged, or no calibration.
        """
        path = Path(file).expanduser()
        calibration = read_calibration(path)
        return cls(path, calibration, fingerprint("calibration", calibration.model_dump(mode="json")))

    def check_name(self, judge: str) -> None:
        """See that it is of a judge of this name.

        Raises:
            CalibrationError: If it is another's.
        """
        if judge != self.calibration.judge:
            raise CalibrationError(
                f"judge.calibration {self.file} is of the judge {self.calibration.judge!r}, and {judge!r} judges here",
                _AGAIN,
            )

    def rates_for(self, judge: Judge, task: Task) -> JudgeRates:
        """The rates by which scores of a judge's verdicts are corrected.

        Args:
            judge: Whose verdicts they are.
            task: What it is asked.

        Raises:
            CalibrationError: If it is of another judge, or knows nothing of the task.
        """
        self.check_name(judge.name)
        judged_by = self.calibration.judged_by
        if task.name not in judged_by:
            raise CalibrationError(f"judge.calibration {self.file} knows nothing of the task {task.name!r}", _AGAIN)
        if judge.fingerprint(task) != judged_by[task.name]:
            raise CalibrationError(
                f"judge.calibration {self.file} is of the judge {judge.name!r} with other settings for {task.name}: the"
                " prompt, judge.contexts_per_prompt, a key of judge.model, or the embedder has changed since",
                _AGAIN,
            )
        return judge_rates(self.calibration.of(task.name))


def add_corrected(detail: Detail, headline: Estimate, rates: JudgeRates) -> None:
    """Put a headline without the judge's errors beside the plain one.

    Args:
        detail: Of the score.
        headline: A balanced accuracy, its interval as wide as unanswered trials and early stops make it.
        rates: Of the judge.
    """
    corrected = rogan_gladen(headline, rates)
    if isinstance(corrected, str):
        detail.add("corrected", None, corrected)
        return
    detail.add("corrected", corrected.estimate)
    detail.add("corrected_unclipped", corrected.unclipped)
    sensitivity, specificity = metrics.sensitivity(rates.counts), metrics.specificity(rates.counts)
    assert sensitivity is not None, "there is a correction"
    assert specificity is not None, "there is a correction"
    told = {"sensitivity": sensitivity.value, "specificity": specificity.value, "spread": rates.spread}
    detail.add_numbers("judge_rates", told)


def read_calibration(path: Path) -> Calibration:
    """Read a file that `write_calibration` wrote.

    Raises:
        CalibrationError: If it is not there, damaged, or no calibration.
    """
    try:
        content = parse_json(path.read_bytes())
    except OSError as error:
        raise file_error(error, path, CalibrationError) from error
    except ValueError as error:
        raise CalibrationError(f"judge.calibration {path} is damaged ({in_one_line(error)})", _AGAIN) from error
    try:
        return Calibration.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "its content"
        raise CalibrationError(
            f"judge.calibration {path} is no calibration of this version of autointerp ({place}: {first['msg']})",
            _AGAIN,
        ) from error


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Write it, whole or not at all.

    Raises:
        CalibrationError: If the file can't be written.
        DiskFullError: If there is no space left.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as unfinished:
            unfinished.write_text(calibration.model_dump_json(indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise file_error(error, path, CalibrationError) from error


def counts_of(cells: Sequence[Cell]) -> Confusion:
    """All verdicts of some cells by the truth, and what they are worth with puzzles for clusters."""
    names: dict[str, int] = {}
    truth, verdict, cluster = [], [], []
    for cell in cells:
        of = names.setdefault(cell.puzzle, len(names))
        for is_described, n, n_yes in (
            (True, cell.n_described, cell.n_described_yes),
            (False, cell.n_other, cell.n_other_yes),
        ):
            truth.append(np.full(n, is_described))
            verdict.append(np.arange(n) < n_yes)
            cluster.append(np.full(n, of))
    return confusion(
        np.concatenate([np.empty(0, dtype=bool), *truth]),
        np.concatenate([np.empty(0, dtype=bool), *verdict]),
        np.concatenate([np.empty(0, dtype=np.int64), *cluster]),
    )


def judge_rates(cells: Sequence[Cell]) -> JudgeRates:
    """The rates of some cells, and how much they differ from label to label.

    The spread is what labels' own sensitivity + specificity vary beyond chance, by the moments of DerSimonian and Laird
    (1986). Chance is taken at the rates of all labels together, so that a label of few windows, all of them judged
    rightly, does not seem to be known exactly.
    """
    counts = counts_of(cells)
    both = [cell for cell in cells if cell.n_described and cell.n_other]
    if not both:
        return JudgeRates(counts, 0.0, 0)
    n_described, yes, n_other, alarms = np.array(
        [(c.n_described, c.n_described_yes, c.n_other, c.n_other_yes) for c in both], dtype=np.float64
    ).T
    hit, alarm = yes.sum() / n_described.sum(), alarms.sum() / n_other.sum()
    by_chance = hit * (1 - hit) / n_described + alarm * (1 - alarm) / n_other
    if not by_chance.all() or len(both) == 1:  # never wrong, always wrong, or one label
        return JudgeRates(counts, 0.0, len(both))
    own, weight = yes / n_described - alarms / n_other, 1 / by_chance
    excess = float(np.sum(weight * (own - np.average(own, weights=weight)) ** 2)) - (len(both) - 1)
    scale = float(weight.sum() - np.sum(weight**2) / weight.sum())
    return JudgeRates(counts, float(np.sqrt(max(0.0, excess / scale))), len(both))


@dataclass(frozen=True, slots=True)
class RateRow:
    """A judge's rates on a part of the puzzles.

    Attributes:
        task: `detection` or `fuzzing`.
        part: `all`, `label` (by fault) or `kind` (of puzzle).
        name: Which of them; empty for all.
        n_puzzles: Puzzles in it.
        n_described: Answered trials of what labels truly describe.
        sensitivity: Share of these with a yes; None of none.
        n_other: Answered trials of what they don't.
        specificity: Share of these with a no; None of none.
        n_unanswered: Trials without an answer, in neither rate.
        uninformative: What the judge said to every question, where it said the same to all.
    """

    task: str
    part: Literal["all", "label", "kind"]
    name: str
    n_puzzles: int
    n_described: int
    sensitivity: Estimate | None
    n_other: int
    specificity: Estimate | None
    n_unanswered: int
    uninformative: str | None


def rate_rows(calibration: Calibration) -> list[RateRow]:
    """A judge's rates by task: on all puzzles, by what is wrong with the label, by kind of puzzle."""
    rows: list[RateRow] = []
    for task in calibration.tasks:
        cells = calibration.of(task)
        rows.append(_row(task, "all", "", cells))
        rows += [_row(task, "label", fault, of) for fault, of in _by(cells, lambda cell: cell.fault).items()]
        rows += [_row(task, "kind", kind, of) for kind, of in _by(cells, lambda cell: cell.kind).items()]
    return rows


def _row(task: str, part: Literal["all", "label", "kind"], name: str, cells: Sequence[Cell]) -> RateRow:
    counts = counts_of(cells)
    return RateRow(
        task=task,
        part=part,
        name=name,
        n_puzzles=len({cell.puzzle for cell in cells}),
        n_described=counts.n_positive,
        sensitivity=metrics.sensitivity(counts),
        n_other=counts.n_negative,
        specificity=metrics.specificity(counts),
        n_unanswered=sum(cell.n_unanswered for cell in cells),
        uninformative=said_one_thing(cells),
    )


def said_one_thing(cells: Iterable[Cell]) -> str | None:
    """What the judge said to every question, where it said the same to all."""
    n_yes = n = 0
    for cell in cells:
        n += cell.n_described + cell.n_other
        n_yes += cell.n_described_yes + cell.n_other_yes
    if n == 0 or 0 < n_yes < n:
        return None
    return f"the judge said {'yes' if n_yes else 'no'} to all {n:,} questions"


def _by(cells: Iterable[Cell], name: Callable[[Cell], str]) -> dict[str, tuple[Cell, ...]]:
    """Cells grouped by a name, in the order in which the names first occur."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(name(cell), []).append(cell)
    return {key: tuple(group) for key, group in groups.items()}
