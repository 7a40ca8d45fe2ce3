"""The whole pipeline with surprisal: told before it begins, scored, shown, exported, resumed, refused in one line."""

import logging
from pathlib import Path

import pytest

from autointerp import export_run, load_pipeline, open_run, run_pipeline
from autointerp.run.pipeline import Stage
from tests.command import complaint, printed
from tests.run.planted import Planted
from tests.run.prepared import WithContexts

pytestmark = pytest.mark.slow

STAGES: tuple[Stage, ...] = ("explain", "score", "index")


def write(planted: Planted, folder: Path, *more: str) -> Path:
    path = folder / "read.toml"
    table = ["[score]", 'scorers = ["surprisal"]', *(more or (f'surprisal_model = "{planted.model}"',))]
    path.write_text(planted.toml("read", folder / "runs", *table), encoding="utf-8")
    return path


def test_labels_are_scored_by_what_a_model_expects_and_it_is_said_before_how_long_it_takes(
    planted: Planted,
    with_contexts: WithContexts,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    pipeline = with_contexts(load_pipeline(str(write(planted, tmp_path)), ('features.indices="0-2,6"',)))
    with caplog.at_level(logging.INFO):
        assert run_pipeline(pipeline, STAGES).n_failed == 0
    (said,) = (line for line in caplog.messages if "surprisal: model reads" in line)
    assert "8 labels take about" in said
    folder = tmp_path / "runs" / "read"
    run = open_run(folder)
    (summary,) = run.score_summary()
    assert (summary.scorer, [row.n for row in summary.rows if row.kind == "true"]) == ("surprisal", [4])
    label = run.feature(0).labels[0]
    assert {trial.verdict for trial in run.reader.trials(label.explanation.explanation_id, "surprisal")} == {None}
    assert "surprisal" in printed(capsys, "show", str(folder), "0")
    export_run(folder, tmp_path / "labels.csv")
    assert "surprisal_ci_low" in (tmp_path / "labels.csv").read_text(encoding="utf-8").splitlines()[0]
    digest = run.reader.content_digest()
    caplog.clear()
    with caplog.at_level(logging.INFO):
        run_pipeline(pipeline, STAGES)
    assert not [line for line in caplog.messages if "reads" in line]
    assert open_run(folder).reader.content_digest() == digest, "what is done is not done again"


def test_a_model_that_cant_serve_is_one_line_before_anything_is_collected(
    planted: Planted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(planted, tmp_path, 'surprisal_model = "all-minilm-l6-v2"')
    assert "set score.surprisal_model to a causal language model" in complaint(capsys, "run", str(path))
    assert not list((tmp_path / "runs").glob("*/store.duckdb"))


def test_so_few_labels_that_none_can_be_set_against_them_are_failures_that_say_so(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    pipeline = with_contexts(load_pipeline(str(write(planted, tmp_path)), ('features.indices="0-1"',)))
    outcome = run_pipeline(pipeline, STAGES)
    failures = open_run(outcome.folder.path).reader.failures()
    assert {(failure.stage, failure.error_type) for failure in failures} == {("score:surprisal", "TooFewLabels")}
