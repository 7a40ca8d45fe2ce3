"""Synthetic label embeddings, clustered like those of a real run.

What they follow was measured on 517 labels of all-MiniLM-L6-v2's features, 384 dimensions, unit norm:

- their mean has length 0.370, and the variance about it falls over the principal axes like (axis + 40)^-2;
- the cosine of a label with its 1st, 2nd, 10th, 100th closest other label has the medians 0.52, 0.44, 0.33 and 0.20
  (5 % and 95 %: 0.37-0.89, 0.34-0.74, 0.25-0.48, 0.14-0.25).

A label is about a concept and a concept belongs to a topic, both of Zipf's sizes; its vector is the sum of the mean,
its topic's, its concept's and its own part, all with the measured spectrum. 517 drawn so have the medians 0.49, 0.44,
0.35 and 0.21 (5 % and 95 %: 0.37-0.73, 0.35-0.70, 0.30-0.50, 0.19-0.27). Points without topics and concepts would have
0.39, 0.37, 0.32 and 0.20: too far apart near by.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, Float64, Int64

DIM = 384
MEAN_LENGTH = 0.37
N_TOPICS, N_CONCEPTS = 100, 30_000
ZIPF = 0.8
TOPIC_SHARE, CONCEPT_SHARE = 0.25, 0.35
PIECE = 100_000


class SyntheticLabels:
    """Draws label embeddings; the same seed and piece give the same vectors.

    Args:
        seed: Of topics, concepts and labels.
    """

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self._seed = seed
        spectrum = (np.arange(DIM) + 40.0) ** -2
        self._axes = np.sqrt((1 - MEAN_LENGTH**2) * spectrum / spectrum.sum()).astype(np.float32)
        mean = rng.standard_normal(DIM, dtype=np.float32)
        self._mean = MEAN_LENGTH * mean / np.linalg.norm(mean)
        topics = rng.standard_normal((N_TOPICS, DIM), dtype=np.float32)
        topic_of = rng.choice(N_TOPICS, N_CONCEPTS, p=_zipf(N_TOPICS))
        self._concepts = np.sqrt(TOPIC_SHARE, dtype=np.float32) * topics[topic_of]
        self._concepts += np.sqrt(CONCEPT_SHARE, dtype=np.float32) * rng.standard_normal(
            (N_CONCEPTS, DIM), dtype=np.float32
        )

    def draw(self, n: int, piece: int) -> tuple[Int64[np.ndarray, " label"], Float32[np.ndarray, "label dim"]]:
        """The concepts and the unit vectors of labels of one piece."""
        rng = np.random.default_rng([self._seed, piece])
        concept = rng.choice(N_CONCEPTS, n, p=_zipf(N_CONCEPTS))
        vectors = rng.standard_normal((n, DIM), dtype=np.float32)
        vectors *= np.sqrt(1 - TOPIC_SHARE - CONCEPT_SHARE, dtype=np.float32)
        vectors += self._concepts[concept]
        vectors *= self._axes
        vectors += self._mean
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return concept, vectors

    def pieces(self, n: int) -> Iterator[tuple[Int64[np.ndarray, " label"], Float32[np.ndarray, "label dim"]]]:
        """`n` labels, some ten thousand at a time."""
        for piece, first in enumerate(range(0, n, PIECE)):
            yield self.draw(min(PIECE, n - first), piece)


def _zipf(n: int) -> Float64[np.ndarray, " place"]:
    weights = np.arange(1, n + 1) ** -ZIPF
    shares: Float64[np.ndarray, " place"] = weights / weights.sum()
    return shares
