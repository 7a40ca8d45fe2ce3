"""Killed by SIGKILL in every stage and run again, a run ends as an undisturbed one does, and pays for nothing twice."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from autointerp import open_run, run_pipeline
from tests.loopback.server import LoopbackServer
from tests.run.planted import Planted
from tests.run.test_run_planted import KEY, asked_pipeline, knowing

pytestmark = pytest.mark.slow

_IN_FLIGHT = 4  # `concurrency` of the pipeline under test
_SETTINGS = (
    "corpus.blocks_per_shard=20",  # so small that some are folded while others are still to be done
    'features.indices="0-3,6"',
    'contexts.negatives=["silent_random"]',  # none that each of the processes would have to embed the pool for
)


def command(file: Path) -> list[str]:
    settings = [part for setting in _SETTINGS for part in ("--set", setting)]
    return [sys.executable, "-c", "from autointerp.cli import main; main()", "run", str(file), *settings]


def kill_when(file: Path, reached: Callable[[], bool]) -> None:
    """Run the pipeline as a user would, and kill it when a point is reached."""
    process = subprocess.Popen(command(file), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while process.poll() is None:
        if reached():
            process.send_signal(signal.SIGKILL)
        time.sleep(0.005)
    output, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, output.decode()


def test_a_run_killed_in_every_stage_ends_as_an_undisturbed_one_does(
    planted: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with LoopbackServer(knowing(error_rate=0.1), latency_s=0.02) as server:
        whole = asked_pipeline(planted, tmp_path, server.url + "/v1", *_SETTINGS, name="whole")
        assert run_pipeline(whole).n_failed == 0
        n_calls = len(server.calls)
    with LoopbackServer(knowing(error_rate=0.1), latency_s=0.02) as server:
        cut = asked_pipeline(planted, tmp_path, server.url + "/v1", *_SETTINGS, name="cut")
        folder = cut.run_folder
        kills = (
            lambda: any(folder.glob("corpus/shard-*.npz")),
            lambda: any(folder.glob("collect/*/folded.safetensors")),
            lambda: len(server.calls) >= 3,
            lambda: len(server.calls) >= n_calls // 3,
            lambda: len(server.calls) >= 2 * n_calls // 3,
        )
        for reached in kills:
            kill_when(tmp_path / "cut.toml", reached)
        assert run_pipeline(cut).n_failed == 0
        n_paid_twice = len(server.calls) - n_calls
    assert open_run(folder).reader.content_digest() == open_run(whole.run_folder).reader.content_digest()
    assert 0 <= n_paid_twice <= 3 * _IN_FLIGHT
