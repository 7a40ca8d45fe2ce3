"""The command that serves runs over HTTP: how it begins, what it refuses, how it ends."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.command import complaint


@pytest.mark.slow
def test_it_tells_its_address_answers_there_and_ends_quietly(planted_runs: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a key\n", encoding="utf-8")
    command = [sys.executable, "-c", "from autointerp.cli import main; main()", "serve", "runs/demo", "--port", "0"]
    with subprocess.Popen(
        [*command, "--api-key-file", str(tmp_path / "key"), "--alias", "gpt=planted"],
        cwd=planted_runs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"AUTOINTERP_API_KEY": "another"},
    ) as server:
        assert server.stdout is not None
        said, _, at = server.stdout.readline().strip().rpartition(" ")
        assert said == "Pages and APIs at"
        asked = {"query": "river", "model": "gpt"}
        headers = {"Authorization": "Bearer a key"}
        found = httpx.get(f"{at}/api/inference/v1/features/search", params=asked, headers=headers, timeout=60).json()
        assert found["features"][0]["label"] == "river"
        server.send_signal(signal.SIGINT)
        _, err = server.communicate(timeout=60)
    assert (server.returncode, err) == (0, "")


def test_what_it_refuses(
    planted_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AUTOINTERP_API_KEY", raising=False)
    run = str(planted_runs / "runs/demo")
    assert "there is no store" in complaint(capsys, "serve", str(tmp_path))
    assert "give a key by --api-key-file" in complaint(capsys, "serve", run, "--host", "0.0.0.0")
    assert "holds no key" in complaint(capsys, "serve", run, "--api-key-file", os.devnull)
    assert "there is no " in complaint(capsys, "serve", run, "--api-key-file", str(tmp_path / "key"))
    assert "write it as NAME=model@source" in complaint(capsys, "serve", run, "--alias", "gpt")
    assert "are of a server on Ray" in complaint(capsys, "serve", run, "--replicas", "2")
    assert "there is no model 'moon' here" in complaint(capsys, "serve", run, "--alias", "gpt=moon")


def test_a_port_that_is_taken(planted_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "give another --host or --port" in complaint(
            capsys, "serve", str(planted_runs / "runs/demo"), "--port", port
        )
