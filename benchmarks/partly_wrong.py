"""Whether scores fall where a label is made partly wrong: too broad, too narrow, or padded with words of nothing.

    python -m benchmarks.partly_wrong RUN [--features 120]

RUN is a finished run of one source with local labels and judge; it is copied and only read. Of each label three are
made: with the words of the four labels of closest decoder direction, with twenty words drawn from other labels, and the
first of the things that it lists alone; the first and the last as a run's nulls `too_broad` and `too_narrow` are made.
The truth is the F1 of both over every held-out window of the corpus, by the same judge. A label is
*caught* by a scorer where the paired difference from the true label's answers to the same questions lies wholly below
0 (`score.compare`), or, without pairing, where its value lies below the true label's interval. The result stands in
`partly_wrong.md`.
"""

import argparse
import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from autointerp.explain.explainers.keywords import render_label
from autointerp.identity import hash_key, keyed_hash
from autointerp.records import Explanation, ScoreWithTrials
from autointerp.score.clusters import numbered
from autointerp.score.judges.local import LocalJudge
from autointerp.score.paired import Difference, auroc_difference, balanced_accuracy_difference, f1_difference
from autointerp.score.partly_wrong import too_broad, too_narrow
from autointerp.score.scorers.recall import firing_windows, with_firing_tiles
from autointerp.score.trials import ScoreContexts
from autointerp.words import label_words
from benchmarks.recall_truth import verdicts
from benchmarks.scored_run import Scored, copied, every_window, scored, texts_of, truth

SCORERS = ("detection", "fuzzing", "embedding", "recall")
FALLS = (0.02, 0.05, 0.1)
_N_RANDOM = 20
_FALL_BY_WINDOWS = 0.05
_WINDOWS = (0, 30, 60, 120, 240, 1 << 30)


@dataclass(frozen=True, slots=True)
class Tried:
    """One partly wrong label beside the true one.

    Attributes:
        sort: How it was made.
        fall: How much lower its F1 over all held-out windows is.
        paired: By scorer, the difference of its score from the true label's on the same questions.
        below: By scorer, whether its value lies below the true label's interval.
        n_firing: Firing windows that recall rests on: contexts that grade, and the pool's tiles that fire.
    """

    sort: str
    fall: float
    paired: dict[str, Difference | None]
    below: dict[str, bool]
    n_firing: int


def partly_wrong_labels(of: Scored, label: Explanation, siblings: Sequence[Explanation]) -> Iterator[tuple[str, str]]:
    """The sort and the text of each label that is made of one."""
    if (broad := too_broad(label.label, [other.label for other in siblings])) is not None:
        yield "own and 4 siblings' words", broad
    words = label_words(label.label)
    others = sorted({word for other in of.labels for word in label_words(other.label)} - set(words))
    order = np.argsort(keyed_hash(hash_key(0, "words", str(label.feature_index)), np.arange(len(others))))
    padding = [others[i] for i in order[:_N_RANDOM]]
    if (padded := too_broad(label.label, [render_label(padding)])) is not None:
        yield "own and 20 random words", padded
    if (narrow := too_narrow(label.label)) is not None:
        yield "first of what it lists", narrow


def difference(given: ScoreContexts, own: ScoreWithTrials, other: ScoreWithTrials) -> Difference | None:
    """How much higher the other label's score is, from the answers of both to what both were asked."""
    if own.score.scorer == "recall":
        return recall_difference(given, own, other)
    contexts = {c.context_id: c for c in given.feature.contexts}
    answers = {(t.context_id, t.marked): t for t in other.trials if t.unanswered is None}
    pairs = [(t, answers[t.context_id, t.marked]) for t in own.trials if (t.context_id, t.marked) in answers]
    of = np.array([t.truth for t, _ in pairs])
    groups = numbered(contexts[t.context_id].group_id for t, _ in pairs)
    if own.score.scorer == "embedding":
        first, second = np.array([(a.probability, b.probability) for a, b in pairs], dtype=np.float64).T
        return auroc_difference(of, first, second, groups)
    said = np.array([(a.verdict, b.verdict) for a, b in pairs], dtype=bool)
    return balanced_accuracy_difference(of, said[:, 0], said[:, 1], groups)


def recall_difference(given: ScoreContexts, own: ScoreWithTrials, other: ScoreWithTrials) -> Difference | None:
    """The same of recall: on every window of the score split, and on the firing contexts at the weight they have."""
    pool, feature = given.pool, given.feature.feature_index
    masses, said = pool.masses(feature), np.zeros((2, pool.n_tiles), dtype=bool)
    for row, of in zip(said, (own, other), strict=True):
        kept = np.frombuffer(bytes.fromhex(of.score.detail["tile_verdicts"]), dtype=np.uint8)
        row[pool.is_score] = np.unpackbits(kept, count=int(pool.is_score.sum()))
    firing = np.flatnonzero(pool.is_score & (masses > 0))
    tiles = np.concatenate([firing, given.silent_tiles.eligible])
    contexts = given.feature.of("score", active=True)
    verdicts_of = [{t.context_id: bool(t.verdict) for t in of.trials} for of in (own, other)]
    first, second = (
        np.concatenate([[answers[c.context_id] for c in contexts], row[tiles]]).astype(bool)
        for answers, row in zip(verdicts_of, said, strict=True)
    )
    asked = with_firing_tiles(firing_windows(contexts, first[: len(contexts)]), given, said[0])
    n_silent = given.silent_tiles.eligible.size
    return f1_difference(
        np.arange(first.size) < asked.verdict.size,
        first,
        second,
        np.concatenate([asked.mass, np.zeros(n_silent)]),
        float(own.score.detail["base_rate"]),
        np.random.default_rng(feature),
        numbered([*asked.group, *(pool.group_ids[t] for t in given.silent_tiles.eligible)]),
        np.concatenate([asked.weight, np.ones(n_silent)]),
    )


