"""Runs on labels from a file: scored like ours, and told apart by their scores."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from autointerp import load_pipeline, open_run, run_pipeline
from autointerp.config import ContextsConfig, FeaturesConfig, Pipeline
from autointerp.errors import CorpusError, PipelineError
from autointerp.run.features import ChosenFeatures, features_to_label
from tests.loopback.server import LoopbackServer
from tests.loopback.truth import TruthOracle
from tests.run.planted import DEAD, EVERYWHERE, FEATURES, LABELLED, Planted
from tests.run.prepared import WithContexts

pytestmark = pytest.mark.slow

# The local judge passes over stop words, which the word of EVERYWHERE is.
SINGLE = [index for index in LABELLED if len(FEATURES[index]) == 1 and index != EVERYWHERE]
TRUE = {str(index): FEATURES[index][0] for index in SINGLE}
WRONG = dict(zip(TRUE, [*list(TRUE.values())[1:], TRUE[str(SINGLE[0])]], strict=True))


def write(path: Path, labels: Mapping[str, str], author: str | None = None) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["feature", "label", "author"])
        rows.writerows([feature, label, author] for feature, label in labels.items())
    return path


def pipeline_of(planted: Planted, folder: Path, labels: Path, *more: str, overrides: tuple[str, ...] = ()) -> Pipeline:
    path = folder / "outside.toml"
    lines = ["[explain]", 'explainer = "outside"', f'labels = "{labels}"', *more]
    path.write_text(planted.toml("outside", folder / "runs", *lines), encoding="utf-8")
    return load_pipeline(str(path), ("score.baseline=false", *overrides))


def test_true_labels_score_high_and_wrong_ones_low(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    values: dict[str, list[float]] = {}
    with LoopbackServer(TruthOracle()) as server:
        judge = ["[judge]", 'kind = "llm"', "[judge.model]", 'model = "m"', f'base_url = "{server.url}/v1"']
        for author, labels in (("true", TRUE), ("wrong", WRONG)):
            file = write(tmp_path / f"{author}.csv", labels, author)
            pipeline = pipeline_of(planted, tmp_path, file, *judge)
            if not pipeline.run_folder.exists():
                with_contexts(pipeline)
            outcome = run_pipeline(pipeline)
            assert outcome.n_failed == 0
            assert [list(features) for features in outcome.features.values()] == [SINGLE], "the file names the features"
            run = open_run(pipeline.run_folder)
            explanations = run.reader.explanations()
            assert {str(e.feature_index): e.label for e in explanations} == labels
            assert {(e.explainer, e.model) for e in explanations} == {("outside", author)}
            scores = run.reader.scores(explanation_ids=[e.explanation_id for e in explanations])
            assert {s.scorer for s in scores} == {"detection", "fuzzing", "embedding", "recall"}
            values[author] = [s.value for s in scores if s.scorer in ("detection", "fuzzing")]
    assert values["true"] == pytest.approx([1.0] * 2 * len(SINGLE))
    assert max(values["wrong"]) < 0.7


def test_a_feature_that_is_asked_for_and_has_no_label_is_a_failure(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    labels = write(tmp_path / "labels.csv", {"0": "ship", str(DEAD): "nothing"})
    scorers = ('score.scorers=["embedding"]',)
    every_label = with_contexts(pipeline_of(planted, tmp_path, labels, overrides=scorers))
    outcome = run_pipeline(every_label)
    reader = open_run(every_label.run_folder).reader
    assert [list(features) for features in outcome.features.values()] == [[0, DEAD]]
    assert outcome.n_failed == 0, "a dead feature is a finding"
    assert [e.feature_index for e in reader.explanations()] == [0]
    outcome = run_pipeline(pipeline_of(planted, tmp_path, labels, overrides=('features.indices="0-1"', *scorers)))
    assert outcome.n_failed == 1
    (failure,) = reader.failures(stage="explain")
    assert (failure.feature_index, failure.error_type, failure.retry) == (1, "NoLabel", False)


@pytest.mark.parametrize(
    ("labels", "overrides", "said"),
    [
        ({"0": "ship", "12": "x"}, (), "line 3: planted@.* has no feature 12: its features are 0 to 11"),
        ({"other@0-res:0": "ship"}, (), "line 2: the label is of another source, other@0-res"),
        ({"0": ""}, (), "line 2: the label is empty"),
    ],
)
def test_a_label_that_can_t_be_right_is_told_before_anything_is_read(
    planted: Planted, tmp_path: Path, labels: dict[str, str], overrides: tuple[str, ...], said: str
) -> None:
    pipeline = pipeline_of(planted, tmp_path, write(tmp_path / "labels.csv", labels), overrides=overrides)
    with pytest.raises(PipelineError, match=said):
        run_pipeline(pipeline)
    assert not (pipeline.run_folder / "corpus").exists()


def test_a_file_without_labels_of_the_features_asked_for_is_refused(planted: Planted, tmp_path: Path) -> None:
    labels = write(tmp_path / "labels.csv", {"0": "ship"})
    pipeline = pipeline_of(planted, tmp_path, labels, overrides=('features.indices="1,6"',))
    with pytest.raises(PipelineError, match=r"none of the features asked for of planted@.* has a label in the file of"):
        run_pipeline(pipeline)


# --- which features are chosen --------------------------------------------------------------------------------------

FIRES = np.array([50, 50, 0, 50, 3, 50], dtype=np.int64)


def select(labelled: Mapping[str, list[int]], **asked: object) -> ChosenFeatures:
    sources = [(name, FIRES) for name in labelled]
    return features_to_label(FeaturesConfig.model_validate(asked), ContextsConfig(), sources, seed=0, labelled=labelled)


def test_the_features_of_the_file_are_chosen_as_they_are() -> None:
    assert select({"one": [1, 2, 4]}) == {"one": [1, 2, 4]}


def test_a_sample_is_of_those_in_the_file_that_can_be_scored() -> None:
    assert select({"one": [1, 2, 4]}, sample=3) == {"one": [1]}
    (chosen,) = select({"one": [0, 1, 3, 5]}, sample=2).values()
    assert len(chosen) == 2
    with pytest.raises(CorpusError):
        select({"one": [2, 4]}, sample=3)


def test_a_source_without_labels_costs_the_others_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert select({"one": [1], "two": []}) == {"one": [1], "two": []}
    assert "no feature of two has a label in the file of labels: the run goes on with 0" in caplog.text
    assert select({"one": [1], "two": []}, indices="0-1") == {"one": [0, 1], "two": []}
    assert select({"one": [1], "two": [5]}, indices="0-1") == {"one": [0, 1], "two": [0, 1]}


def test_no_label_at_all_for_what_is_asked_is_an_error() -> None:
    with pytest.raises(PipelineError, match="none of the features asked for of one has a label"):
        select({"one": [4], "two": [5]}, indices="0-1")
