"""What scoring costs: the whole stage of a demo's run, how it grows, the embedding score's arithmetic, building trials.

    python -m benchmarks.scoring RUN [--only stage,growth,embedding,pose]

RUN is a finished run of the demo; it is copied and only read. The stage runs in a process of its own. CPU is that of
the process, all threads together; the load before and after says how idle the machine was. The result stands in
`scoring.md`.
"""

import argparse
import asyncio
import gc
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Self

import numpy as np

from autointerp.config import Pipeline
from autointerp.contexts.pool import PoolTiles
from autointerp.embedder import Embedder
from autointerp.records import Explanation, FeatureContexts
from autointerp.run.pipeline import run_pipeline
from autointerp.run.progress import StageSummary
from autointerp.score.base import BaseScorer
from autointerp.score.judge import Question
from autointerp.score.trials import Posed, ScoreContexts, Undefined, feature_key
from autointerp.words import words_of
from benchmarks.scored_run import Scored, copied, forget_scores, scored, texts_of

PARTS = ("stage", "growth", "embedding", "pose")
N_EMBEDDED = 10_000
_WIDTH, _LABEL_WORDS = 384, 5  # of all-MiniLM-L6-v2's vectors, of the demo's labels


class Silent:
    """A reporter that tells nobody but at the end of a stage."""

    def progress(
        self, stage: str, n_done: int, n_total: int, note: str = "", *, seconds_left: float | None = None
    ) -> None:
        """Nobody watches."""

    def finished(self, summary: StageSummary) -> None:
        """Print the stage's line."""
        print(summary.line())

    def say(self, line: str) -> None:
        """Nobody listens."""


class Cpu:
    """Seconds of CPU that a block takes, as `seconds` once it has ended."""

    def __enter__(self) -> Self:
        gc.collect()
        self._before = time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.process_time() - self._before


def stage(pipeline: Pipeline) -> None:
    """The score stage, from nothing: imports, the embedder's loading and all words are in it."""
    forget_scores(pipeline)
    wall, load = time.perf_counter(), os.getloadavg()[0]
    command = [sys.executable, "-m", "benchmarks.scoring", "--stage-of", pipeline.model_dump_json()]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().splitlines()
    wall_s, cpu_s = time.perf_counter() - wall, float(told[-1])
    print(told[-2])
    print(f"stage: {wall_s:.1f} s of wall clock, {cpu_s:.1f} s of CPU; load {load:.1f} to {os.getloadavg()[0]:.1f}")


def smaller(pool: PoolTiles, n_tiles: int) -> PoolTiles:
    """The pool with tiles of the score split left out, so that `n_tiles` of these are judged."""
    is_score = pool.is_score.copy()
    is_score[np.flatnonzero(is_score)[n_tiles:]] = False
    return replace(pool, is_score=is_score, _embeddings=[], _duplicates={})


