"""How good are the local labels? Embedding AUROC of several labels of the same features, on the same contexts.

    python -m benchmarks.labels runs/demo

For every labelled feature of a finished run, over its score split:

- `keywords`: the run's own labels, by the embedding scorer's similarity (a late interaction of words);
- `keywords, cosine`: the same labels by the cosine of sentence embeddings;
- `most frequent token`: the one token that the feature's explain contexts peak on most often;
- `five word pieces`: the naive trial: the five tokens most telling at the peak, against their rate in silent contexts;
- `shuffled`: the run's own labels, each on the next feature.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from autointerp import open_run
from autointerp.config import EmbedderConfig
from autointerp.embedder import Embedder
from autointerp.records import FeatureContexts

Similarity = Callable[[str, Sequence[str]], np.ndarray]


def main() -> None:
    """Print the median and quartiles of each label's AUROC."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder")
    arguments = parser.parse_args()
    reader = open_run(arguments.run).reader
    labels = {e.feature_index: e.label for e in reader.explanations()}
    features = reader.feature_contexts(sorted(labels))
    embedder = Embedder(EmbedderConfig())
    embedder.learn_words([context.text for of in features for context in of.contexts])

    def cosine(label: str, texts: Sequence[str]) -> np.ndarray:
        similarity: np.ndarray = embedder.embed(texts) @ embedder.embed([label])[0]
        return similarity

    keywords = [labels[of.feature_index] for of in features]
    rows: list[tuple[str, list[str], Similarity]] = [
        ("keywords", keywords, embedder.similarity),
        ("keywords, cosine", keywords, cosine),
        ("most frequent token", [most_frequent_token(of) for of in features], embedder.similarity),
        ("five word pieces", [five_pieces(of) for of in features], embedder.similarity),
        ("five word pieces, cosine", [five_pieces(of) for of in features], cosine),
        ("shuffled", [*keywords[1:], *keywords[:1]], embedder.similarity),
        ("shuffled, cosine", [*keywords[1:], *keywords[:1]], cosine),
    ]
    print(f"{len(features)} features")
    for name, texts, similarity in rows:
        areas = [auroc(of, label, similarity) for of, label in zip(features, texts, strict=True)]
        low, median, high = np.percentile(areas, [25, 50, 75])
        print(f"{name:<26} median {median:.3f}  quartiles {low:.3f} {high:.3f}")


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
