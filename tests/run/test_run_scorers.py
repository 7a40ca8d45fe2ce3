"""The whole pipeline with a scorer that a user wrote: scored, shown, exported and resumed like ours."""

import json
from pathlib import Path

import pytest

from autointerp import FeatureFilter, export_run, load_pipeline, open_run, run_pipeline
from autointerp.config import Pipeline
from autointerp.run.pipeline import Stage
from tests.command import complaint, printed
from tests.run.planted import Planted
from tests.run.prepared import WithContexts

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[1] / "score"
STAGES: tuple[Stage, ...] = ("explain", "score", "index")


def pipeline_with(planted: Planted, folder: Path) -> Pipeline:
    for name in ("example_scorer.py", "example_scorer.txt"):
        (folder / name).write_text((EXAMPLE / name).read_text(encoding="utf-8"), encoding="utf-8")
    scorers = json.dumps(["embedding", f"{folder}/example_scorer.py:PeakScorer"])
    path = folder / "scored.toml"
    path.write_text(planted.toml("scored", folder / "runs", "[score]", f"scorers = {scorers}"), encoding="utf-8")
    return load_pipeline(str(path), ('features.indices="0-2,6"',))


def test_the_example_of_the_documentation_scores_labels_beside_ours(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = run_pipeline(with_contexts(pipeline_with(planted, tmp_path)), STAGES)
    folder = outcome.folder.path
    run = open_run(folder)
    assert outcome.n_failed == 0
    summary = {row.scorer: row for row in run.score_summary()}
    assert set(summary) == {"embedding", "peak"}
    assert summary["peak"].true is not None
    assert summary["peak"].true.median > 0.9, "the labels are the planted words"
    best = run.feature(0).labels[0]
    trials = run.reader.trials(best.explanation.explanation_id, "peak")
    assert trials
    assert all(len(trial.marked) == 1 for trial in trials)
    stages = {state.stage for state in run.reader.stages()}
    assert "score:peak" in stages
    hits = run.search("ship", where=FeatureFilter(min_score={"peak": 0.5}))
    assert hits
    assert all(hit.scores["peak"] >= 0.5 for hit in hits)
    export_run(folder, tmp_path / "labels.csv")
    header = (tmp_path / "labels.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    assert {"peak", "peak_ci_low", "peak_n_trials"} <= set(header)
    assert "score:peak" in printed(capsys, "status", str(folder))
    digest = run.reader.content_digest()
    assert run_pipeline(pipeline_with(planted, tmp_path), STAGES).n_failed == 0
    assert open_run(folder).reader.content_digest() == digest, "what is done is not done again"


def test_what_a_user_s_scorer_raises_is_one_line_that_names_the_feature_and_the_place(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_contexts(pipeline_with(planted, tmp_path))
    file = tmp_path / "example_scorer.py"
    file.write_text(file.read_text(encoding="utf-8").replace("detail = Detail()", "detail = 1 / 0"), encoding="utf-8")
    said = complaint(capsys, "run", str(tmp_path / "scored.toml"), "--features", "0-2")
    assert "the scorer 'peak' on feature 0 failed (ZeroDivisionError: division by zero, " in said
    assert "example_scorer.py, line " in said


def test_what_a_user_s_scorer_raises_while_it_is_made_is_one_line_too(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_contexts(pipeline_with(planted, tmp_path))
    file = tmp_path / "example_scorer.py"
    settings = "def settings(self, tools):\n        return 1 / 0\n\n    def pose("
    file.write_text(file.read_text(encoding="utf-8").replace("def pose(", settings), encoding="utf-8")
    said = complaint(capsys, "run", str(tmp_path / "scored.toml"), "--features", "0-2")
    assert "the scorer 'peak' failed (ZeroDivisionError: division by zero, " in said
    assert "example_scorer.py, line " in said


def test_a_user_s_judge_that_does_not_say_whether_it_is_free_is_one_line_that_names_the_scorer(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_contexts(pipeline_with(planted, tmp_path))
    file = tmp_path / "example_scorer.py"
    judge = """
class Silent:
    name = "silent"

    def fingerprint(self, task):
        return "silent"


def make_silent(self, tools):
    return Silent()


PeakScorer.make_judge = make_silent
"""
    file.write_text(file.read_text(encoding="utf-8") + judge, encoding="utf-8")
    said = complaint(capsys, "run", str(tmp_path / "scored.toml"), "--features", "0-2")
    assert "the scorer 'peak' failed (AttributeError: 'Silent' object has no attribute 'is_free'" in said


def test_a_failure_of_a_user_s_scorer_counts(planted: Planted, with_contexts: WithContexts, tmp_path: Path) -> None:
    pipeline = with_contexts(pipeline_with(planted, tmp_path))
    file = tmp_path / "example_scorer.py"
    nowhere = file.read_text(encoding="utf-8").replace("if context.decoy]", "if len(context.decoy) > 99]")
    file.write_text(nowhere, encoding="utf-8")
    assert run_pipeline(pipeline, STAGES).n_failed > 0
