"""What the tests of batches share: who is asked what, and the waiting for a process."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from autointerp.llm import Reply, Request
from tests.llm.asking import Label, label_request
from tests.llm.asking import Outcome as Answered
from tests.loopback.batches import BatchServer
from tests.loopback.server import Call, Outcome, Provider, Say

ASK_IN_BATCHES = Path(__file__).parent / "ask_in_batches.py"
PRICES: dict[str, Any] = {"usd_per_million_input": 1.0, "usd_per_million_output": 2.0}


def echo(call: Call) -> Outcome:
    return Say(json.dumps({"label": call.user}, ensure_ascii=False), tokens=(10, 0, 5))


def requests_of(*numbers: int) -> list[Request[Label]]:
    return [label_request(f"feature {i}") for i in numbers]


def labels(outcomes: Sequence[Answered]) -> list[str]:
    return [outcome.answer.label if isinstance(outcome, Reply) else outcome.error_type for outcome in outcomes]


def features(*numbers: int) -> list[str]:
    return [f"feature {i}" for i in numbers]


def sizes(server: BatchServer) -> list[int]:
    return [len(batch.requests) for batch in server.batches]


def start(server: BatchServer, provider: Provider, journal: Path, first: int, last: int) -> "subprocess.Popen[str]":
    command = [sys.executable, str(ASK_IN_BATCHES), server.base_url(provider), provider, str(journal)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen([*command, str(first), str(last)], env=environment, stdout=subprocess.PIPE, text=True)


def until(is_so: Callable[[], bool], process: "subprocess.Popen[str] | None" = None) -> None:
    """Wait for something that happens elsewhere."""
    while not is_so():
        assert process is None or process.poll() is None, "the process ended before its time"
        time.sleep(0.005)


def kill(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def grow_older(journal: Path, days: float) -> None:
    """Let all batches be some days older."""
    database = sqlite3.connect(journal, timeout=60)
    with database:
        database.execute("UPDATE batches SET created_at = created_at - ?", (days * 86400,))
    database.close()
