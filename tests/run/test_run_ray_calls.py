"""Language models called from Ray workers: the same answers under the same limits, whoever dies."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest

from autointerp.config import ModelConfig, RayConfig
from autointerp.errors import KeyRefusedError, LanguageModelError
from autointerp.llm import CallFailure, Journal, Reply, connect
from autointerp.llm.connect import connect_sdk
from autointerp.run.workers.ray_calls import CallWorker, RayCalls
from tests.llm.asking import KEY, Label, label_request
from tests.loopback.server import Always, Call, Http, LoopbackServer, Outcome, Say

N_IN_FLIGHT = 6


def echo(call: Call) -> Outcome:
    return Say(f'{{"label": "{call.user}"}}', tokens=(10, 0, 5))


def call_workers() -> list[int]:
    """Processes of Ray workers that call language models."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"ray::CallWorker" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


async def ask_through_workers(
    calls: RayCalls, server: LoopbackServer, journal: Journal, n: int, kill_after: int | None = None
) -> list[Reply[Label] | CallFailure]:
    config = ModelConfig(model="m", base_url=server.openai_url, concurrency=N_IN_FLIGHT)
    provider = calls.provider(config, connect_sdk(config))
    async with connect(config, journal, provider=provider) as model:
        asking = asyncio.gather(*(model.ask(label_request(f"feature {i}")) for i in range(n)))
        if kill_after is not None:
            while len(server.calls) < kill_after:
                await asyncio.sleep(0.01)
            os.kill(min(call_workers()), signal.SIGKILL)
        return list(await asking)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_alone")
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of Ray's own sockets
def test_workers_keep_to_the_limits_together_and_one_that_is_killed_costs_only_its_calls_in_flight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    calls = RayCalls(RayConfig(n_llm_workers=2))
    try:
        with LoopbackServer(Always(echo), latency_s=0.1) as server, Journal(tmp_path / "a.sqlite") as journal:
            outcomes = asyncio.run(ask_through_workers(calls, server, journal, 40))
            assert [o.answer.label for o in outcomes if isinstance(o, Reply)] == [f"feature {i}" for i in range(40)]
            assert server.most_in_flight <= N_IN_FLIGHT
            assert len(server.calls) == 40

        with LoopbackServer(Always(echo), latency_s=0.1) as server, Journal(tmp_path / "b.sqlite") as journal:
            outcomes = asyncio.run(ask_through_workers(calls, server, journal, 40, kill_after=15))
            assert [o.answer.label for o in outcomes if isinstance(o, Reply)] == [f"feature {i}" for i in range(40)]
            assert len(journal) == 40
            assert 40 <= len(server.calls) <= 40 + N_IN_FLIGHT

        with LoopbackServer(Always(Http(401, "no such key"))) as server, Journal(tmp_path / "c.sqlite") as journal:
            with pytest.raises(KeyRefusedError, match="refuses the key"):
                asyncio.run(ask_through_workers(calls, server, journal, 40))
            assert len(server.calls) <= N_IN_FLIGHT
    finally:
        calls.close()


def test_a_worker_whose_environment_names_another_address_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with LoopbackServer(Always(echo)) as server, LoopbackServer(Always(echo)) as other:
        monkeypatch.setenv("OPENAI_BASE_URL", other.openai_url)
        worker = CallWorker(ModelConfig(model="m"), f"{server.openai_url}/")

        async def exchange() -> list[tuple[int, object]]:
            outcomes: list[tuple[int, object]] = list(await worker.exchange([(1, {"model": "m"})]))
            while not outcomes:
                outcomes = list(await worker.exchange([]))
            return outcomes

        ((number, outcome),) = asyncio.run(exchange())
        assert number == 1
        assert isinstance(outcome, LanguageModelError)
        assert f"sends the calls of m to {other.openai_url}/, and the driver's to {server.openai_url}/" in str(outcome)
        assert (server.calls, other.calls) == ([], [])
