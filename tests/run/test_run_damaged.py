"""What was lost of a run is made anew from what is left of it, and nothing is paid for twice."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autointerp import open_run, run_pipeline
from autointerp.errors import RunError, StoreError
from autointerp.run.on_disk.lock import hold, is_under_way
from tests.loopback.server import LoopbackServer
from tests.run.planted import Planted
from tests.run.prepared import WithContexts
from tests.run.test_run_planted import KEY, QUICK, asked_pipeline, knowing

BAD = b"\xff" * 4096


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def test_a_damaged_store_is_made_anew_as_its_error_says_without_paying_or_collecting_again(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    with LoopbackServer(knowing()) as server:
        pipeline = with_contexts(asked_pipeline(planted, tmp_path, server.url + "/v1", *QUICK))
        run_pipeline(pipeline)
        store, n_calls = pipeline.run_folder / "store.duckdb", len(server.calls)
        before = open_run(pipeline.run_folder).reader.content_digest()
        collected = {path: path.stat().st_mtime_ns for path in pipeline.run_folder.glob("collect/*/*")}
        whole = store.read_bytes()
        store.write_bytes(whole[:4096] + BAD + whole[4096 + len(BAD) :])
        for use in (lambda: open_run(pipeline.run_folder), lambda: run_pipeline(pipeline)):
            with pytest.raises(StoreError, match=r"is damaged.*: delete store\.duckdb and run the pipeline again"):
                use()
        store.unlink()
        assert run_pipeline(pipeline).n_failed == 0
        assert len(server.calls) == n_calls
    assert open_run(pipeline.run_folder).reader.content_digest() == before
    assert {path: path.stat().st_mtime_ns for path in pipeline.run_folder.glob("collect/*/*")} == collected


@pytest.mark.slow
def test_of_a_run_that_was_killed_the_status_says_so_and_what_was_paid(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    with LoopbackServer(knowing(), latency_s=0.2) as server:
        pipeline = with_contexts(asked_pipeline(planted, tmp_path, server.url + "/v1", *QUICK))
        settings = [part for setting in QUICK for part in ("--set", setting)]
        command = [sys.executable, "-m", "autointerp", "run", str(tmp_path / "asked.toml"), *settings]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, env=os.environ)
        run = None
        while process.poll() is None and len(server.calls) < 7:
            time.sleep(0.01)
        run = open_run(pipeline.run_folder)
        assert is_under_way(pipeline.run_folder)
        assert "running" in {stage.status for stage in run.status()}
        process.send_signal(signal.SIGKILL)
        process.communicate()
        states = {stage.stage: stage for stage in run.status()}
        assert states["explain"].status == "killed"
        paid = run.paid()
        assert paid is not None
        assert paid.is_all
        assert paid.known_usd > (states["explain"].cost_usd or 0.0)
        run_pipeline(pipeline)
        at_last = run.paid()
        assert at_last is not None
        assert at_last.known_usd > paid.known_usd
        assert {stage.status for stage in run.status()} <= {"done", None}


def test_nobody_runs_where_nobody_holds_the_lock(tmp_path: Path) -> None:
    assert not is_under_way(tmp_path / "nowhere")
    (tmp_path / "run.lock").touch()
    assert not is_under_way(tmp_path)
    with (tmp_path / "run.lock").open("w") as lock:
        hold(lock, tmp_path)
        assert is_under_way(tmp_path)
        with (tmp_path / "run.lock").open("w") as other, pytest.raises(RunError, match="another process is running"):
            hold(other, tmp_path)


def test_a_lock_that_the_file_system_has_not_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (tmp_path / "run.lock").open("w") as lock, pytest.raises(RunError, match="takes no locks: set `runs`"):
        hold(lock, tmp_path)
    assert is_under_way(tmp_path), "what can't be known is not called killed"
