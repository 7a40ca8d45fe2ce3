"""Ctrl-C, a scheduler's SIGTERM and a closed terminal end a command in the same words, and the next run goes on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic_core import SchemaError

from autointerp import open_run, run_pipeline
from autointerp.assets import asset_folder
from autointerp.cli import commands, main
from tests.loopback.server import LoopbackServer
from tests.run.planted import Planted
from tests.run.prepared import lay_out
from tests.run.test_run_planted import KEY, QUICK, asked_pipeline, knowing

GO_ON = "the same command goes on from what is finished"
ENDS = [
    (signal.SIGINT, 130, f"stopped; {GO_ON}"),
    (signal.SIGTERM, 143, f"stopped by SIGTERM; {GO_ON}"),
    (signal.SIGHUP, 129, f"stopped by SIGHUP; {GO_ON}"),
]
# Sends itself a signal when it begins to import a module.
WHEN_IMPORTING = """
import builtins, os
real = builtins.__import__
def importing(name, *rest, **named):
    if name == {module!r}:
        builtins.__import__ = real
        os.kill(os.getpid(), {number})
    return real(name, *rest, **named)
builtins.__import__ = importing
from autointerp.cli import main
main()
"""

# Forks a worker, stops that one, and fails for another reason.
FORKS = """
import os, signal
from contextlib import suppress
from autointerp.cli import commands, main
def app(*_, **__):
    worker = os.fork()
    if worker == 0:
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        os._exit(0)
    os.waitpid(worker, 0)
    raise RuntimeError("the worker was stopped")
commands.app = app
main()
"""


@pytest.mark.parametrize("module", ["typer", "pydantic", "rich.console"])
@pytest.mark.parametrize(("number", "status", "words"), ENDS)
def test_a_command_is_stopped_while_it_is_loaded(
    number: signal.Signals, status: int, words: str, module: str, tmp_path: Path
) -> None:
    code = WHEN_IMPORTING.format(module=module, number=int(number))
    command = [sys.executable, "-c", code, "demo", "--runs", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr.splitlines()) == (status, [words])


@pytest.fixture
def at_a_terminal() -> Iterator[None]:
    """Ctrl-C as a terminal's process meets it, also where the tests run in a shell's background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    "made_of_it", [SchemaError('Error building "model" validator'), RuntimeError("Query interrupted")]
)
@pytest.mark.usefixtures("at_a_terminal")
def test_an_interrupt_that_a_library_has_made_an_error_of_its_own_of_is_known(
    made_of_it: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def amid_a_library(*_: object, **__: object) -> None:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise made_of_it

    monkeypatch.setattr(commands, "app", amid_a_library)
    with pytest.raises(SystemExit) as caught:
        main(["status", "nowhere"])
    assert (caught.value.code, capsys.readouterr().err) == (130, f"stopped; {GO_ON}\n")


@pytest.mark.usefixtures("at_a_terminal")
def test_an_error_that_only_speaks_of_an_interrupt_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def speaks(*_: object, **__: object) -> None:
        raise RuntimeError("no module named KeyboardInterrupt")

    monkeypatch.setattr(commands, "app", speaks)
    with pytest.raises(RuntimeError, match="no module"):
        main(["status", "nowhere"])


def test_who_stops_a_forked_process_does_not_stop_the_command() -> None:
    result = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == "RuntimeError: the worker was stopped"


def test_what_nohup_has_ignored_stays_ignored(tmp_path: Path) -> None:
    code = WHEN_IMPORTING.format(module="pydantic", number=int(signal.SIGHUP))
    command = ["sh", "-c", 'trap "" HUP; exec "$0" "$@"', sys.executable, "-c", code, "run", str(tmp_path / "no.toml")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "no pipeline file" in result.stderr


def test_a_command_that_a_shell_runs_behind_is_stopped_though_ctrl_c_is_ignored_there(tmp_path: Path) -> None:
    code = WHEN_IMPORTING.format(module="pydantic", number=int(signal.SIGTERM))
    command = ["sh", "-c", 'trap "" INT; exec "$0" "$@"', sys.executable, "-c", code, "demo", "--runs", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr.splitlines()) == (143, [ENDS[1][2]])


COMMAND = ("-m", "autointerp", "run")
JOB = (str(asset_folder("pipelines") / "label.py"),)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "workers", "words"),
    [
        (COMMAND, 0, ENDS[1][2]),
        (COMMAND, 1, ENDS[1][2]),
        (JOB, 0, "label: stopped; submitted again, it goes on from what is finished"),
    ],
)
def test_a_scheduler_stops_a_run_amid_its_calls_and_the_next_pays_for_none_that_was_answered(
    planted: Planted,
    shared_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: tuple[str, ...],
    workers: int,
    words: str,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with LoopbackServer(knowing(), latency_s=0.2) as server:
        more = (*QUICK, f"ray.n_llm_workers={workers}")
        pipeline = lay_out(asked_pipeline(planted, tmp_path, server.url + "/v1", *more), shared_folder)
        settings = [part for setting in more for part in ("--set", setting)]
        process = subprocess.Popen(
            [sys.executable, *program, str(tmp_path / "asked.toml"), *settings],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        while len(server.calls) < 6 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
        assert (process.returncode, told.splitlines()[-1]) == (143, words)
        assert "Traceback" not in told
        states = {stage.stage: stage.status for stage in open_run(pipeline.run_folder).status()}
        assert states["explain"] == "stopped"
        n_before = len(server.calls)
        assert run_pipeline(pipeline).n_failed == 0
        n_calls = len(server.calls)
    with LoopbackServer(knowing()) as server:
        whole = lay_out(asked_pipeline(planted, tmp_path, server.url + "/v1", *QUICK, name="whole"), shared_folder)
        run_pipeline(whole)
        n_whole = len(server.calls)
    assert n_before < n_whole
    assert n_calls - n_whole <= 4, "more was asked again than was in flight"
