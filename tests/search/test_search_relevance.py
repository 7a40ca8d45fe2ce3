"""Of what is found: from where on a label is about a query, what its scores take off, and which say nearly the same."""

from dataclasses import replace

import numpy as np
import pytest

from autointerp.config import SearchConfig
from autointerp.errors import SearchError
from autointerp.records import FeatureFilter
from autointerp.search.embed_labels import index_labels
from autointerp.search.engine import SearchEngine
from autointerp.search.labels import LabelsInMemory
from autointerp.search.relevance import share_of_floor, weigh_scores
from autointerp.store.label_table import LabelTable
from autointerp.store.reader import Reader
from autointerp.store.writer import Writer
from tests.search.conftest import AxisEmbedder
from tests.store.making import make


def test_what_no_label_is_about_finds_nothing_unless_the_nearest_is_asked_for(engine: SearchEngine) -> None:
    assert engine.search("cathedrals") == []
    assert len(engine.search("cathedrals", min_relevance=0)) == 6
    assert engine.search("heat", min_relevance=1)[0].label == "heat"
    assert engine.search("exception", min_relevance=0.9) == []


def test_a_query_that_one_label_is_about_finds_as_many_as_were_asked_for(engine: SearchEngine) -> None:
    assert [hit.relevance > 0 for hit in engine.search("heat", 6)] == [True, True, True, False, False, False]


def test_a_filter_that_lets_only_other_labels_pass_finds_nothing(engine: SearchEngine) -> None:
    assert engine.search("heat", where=FeatureFilter(features=[3])) == []


@pytest.mark.parametrize("odd", [-0.1, 1.5, True, "0.3", float("nan")])
def test_a_least_relevance_that_is_none_is_told(engine: SearchEngine, odd: float) -> None:
    with pytest.raises(SearchError, match="min_relevance is"):
        engine.search("heat", min_relevance=odd)


def test_of_a_question_that_is_far_from_its_own_words_less_is_asked() -> None:
    embedder = AxisEmbedder()

    def share(query: str) -> float:
        return share_of_floor(query, embedder.embed([query])[0], embedder)

    assert share("heat") == pytest.approx(1.0)
    assert share("the of and") == pytest.approx(1.0), "of nothing but function words all are its own"
    # The embedder counts "which" and "about" as a meaning of their own, and heat is all that is asked about.
    assert share("which about heat") == pytest.approx((1 / 5**0.5) ** 0.5)
    assert share("?!") == 1.0


def test_a_label_that_scored_low_loses_the_share_that_is_asked_for() -> None:
    relevance, scores = np.array([0.5, 0.5, 0.5]), np.array([1.0, 0.2, np.nan])

    assert weigh_scores(relevance, scores, 0.5).tolist() == pytest.approx([0.5, 0.3, 0.4])
    assert weigh_scores(relevance, np.full(3, np.nan), 0.5).tolist() == [0.5, 0.5, 0.5]


def test_scores_decide_between_labels_that_say_the_same(writer: Writer, embedder: AxisEmbedder) -> None:
    writer.add_explanations([low := make.explanation(6, "law law", fingerprint="e2")])
    writer.add_scores([make.graded(low, value=0.1)])
    index_labels(Reader(writer.path), writer, embedder)

    def found(weight: float) -> list[int]:
        config = SearchConfig(score_weight=weight, word_weight=0)
        hits = SearchEngine(Reader(writer.path), embedder, config=config).search("law", 3)
        return [hit.feature_index for hit in hits]

    assert found(0.0) == [2, 6, 1]
    assert found(0.5) == [2, 1, 6]


def test_each_hit_tells_how_many_other_features_say_nearly_the_same(writer: Writer, embedder: AxisEmbedder) -> None:
    labels = [make.explanation(6, "heat"), make.explanation(7, "fire heat")]
    writer.add_explanations([*labels, replace(make.explanation(7, "heat", fingerprint="e2"), explainer="rules")])
    index_labels(Reader(writer.path), writer, embedder)
    engine = SearchEngine(Reader(writer.path), embedder)

    alike = {hit.feature_index: hit.n_alike for hit in engine.search("heat", 8)}

    assert alike == {0: 2, 6: 2, 7: 2, 1: 0, 5: 0, 2: 0, 3: 0, 4: 0}
    assert "2 alike" in repr(engine.search("heat", 1)[0])
    (only,) = engine.search("heat", 8, FeatureFilter(features=[0]))
    assert only.n_alike == 0, "features that a filter leaves out are not counted"


@pytest.mark.parametrize(
    "query",
    [
        "'; DROP TABLE explanations; --",
        "<script>alert(1)</script>",
        "\U0001f525",
        "!?",
        "the of and",
        "chaleur et loi",
        "\x00",
        "(" * 500,
        "[a-z]+.*",
    ],
)
def test_any_text_is_a_query(engine: SearchEngine, query: str) -> None:
    assert len(engine.search(query, min_relevance=0)) == 6
    assert engine.search(query) in ([], engine.search(query, min_relevance=0))


def test_a_very_long_query_is_answered(engine: SearchEngine) -> None:
    assert engine.search("heat " * 20_000, 1)[0].feature_index == 0


def test_alike_labels_are_found_as_by_comparing_all() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(50, 384))
    vectors = centres[rng.integers(0, 50, 2000)] + 0.5 * rng.normal(size=(2000, 384))
    vectors[100:140] = vectors[99]
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    # The first numbers of some are all alike, or all there is of them.
    vectors[1500:1510] = np.eye(384, dtype=np.float32)[:10]
    vectors[1510:1520, :128] = 0
    vectors[1510:1520] /= np.linalg.norm(vectors[1510:1520], axis=1, keepdims=True)
    names, none = np.empty(0, dtype=object), np.empty(0)
    values, intervals = np.empty((0, 0)), np.empty((0, 0, 2))
    table = LabelTable("e", names, none.astype(np.int32), (), (), names, vectors, none, (), values, intervals, {})
    rows, others = np.arange(0, 2000, 7), np.arange(0, 2000, 3)
    found = LabelsInMemory(table).alike(rows, others, 0.8)
    expected = vectors[rows] @ vectors[others].T >= 0.8
    assert expected.sum() > len(rows)
    for some, row in zip(found, expected, strict=True):
        np.testing.assert_array_equal(some, others[row])
