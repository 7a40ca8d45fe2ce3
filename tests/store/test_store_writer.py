"""What is written comes back as it was, once, and failures give way to results."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autointerp.errors import SearchError, StoreError
from autointerp.records import Explanation, FeatureContexts, SourceRecord
from autointerp.store.reader import Reader
from autointerp.store.results import RunRecord
from autointerp.store.writer import Writer
from tests.store.making import make


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    return Writer(tmp_path)


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


def test_every_record_comes_back_as_it_was(writer: Writer, reader: Reader) -> None:
    explanation = replace(make.explanation(3, "日本語, عربى 'quoted' \n line"), cost_usd=None, prompt_sha256="ab" * 32)
    baseline = make.explanation(3, "someone else's", fingerprint="b1", label_from=5)
    graded = make.graded(explanation)
    failure = make.failure(4)
    source = replace(make.source(), no_logits="a model of type bert has no head")
    writer.add_source(source, histogram_edges=[0.5, 1.0, 2.0])
    writer.add_features([make.feature(4, 0.0, "dead"), make.feature(3)])
    writer.add_contexts([make.contexts(3)], "c1")
    writer.add_explanations([baseline, explanation])
    writer.add_scores([graded])
    writer.add_failures([failure])

    assert reader.sources() == [source]
    assert reader.histogram_edges() == (0.5, 1.0, 2.0)
    assert reader.features() == [make.feature(3), make.feature(4, 0.0, "dead")]
    assert reader.feature_contexts([3, 4]) == [make.contexts(3)]
    assert reader.contexts(3) == [*make.contexts(3).contexts, *graded.contexts]
    assert reader.explanations() == [explanation]
    assert reader.explanations(baselines=True) == [explanation, baseline]
    assert reader.scores() == [graded.score]
    assert reader.trials(explanation.explanation_id) == list(graded.trials)
    assert reader.failures() == [failure]


def test_half_a_surrogate_pair_of_a_users_own_explainer_is_mended(writer: Writer, reader: Reader) -> None:
    label = replace(make.explanation(3, "half \ud83d"), detail={"why\udc00": ["\ud83d", "\ud83d\ude00", 1]})
    writer.add_source(make.source())
    writer.add_features([make.feature(3)])
    writer.add_explanations([label])
    writer.add_failures([replace(make.failure(4), message="half \ud83d")])
    (read,) = reader.explanations()
    assert (read.label, read.detail) == ("half \ufffd", {"why\ufffd": ["\ufffd", "\U0001f600", 1]})
    assert [failure.message for failure in reader.failures()] == ["half \ufffd"]


def test_the_public_tables_have_the_columns_of_the_contract(writer: Writer, tmp_path: Path) -> None:
    contract = {
        "sources": "source_id, model, hook, coder, n_features, corpus, n_tokens",
        "features": "source_id, feature_index, n_active, density, max_activation, mean_activation, histogram, status",
        "contexts": "context_id, source_id, feature_index, kind, split, tokens, token_ids, activations,"
        " max_activation, peak, quantile, document_id, block_index",
        "explanations": "explanation_id, source_id, feature_index, label, explainer, model, prompt_sha256, cost_usd,"
        " created_at",
        "trials": "explanation_id, scorer, judge, context_id, truth, verdict, probability",
        "scores": "explanation_id, scorer, judge, value, ci_low, ci_high, n_trials, n_unanswered, detail",
        "failures": "stage, source_id, feature_index, error_type, message, raw, created_at",
        "label_embeddings": "explanation_id, embedder, embedding",
    }
    with duckdb.connect(str(writer.path), read_only=True) as connection:
        for table, columns in contract.items():
            found = [name for (name, *_) in connection.execute(f"DESCRIBE {table}").fetchall()]
            assert found[: len(columns.split(","))] == [name.strip() for name in columns.split(",")]


def test_a_time_of_another_zone_comes_back_as_the_same_moment(writer: Writer, reader: Reader) -> None:
    moment = make.moment.astimezone(timezone(timedelta(hours=-7)))
    writer.add_explanations([replace(make.explanation(1), created_at=moment)])
    assert [e.created_at for e in reader.explanations()] == [make.moment]


def test_a_lazy_stream_of_contexts_longer_than_a_transaction_is_all_written(writer: Writer, reader: Reader) -> None:
    writer.add_source(make.source(1100))
    writer.add_contexts((FeatureContexts(make.source_id, i, (make.context(i),)) for i in range(1100)), "c1")
    assert reader.feature_contexts(range(1100)) == [
        FeatureContexts(make.source_id, i, (make.context(i),)) for i in range(1100)
    ]


def test_another_source_of_the_same_name_is_refused(writer: Writer) -> None:
    writer.add_source(make.source())
    writer.add_source(make.source())
    with pytest.raises(StoreError, match="already holds another"):
        writer.add_source(replace(make.source(), n_tokens=1))


def test_a_score_of_an_unknown_explanation_is_refused_and_nothing_of_it_is_kept(writer: Writer, reader: Reader) -> None:
    known, unknown = make.explanation(1), make.explanation(2)
    writer.add_explanations([known])
    with pytest.raises(StoreError, match=unknown.explanation_id):
        writer.add_scores([make.graded(known), make.graded(unknown)])
    assert (reader.scores(), reader.trials(known.explanation_id)) == ([], [])


def test_a_score_detail_that_is_not_finite_is_refused(writer: Writer) -> None:
    writer.add_explanations([make.explanation(1)])
    graded = make.graded(make.explanation(1))
    with pytest.raises(StoreError, match="not finite"):
        writer.add_scores([replace(graded, score=replace(graded.score, detail={"f1": float("nan")}))])


@pytest.mark.parametrize("number", ["value", "ci_low", "ci_high"])
def test_a_score_that_is_not_finite_is_refused(writer: Writer, reader: Reader, number: str) -> None:
    writer.add_explanations([make.explanation(1)])
    graded = make.graded(make.explanation(1))
    wrong: dict[str, Any] = {number: float("nan")}
    with pytest.raises(StoreError, match="not finite"):
        writer.add_scores([replace(graded, score=replace(graded.score, **wrong))])
    assert reader.scores() == []


def test_numpy_numbers_in_a_detail_are_stored_as_numbers(writer: Writer, reader: Reader) -> None:
    writer.add_explanations([make.explanation(1)])
    graded = make.graded(make.explanation(1))
    detail = {"f1": np.float32(0.5), "by_quantile": {"3": np.int64(2)}}
    writer.add_scores([replace(graded, score=replace(graded.score, detail=detail))])
    assert reader.scores()[0].detail == {"f1": 0.5, "by_quantile": {"3": 2}}


def test_an_embedding_that_is_not_finite_is_refused(writer: Writer) -> None:
    writer.add_explanations([make.explanation(1)])
    with pytest.raises(StoreError, match="not finite"):
        writer.add_label_embeddings(
            [make.explanation(1).explanation_id], "e", np.full((1, 4), np.nan, dtype=np.float32)
        )


def test_embeddings_come_back_as_one_matrix_in_the_order_of_features(writer: Writer, reader: Reader) -> None:
    labels = [make.explanation(i, f"label {i}") for i in (7, 2, 5)]
    writer.add_source(make.source())
    writer.add_features([make.feature(i, density=i / 100) for i in (2, 5)])
    writer.add_explanations([*labels, make.explanation(2, label_from=5)])
    writer.add_scores([make.graded(labels[1], value=0.75)])
    vectors = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    writer.add_label_embeddings([e.explanation_id for e in labels], "mini", vectors)
    writer.add_label_embeddings([labels[0].explanation_id], "other", np.ones((1, 2), np.float32))

    found = reader.label_table("mini")
    assert found.feature_index.tolist() == [2, 5, 7]
    assert found.labels == ("label 2", "label 5", "label 7")
    assert found.scorers == ("detection",)
    np.testing.assert_array_equal(found.embeddings, vectors[[1, 2, 0]])
    np.testing.assert_array_equal(found.values, [[0.75], [np.nan], [np.nan]])
    np.testing.assert_array_equal(found.density, [0.02, 0.05, np.nan])
    assert [label for _, label in reader.labels_to_embed("other", 9)] == ["label 2", "label 5"]
    assert [label for _, label in reader.labels_to_embed("third", 2)] == ["label 2", "label 5"]


def test_missing_neighbors_are_left_out(writer: Writer, reader: Reader) -> None:
    writer.add_source(make.source())
    writer.add_features([make.feature(i) for i in range(4)])
    neighbors = np.array([[2, 3], [0, -1]], np.int32)
    for _ in range(2):
        writer.add_neighbors(
            make.source_id, "decoder", np.array([0, 1], np.int32), neighbors, np.array([[0.5, 0.25]] * 2, np.float32)
        )
    assert [(n.feature_index, n.similarity) for n in reader.neighbors(0, "decoder", 5)] == [(2, 0.5), (3, 0.25)]
    assert [n.feature_index for n in reader.neighbors(1, "decoder", 5)] == [0]
    assert reader.neighbors(2, "decoder", 5) == []
    with pytest.raises(SearchError, match="no neighbors in the space 'coactivation': spaces are label, decoder"):
        reader.neighbors(0, "coactivation", 5)
    matrix = reader.neighbor_matrix(make.source_id, "decoder")
    assert matrix[:3].tolist() == [[2, 3], [0, -1], [-1, -1]]
    assert matrix.shape == (64, 2)
    assert reader.neighbor_matrix(make.source_id, "coactivation").shape == (64, 0)


def test_a_label_makes_good_the_failure_before_it_but_no_other(writer: Writer, reader: Reader) -> None:
    others = [
        make.failure(1, fingerprint="older"),
        make.failure(1, stage="score:fuzzing"),
        make.failure(2),
    ]
    writer.add_failures([make.failure(1, retry=True), *others])
    writer.add_explanations([make.explanation(1)])
    assert reader.failures([1]) == [*others[:2]]
    assert reader.failures([2]) == [others[2]]


def test_a_repeated_failure_replaces_the_earlier_one(writer: Writer, reader: Reader) -> None:
    writer.add_failures([make.failure(1)])
    later = replace(make.failure(1), message="again", created_at=make.moment + timedelta(hours=1))
    writer.add_failures([later])
    assert reader.failures() == [later]


def test_the_first_run_s_time_is_kept_when_the_run_goes_on(writer: Writer, reader: Reader) -> None:
    assert reader.run() is None
    first = RunRecord("demo", {"seed": 0}, "0.1", make.moment)
    writer.set_run(first)
    writer.set_run(RunRecord("demo", {"seed": 0, "more": [1]}, "0.2", make.moment + timedelta(days=1)))
    assert reader.run() == RunRecord("demo", {"seed": 0, "more": [1]}, "0.2", make.moment)


def fill(writer: Writer, n_steps: int) -> None:
    """Write what a small run writes, up to one of its transactions."""
    labels = [make.explanation(i) for i in range(4)] + [make.explanation(1, fingerprint="b1", label_from=2)]
    steps: list[Callable[[], None]] = [
        lambda: writer.add_source(make.source(4)),
        lambda: writer.add_features([make.feature(i) for i in range(4)]),
        lambda: writer.add_contexts([make.contexts(i) for i in range(2)], "c1"),
        lambda: writer.add_contexts([make.contexts(i) for i in range(2, 4)], "c1"),
        lambda: writer.add_failures([make.failure(0), make.failure(3, retry=True)]),
        lambda: writer.add_explanations(labels[:2]),
        lambda: writer.add_explanations(labels[2:]),
        lambda: writer.add_scores([make.graded(label) for label in labels[:3]]),
        lambda: writer.add_scores([make.graded(label, "recall") for label in labels]),
        lambda: writer.add_label_embeddings([labels[0].explanation_id], "mini", np.ones((1, 3), np.float32)),
        lambda: writer.set_stage("explain", "e1", "done", n_asked=4),
    ]
    for step in steps[:n_steps]:
        step()


N_STEPS = 11


@pytest.fixture(scope="module")
def digest_of_whole_run(tmp_path_factory: pytest.TempPathFactory) -> str:
    whole = Writer(tmp_path_factory.mktemp("whole"))
    fill(whole, N_STEPS)
    return whole.content_digest()


@pytest.mark.slow
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(n_steps=st.integers(0, N_STEPS))
def test_a_run_stopped_between_any_transactions_and_run_again_gives_an_equal_store(
    tmp_path_factory: pytest.TempPathFactory, digest_of_whole_run: str, n_steps: int
) -> None:
    stopped = Writer(tmp_path_factory.mktemp("stopped"))
    fill(stopped, n_steps)
    fill(stopped, N_STEPS)
    assert stopped.content_digest() == digest_of_whole_run


def test_the_digest_ignores_order_times_and_costs_and_sees_all_else(tmp_path: Path) -> None:
    def digest(name: str, labels: list[Explanation], source: SourceRecord) -> str:
        writer = Writer(tmp_path / name)
        writer.add_source(source)
        for label in labels:
            writer.add_explanations([label])
        return writer.content_digest()

    one, two = make.explanation(1), make.explanation(2)
    same = digest("a", [one, two], make.source())
    assert same == digest("b", [two, replace(one, cost_usd=7.0, created_at=make.moment + timedelta(1))], make.source())
    assert same != digest("c", [one, replace(two, label="another")], make.source())
    assert same != digest("d", [one], make.source())
    assert same != digest("e", [one, two], replace(make.source(), corpus="other"))