def n_firing_windows(given: ScoreContexts) -> int:
    """Firing windows of the score split, the contexts and the tiles together."""
    masses = given.pool.masses(given.feature.feature_index)
    return len(given.feature.of("score", active=True)) + int((given.pool.is_score & (masses > 0)).sum())


async def try_all(run: str, n_features: int) -> list[Tried]:
    """Score labels and what is made of them."""
    tried: list[Tried] = []
    with copied(run) as pipeline, scored(pipeline) as of, every_window(pipeline) as windows:
        labels = {e.feature_index: e for e in of.labels}
        neighbors = of.source.decoder_neighbors()
        order = np.argsort(keyed_hash(hash_key(0, "features"), np.array(list(labels))))
        scorers, judge = of.scorers(SCORERS), LocalJudge(of.source.run.embedder)
        for scorer in scorers:
            scorer.prepare([e.label for e in of.labels], texts_of(of.given.values()), of.source.pool)
        judge.prepare((), windows.score_texts)
        for own in [list(labels.values())[i] for i in order[:n_features]]:
            given = of.given[own.feature_index]
            near = [labels[i] for i in neighbors[own.feature_index].tolist() if i in labels and i != own.feature_index]
            known = [await scorer.score(own, given) for scorer in scorers]
            f1 = truth(windows, own.feature_index, await verdicts(judge, own.label, given, windows.score_texts)).f1
            for sort, text in partly_wrong_labels(of, own, near):
                label = replace(own, label=text)
                new = [await scorer.score(label, given) for scorer in scorers]
                yes = await verdicts(judge, text, given, windows.score_texts)
                fall = f1 - truth(windows, own.feature_index, yes).f1
                both = [
                    (a, b)
                    for a, b in zip(known, new, strict=True)
                    if isinstance(a, ScoreWithTrials) and isinstance(b, ScoreWithTrials)
                ]
                tried.append(
                    Tried(
                        sort,
                        fall,
                        {a.score.scorer: difference(given, a, b) for a, b in both},
                        {a.score.scorer: b.score.value < a.score.ci_low for a, b in both},
                        n_firing_windows(given),
                    )
                )
    return tried


def lines(tried: Sequence[Tried]) -> Iterator[str]:
    """A row for each sort and least fall: the share that each scorer catches, paired / by its interval alone."""
    heads = ["label", "true F1 falls by", "labels", *SCORERS, "any of them"]
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    sorts = list(dict.fromkeys(one.sort for one in tried))
    for sort in (*sorts, "all"):
        for least in FALLS:
            these = [one for one in tried if sort in (one.sort, "all") and one.fall > least]
            if these:
                yield f"| {sort} | > {least} | {len(these)} | {' | '.join(cells(these))} |"
    for sort in sorts:
        these = [one for one in tried if one.sort == sort and one.fall <= 0]
        if these:
            yield f"| {sort} | not at all | {len(these)} | {' | '.join(cells(these))} |"


def by_windows(tried: Sequence[Tried]) -> Iterator[str]:
    """The same by how many firing windows there are, of labels whose F1 falls by more than `_FALL_BY_WINDOWS`."""
    heads = ["label", "firing windows", "labels", *SCORERS, "any of them"]
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    sorts = list(dict.fromkeys(one.sort for one in tried))
    for sort in sorts:
        for least, most in pairwise(_WINDOWS):
            these = [one for one in tried if one.sort == sort and one.fall > _FALL_BY_WINDOWS]
            these = [one for one in these if least <= one.n_firing < most]
            if these:
                told = f"{least} or more" if most == _WINDOWS[-1] else f"{least} to {most - 1}"
                yield f"| {sort} | {told} | {len(these)} | {' | '.join(cells(these))} |"


def cells(these: Sequence[Tried]) -> Iterator[str]:
    """The shares caught."""
    for names in (*((name,) for name in SCORERS), SCORERS):
        paired = [any((d := one.paired.get(name)) is not None and d.high < 0 for name in names) for one in these]
        below = [any(one.below.get(name, False) for name in names) for one in these]
        yield f"{np.mean(paired):.0%} / {np.mean(below):.0%}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--features", type=int, default=120, help="labels at most, by keyed hash")
    arguments = parser.parse_args()
    logging.disable()
    tried = asyncio.run(try_all(arguments.run, arguments.features))
    for line in (*lines(tried), "", *by_windows(tried)):
        print(line)


if __name__ == "__main__":
    main()
