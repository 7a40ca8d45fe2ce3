"""Runs that set labels against those nearest to them: a label that comes or goes has all of them tried again."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from autointerp import open_run, run_pipeline
from autointerp.config import Pipeline
from autointerp.records import Score
from autointerp.run.dry_run import plan_cost
from tests.loopback.server import LoopbackServer
from tests.loopback.truth import TruthOracle
from tests.run.planted import FEATURES, LABELLED, Planted
from tests.run.prepared import WithContexts
from tests.run.test_run_planted import KEY, asked_pipeline, knowing

pytestmark = pytest.mark.slow

BOTH = 'score.scorers=["detection", "discrimination"]'


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def scores(pipeline: Pipeline, scorer: str) -> Mapping[int, Score]:
    """The current score of each true label."""
    reader = open_run(pipeline.run_folder).reader
    by_id = {score.explanation_id: score for score in reader.scores(scorer=scorer)}
    return {e.feature_index: by_id[e.explanation_id] for e in reader.explanations() if e.explanation_id in by_id}


def test_labels_are_set_against_the_nearest_of_the_run_and_again_once_there_are_others(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    with LoopbackServer(knowing()) as server:

        def pipeline(indices: str) -> Pipeline:
            return asked_pipeline(planted, tmp_path, server.openai_url, BOTH, f'features.indices="{indices}"')

        with_contexts(pipeline("0-2"))
        planned = {stage.stage: stage.usage.n_calls for stage in plan_cost(pipeline("0-2")).stages}
        assert run_pipeline(pipeline("0-2")).n_failed == 0
        reader = open_run(pipeline("0-2").run_folder).reader
        asked = {row.stage: row.usage.n_calls for row in reader.stages() if row.usage is not None}
        assert planned["score:discrimination"] == asked["score:discrimination"] > 0

        first, detected = scores(pipeline("0-2"), "discrimination"), scores(pipeline("0-2"), "detection")
        assert {feature: score.value for feature, score in first.items()} == {0: 1.0, 1: 1.0, 2: 1.0}
        assert set(first[0].detail["similarity_by_sibling"]) == {"1", "2"}
        n_calls = len(server.calls)
        assert run_pipeline(pipeline("0-2")).n_failed == 0
        assert len(server.calls) == n_calls, "nothing has changed"

        assert run_pipeline(pipeline("0-2,6")).n_failed == 0
        second = scores(pipeline("0-2,6"), "discrimination")
        assert set(second) == {0, 1, 2, 6}
        assert set(second[0].detail["similarity_by_sibling"]) == {"1", "2", "6"}
        assert second[0].fingerprint != first[0].fingerprint
        assert scores(pipeline("0-2,6"), "detection")[0] == detected[0]


def test_too_few_labels_are_told_with_the_number_needed(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    with LoopbackServer(knowing()) as server:
        pipeline = with_contexts(asked_pipeline(planted, tmp_path, server.openai_url, BOTH, 'features.indices="0-1"'))
        outcome = run_pipeline(pipeline)
    assert outcome.n_failed == 4, "two true labels and their shuffled ones"
    (failure, *_) = open_run(pipeline.run_folder).reader.failures(stage="score:discrimination")
    assert failure.error_type == "TooFewSiblings"
    assert "2 of the source have labels" in failure.message


def test_equal_labels_are_told_apart_by_nobody(planted: Planted, with_contexts: WithContexts, tmp_path: Path) -> None:
    """Each of five features is labelled with the words of all five."""
    labels = tmp_path / "labels.csv"
    five = [index for index in LABELLED if len(FEATURES[index]) == 1][-5:]
    said = " ".join(FEATURES[index][0] for index in five)
    labels.write_text("feature,label\n" + "".join(f"{index},{said}\n" for index in five), encoding="utf-8")
    outside = ('explain.explainer="outside"', f'explain.labels="{labels}"', "score.baseline=false", BOTH)
    truth = TruthOracle({said: lambda text, marked: bool(set(said.split()) & set(text.split()))})
    with LoopbackServer(truth) as server:
        pipeline = asked_pipeline(planted, tmp_path, server.openai_url, *outside)
        assert run_pipeline(with_contexts(pipeline)).n_failed == 0
    apart, detected = scores(pipeline, "discrimination"), scores(pipeline, "detection")
    for index in five:
        assert apart[index].value == 0.5
        assert detected[index].value > 0.6
        assert apart[index].detail["equal_labels"] == [other for other in five if other != index]
