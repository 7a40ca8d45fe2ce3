"""The language models of a run: what one stage has learned of a server holds for the next."""

import asyncio
import logging
from pathlib import Path

import pytest

from autointerp.config import ModelConfig
from autointerp.config.file import load_pipeline
from autointerp.llm import Reply
from autointerp.run.check_models import check_models
from autointerp.run.language_models import LanguageModels
from autointerp.run.progress import LogReporter, StageSummary
from tests.llm.asking import label_request
from tests.llm.local_asking import choice, local
from tests.llm.tiny_chat import save_tiny_chat
from tests.loopback.server import Always, Call, Http, LoopbackServer, Outcome, Say


def test_what_one_stage_s_model_refuses_is_not_asked_of_it_by_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def gemma(call: Call) -> Outcome:
        return Http(400, "System role not supported") if call.system else Say('{"label": "months"}')

    async def ask(server: LoopbackServer) -> list[object]:
        config = ModelConfig(model="m", base_url=server.openai_url)
        async with LanguageModels(load_pipeline("demo"), tmp_path / "journal.sqlite") as models:
            explainer = models.connect("explain", config)
            judge = models.connect("score", config.model_copy(update={"max_output_tokens": 50}))
            return [await explainer.ask(label_request("a")), await judge.ask(label_request("b"))]

    with LoopbackServer(Always(gemma)) as server:
        assert [type(outcome) for outcome in asyncio.run(ask(server))] == [Reply, Reply]
        assert len(server.calls) == 3
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


def test_a_model_in_this_process_is_not_asked_by_rays_workers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = local(save_tiny_chat(tmp_path / "model"))
    pipeline = load_pipeline("demo", ("ray.n_llm_workers=2",))

    async def ask() -> object:
        async with LanguageModels(pipeline, tmp_path / "journal.sqlite") as models:
            return await models.connect("explain", config).ask(choice("Is it?"))

    assert isinstance(asyncio.run(ask()), Reply)
    assert "runs in this process, and is not asked by Ray's workers" in caplog.text


def test_a_model_in_this_process_is_checked_and_said_to_be_there(tmp_path: Path) -> None:
    config = local(save_tiny_chat(tmp_path / "model"))
    told: list[StageSummary] = []

    class Listener(LogReporter):
        def finished(self, summary: StageSummary) -> None:
            told.append(summary)

    asyncio.run(check_models(load_pipeline("demo"), [config], tmp_path / "journal.sqlite", Listener()))
    assert (told[0].note, told[0].cost_usd) == (f"{config.model} in this process answers", 0.0)
