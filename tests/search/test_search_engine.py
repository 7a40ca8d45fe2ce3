"""Search, reranking and neighbors, against hand-worked similarities and a brute-force ranking."""

from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.config import SearchConfig
from autointerp.errors import FilterError, SearchError, UnknownFeatureError
from autointerp.records import FeatureContexts, FeatureFilter
from autointerp.search.embed_labels import index_labels
from autointerp.search.engine import SearchEngine
from autointerp.search.hits import best_of_each_feature
from autointerp.search.labels import LabelsInMemory
from autointerp.search.rerankers.contexts import CONTEXT_WEIGHT, LABEL_WEIGHT, PEAK_WEIGHT
from autointerp.search.word_matches import WordMatches
from autointerp.store.label_table import LabelTable
from autointerp.store.reader import Reader
from autointerp.store.writer import Writer
from tests.search.conftest import AxisEmbedder
from tests.store.making import make

WORD_WEIGHT = SearchConfig().word_weight


def indices(hits: list[Any]) -> list[int]:
    return [hit.feature_index for hit in hits]


def test_a_synonym_finds_by_meaning_what_shares_no_word(engine: SearchEngine) -> None:
    hits = engine.search("exception", 1)
    assert [(hit.feature_index, hit.label) for hit in hits] == [(4, "error mistake")]
    assert hits[0].relevance == pytest.approx(1 - WORD_WEIGHT)
    assert hits[0].scores == {"detection": 0.5}
    assert hits[0].intervals == {"detection": (0.4, 0.6)}
    assert hits[0].explainer == "keywords"
    assert hits[0].density == 0.05


def test_the_query_s_own_words_rank_above_a_mere_synonym(engine: SearchEngine) -> None:
    # "fire music" and a label "heat music" would mean the same; feature 5 has the words.
    hits = engine.search("fire music", 3)
    assert indices(hits)[0] == 5
    assert hits[0].relevance == pytest.approx(1.0)


def test_filters_come_before_the_limit(engine: SearchEngine) -> None:
    assert indices(engine.search("heat", 2)) == [0, 1]
    assert indices(engine.search("heat", 2, FeatureFilter(max_density=0.065, min_density=0.015))) == [1, 5]
    assert indices(engine.search("heat", 9, FeatureFilter(min_score={"detection": 0.7}))) == [0, 2, 3]
    assert engine.search("heat", 9, FeatureFilter(features=[7])) == []


def test_a_label_without_the_score_asked_about_does_not_pass(engine: SearchEngine) -> None:
    assert 5 not in indices(engine.search("fire music", 9, FeatureFilter(min_score={"detection": 0.0})))


def test_only_neighbors_that_pass_are_found_and_as_many_as_were_asked_for(engine: SearchEngine, writer: Writer) -> None:
    scored = FeatureFilter(min_score={"detection": 0.6})
    assert indices(engine.neighbors(0, top_k=2)) == [1, 5]
    assert indices(engine.neighbors(0, top_k=2, where=scored)) == [1, 2]
    ranks = np.array([[7, 5, 2, 1]], np.int32)
    similarity = np.array([[0.75, 0.5, 0.25, 0.125]], np.float32)
    writer.add_neighbors(make.source_id, "decoder", np.array([0], np.int32), ranks, similarity)
    assert indices(engine.neighbors(0, "decoder", top_k=2)) == [7, 5]
    assert indices(engine.neighbors(0, "decoder", top_k=2, where=scored)) == [2, 1]
    assert indices(engine.neighbors(0, "decoder", where=FeatureFilter(labelled=False))) == [7]


def test_reranking_looks_only_at_labels_that_pass(engine: SearchEngine, writer: Writer) -> None:
    writer.add_explanations([replace(make.explanation(0, "music", fingerprint="e2"), explainer="examples")])
    assert [hit.label for hit in engine.rerank([0], "music")] == ["music"]
    assert [hit.label for hit in engine.rerank([0], "music", where=FeatureFilter(explainer="keywords"))] == ["heat"]
    hits = engine.rerank([0, 3], "music", where=FeatureFilter(explainer="examples"))
    assert indices(hits) == [0], "what is given but does not pass is left out"


def test_a_feature_with_two_labels_has_one_place_by_its_better_label(
    writer: Writer, reader: Reader, embedder: Any
) -> None:
    writer.add_explanations([make.explanation(2, "music", fingerprint="e2")])
    index_labels(reader, writer, embedder)
    hits = SearchEngine(reader, embedder).search("music", 9)
    assert sorted(indices(hits)) == [0, 1, 2, 3, 4, 5]
    assert {hit.feature_index: hit.label for hit in hits}[2] == "music"


