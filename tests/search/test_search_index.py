"""Every current true label is embedded once by each embedder."""

from typing import Any

import numpy as np
import pytest

from autointerp.search import embed_labels
from autointerp.search.embed_labels import Indexed, index_labels
from autointerp.store.reader import Reader
from autointerp.store.writer import Writer
from tests.store.making import make


def test_labels_are_embedded_and_baselines_are_not(writer: Writer, reader: Reader, embedder: Any) -> None:
    assert index_labels(reader, writer, embedder) == Indexed(n_added=6, n_labels=6)
    assert embedder.texts == ["heat", "heat law", "law", "music", "error mistake", "fire music"]
    found = reader.label_table("axes")
    np.testing.assert_array_equal(found.embeddings, embedder.embed(found.labels))


def test_only_labels_that_are_new_are_embedded_again(writer: Writer, reader: Reader, embedder: Any) -> None:
    index_labels(reader, writer, embedder)
    embedder.texts.clear()
    assert index_labels(reader, writer, embedder) == Indexed(0, 6)
    writer.add_explanations([make.explanation(7, "court")])
    assert index_labels(reader, writer, embedder) == Indexed(1, 7)
    assert embedder.texts == ["court"]


def test_an_index_stopped_between_transactions_goes_on_to_the_same(
    writer: Writer, reader: Reader, embedder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed_labels, "LABELS_PER_TRANSACTION", 4)

    def stop(n_labels: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index_labels(reader, writer, embedder, stop)
    seen: list[int] = []
    assert index_labels(reader, writer, embedder, seen.append) == Indexed(2, 6)
    assert seen == [2]
    assert len(reader.label_table("axes").labels) == 6
