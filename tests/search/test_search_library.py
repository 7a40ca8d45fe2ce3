"""The five lines of Python that the README shows."""

from pathlib import Path
from typing import Any

import pytest

import autointerp
from autointerp.errors import StoreError, UnknownFeatureError
from autointerp.library.run import open_run
from autointerp.records import FeatureFilter
from autointerp.search.embed_labels import index_labels
from autointerp.store.reader import Reader
from autointerp.store.results import RunRecord
from autointerp.store.writer import Writer
from tests.store.making import make


def test_a_run_folder_is_opened_searched_and_looked_into(writer: Writer, reader: Reader, embedder: Any) -> None:
    index_labels(reader, writer, embedder)
    writer.add_contexts([make.contexts(1)], "c1")
    writer.add_failures([make.failure(1, "score:recall")])
    run = open_run(writer.path.parent, embedder)
    assert [hit.label for hit in run.search("heat", top_k=2)] == ["heat", "heat law"]
    well_scored = FeatureFilter(min_score={"detection": 0.7})
    assert [hit.label for hit in run.search("heat", top_k=2, where=well_scored)] == ["heat", "law"]
    assert [hit.feature_index for hit in run.neighbors(2, top_k=1)] == [1]
    assert [hit.feature_index for hit in run.neighbors(2, top_k=1, where=well_scored)] == [0]
    assert [hit.feature_index for hit in run.rerank([2, 3], "song")] == [3, 2]
    every = run.rerank([2, 3, 1], "song")
    assert run.rerank_hits(every, "song", well_scored) == run.rerank([2, 3], "song")
    view = run.feature(1)
    assert view.feature == make.feature(1, 0.02)
    assert [label.explanation for label in view.labels] == [make.explanation(1, "heat law")]
    assert [score.value for score in view.labels[0].scores] == [0.6]
    assert {context.split for context in view.contexts} == {"explain", "score"}
    assert view.failures == (make.failure(1, "score:recall"),)
    assert run.sources() == [make.source(8)]
    assert [row.n for summary in run.score_summary() for row in summary.rows if row.kind == "true"] == [5]
    assert {status.stage for status in run.status()} >= {"explain", "index"}


def test_a_feature_can_be_looked_up_without_loading_an_embedder(writer: Writer) -> None:
    writer.set_run(RunRecord("demo", {"embedder": {"model": "/no/such/model"}}, "0.1", make.moment))
    run = open_run(writer.path.parent)
    assert run.feature(7).labels == ()
    with pytest.raises(UnknownFeatureError, match="0 to 7"):
        run.feature(8)


def test_a_folder_that_is_no_run_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        open_run(tmp_path / "nothing")


def test_a_feature_without_a_label_is_told_by_what_it_fires_on(writer: Writer, embedder: Any) -> None:
    client = autointerp.open(writer.path.parent, embedder)
    unlabelled, labelled = client.features.lookup([7, 1])
    assert unlabelled.label is None
    assert unlabelled.told == '(fires on " Wärme", "熱")'
    assert '(fires on " Wärme", "熱")' in repr(unlabelled)
    assert labelled.told == "heat law"
    assert labelled.tokens == ()
    (read, _) = autointerp.FeatureGroup.from_json(client.features.lookup([7, 1]).to_json())
    assert read.told == unlabelled.told
