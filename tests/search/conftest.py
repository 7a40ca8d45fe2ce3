"""An embedder whose vectors can be worked out by hand, and a small run to search."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float32

from autointerp.search.embed_labels import index_labels
from autointerp.search.engine import SearchEngine
from autointerp.store.reader import Reader
from autointerp.store.writer import Writer
from tests.store.making import make

AXES = ("heat", "law", "music", "error")
MEANS = {"fire": "heat", "court": "law", "song": "music", "exception": "error", "mistake": "error"}


class AxisEmbedder:
    """Counts words on four axes of meaning; words it does not know lie on a fifth."""

    name = "axes"

    def __init__(self) -> None:
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "text dim"]:
        self.texts += texts
        rows = np.zeros((len(texts), len(AXES) + 1), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().split() or [""]:
                axis = MEANS.get(word, word)
                row[AXES.index(axis) if axis in AXES else -1] += 1
        unit: Float32[np.ndarray, "text dim"] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit


LABELS = {0: "heat", 1: "heat law", 2: "law", 3: "music", 4: "error mistake", 5: "fire music"}
VALUES = {0: 0.9, 1: 0.6, 2: 0.8, 3: 0.7, 4: 0.5}


@pytest.fixture
def embedder() -> AxisEmbedder:
    return AxisEmbedder()


@pytest.fixture(scope="session")
def labelled_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with eight features, six of them labelled, five scored, not indexed yet."""
    writer = Writer(tmp_path_factory.mktemp("labelled"))
    labels = {index: make.explanation(index, label) for index, label in LABELS.items()}
    writer.add_source(make.source(8))
    writer.add_features([make.feature(i, density=(i + 1) / 100) for i in range(8)])
    writer.add_explanations([*labels.values(), make.explanation(6, "heat heat", fingerprint="b1", label_from=0)])
    writer.add_scores([make.graded(labels[index], value=value) for index, value in VALUES.items()])
    return writer.path


@pytest.fixture(scope="session")
def indexed_store(labelled_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, indexed."""
    path = Path(shutil.copy(labelled_store, tmp_path_factory.mktemp("indexed")))
    index_labels(Reader(path), Writer(path), AxisEmbedder())
    return path


@pytest.fixture
def writer(labelled_store: Path, tmp_path: Path) -> Writer:
    return Writer(shutil.copy(labelled_store, tmp_path))


@pytest.fixture
def reader(writer: Writer) -> Reader:
    return Reader(writer.path)


@pytest.fixture
def engine(writer: Writer, reader: Reader, indexed_store: Path, embedder: AxisEmbedder) -> SearchEngine:
    """Over the store of `writer`, indexed."""
    shutil.copy(indexed_store, writer.path)
    return SearchEngine(reader, embedder)
