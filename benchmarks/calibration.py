"""What correcting scores for a judge's errors recovers, and what the local judge can and can't judge.

1. Simulation: coverage and bias of the Rogan-Gladen form, by error rates, size of the calibration, and how much the
   judge's rates differ from label to label; and of the prediction-powered form, by how many answers are known.
2. The local judge on the puzzles: its rates by what is wrong with the label and by kind of puzzle.
3. The same judge, calibrated on half of the puzzles: its scores of the other half, plain and corrected, beside what the
   labels are truly worth on the very same windows.

    python -m benchmarks.calibration       # about four minutes on one core

The result stands in `calibration.md`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autointerp.cli.calibrate import calibration_lines
from autointerp.config import CollectConfig, ContextsConfig, CorpusConfig, EmbedderConfig, SubjectConfig
from autointerp.corpus import TokenPieces
from autointerp.embedder import Embedder
from autointerp.puzzles.load import load_puzzles
from autointerp.puzzles.plant import cut_demo_text, plant
from autointerp.score import metrics
from autointerp.score.calibration import Calibration, Cell, judge_rates
from autointerp.score.clusters import numbered
from autointerp.score.confusion import Confusion, confusion
from autointerp.score.correction import Corrected, Judged, prediction_powered, rogan_gladen
from autointerp.score.judges.local import LocalJudge
from autointerp.score.on_puzzles import KINDS, PosedPuzzles, ask_puzzles, pose_puzzles
from autointerp.subject.model import load_tokenizer

N_RUNS = 400
N_TRIALS = 20
WINDOWS_A_LABEL = 15
LABELS_A_PUZZLE = 5
RATES = ((0.95, 0.97), (0.8, 0.9), (0.7, 0.7))
WORTHS = ((0.95, 0.05), (0.8, 0.1), (0.5, 0.5))


def rogan_gladen_rows() -> list[str]:
    """Coverage, bias and width of the corrected value, the judge drawn anew for each calibration and each score."""
    rng = np.random.default_rng(0)
    rows = []
    for sensitivity, specificity in RATES:
        for described, alarming in WORTHS:
            for n_labels, spread in ((50, 0.0), (250, 0.0), (250, 0.1)):
                truth, results = (1 + described - alarming) / 2, []
                for _ in range(N_RUNS):
                    cells = [
                        _cell(rng, f"p{i // LABELS_A_PUZZLE}", *_own(rng, sensitivity, specificity, spread))
                        for i in range(n_labels)
                    ]
                    yes, no = _own(rng, sensitivity, specificity, spread)
                    hits, alarms = (
                        int(rng.binomial(N_TRIALS, yes * share + (1 - no) * (1 - share)))
                        for share in (described, alarming)
                    )
                    seen = metrics.balanced_accuracy(Confusion(hits, N_TRIALS - hits, alarms, N_TRIALS - alarms))
                    assert seen is not None
                    results.append((seen.value, rogan_gladen(seen, judge_rates(cells))))
                given = [of for _, of in results if isinstance(of, Corrected)]
                rows.append(
                    f"| {sensitivity}, {specificity} | {truth:.3g} | {n_labels}, {spread} "
                    f"| {np.mean([value for value, _ in results]) - truth:+.3f} "
                    f"| {np.mean([of.unclipped for of in given]) - truth:+.3f} "
                    f"| {np.mean([of.estimate.value for of in given]) - truth:+.3f} "
                    f"| {np.mean([of.estimate.low <= truth <= of.estimate.high for of in given]):.3f} "
                    f"| {np.mean([of.estimate.high - of.estimate.low for of in given]):.2f} "
                    f"| {1 - len(given) / N_RUNS:.0%} |"
                )
    return rows


def _own(rng: np.random.Generator, sensitivity: float, specificity: float, spread: float) -> tuple[float, float]:
    """The judge's rates on one label; `spread` is the standard deviation of their sum."""
    shift = rng.normal(0, spread / 2**0.5, 2)
    yes, no = np.clip(np.array([sensitivity, specificity]) + shift, 0.0, 1.0).tolist()
    return yes, no


def _cell(rng: np.random.Generator, puzzle: str, sensitivity: float, specificity: float) -> Cell:
    n = WINDOWS_A_LABEL
    return Cell(
        task="detection",
        kind="token",
        puzzle=puzzle,
        fault="true",
        n_described=n,
        n_described_yes=int(rng.binomial(n, sensitivity)),
        n_other=n,
        n_other_yes=int(rng.binomial(n, 1 - specificity)),
        n_unanswered=0,
    )


