"""What succeeded is not done again; a failure is tried again by its own rule."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autointerp.errors import StoreError
from autointerp.store.reader import Reader
from autointerp.store.writer import Writer
from tests.store.making import make


@pytest.fixture(scope="module")
def one_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    writer = Writer(tmp_path_factory.mktemp("one_source"))
    writer.add_source(make.source())
    return writer.path


@pytest.fixture
def writer(one_source: Path, tmp_path: Path) -> Writer:
    return Writer(shutil.copy(one_source, tmp_path))


def test_in_an_empty_store_everything_is_pending_in_the_order_asked(writer: Writer) -> None:
    assert writer.pending_features("explain", "e1", [5, 1, 3]) == [5, 1, 3]
    assert writer.pending_features("contexts", "c1", np.array([2, 1])) == [2, 1]
    assert writer.pending_features("contexts", "c1", []) == []
    assert writer.pending_explanations("detection", "s1", ["y", "x"]) == ["y", "x"]


def test_features_with_contexts_of_this_fingerprint_are_done(writer: Writer) -> None:
    writer.add_contexts([make.contexts(1)], "c1")
    assert writer.pending_features("contexts", "c1", [1, 2]) == [2]
    assert writer.pending_features("contexts", "c2", [1, 2]) == [1, 2]


def test_a_true_label_does_not_count_as_a_baseline(writer: Writer) -> None:
    writer.add_explanations([make.explanation(1), make.explanation(2, label_from=1)])
    assert writer.pending_features("explain", "e1", [1, 2]) == [2]
    assert writer.pending_features("baseline", "e1", [1, 2]) == [1]


def test_only_a_failure_that_may_fare_better_is_tried_again(writer: Writer) -> None:
    writer.add_failures([make.failure(1, retry=True), make.failure(2, retry=False), make.failure(3, "contexts")])
    assert writer.pending_features("explain", "e1", [1, 2, 3]) == [1, 3]
    assert writer.pending_features("explain", "e2", [1, 2, 3]) == [1, 2, 3]


def test_a_score_is_done_for_its_explanation_scorer_and_fingerprint_only(writer: Writer) -> None:
    one, two = make.explanation(1), make.explanation(2)
    ids = [one.explanation_id, two.explanation_id]
    writer.add_explanations([one, two])
    writer.add_scores([make.graded(one)])
    assert writer.pending_explanations("detection", "s1", ids) == [two.explanation_id]
    assert writer.pending_explanations("detection", "s2", ids) == ids
    assert writer.pending_explanations("fuzzing", "s1", ids) == ids


def test_another_label_takes_over_the_score_of_its_feature_with_all_trials(writer: Writer) -> None:
    first, second, other = make.explanation(1), make.explanation(1, fingerprint="e2"), make.explanation(2)
    ids = [second.explanation_id, other.explanation_id]
    writer.add_explanations([first, second, other])
    graded = make.graded(first)
    writer.add_scores([graded])
    broken_off = make.failure(1, "score:detection", "s1", retry=True, explanation_id=second.explanation_id)
    writer.add_failures([broken_off])
    writer.take_over_scores("detection", "s2", ids)
    assert writer.pending_explanations("detection", "s1", ids) == ids, "scores of other settings are no score"
    writer.take_over_scores("detection", "s1", ids)
    writer.take_over_scores("detection", "s1", ids)
    assert writer.pending_explanations("detection", "s1", ids) == [other.explanation_id]
    reader = Reader(writer.path)
    (score,) = reader.scores(explanation_ids=[second.explanation_id])
    assert score == replace(graded.score, explanation_id=second.explanation_id)
    taken = reader.trials(second.explanation_id, "detection")
    assert taken == [replace(trial, explanation_id=second.explanation_id) for trial in graded.trials]
    assert not reader.failures([1])


def test_a_failed_score_is_tried_again_by_the_same_rule(writer: Writer) -> None:
    one, two = make.explanation(1), make.explanation(2)
    writer.add_explanations([one, two])
    writer.add_failures(
        [
            make.failure(1, "score:recall", "s1", retry=True, explanation_id=one.explanation_id),
            make.failure(2, "score:recall", "s1", retry=False, explanation_id=two.explanation_id),
        ]
    )
    ids = [one.explanation_id, two.explanation_id]
    assert writer.pending_explanations("recall", "s1", ids) == [one.explanation_id]
    writer.add_scores([make.graded(one, "recall")])
    assert writer.pending_explanations("recall", "s1", ids) == []


def test_a_source_must_be_named_where_there_are_several(writer: Writer) -> None:
    other = make.source().__class__("tiny@2", "tiny", "blocks.2", "coder", 8, "docstrings", 10)
    writer.add_source(other)
    with pytest.raises(StoreError, match="tiny@2"):
        writer.pending_features("explain", "e1", [1])
    assert writer.pending_features("explain", "e1", [1], "tiny@2") == [1]


def test_an_unknown_stage_is_refused(writer: Writer) -> None:
    with pytest.raises(StoreError, match="no stage of features"):
        writer.pending_features("score", "s1", [1])
