"""What a refused batch teaches is about the form in which it was asked, whatever others have taught meanwhile."""

import asyncio

from autointerp.llm import connect
from tests.llm.asking import Asker
from tests.llm.batch_asking import echo, features, labels, requests_of
from tests.loopback.batches import BatchServer
from tests.loopback.server import Always, Http, Provider

FIELD = {"openai": "response_format", "anthropic": "output_config"}
FAULT = {"code": "invalid_request", "message": "response_format is not supported", "line": 1}
NEXT = {"openai": "json_object", "anthropic": "text"}


def forms(server: BatchServer, provider: Provider) -> list[str]:
    """What each batch that was taken asked for."""

    def form(body: dict[str, dict[str, str]]) -> str:
        found = body.get(FIELD[provider], {"type": "text"})
        return found.get("type", "json_schema")

    return [form(batch.requests[0][1]) for batch in server.batches]


def test_two_batches_that_are_refused_for_one_form_teach_once(asker: Asker, provider: Provider) -> None:
    with BatchServer(Always(echo)) as server:
        server.faults["create"] = [Http(400, f"{FIELD[provider]} is not supported")] * 2
        outcomes = asker.ask(server, *requests_of(*range(20)), provider=provider, batch=True, batch_size=10)
        assert labels(outcomes) == features(*range(20))
        assert forms(server, provider) == [NEXT[provider]] * 2


def test_two_batches_that_fail_their_validation_for_one_form_teach_once(asker: Asker) -> None:
    with BatchServer(Always(echo)) as server:
        server.refusals = [[FAULT], [FAULT]]
        outcomes = asker.ask(server, *requests_of(*range(20)), batch=True, batch_size=10)
        assert labels(outcomes) == features(*range(20))
        assert forms(server, "openai") == ["json_schema"] * 2 + ["json_object"] * 2


def test_two_batches_of_an_earlier_run_that_are_refused_for_one_form_teach_once(asker: Asker) -> None:
    async def stopped_run(server: BatchServer) -> None:
        config = asker.config(server, batch=True, batch_size=10)
        async with connect(config, asker.journal, sleep=asker.waits) as model:
            asked = [asyncio.ensure_future(model.ask(request)) for request in requests_of(*range(20))]
            while sum(batch.n_looks > 0 for batch in server.batches) < 2:
                await asyncio.sleep(0.005)
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    with BatchServer(Always(echo)) as server:
        server.is_held = True
        asyncio.run(stopped_run(server))
        server.is_held = False
        for batch in server.batches:
            batch.refusal = [FAULT]
        outcomes = asker.ask(server, *requests_of(*range(20)), batch=True, batch_size=10)
        assert labels(outcomes) == features(*range(20))
        assert forms(server, "openai") == ["json_schema"] * 2 + ["json_object"] * 2
