"""What the pages of runs say."""

import shutil
from pathlib import Path

import pytest

import autointerp
from autointerp.errors import UnknownRunError
from autointerp.llm.journal import Journal, Payment
from autointerp.llm.protocol import CallFailure
from autointerp.run.on_disk.lock import hold
from autointerp.serve.limits import Limits
from autointerp.serve.serving import Serving
from autointerp.serve.views.run_shapes import RunAsked
from autointerp.serve.views.runs import run_view, runs_view
from autointerp.store.connection import writing
from tests.run.planted import DEAD, RARE
from tests.serve.asking import SOURCE


@pytest.fixture(scope="module")
def folder(planted_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run, which may be written."""
    copy = tmp_path_factory.mktemp("runs") / "demo"
    shutil.copytree(planted_runs / "runs/demo", copy)
    return copy


def served(*folders: Path) -> Serving:
    return Serving(autointerp.open(list(folders)), Limits())


def test_a_finished_run_tells_stages_scores_and_failures_by_reason(folder: Path) -> None:
    view = run_view(served(folder), "demo", RunAsked())
    assert (view.line.state, view.line.stage, view.line.share_done) == ("done", None, 1.0)
    assert view.line.sources == (SOURCE,)
    assert {stage.stage: stage.state for stage in view.stages}["score:detection"] == "done"
    assert [(of.stage, of.error_type, of.n) for of in view.reasons] == [("contexts", "TooFewContexts", 1)]
    assert {scorer.scorer for scorer in view.scorers} == {"detection", "embedding", "fuzzing", "recall"}
    assert all(scorer.values[0].kind == "true" for scorer in view.scorers)
    assert view.failures == ()
    some = run_view(served(folder), "demo", RunAsked(stage="contexts", error="TooFewContexts"))
    assert [of.id for of in some.failures] == [f"{SOURCE}:{RARE}"]
    assert DEAD != RARE


def test_calls_that_failed_are_told_with_what_came_back(folder: Path) -> None:
    raw = "<script>alert(1)</script>" * 1_000
    with Journal(folder / "journal.sqlite") as journal:
        for number in range(3):
            failure = CallFailure("Refusal", f"it refused call {number}", raw)
            journal.put_failure(str(number), failure, Payment(asked_model="judge")).result()
    view = run_view(served(folder), "demo", RunAsked())
    assert view.n_calls == (("judge", "Refusal", 3),)
    assert [call.message for call in view.calls] == [f"it refused call {number}" for number in (2, 1, 0)]
    assert (view.calls[0].raw, view.calls[0].is_cut) == (raw[:4_000], True)


def test_a_run_that_goes_on_is_told_from_one_whose_process_is_gone(folder: Path) -> None:
    serving = served(folder)
    with writing(folder / "store.duckdb", 5) as connection:
        connection.execute("UPDATE stages SET status = 'running', finished_at = NULL WHERE stage = 'score:recall'")
    (line,) = runs_view(serving).runs
    assert (line.state, line.stage) == ("killed", "score:recall")
    with (folder / "run.lock").open("a") as lock:
        hold(lock, folder)
        (line,) = runs_view(serving).runs
        assert (line.state, line.stage) == ("under way", "score:recall")
        assert 0 < line.share_done <= 1


def test_two_folders_of_one_name_are_two_runs(folder: Path, planted_runs: Path) -> None:
    serving = served(folder, planted_runs / "runs/demo")
    assert [line.name for line in runs_view(serving).runs] == ["demo", "demo-2"]
    assert run_view(serving, "demo-2", RunAsked()).line.path == "/runs/demo-2"
    with pytest.raises(UnknownRunError, match="here: runs are demo, demo-2"):
        run_view(serving, "../demo", RunAsked())


def test_a_run_that_is_gone_leaves_the_others_theirs_and_names_no_folder(planted_runs: Path, tmp_path: Path) -> None:
    shutil.copytree(planted_runs / "runs/demo", tmp_path / "gone")
    serving = served(tmp_path / "gone", planted_runs / "runs/demo")
    shutil.rmtree(tmp_path / "gone")
    gone, there = runs_view(serving).runs
    assert gone.problem is not None
    assert str(tmp_path) not in gone.model_dump_json()
    assert (there.name, there.problem) == ("demo", None)
    with pytest.raises(UnknownRunError, match="the run gone is not there any more"):
        run_view(serving, "gone", RunAsked())
