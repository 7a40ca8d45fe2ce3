"""What each step of search is worth: words, meaning, both, scores, a closer look; and from where on nothing is shown.

    python -m benchmarks.search_quality RUN [--cross-encoder] > benchmarks/search_quality.md

RUN is a finished run; it is copied and only read. Queries, and what they are about: `data/search`; which features that
is: `search_truth`. Settings were chosen on the tuning half, figures are of the other, by nDCG@10 (gains 2^grade - 1)
and recall@10 (of features of grade 1 or 2; at most ten). Intervals are of 95 %, by bootstrap over queries; differences
are paired.
"""

import argparse
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from autointerp.library.run import Run
from autointerp.run.on_disk.folder import hold_run_folder
from autointerp.run.session import Session
from autointerp.search.labels import LabelsInMemory
from autointerp.search.relevance import fuse, share_of_floor, weigh_scores
from autointerp.search.rerankers.base import RerankTools, ShownLabel, no_model
from autointerp.search.rerankers.registry import load_reranker
from autointerp.search.word_matches import words_of_query
from autointerp.store.label_table import LabelTable
from autointerp.words import label_words, plain_label, stem
from benchmarks.scored_run import copied
from benchmarks.search_truth import Firings, Query, read_queries

TOP = 10
N_DRAWS = 4000
_CLEARLY = 0.1
_MOST_SHOWN = 8
_WEIGHTS = (0.1, 0.2, 0.3, 0.5)
_FLOORS = (0.26, 0.3, 0.32, 0.34, 0.36, 0.4)

Relevance = Float64[np.ndarray, "query label"]


class Collection(NamedTuple):
    """The queries, and how much each labelled feature is about each.

    Attributes:
        queries: All of them.
        grades: 0 to 2.
        answerable: That some labelled feature is about.
        absent: That none is, by far.
        tuning: Of the tuning half.
    """

    queries: list[Query]
    grades: Int64[np.ndarray, "query label"]
    answerable: Bool[np.ndarray, " query"]
    absent: Bool[np.ndarray, " query"]
    tuning: Bool[np.ndarray, " query"]


def collect(queries: list[Query], firings: Firings, table: LabelTable) -> Collection:
    """Grade all queries by what features fire on."""
    features = table.feature_index
    grades = firings.grades([query.about for query in queries])[:, features]
    most = np.array([firings.shares(query.about)[0][features].max() for query in queries])
    is_absent = np.array([query.kind == "absent" for query in queries])
    return Collection(
        queries,
        grades,
        (grades > 0).any(axis=1) & ~is_absent,
        (most < _CLEARLY) & is_absent,
        np.array([query.is_for_tuning for query in queries]),
    )


class Measured(NamedTuple):
    """One way of ranking, on some queries."""

    ndcg: Float64[np.ndarray, " query"]
    recall: Float64[np.ndarray, " query"]


def measure(
    relevance: Relevance, grades: Int64[np.ndarray, "query label"], rows: Int64[np.ndarray, " some"]
) -> Measured:
    """nDCG@10 and recall@10 of the queries in `rows`; a label with a relevance of -inf is not shown."""
    discount = 1 / np.log2(np.arange(TOP) + 2)
    ndcg, recall = [], []
    for row in rows.tolist():
        order = np.argsort(-relevance[row], kind="stable")[:TOP]
        order = order[np.isfinite(relevance[row][order])]
        gains = 2.0 ** grades[row] - 1
        ideal = np.sort(gains)[::-1][:TOP] @ discount
        ndcg.append(gains[order] @ discount[: len(order)] / ideal)
        recall.append((gains[order] > 0).sum() / min(TOP, int((gains > 0).sum())))
    return Measured(np.array(ndcg), np.array(recall))


def interval(values: Float64[np.ndarray, " query"]) -> str:
    """Mean with its bootstrap interval."""
    drawn = np.random.default_rng(0).choice(values, (N_DRAWS, len(values))).mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return f"{values.mean():.3f} ({low:.3f} to {high:.3f})"


def difference(now: Float64[np.ndarray, " query"], before: Float64[np.ndarray, " query"]) -> str:
    """Mean difference with its bootstrap interval."""
    drawn = np.random.default_rng(0).choice(now - before, (N_DRAWS, len(now))).mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return f"{(now - before).mean():+.3f} ({low:+.3f} to {high:+.3f})"


