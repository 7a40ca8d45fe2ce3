"""What scoring costs: the whole stage of a demo's run, how it grows, the embedding score's arithmetic, building trials.

    python -m benchmarks.scoring RUN [--only stage,growth,embedding,pose]

RUN is a finished run of the demo; it is copied and only read. The stage runs in a process of its own. CPU is that of
the process, all threads together; the load before and after says how idle the machine was. The result stands in
`scoring.md`.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from autointerp.config import Pipeline
from autointerp.contexts.pool import PoolTiles
from autointerp.embedder import Embedder
from autointerp.records import Explanation, FeatureContexts
from autointerp.run.pipeline import run_pipeline
from autointerp.run.progress import StageSummary
from autointerp.score.base import BaseScorer
from autointerp.score.trials import ScoreContexts, feature_key
from autointerp.words import words_of
from benchmarks.scored_run import Scored, copied, forget_scores, scored, texts_of

PARTS = ("stage", "growth", "embedding", "pose")
N_EMBEDDED = 10_000
_WIDTH, _LAYERS, _MLP = 384, 6, 1536  # all-MiniLM-L6-v2


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


def cpu_of(work: Callable[[], object]) -> float:
    """Seconds of CPU that something takes."""
    before = time.process_time()
    work()
    return time.process_time() - before


def stage(pipeline: Pipeline) -> None:
    """The score stage, from nothing: imports, the embedder's loading and all words are in it."""
    forget_scores(pipeline)
    wall, load = time.perf_counter(), os.getloadavg()[0]
    command = [sys.executable, "-m", "benchmarks.scoring", "--stage-of", pipeline.model_dump_json()]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().splitlines()
    wall_s, cpu_s = time.perf_counter() - wall, json.loads(told[-1])
    print(told[-2])
    print(f"stage: {wall_s:.1f} s of wall clock, {cpu_s:.1f} s of CPU; load {load:.1f} to {os.getloadavg()[0]:.1f}")


def smaller(pool: PoolTiles, n_tiles: int) -> PoolTiles:
    """The pool with tiles of the score split left out, so that `n_tiles` of these are judged."""
    is_score = pool.is_score.copy()
    is_score[np.flatnonzero(is_score)[n_tiles:]] = False
    return replace(pool, is_score=is_score, _embeddings=[])


def growth(of: Scored) -> None:
    """All scorers on half and all features and windows: what the model embeds, and the rest."""
    n_features, n_tiles = len(of.given), int(of.source.pool.is_score.sum())
    print("| features | labels | windows | distinct words | embedding words | the rest | the rest, a label |")
    print("|---|---|---|---|---|---|---|")
    for features, tiles in (
        (n_features // 2, n_tiles // 2),
        (n_features // 2, n_tiles),
        (n_features, n_tiles // 2),
        (n_features, n_tiles),
    ):
        pool = smaller(of.source.pool, tiles)
        given = {index: replace(one, pool=pool) for index, one in list(of.given.items())[:features]}
        labels = [e for e in of.explanations if e.feature_index in given]
        scorers = fresh_scorers(of)
        texts, names = texts_of(given.values()), [e.label for e in labels]

        def prepare(
            scorers: Sequence[BaseScorer] = scorers,
            pool: PoolTiles = pool,
            texts: Sequence[str] = texts,
            names: Sequence[str] = names,
        ) -> None:
            for scorer in scorers:
                scorer.prepare(names, texts, pool)

        learnt = cpu_of(prepare)
        rest = cpu_of(
            lambda given=given, labels=labels, scorers=scorers: asyncio.run(score_all(labels, given, scorers))
        )
        n_words = len({word for text in (*texts, *names, *pool.score_texts) for word in words_of(text)})
        print(
            f"| {features} | {len(labels)} | {tiles} | {n_words:,} | {learnt:.1f} s | {rest:.1f} s |"
            f" {1000 * rest / len(labels):.1f} ms |",
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

    seconds = cpu_of(lambda: asyncio.run(all_pairs()))
    n_words = np.mean([len(words_of(text)) for text in texts_of(given[:100])])
    operations = N_EMBEDDED * n_contexts * n_words * 2 * _WIDTH * 5
    print(
        f"embedding: {N_EMBEDDED:,} features, {n_contexts:.0f} contexts each: {seconds:.1f} s of CPU,"
        f" {1000 * seconds / N_EMBEDDED:.2f} ms a feature; floor: {operations:.2g} operations in products, "
        f"{operations / peak():.1f} s on one core"
    )


def as_score_split(feature: FeatureContexts) -> FeatureContexts:
    """All contexts of a feature, taken to be of the score split."""
    return replace(feature, contexts=tuple(replace(context, split="score") for context in feature.contexts))


def peak() -> float:
    """Operations a second of numpy's products, one large one."""
    left = np.random.default_rng(0).random((1536, 1536), dtype=np.float32)
    return max(2 * 1536**3 / cpu_of(lambda: left @ left) for _ in range(5))


def pose(of: Scored) -> None:
    """Building the trials of every label, scorer by scorer."""
    scorers = fresh_scorers(of)
    for scorer in scorers:
        scorer.prepare([e.label for e in of.explanations], texts_of(of.given.values()), of.source.pool)
    seed = of.source.run.pipeline.seed
    print("| scorer | trials a label | building them | the floor: a copy of each trial |\n|---|---|---|---|")
    for scorer in scorers:
        jobs = [
            (e, of.given[e.feature_index], feature_key(seed, scorer.name, e.source_id, e.feature_index))
            for e in of.explanations
            if e.feature_index in of.given
        ]
        posed = []
        seconds = cpu_of(lambda jobs=jobs, posed=posed, scorer=scorer: posed.extend(scorer.pose(*job) for job in jobs))
        copying = cpu_of(lambda posed=posed: [[replace(p, question=replace(p.question)) for p in one] for one in posed])
        print(
            f"| {scorer.name} | {np.mean([len(one) for one in posed]):.0f} | {1000 * seconds / len(jobs):.2f} ms |"
            f" {1000 * copying / len(jobs):.2f} ms |",
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
