"""Killed by SIGKILL in every stage and run again, a run ends as an undisturbed one does, and pays for nothing twice."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from autointerp import open_run
from tests.loopback.server import LoopbackServer
from tests.run.planted import Planted
from tests.run.test_run_planted import KEY, asked_pipeline, knowing

_IN_FLIGHT = 4  # `concurrency` of the pipeline under test


def command(file: Path) -> list[str]:
    # In shards so small that some are folded while others are still to be done.
    arguments = ["run", str(file), "--set", "corpus.blocks_per_shard=20"]
    return [sys.executable, "-c", "from autointerp.cli import main; main()", *arguments]


def run_until(file: Path, reached: Callable[[], bool]) -> int:
    """Run the pipeline as a user would, and kill it when a point is reached; the exit status."""
    environment = {**os.environ, "OPENAI_API_KEY": KEY}
    process = subprocess.Popen(command(file), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while process.poll() is None:
        if reached():
            process.send_signal(signal.SIGKILL)
        time.sleep(0.005)
    output, _ = process.communicate()
    assert process.returncode in {0, -signal.SIGKILL}, output.decode()
    return process.returncode


def test_a_run_killed_in_every_stage_ends_as_an_undisturbed_one_does(planted: Planted, tmp_path: Path) -> None:
    with LoopbackServer(knowing(error_rate=0.1), latency_s=0.02) as server:
        whole = asked_pipeline(planted, tmp_path, server.url + "/v1", name="whole")
        assert run_until(tmp_path / "whole.toml", lambda: False) == 0
        n_calls = len(server.calls)
    with LoopbackServer(knowing(error_rate=0.1), latency_s=0.02) as server:
        cut = asked_pipeline(planted, tmp_path, server.url + "/v1", name="cut")
        folder = cut.run_folder
        kills = (
            lambda: any(folder.glob("corpus/shard-*.npz")),
            lambda: any(folder.glob("collect/*/folded.safetensors")),
            lambda: len(server.calls) >= 3,
            lambda: len(server.calls) >= n_calls // 3,
            lambda: len(server.calls) >= 2 * n_calls // 3,
        )
        statuses = [run_until(tmp_path / "cut.toml", reached) for reached in kills]
        assert statuses == [-signal.SIGKILL] * len(kills)
        assert run_until(tmp_path / "cut.toml", lambda: False) == 0
        n_paid_twice = len(server.calls) - n_calls
    assert open_run(folder).reader.content_digest() == open_run(whole.run_folder).reader.content_digest()
    assert 0 <= n_paid_twice <= 3 * _IN_FLIGHT
