"""Puzzles put to a judge: their questions, what is right, and how often it was.

1. The questions are those of detection and of fuzzing.
2. Labels of one fault are asked about together, of all puzzles: a prompt holds questions of as many puzzles as it can,
   as it does of features in a run, and true labels stand with true ones.
3. What is right is not whether the feature fires, but whether the label describes what is shown: its rule says that.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import get_args

from autointerp.errors import CalibrationError
from autointerp.identity import fingerprint
from autointerp.puzzles.load import FAULTS, Fault, Puzzle, PuzzleKind
from autointerp.puzzles.plant import SOURCE_ID, PlantedContexts
from autointerp.puzzles.truth import describes
from autointerp.records import Failure, FeatureContexts, Split
from autointerp.score.calibration import Cell, LeftOut
from autointerp.score.judge import Answers, Case, Judge, Task, check_answers
from autointerp.score.scorers import detection, fuzzing
from autointerp.score.trials import Posed, Undefined, feature_key, missing_class

KINDS: tuple[PuzzleKind, ...] = get_args(PuzzleKind)

_Build = Callable[[FeatureContexts, Split, int], tuple[Posed, ...]]
_TASKS: tuple[tuple[Task, _Build, tuple[str, str]], ...] = (
    (detection.DETECTION, detection.build_questions, detection.DetectionScorer.classes),
    (fuzzing.FUZZING, fuzzing.build_questions, fuzzing.FuzzingScorer.classes),
)
SCORERS = (detection.DetectionScorer.name, fuzzing.FuzzingScorer.name)
"""Whose questions are asked, and may be answered by a person."""


@dataclass(frozen=True, slots=True)
class _Trials:
    """One label's questions in one task.

    Attributes:
        puzzle: Whose label it is.
        case: What the judge is asked.
        right: What is right, by the label's rule.
    """

    puzzle: Puzzle
    case: Case
    right: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class _Group:
    """What is asked together: labels of one fault, in one task."""

    task: Task
    fault: Fault
    trials: tuple[_Trials, ...]


@dataclass(frozen=True, slots=True)
class PosedPuzzles:
    """All that is asked.

    Attributes:
        groups: In the order in which they are asked.
        left_out: Puzzles that can't be asked about.
        made_of: Fingerprint of the questions.
    """

    groups: tuple[_Group, ...]
    left_out: tuple[LeftOut, ...]
    made_of: str

    @property
    def n_questions(self) -> int:
        return sum(len(of.right) for group in self.groups for of in group.trials)


def pose_puzzles(planted: PlantedContexts, kinds: Sequence[PuzzleKind], seed: int) -> PosedPuzzles:
    """The questions about the puzzles of some kinds.

    Args:
        planted: All puzzles: each has others' text to be told from, whatever kinds are asked about.
        kinds: Of those to ask about.
        seed: Of the choices that the scorers make.

    Raises:
        CalibrationError: If none of them can be asked about.
    """
    background = planted.tiles.background
    groups: list[_Group] = []
    left_out: list[LeftOut] = []
    for task, build, classes in _TASKS:
        asked: list[tuple[Puzzle, tuple[Posed, ...]]] = []
        for feature, (puzzle, outcome) in enumerate(zip(planted.puzzles, planted.outcomes, strict=True)):
            if puzzle.kind not in kinds:
                continue
            lacking: Failure | Undefined | None
            if isinstance(outcome, Failure):
                lacking = outcome
            else:
                key = feature_key(seed, task.name, SOURCE_ID, feature)
                questions = build(outcome, "score", key)
                lacking = missing_class(questions, *classes)
                if lacking is None:
                    asked.append((puzzle, questions))
            if lacking is not None:
                # Without what would be to do about a feature of a corpus of one's own.
                reason = lacking.message.partition(": ")[0]
                left_out.append(LeftOut(task=task.name, kind=puzzle.kind, puzzle=puzzle.name, reason=reason))
        groups += [
            _Group(task, fault, tuple(_trials(fault, *of, background) for of in asked)) for fault in FAULTS if asked
        ]
    if not groups:
        why = f"none of the puzzles of the kinds {', '.join(kinds)} can be asked about"
        raise CalibrationError(f"{why} ({left_out[0].puzzle}: {left_out[0].reason})", "leave --puzzles away")
    return PosedPuzzles(tuple(groups), tuple(left_out), _made_of(groups))


def _trials(fault: Fault, puzzle: Puzzle, questions: Sequence[Posed], background: tuple[str, ...]) -> _Trials:
    label = puzzle.label(fault)
    asked = [posed.question for posed in questions]
    right = describes(label.means, [q.context.tokens for q in asked], [q.marked for q in asked])
    return _Trials(puzzle, Case(label.text, asked, background), tuple(right.tolist()))


def _made_of(groups: Sequence[_Group]) -> str:
    return fingerprint(
        "calibration",
        [
            [group.task.name, of.case.label, q.context.text, q.marked, right]
            for group in groups
            for of in group.trials
            for q, right in zip(of.case.questions, of.right, strict=True)
        ],
    )


async def ask_puzzles(judge: Judge, posed: PosedPuzzles, tell: Callable[[int], None]) -> list[Cell]:
    """Ask about all groups: at one time, since a batch takes hours, and calls are bounded by the model's own gate."""
    judge.prepare(
        sorted({of.case.label for group in posed.groups for of in group.trials}),
        sorted({q.context.text for group in posed.groups for of in group.trials for q in of.case.questions}),
    )

    async def ask(group: _Group) -> list[Cell]:
        cases = [of.case for of in group.trials]
        said = await judge.answer(group.task, cases)
        check_answers(judge, cases, said)
        tell(sum(len(case.questions) for case in cases))
        return [_cell(group, of, answers) for of, answers in zip(group.trials, said, strict=True)]

    cells: list[Cell] = []
    # Where one group ends the command, the calls of the others that are in flight are waited for: they are paid for.
    for outcome in await asyncio.gather(*map(ask, posed.groups), return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
        cells += outcome
    return cells


def _cell(group: _Group, of: _Trials, said: Answers) -> Cell:
    pairs = [(r, a.verdict) for r, a in zip(of.right, said.answers, strict=True) if a.verdict is not None]
    described, other = ([verdict for right, verdict in pairs if right == which] for which in (True, False))
    return Cell(
        task=group.task.name,
        kind=of.puzzle.kind,
        puzzle=of.puzzle.name,
        fault=group.fault,
        n_described=len(described),
        n_described_yes=sum(map(bool, described)),
        n_other=len(other),
        n_other_yes=sum(map(bool, other)),
        n_unanswered=len(of.right) - len(pairs),
    )