def growth(of: Scored) -> None:
    """All scorers on half and all features and windows: what the model embeds, and the rest."""
    n_features, n_tiles = len(of.given), int(of.source.pool.is_score.sum())
    print("| features | labels | windows | distinct words | embedding words | the rest | the rest, a label |")
    print("|---|---|---|---|---|---|---|")
    for features, tiles in product((n_features // 2, n_features), (n_tiles // 2, n_tiles)):
        pool = smaller(of.source.pool, tiles)
        given = {index: replace(one, pool=pool) for index, one in list(of.given.items())[:features]}
        labels = [e for e in of.explanations if e.feature_index in given]
        scorers = fresh_scorers(of)
        texts, names = texts_of(given.values()), [e.label for e in labels]
        with Cpu() as learning:
            for scorer in scorers:
                scorer.prepare(names, texts, pool)
        with Cpu() as rest:
            asyncio.run(score_all(labels, given, scorers))
        n_words = len({word for text in (*texts, *names, *pool.score_texts) for word in words_of(text)})
        print(
            f"| {features} | {len(labels)} | {tiles} | {n_words:,} | {learning.seconds:.1f} s | {rest.seconds:.1f} s |"
            f" {1000 * rest.seconds / len(labels):.1f} ms |",
            flush=True,
        )


def fresh_scorers(
    of: Scored, names: Sequence[str] = ("detection", "fuzzing", "embedding", "recall")
) -> tuple[BaseScorer, ...]:
    """Scorers whose embedder has embedded nothing yet, its model loaded."""
    of.source.run.embedder = Embedder(of.source.run.pipeline.embedder)
    assert of.source.run.embedder.dim
    return of.scorers(names)


async def score_all(
    labels: Sequence[Explanation], given: dict[int, ScoreContexts], scorers: Sequence[BaseScorer]
) -> None:
    """Score label by label, as the stage does where judging is free."""
    for label in labels:
        for scorer in scorers:
            await scorer.score(label, given[label.feature_index])


def embedding(of: Scored) -> None:
    """Embedding scores from 100 contexts a feature, once all words are embedded."""
    (scorer,) = fresh_scorers(of, ("embedding",))
    given = [replace(one, feature=as_score_split(one.feature)) for one in of.given.values()]
    labels = [e for e in of.explanations if e.feature_index in of.given]
    scorer.prepare([e.label for e in labels], texts_of(given), of.source.pool)
    # Labels and contexts in ever new pairs: 10,000 features of a dictionary don't share theirs.
    pairs = [(labels[i % len(labels)], given[(i + i // len(labels)) % len(given)]) for i in range(N_EMBEDDED)]
    n_contexts = np.mean([len(one.feature.contexts) for _, one in pairs])

    async def all_pairs() -> None:
        for label, one in pairs:
            await scorer.score(replace(label, feature_index=one.feature.feature_index), one)

    with Cpu() as taken:
        asyncio.run(all_pairs())
    n_words = np.mean([len(words_of(text)) for text in texts_of(given[:100])])
    operations = N_EMBEDDED * n_contexts * n_words * 2 * _WIDTH * _LABEL_WORDS
    print(
        f"embedding: {N_EMBEDDED:,} features, {n_contexts:.0f} contexts each: {taken.seconds:.1f} s of CPU,"
        f" {1000 * taken.seconds / N_EMBEDDED:.2f} ms a feature; floor: {operations:.2g} operations in products, "
        f"{operations / peak():.1f} s on one core"
    )


def as_score_split(feature: FeatureContexts) -> FeatureContexts:
    """All contexts of a feature, taken to be of the score split."""
    return replace(feature, contexts=tuple(replace(context, split="score") for context in feature.contexts))


def peak() -> float:
    """Operations a second of numpy's products, one large one."""
    left = np.random.default_rng(0).random((1536, 1536), dtype=np.float32)
    best = 0.0
    for _ in range(5):
        with Cpu() as taken:
            left @ left
        best = max(best, 2 * 1536**3 / taken.seconds)
    return best


def pose(of: Scored) -> None:
    """Building the trials of every label, scorer by scorer; each label's are given up before the next.

    What recall's judge compares, every window with the label, comes first and apart: it chooses by that, but for it
    nothing is compared that would not be otherwise.
    """
    scorers, seed = fresh_scorers(of), of.source.run.pipeline.seed
    for scorer in scorers:
        scorer.prepare([e.label for e in of.explanations], texts_of(of.given.values()), of.source.pool)
    with Cpu() as comparing:
        for label in of.explanations:
            of.source.run.embedder.similarity(label.label, of.source.pool.score_texts)
    n_texts = len(of.source.pool.score_texts)
    print(f"comparing a label with {n_texts} windows: {1000 * comparing.seconds / len(of.explanations):.2f} ms")
    print("| scorer | trials a label | building them | the floor: making as many records |\n|---|---|---|---|")
    for scorer in scorers:
        jobs = [(e, of.given[e.feature_index]) for e in of.explanations]
        n_trials = 0
        with Cpu() as building:
            for label, given in jobs:
                posed = scorer.pose(label, given, feature_key(seed, scorer.name, label.source_id, label.feature_index))
                assert not isinstance(posed, Undefined)
                n_trials += len(posed)
        context = jobs[0][1].feature.contexts[0]
        with Cpu() as floor:
            for _ in range(n_trials):
                Posed(Question(context), True)
        per_label = 1000 / len(jobs)
        print(
            f"| {scorer.name} | {n_trials / len(jobs):.0f} | {per_label * building.seconds:.2f} ms |"
            f" {per_label * floor.seconds:.2f} ms |",
            flush=True,
        )


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?")
    parser.add_argument("--only", default=",".join(PARTS), help="some of: " + ", ".join(PARTS))
    parser.add_argument("--stage-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage_of:
        run_pipeline(Pipeline.model_validate_json(arguments.stage_of), ["score"], Silent())
        print(time.process_time())
        return
    only = arguments.only.split(",")
    with copied(arguments.run) as pipeline:
        if "stage" in only:
            stage(pipeline)
        with scored(pipeline) as of:
            for part in (growth, embedding, pose):
                if part.__name__ in only:
                    part(of)


if __name__ == "__main__":
    main()
