"""Recall's value against the truth on a real run: the part of `benchmarks.recall_bias` that reads one.

1. The local judge's verdict on every window of the held-out half of the corpus, and the true activations there, give a
   label's F1, precision and recall without any sample.
2. Recall is measured as for a free judge, on the run's pool.
3. It is measured as for a paid judge, who answers as the local one does: the same questions are asked of it as of a
   language model.

The pool is a part of what the truth is made of, so an interval, which allows for another corpus, may hold more often
than it says.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool

from autointerp.contexts.pool import PoolTiles
from autointerp.records import Explanation, Score, ScoreWithTrials
from autointerp.score.judge import Answers, Case, Task
from autointerp.score.judges.local import LocalJudge
from autointerp.score.scorers.detection import DETECTION
from autointerp.score.scorers.recall import RecallScorer
from autointerp.score.trials import ScoreContexts
from benchmarks.scored_run import Scored, Truth, copied, every_window, scored, texts_of, truth

RATES = (0.0, 0.003, 0.01, 0.03, 0.1, 1.0)


class Paid(LocalJudge):
    """The local judge, as if each answer had to be paid for."""

    name = "paid"
    is_free = False

    async def answer(self, task: Task, cases: Sequence[Case]) -> list[Answers]:
        """The local judge's answers."""
        assert not any(case.texts for case in cases), "what is paid for is asked about in trials only"
        return await super().answer(task, cases)


@dataclass(frozen=True, slots=True)
class Told:
    """One label's truth, and what recall told of it."""

    truth: Truth
    free: Score
    paid: Score


async def verdicts(
    judge: LocalJudge, label: str, given: ScoreContexts, texts: Sequence[str]
) -> Bool[np.ndarray, " text"]:
    """A judge's verdict on texts, as recall asks it about the pool's."""
    (said,) = await judge.answer(DETECTION, [Case(label, [], given.pool.background, texts)])
    assert said.texts is not None, "the pool has text of the explain split"
    return said.texts


async def tell(of: Scored, windows: PoolTiles, labels: Sequence[Explanation]) -> list[Told]:
    """Measure every label in all three ways."""
    (free,) = of.scorers(["recall"])
    embedder = of.source.run.embedder
    tools = of.tools(Paid(embedder))
    paid, judge = RecallScorer(tools), LocalJudge(embedder)
    names, texts = [e.label for e in labels], texts_of(of.given.values())
    for scorer in (free, paid):
        scorer.prepare(names, texts, of.source.pool)
    judge.prepare(names, windows.score_texts)
    told: list[Told] = []
    for label in labels:
        given = of.given[label.feature_index]
        scores = [await scorer.score(label, given) for scorer in (free, paid)]
        yes = await verdicts(judge, label.label, given, windows.score_texts)
        if all(isinstance(score, ScoreWithTrials) for score in scores):
            one, other = (score.score for score in scores if isinstance(score, ScoreWithTrials))
            told.append(Told(truth(windows, label.feature_index, yes), one, other))
    return told


def lines(told: Sequence[Told]) -> Iterable[str]:
    """A row for each way of judging and band of firing rates."""
    heads = ["judging", "firing rate", "labels", "true F1", "bias", "RMSE", "coverage", "above", "below", "width"]
    heads += ["bias of precision", "bias of recall"]
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for way in ("free", "paid"):
        for low, high in (*pairwise(RATES), (0.0, 1.0)):
            band = [of for of in told if low <= of.truth.base_rate < high]
            if band:
                yield row(way, f"{low:g} to {high:g}" if (low, high) != (0, 1) else "all", band)


def row(way: str, name: str, band: Sequence[Told]) -> str:
    """How far what was told is off, and how often the interval holds the truth."""
    scores: list[Score] = [getattr(of, way) for of in band]
    true = np.array([of.truth.f1 for of in band])
    value, low, high = np.array([(s.value, s.ci_low, s.ci_high) for s in scores]).T
    error, above, below = value - true, true > high + 1e-9, true < low - 1e-9
    precision = np.array([s.detail["precision"] or 0.0 for s in scores]) - [of.truth.precision for of in band]
    recall = np.array([s.detail["mass_recall"] for s in scores]) - [of.truth.recall for of in band]
    return (
        f"| {way} | {name} | {len(band)} | {true.mean():.3f} | {error.mean():+.3f} | {np.sqrt((error**2).mean()):.3f} |"
        f" {1 - (above | below).mean():.3f} | {above.mean():.3f} | {below.mean():.3f} | {(high - low).mean():.2f} |"
        f" {precision.mean():+.3f} | {recall.mean():+.3f} |"
    )


def main(run: str, *, shuffled: bool) -> None:
    """Print the table for a run's true labels, or for the shuffled ones."""
    logging.disable()
    with copied(run) as pipeline, scored(pipeline) as of, every_window(pipeline) as windows:
        labels = [e for e in of.explanations if e.is_baseline == shuffled]
        told = asyncio.run(tell(of, windows, labels))
        print(f"{len(told)} labels, {int(windows.is_score.sum()):,} held-out windows of {windows.n_tiles:,}")
        for line in lines(told):
            print(line)