class Ranked:
    """Every way of ranking all labels of a run for all queries.

    Args:
        run: The run.
        table: Its labels.
        queries: The queries.
    """

    def __init__(self, run: Run, table: LabelTable, queries: Sequence[Query]) -> None:
        self.run, self.table, self.queries = run, table, queries
        self.embedder = run.engine._embedder
        texts = [query.text for query in queries]
        self.vectors = self.embedder.embed(texts)
        self.meaning: Relevance = (self.vectors @ table.embeddings.T).astype(np.float64)
        labels = LabelsInMemory(table)
        self.words: Relevance = np.stack([labels.words.of(text) for text in texts])
        features = table.feature_index.tolist()
        strongest = {
            of.feature_index: tuple(
                sorted(of.of("explain", active=True), key=lambda c: (-c.max_activation, c.context_id))[:_MOST_SHOWN]
            )
            for of in run.reader.feature_contexts(features, run.sources()[0].source_id)
        }
        self.shown = [strongest.get(feature, ()) for feature in features]
        self.scores = labels.mean_scores(np.arange(len(table.labels)))

    def fused(self, word_weight: float, score_weight: float = 0.0) -> Relevance:
        """Meaning and words, and scores where they have a weight."""
        both = np.stack([fuse(m, w, word_weight) for m, w in zip(self.meaning, self.words, strict=True)])
        return np.stack([weigh_scores(row, self.scores, score_weight) for row in both]) if score_weight else both

    def reranked(self, first: Relevance, rows: Int64[np.ndarray, " some"], n: int, reranker: str) -> Relevance:
        """The `n` most relevant of each query by a closer look, the others not at all."""
        config = self.run.search_settings.config
        ask = load_reranker(reranker)(RerankTools(self.embedder, config, no_model, print))
        found = np.full(first.shape, -np.inf)
        for row in rows.tolist():
            near = np.argsort(-first[row], kind="stable")[:n]
            shown = [self.shown[place][: ask.n_contexts] for place in near.tolist()]
            labels = [ShownLabel(self.table.labels[at], some) for at, some in zip(near.tolist(), shown, strict=True)]
            found[row, near] = ask.relevance(self.queries[row].text, labels)
        return found

    def floor_shares(self) -> Float64[np.ndarray, " query"]:
        """What part of the least relevance is asked of each query."""
        return np.array(
            [share_of_floor(q.text, v, self.embedder) for q, v in zip(self.queries, self.vectors, strict=True)]
        )


def steps(of: Ranked, collection: Collection, cross_encoder: bool) -> Iterator[str]:
    """The table of steps on the reporting half, and those of settings on the tuning half."""
    config = of.run.search_settings.config
    tuning = np.flatnonzero(collection.tuning & collection.answerable)
    reporting = np.flatnonzero(~collection.tuning & collection.answerable)
    fused = of.fused(config.word_weight)
    ways: list[tuple[str, Callable[[Int64[np.ndarray, " some"]], Relevance]]] = [
        ("words alone", lambda _: of.words),
        ("meaning alone", lambda _: of.meaning),
        (f"fused, word_weight {config.word_weight:g} (the default)", lambda _: fused),
        ("fused, score_weight 0.1", lambda _: of.fused(config.word_weight, 0.1)),
        (
            f"fused, {config.n_reranked} reranked by contexts",
            lambda rows: of.reranked(fused, rows, config.n_reranked, "contexts"),
        ),
    ]
    if cross_encoder:
        ways.append(
            ("reranked by a cross-encoder", lambda rows: of.reranked(fused, rows, config.n_reranked, "cross_encoder"))
        )
    for name, rows in (("Reporting", reporting), ("Tuning", tuning)):
        yield f"\n## {name} half: {len(rows)} queries that some feature answers\n"
        yield "| | nDCG@10 | recall@10 | nDCG@10 less that of meaning | less that of fused |"
        yield "|---|---|---|---|---|"
        measured = {way: measure(ranked(rows), collection.grades, rows) for way, ranked in ways}
        meaning, both = measured["meaning alone"], measured[ways[2][0]]
        for way, of_way in measured.items():
            parts = [difference(of_way.ndcg, other.ndcg) if of_way is not other else "" for other in (meaning, both)]
            yield f"| {way} | {interval(of_way.ndcg)} | {interval(of_way.recall)} | {parts[0]} | {parts[1]} |"
        for kind, n in Counter(collection.queries[row].kind for row in rows.tolist()).most_common():
            at = [place for place, row in enumerate(rows.tolist()) if collection.queries[row].kind == kind]
            told = ", ".join(f"{way} {of_way.ndcg[at].mean():.3f}" for way, of_way in measured.items())
            yield f"\n{kind} ({n}), nDCG@10: {told}"
    yield "\n## Weights, tuning half\n\n| | nDCG@10 | recall@10 |\n|---|---|---|"
    for weight in _WEIGHTS:
        of_weight = measure(of.fused(weight), collection.grades, tuning)
        yield f"| word_weight {weight:g} | {of_weight.ndcg.mean():.3f} | {of_weight.recall.mean():.3f} |"
    for weight in _WEIGHTS:
        of_weight = measure(of.fused(config.word_weight, weight), collection.grades, tuning)
        yield f"| score_weight {weight:g} | {of_weight.ndcg.mean():.3f} | {of_weight.recall.mean():.3f} |"