def powered_rows() -> list[str]:
    """Coverage, bias and width of the prediction-powered mean of a run of 10,000 trials, and width by hand alone."""
    rng = np.random.default_rng(0)
    n, rows = 10_000, []
    firing = np.arange(n) % 2 == 0
    for sensitivity, specificity in (*RATES, (0.5, 0.5)):
        for described, alarming in WORTHS:
            for n_known in (20, 50, 100, 200):
                truth, results = (1 + described - alarming) / 2, []
                for _ in range(N_RUNS):
                    right = rng.random(n) < np.where(firing, described, alarming)
                    verdict = rng.random(n) < np.where(right, sensitivity, 1 - specificity)
                    known = np.zeros(n, dtype=bool)
                    for of in (firing, ~firing):
                        known[rng.choice(np.flatnonzero(of), n_known, replace=False)] = True
                    found = prediction_powered(Judged(firing, verdict, known, right, np.arange(n)))
                    assert not isinstance(found, str)
                    results.append(found)
                by_hand = 1.96 * ((described * (1 - described) + alarming * (1 - alarming)) / n_known) ** 0.5
                rows.append(
                    f"| {sensitivity}, {specificity} | {truth:.3g} | {n_known} "
                    f"| {np.mean([of.value for of in results]) - truth:+.3f} "
                    f"| {np.mean([of.low <= truth <= of.high for of in results]):.3f} "
                    f"| {np.mean([of.high - of.low for of in results]):.3f} | {by_hand:.3f} |"
                )
    return rows


@dataclass(frozen=True, slots=True)
class Held:
    """One label of a puzzle, as a scorer sees it.

    Attributes:
        cell: The judge's verdicts by what is right.
        seen: Its balanced accuracy, as a score has it.
        truth: What it would be on the same windows, had the judge been right about all.
    """

    cell: Cell
    seen: metrics.Estimate
    truth: float


async def judge_puzzles(judge: LocalJudge, posed: PosedPuzzles) -> list[Held]:
    """Put all puzzles to a judge, and keep what a score would be made of too."""
    held = []
    cells = iter(await ask_puzzles(judge, posed, lambda _: None))
    for group in posed.groups:
        said = await judge.answer(group.task, [of.case for of in group.trials])
        for of, answers in zip(group.trials, said, strict=True):
            questions = of.case.questions
            firing = np.array(
                [
                    all(q.context.activations[at] > 0 for at in q.marked) if q.marked else q.context.is_active
                    for q in questions
                ]
            )
            verdict = np.array([bool(answer.verdict) for answer in answers.answers])
            cluster = numbered(q.context.group_id for q in questions)
            seen, true = (
                metrics.balanced_accuracy(confusion(firing, yes, cluster)) for yes in (verdict, np.array(of.right))
            )
            assert seen is not None
            assert true is not None
            held.append(Held(next(cells), seen, true.value))
    return held


def held_out_rows(held: Sequence[Held]) -> list[str]:
    """Scores of half of the puzzles, by rates of the other half; each half in turn."""
    names = sorted({of.cell.puzzle for of in held})
    rows = []
    for task in dict.fromkeys(of.cell.task for of in held):
        for fault in dict.fromkeys(of.cell.fault for of in held):
            found = []
            for half in (0, 1):
                out = set(names[half::2])
                rates = judge_rates([of.cell for of in held if of.cell.task == task and of.cell.puzzle not in out])
                for of in held:
                    if (of.cell.task, of.cell.fault) == (task, fault) and of.cell.puzzle in out:
                        corrected = rogan_gladen(of.seen, rates)
                        assert isinstance(corrected, Corrected)
                        ends = corrected.estimate
                        is_inside = ends.low <= of.truth <= ends.high
                        found.append((of.truth, of.seen.value, corrected.unclipped, is_inside, ends.high - ends.low))
            truth, seen, unclipped, inside, width = np.array(found, dtype=np.float64).mean(axis=0)
            rows.append(
                f"| {task} | {fault} | {len(found)} | {truth:.2f} | {seen - truth:+.2f} | {unclipped - truth:+.2f} "
                f"| {inside:.2f} | {width:.2f} |"
            )
    return rows


def pose_on_demo(embedder: Embedder) -> PosedPuzzles:
    """The questions that the demo's settings make of the puzzles."""
    tokenizer = load_tokenizer(SubjectConfig())
    planted = plant(
        load_puzzles(),
        cut_demo_text(tokenizer, CorpusConfig().block_length),
        TokenPieces(tokenizer),
        collect=CollectConfig(),
        contexts=ContextsConfig(),
        embedder=embedder,
        seed=0,
    )
    return pose_puzzles(planted, KINDS, seed=0)


def print_table(title: str, header: Sequence[str], rows: Sequence[str]) -> None:
    """Print a table of Markdown."""
    print(f"\n## {title}\n\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
    print("\n".join(rows))


def main() -> None:
    """Print all tables."""
    embedder = Embedder(EmbedderConfig())
    posed = pose_on_demo(embedder)
    held = asyncio.run(judge_puzzles(LocalJudge(embedder), posed))
    calibration = Calibration(
        judge="local", judged_by={}, made_of="", cells=tuple(of.cell for of in held), left_out=posed.left_out
    )
    print("\n".join(calibration_lines(calibration, Path("calibration.json"))))
    of_held = ("task", "label", "labels", "truth", "plain, off", "corrected, off", "coverage", "width")
    print_table("Held-out puzzles, local judge", of_held, held_out_rows(held))
    of_form = (
        "rates",
        "truth",
        "labels, spread",
        "plain, off",
        "not cut, off",
        "cut, off",
        "coverage",
        "width",
        "none",
    )
    print_table("Rogan-Gladen", of_form, rogan_gladen_rows())
    of_known = ("rates", "truth", "known of each class", "off", "coverage", "width", "width by the known alone")
    print_table("Prediction-powered", of_known, powered_rows())


if __name__ == "__main__":
    main()
