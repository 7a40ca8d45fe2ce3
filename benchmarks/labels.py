"""How good are the local labels? Several labels of the same features, on the same contexts.

    python -m benchmarks.labels runs/demo [--detection]

For every labelled feature of a finished run, over its score split, the AUROC of the embedding scorer:

- `keywords`: what the explainer `keywords` writes now, by the scorer's similarity (a late interaction of words);
- `the run's own`: the labels of the run, perhaps of another explainer, or of an earlier version of this one;
- `keywords, at most N`, `all of the mass`, `words of one context`: with another limit each (the module `keywords`);
- `keywords, cosine`: the same labels by the cosine of sentence embeddings;
- `most frequent token`: the one token that the feature's explain contexts peak on most often;
- `five word pieces`: the naive trial: the five tokens most telling at the peak, against their rate in silent contexts;
- `shuffled`: the first labels, each on the next feature.

Beside each stands the mean difference to `keywords`, feature by feature, with Student's interval. With `--detection`
the local judge's balanced accuracy of the first two follows, and their difference.
"""

import argparse
import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from sklearn.metrics import roc_auc_score

from autointerp.config import EmbedderConfig, ExplainConfig
from autointerp.corpus.spellings import Spellings
from autointerp.embedder import Embedder
from autointerp.explain.explainers.keywords import ENOUGH, LEAST_REPEATED, find_keywords, write_label
from autointerp.explain.word_rates import BaseRates
from autointerp.records import Failure, FeatureContexts
from autointerp.score.compare import compare_pairs
from benchmarks.scored_run import Scored, copied, scored

Similarity = Callable[[str, Sequence[str]], np.ndarray]


class Limits(NamedTuple):
    """What ends a label; see `find_keywords`."""

    n_words: int = ExplainConfig().n_keywords
    enough: float = ENOUGH
    least_repeated: float = LEAST_REPEATED


OTHER_LIMITS = {
    **{f"keywords, at most {n}": Limits(n) for n in (1, 3, 4, 6, 8)},
    "keywords, all of the mass": Limits(enough=1.0),
    "keywords, words of one context": Limits(least_repeated=2.0),
}


def main() -> None:
    """Print the median and quartiles of each label's AUROC, and how far it is from that of `keywords`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run folder; it is only read")
    parser.add_argument("--detection", action="store_true", help="judge the first two labels, too")
    arguments = parser.parse_args()
    logging.disable()
    with copied(arguments.run) as pipeline, scored(pipeline) as of:
        compare(of)
        if arguments.detection:
            detect(of)


def compare(of: Scored) -> None:
    """Print a row for each kind of label."""
    features = [of.given[e.feature_index].feature for e in of.labels]
    embedder = Embedder(EmbedderConfig())
    embedder.learn_words([context.text for given in features for context in given.contexts])

    def cosine(label: str, texts: Sequence[str]) -> np.ndarray:
        similarity: np.ndarray = embedder.embed(texts) @ embedder.embed([label])[0]
        return similarity

    now = keywords(of)
    rows: list[tuple[str, list[str], Similarity]] = [
        ("keywords", now, embedder.similarity),
        ("the run's own", [e.label for e in of.labels], embedder.similarity),
        *((name, keywords(of, limits), embedder.similarity) for name, limits in OTHER_LIMITS.items()),
        ("keywords, cosine", now, cosine),
        ("most frequent token", [most_frequent_token(given) for given in features], embedder.similarity),
        ("five word pieces", [five_pieces(given) for given in features], embedder.similarity),
        ("five word pieces, cosine", [five_pieces(given) for given in features], cosine),
        ("shuffled", [*now[1:], *now[:1]], embedder.similarity),
        ("shuffled, cosine", [*now[1:], *now[:1]], cosine),
    ]
    print(f"{len(features)} features")
    first: np.ndarray | None = None
    for name, texts, similarity in rows:
        embedder.learn_words(texts)
        areas = np.array([auroc(given, label, similarity) for given, label in zip(features, texts, strict=True)])
        low, median, high = np.percentile(areas, [25, 50, 75])
        told = f"{name:<31} mean {areas.mean():.3f}  median {median:.3f}  quartiles {low:.3f} {high:.3f}"
        print(told if first is None else f"{told}  less keywords {_difference(first, areas)}")
        first = areas if first is None else first


def detect(of: Scored) -> None:
    """Print the local judge's detection of what `keywords` writes now, and of the run's own labels."""
    values = []
    for name, labels in (("keywords", keywords(of)), ("the run's own", [e.label for e in of.labels])):
        (scorer,) = of.scorers(["detection"])
        jobs = [
            (replace(e, label=label), of.given[e.feature_index]) for e, label in zip(of.labels, labels, strict=True)
        ]
        outcomes = asyncio.run(scorer.score_all(jobs))
        values.append([np.nan if isinstance(o, Failure) else o.score.value for o in outcomes])
        print(f"detection, {name:<20} mean {np.nanmean(values[-1]):.3f} of {np.isfinite(values[-1]).sum()}")
    now, own = np.array(values)
    both = np.isfinite(now) & np.isfinite(own)
    print(f"the run's own less keywords {_difference(now[both], own[both])}")


def keywords(of: Scored, limits: Limits | None = None) -> list[str]:
    """What the explainer writes now of each labelled feature."""
    pool = of.source.pool
    texts = (text for text, is_told in zip(pool.texts, pool.is_explain, strict=True) if is_told)
    rates = BaseRates(texts, Spellings.read(of.source.run.folder.corpus))
    active = [of.given[e.feature_index].feature.of("explain", active=True) for e in of.labels]
    n_words, enough, least = limits or Limits()
    return [
        write_label(find_keywords(contexts, rates, n_words, enough=enough, least_repeated=least)) for contexts in active
    ]


def _difference(first: np.ndarray, second: np.ndarray) -> str:
    mean = compare_pairs(first, second).mean
    interval = "" if mean.low is None else f" ({mean.low:+.4f} to {mean.high:+.4f})"
    return f"{mean.value:+.4f}{interval}"


def auroc(of: FeatureContexts, label: str, similarity: Similarity) -> float:
    """Of the similarity of label and context, over the score split."""
    active, silent = of.of("score", active=True), of.of("score", active=False)
    truth = np.repeat([True, False], [len(active), len(silent)])
    return float(roc_auc_score(truth, similarity(label, [c.text for c in (*active, *silent)])))


def most_frequent_token(of: FeatureContexts) -> str:
    """The token that most explain contexts peak on."""
    peaks = Counter(c.tokens[c.peak].strip() for c in of.of("explain", active=True))
    return min(peaks, key=lambda token: (-peaks[token], token))


def five_pieces(of: FeatureContexts) -> str:
    """The five tokens that are most telling at the peak: count times log ratio to the silent contexts."""
    peaks = Counter(c.tokens[c.peak].strip() for c in of.of("explain", active=True))
    base = Counter(token.strip() for c in of.of("explain", active=False) for token in c.tokens)
    n_base = sum(base.values())
    weight = {t: n * np.log((n / sum(peaks.values())) / ((base[t] + 1) / (n_base + 1))) for t, n in peaks.items()}
    return " ".join(sorted(weight, key=lambda token: (-weight[token], token))[:5])


if __name__ == "__main__":
    main()