def floors(of: Ranked, collection: Collection) -> Iterator[str]:
    """From which relevance on nothing is shown, and for how many queries, on both halves."""
    best = of.fused(of.run.search_settings.config.word_weight).max(axis=1)
    scaled = best / np.maximum(of.floor_shares(), 1e-9)
    yield "\n## Nothing about it\n"
    yield "| least relevance | tuning: absent silent | answerable silent | reporting: absent silent | answerable |"
    yield "|---|---|---|---|---|"
    for name, values in (("", scaled), (", of any query alike", best)):
        for floor in _FLOORS:
            shares = [
                f"{(values[half & which] < floor).mean():.0%} of {(half & which).sum()}"
                for half in (collection.tuning, ~collection.tuning)
                for which in (collection.absent, collection.answerable)
            ]
            yield f"| {floor:.2f}{name} | {' | '.join(shares)} |"
    floor = of.run.search_settings.config.min_relevance
    nearest = [
        f"{q.text} ({of.table.labels[int(of.meaning[row].argmax())][:50]})"
        for row, q in enumerate(collection.queries)
        if collection.absent[row] and scaled[row] >= floor
    ]
    yield f"\nAbsent, and yet something is shown at {floor:g}: {'; '.join(nearest)}."
    silent = [q.text for row, q in enumerate(collection.queries) if collection.answerable[row] and scaled[row] < floor]
    yield f"\nAnswerable, and nothing is shown: {'; '.join(silent)}."


def overlap(collection: Collection, table: LabelTable) -> Iterator[str]:
    """How far queries are copies of labels."""
    labels = {plain_label(label) for label in table.labels}
    rows = np.flatnonzero(collection.answerable).tolist()
    stems = [{stem(word) for word in label_words(label)} for label in table.labels]
    n_sharing: Counter[str] = Counter()
    n_of: Counter[str] = Counter(collection.queries[row].kind for row in rows)
    for row in rows:
        query = collection.queries[row]
        own = {stem(word) for word in words_of_query(query.text)}
        answers = np.flatnonzero(collection.grades[row] > 0).tolist()
        n_sharing[query.kind] += any(own & stems[answer] for answer in answers)
    equal = sum(plain_label(query.text) in labels for query in collection.queries)
    told = ", ".join(f"{n_sharing[kind]} of {n} {kind}" for kind, n in n_of.most_common())
    yield f"\n{equal} queries are a label. Queries that share the stem of a word with the label of an answer: {told}."


def speed(run: Run, queries: Sequence[Query]) -> str:
    """How long a search takes in one process, its query not asked before."""
    run.search("warm up")
    seconds = []
    for query in queries[:100]:
        started = time.perf_counter()
        run.search(query.text, min_relevance=None)
        seconds.append(time.perf_counter() - started)
    p50, p95 = np.quantile(seconds, (0.5, 0.95)) * 1000
    return f"\nA search in one process: p50 {p50:.0f} ms, p95 {p95:.0f} ms, over {len(seconds)} queries new to it."


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--cross-encoder", action="store_true", help="also by the run's search.cross_encoder")
    arguments = parser.parse_args()
    logging.disable()
    queries = read_queries()
    with copied(arguments.run) as pipeline:
        with hold_run_folder(pipeline) as folder:
            session = Session(pipeline, folder)
            (source,) = session.each_source()
            table = session.reader.label_table(session.embedder.name)
            n_features = session.reader.sources()[0].n_features
            firings = Firings(source.pool.pool_blocks, session.pieces, n_features)
            collection = collect(queries, firings, table)
        run = Run(pipeline.run_folder)
        of = Ranked(run, table, queries)
        print("# What each step of search is worth\n")
        print(f"    python -m benchmarks.search_quality {arguments.run}\n")
        left = len(queries) - int(collection.answerable.sum()) - int(collection.absent.sum())
        print(
            f"{len(table.labels)} labels, {len(queries)} queries: {collection.answerable.sum()} that some labelled"
            f" feature answers, {collection.absent.sum()} that none does by far, {left} in between, which are left out."
        )
        for part in (
            overlap(collection, table),
            steps(of, collection, arguments.cross_encoder),
            floors(of, collection),
        ):
            for line in part:
                print(line, flush=True)
        print(speed(run, queries))


if __name__ == "__main__":
    main()
