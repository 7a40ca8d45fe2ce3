"""A store of some thousand labels, and an embedder that needs no model."""

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from autointerp.search.embed_labels import index_labels
from autointerp.store.reader import Reader
from autointerp.store.writer import Writer
from tests.store.making import make

N_WORDS = 400
DIM = 32


class RandomEmbedder:
    """The sum of a random vector for each word."""

    name = "random"

    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "text dim"]:
        rows = np.array([np.sum([_vector(word) for word in text.lower().split()], axis=0) for text in texts])
        unit: Float32[np.ndarray, "text dim"] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        return unit


@cache
def _vector(word: str) -> Float32[np.ndarray, " dim"]:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "little")
    return np.random.default_rng(seed).standard_normal(DIM, dtype=np.float32)


def add_labels(writer: Writer, first: int, end: int) -> None:
    """Labels of the features from `first` to before `end`, every second one scored, embedded."""
    draw = np.random.default_rng(first)
    labels = [
        make.explanation(index, " ".join(f"word{number}" for number in draw.zipf(1.5, 3) % N_WORDS))
        for index in range(first, end)
    ]
    writer.add_explanations(labels)
    writer.add_scores([make.graded(label, value=float(draw.random())) for label in labels[::2]])
    index_labels(Reader(writer.path), writer, RandomEmbedder())


def large_store(folder: Path, n_labels: int) -> Path:
    """A store of so many features, each with one label."""
    writer = Writer(folder)
    writer.add_source(make.source(2 * n_labels))
    writer.add_features([make.feature(i, density=(i % 97 + 1) / 1000) for i in range(2 * n_labels)])
    add_labels(writer, 0, n_labels)
    return writer.path