def test_a_label_added_while_the_engine_is_open_is_found(
    engine: SearchEngine, writer: Writer, reader: Reader, embedder: Any
) -> None:
    assert 7 not in indices(engine.search("court", 9))
    writer.add_explanations([make.explanation(7, "court")])
    index_labels(reader, writer, embedder)
    assert indices(engine.search("court", 1)) == [7]


def test_many_queries_are_answered_as_one_by_one(engine: SearchEngine) -> None:
    queries = ["heat", "song", "law law music"]
    assert engine.search_many(queries, 4) == [engine.search(query, 4) for query in queries]


@pytest.mark.parametrize(
    ("ask", "problem"),
    [
        (lambda engine: engine.search("  "), "query is empty"),
        (lambda engine: engine.rerank([0], ""), "query is empty"),
        (lambda engine: engine.search("heat", 0), "top_k can't be 0: ask for 1 to 10000"),
        (lambda engine: engine.search("heat", 10_001), "1 to 10000"),
        (lambda engine: engine.neighbors([]), "no feature"),
        (lambda engine: engine.neighbors(7), "no indexed label"),
        (lambda engine: engine.neighbors(0, "decoder"), "spaces are label"),
        (lambda engine: engine.neighbors([0, 1], "decoder"), "use the space 'label'"),
        (lambda engine: engine.rerank([0, 7], "heat"), "feature 7 .* has no label"),
    ],
)
def test_what_can_t_be_answered_is_told(
    engine: SearchEngine, ask: Callable[[SearchEngine], object], problem: str
) -> None:
    with pytest.raises(SearchError, match=problem):
        ask(engine)


@pytest.mark.parametrize("method", ["search", "rerank", "neighbors", "stored neighbors"])
def test_a_score_that_no_label_has_is_told(engine: SearchEngine, writer: Writer, method: str) -> None:
    where = FeatureFilter(min_score={"f1": 0.5})
    writer.add_neighbors(
        make.source_id, "decoder", np.array([0], np.int32), np.array([[1]], np.int32), np.array([[0.5]], np.float32)
    )
    asks: dict[str, Callable[[], object]] = {
        "search": lambda: engine.search("heat", where=where),
        "rerank": lambda: engine.rerank([0], "heat", where=where),
        "neighbors": lambda: engine.neighbors(0, where=where),
        "stored neighbors": lambda: engine.neighbors(0, "decoder", where=where),
    }
    with pytest.raises(FilterError, match="no label has a score of 'f1': scorers are detection"):
        asks[method]()


def test_an_unknown_feature_is_told_with_the_range(engine: SearchEngine) -> None:
    asks: tuple[Callable[[], object], ...] = (lambda: engine.neighbors(8), lambda: engine.rerank([3, 8], "heat"))
    for ask in asks:
        with pytest.raises(UnknownFeatureError, match="0 to 7"):
            ask()


def test_a_run_without_an_index_is_told(reader: Reader, embedder: Any) -> None:
    with pytest.raises(SearchError, match="autointerp index"):
        SearchEngine(reader, embedder).search("heat")


def test_a_run_without_labels_is_not_told_to_index_them(tmp_path: Path, embedder: Any) -> None:
    Writer(tmp_path).add_source(make.source(8))
    with pytest.raises(SearchError, match="has no labels: run `autointerp explain` first"):
        SearchEngine(Reader(tmp_path / "store.duckdb"), embedder).search("heat")


def test_reranking_looks_at_the_strongest_contexts_of_the_explain_split(engine: SearchEngine, writer: Writer) -> None:
    def contexts(feature: int, *texts: str) -> FeatureContexts:
        seen = tuple(make.context(feature, place, text=text) for place, text in enumerate(texts))
        held_out = make.context(feature, 50, "quantile", "score", "music music music")
        silent = make.context(feature, 51, "silent_random", "explain", "music music music")
        return FeatureContexts(make.source_id, feature, (*seen, held_out, silent))

    writer.add_contexts([contexts(0, "music", "music law", "law"), contexts(3, "heat", "heat")], "c1")
    hits = engine.rerank([3, 0, 2, 0], "music")
    # Feature 2, "law", has no contexts. Feature 0: label 0; contexts 1, 1/sqrt(2), 0, which peak on their last words.
    # Feature 3: label 1, contexts 0.
    zero = CONTEXT_WEIGHT * (1 + 1 / sqrt(2)) / 3 + PEAK_WEIGHT / 3
    three = LABEL_WEIGHT
    assert indices(hits) == [3, 0, 2]
    assert [hit.relevance for hit in hits] == pytest.approx([three, zero, 0.0], abs=1e-6)
    assert hits[1].label == "heat"
    assert hits[1].scores == {"detection": 0.9}
    assert engine.rerank([], "music") == []


