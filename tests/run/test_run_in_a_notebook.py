"""A pipeline is run from where an event loop is running already: a notebook's cell, an async application."""

import asyncio
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from autointerp import load_pipeline, open_run, run_pipeline
from autointerp.errors import PipelineError
from autointerp.run.dry_run import plan_cost
from autointerp.run.event_loop import run_to_end
from tests.run.planted import Planted
from tests.run.prepared import WithContexts


def test_a_pipeline_and_its_plan_are_run_inside_a_running_loop(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    file = tmp_path / "p.toml"
    file.write_text(planted.toml("p", tmp_path / "runs"), encoding="utf-8")
    pipeline = with_contexts(load_pipeline(str(file), ("features.indices=6-7",)))

    async def cell() -> int:
        plan_cost(pipeline)
        outcome = run_pipeline(pipeline)
        assert len(repr(outcome)) < 200
        return outcome.n_failed

    assert asyncio.run(cell()) == 0
    assert [hit.feature_index for hit in open_run(pipeline.run_folder).search("piano", top_k=1)] == [7]


def test_a_pipeline_is_run_from_its_file_and_its_stages_by_their_names(planted: Planted, tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text(planted.toml("p", tmp_path / "runs"), encoding="utf-8")
    misspelt: Any = ("corpus", "colect")
    with pytest.raises(PipelineError, match="there is no stage 'colect'"):
        run_pipeline(file, misspelt)
    assert run_pipeline(file, ("corpus",)).folder.path == tmp_path / "runs" / "p"
    with pytest.raises(PipelineError, match="no pipeline file"):
        run_pipeline(tmp_path / "none.toml")


def test_what_is_raised_inside_is_raised_to_who_waits() -> None:
    async def fails() -> None:
        raise ValueError("no")

    async def cell() -> None:
        run_to_end(fails())

    with pytest.raises(ValueError, match="no"):
        asyncio.run(cell())


def test_an_interrupted_cell_closes_what_is_open_before_it_ends() -> None:
    said: list[str] = []

    async def asks() -> None:
        try:
            threading.Timer(0.05, signal.raise_signal, [signal.SIGINT]).start()
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            said.append("closed")

    async def cell() -> None:
        # A notebook's kernel leaves Ctrl-C to Python, as here; asyncio.run alone would cancel the cell.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with pytest.raises(KeyboardInterrupt):
            run_to_end(asks())
        said.append("ended")

    before = signal.getsignal(signal.SIGINT)
    try:
        asyncio.run(cell())
    finally:
        signal.signal(signal.SIGINT, before)
    assert said == ["closed", "ended"]
    assert not any(thread.name.startswith("autointerp") for thread in threading.enumerate())
