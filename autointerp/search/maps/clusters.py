"""What lies together on a map, and how it is called.

1. Clusters are the leaves of HDBSCAN's tree (Campello, Moulavi and Sander 2013): dense places with less dense ones
   around them. Of very many labels a sample is clustered, and each other label is in the cluster of the sampled one
   that is closest, if in any.
2. A cluster is called by the words that its labels have more than those of other clusters: the largest by class-based
   TF-IDF (Grootendorst 2022), `tf * log(1 + A / f)`, with `tf` the word's share of the cluster's words, `f` how often
   all clusters have it, and `A` the mean number of words of a cluster. Of words with one stem the first counts.
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int32

from autointerp.records.label_map import NO_CLUSTER, MapCluster
from autointerp.words import label_words, stem

WORDS_OF_A_NAME = 3
_SMALLEST, _LARGEST_LEAST = 5, 200
_LABELS_PER_CLUSTER = 64
_DENSE = 3
_SAMPLED = 20_000


def find_clusters(xy: Float32[np.ndarray, "label 2"], seed: int) -> Int32[np.ndarray, " label"]:
    """The number of each label's cluster, from 0 on; `NO_CLUSTER` where it is in none.

    Args:
        xy: Places.
        seed: Of the sample.
    """
    n_labels = len(xy)
    if n_labels < 2 * _SMALLEST:
        return np.full(n_labels, NO_CLUSTER, np.int32)
    from sklearn.cluster import HDBSCAN  # slow to import
    from sklearn.neighbors import NearestNeighbors

    sampled = np.arange(n_labels)
    if n_labels > _SAMPLED:
        sampled = np.sort(np.random.default_rng(seed).choice(n_labels, _SAMPLED, replace=False))
    least = min(max(_SMALLEST, len(sampled) // _LABELS_PER_CLUSTER), _LARGEST_LEAST)
    found = HDBSCAN(min_cluster_size=least, min_samples=_DENSE, cluster_selection_method="leaf", copy=True)
    of_sampled: Int32[np.ndarray, " sampled"] = found.fit_predict(xy[sampled].astype(np.float64)).astype(np.int32)
    if len(sampled) == n_labels:
        return of_sampled
    closest = NearestNeighbors(n_neighbors=1).fit(xy[sampled]).kneighbors(xy, return_distance=False)[:, 0]
    number: Int32[np.ndarray, " label"] = of_sampled[closest]
    return number


def describe_clusters(
    labels: Sequence[str], cluster: Int32[np.ndarray, " label"], xy: Float32[np.ndarray, "label 2"]
) -> tuple[MapCluster, ...]:
    """Names, sizes and places of clusters, by number.

    Args:
        labels: Of all points.
        cluster: The cluster of each.
        xy: The place of each.
    """
    n_clusters = int(cluster.max(initial=NO_CLUSTER)) + 1
    words: list[Counter[str]] = [Counter() for _ in range(n_clusters)]
    for label, number in zip(labels, cluster.tolist(), strict=True):
        if number != NO_CLUSTER:
            words[number].update(label_words(label))
    all_words: Counter[str] = Counter()
    for of_cluster in words:
        all_words.update(of_cluster)
    mean = all_words.total() / max(1, n_clusters)
    described = []
    for number, of_cluster in enumerate(words):
        own = xy[cluster == number]
        x, y = np.median(own, axis=0).tolist()
        described.append(MapCluster(_telling(of_cluster, all_words, mean), len(own), x, y))
    return tuple(described)


def _telling(words: Counter[str], all_words: Counter[str], mean: float) -> tuple[str, ...]:
    total = words.total()

    def worth(word: str) -> float:
        return words[word] / total * math.log(1 + mean / all_words[word])

    chosen: dict[str, str] = {}
    for word in sorted(words, key=lambda word: (-worth(word), word)):
        chosen.setdefault(stem(word), word)
        if len(chosen) == WORDS_OF_A_NAME:
            break
    return tuple(chosen.values())