def test_neighbors_in_label_space_are_the_closest_labels_without_the_feature_itself(engine: SearchEngine) -> None:
    hits = engine.neighbors(0, top_k=2)
    # "heat" against "heat law" and "fire music": 1 / sqrt(2) both, in the order of features.
    assert indices(hits) == [1, 5]
    assert [hit.relevance for hit in hits] == pytest.approx([1 / sqrt(2)] * 2)


def test_neighbors_of_a_group_are_those_of_its_centroid(engine: SearchEngine) -> None:
    assert indices(engine.neighbors([0, 2], top_k=1)) == [1]


def test_stored_neighbors_come_with_their_labels_where_they_have_one(engine: SearchEngine, writer: Writer) -> None:
    writer.add_neighbors(
        make.source_id,
        "decoder",
        np.array([0], np.int32),
        np.array([[7, 2, 1]], np.int32),
        np.array([[0.75, 0.5, 0.25]], np.float32),
    )
    hits = engine.neighbors(0, "decoder", top_k=2)
    assert [(h.feature_index, h.label, h.relevance, h.scores) for h in hits] == [
        (7, "", 0.75, {}),
        (2, "law", 0.5, {"detection": 0.8}),
    ]
    assert engine.neighbors(1, "decoder") == []


def table_of(features: list[int]) -> LabelTable:
    n_rows = len(features)
    return LabelTable(
        embedder="none",
        source_ids=np.array(["m@s"] * n_rows, dtype=object),
        feature_index=np.array(features, np.int32),
        explanation_ids=tuple(str(i) for i in range(n_rows)),
        labels=("x",) * n_rows,
        explainers=np.array(["keywords"] * n_rows, dtype=object),
        embeddings=np.ones((n_rows, 1), np.float32),
        density=np.zeros(n_rows),
        scorers=(),
        values=np.empty((n_rows, 0)),
        intervals=np.empty((n_rows, 0, 2)),
        n_features={"m@s": 9},
    )


def test_a_phrase_matches_whole_words_in_any_case_and_script() -> None:
    matches = WordMatches(["Error handling in C++", "terror handlings", "обработка Ошибок", "例外 処理", "!!!"])
    assert matches.of("ERROR handling")[[0, 1]].tolist() == [1.0, 0.0]
    assert matches.of("c++")[0] == 1.0
    assert matches.of("ошибок")[2] == 1.0
    assert matches.of("例外").tolist() == [0, 0, 0, 1, 0]
    assert matches.of("(unbalanced [").tolist() == [0] * 5


def test_labels_without_any_word_match_nothing() -> None:
    assert WordMatches(["!!", "??"]).of("error").tolist() == [0.0, 0.0]


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.0, 0.25, 0.5]), st.booleans()), max_size=20),
    top_k=st.integers(1, 8),
)
def test_the_best_rows_are_those_of_a_ranking_by_brute_force(rows: list[tuple[int, float, bool]], top_k: int) -> None:
    features = sorted(feature for feature, _, _ in rows)
    relevance = np.array([value for _, value, _ in rows])
    kept = np.array([passes for _, _, passes in rows], dtype=bool)
    best: dict[int, tuple[float, int]] = {}
    for row, feature in enumerate(features):
        if kept[row] and (feature not in best or relevance[row] > best[feature][0]):
            best[feature] = (relevance[row], row)
    expected = [row for _, row in sorted(best.values(), key=lambda pair: (-pair[0], pair[1]))][:top_k]
    hits = best_of_each_feature(LabelsInMemory(table_of(features)), np.flatnonzero(kept), relevance[kept], top_k)
    assert [int(hit.explanation_id) for hit in hits] == expected
    assert [hit.relevance for hit in hits] == [relevance[row] for row in expected]


def test_how_a_label_is_worded_is_no_part_of_its_meaning(writer: Writer, embedder: AxisEmbedder) -> None:
    writer.add_explanations([make.explanation(6, 'the words "heat", "music"')])
    index_labels(Reader(writer.path), writer, embedder)
    assert "heat, music" in embedder.texts
    SearchEngine(Reader(writer.path), embedder).rerank([6], "fire")
    assert not [text for text in embedder.texts if "the words" in text]
