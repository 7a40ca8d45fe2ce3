"""Runs that are served by several replicas on Ray Serve, really: what they answer, and that none is lost with one."""

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import Request

import autointerp
from autointerp.library.client import Client
from autointerp.serve.app import make_app
from autointerp.serve.deployment import deployed
from autointerp.serve.knows import Knows
from autointerp.serve.limits import Limits
from autointerp.serve.replica import Served
from autointerp.serve.spread import SpreadServing
from tests.serve.asking import EMBER, ask, told
from tests.serve.serving import answering

# Ray itself uses what pydantic and others will take away.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
CHAT = "/v1/chat/completions"
RIVER = [{"role": "user", "content": "the river"}]


def process(_: Knows) -> int:
    return os.getpid()


@pytest.fixture(scope="module")
def client(planted_runs: Path) -> Client:
    return autointerp.open(planted_runs / "runs/demo")


@pytest.fixture(scope="module")
def address(planted_runs: Path, client: Client) -> Iterator[str]:
    """Where two replicas answer; `/api/process` tells the id of that of one."""
    limits = Limits()
    served = Served((str(planted_runs / "runs/demo"),), str(planted_runs), limits, {})
    with deployed(served, 2) as replicas:
        assert list(replicas.troubles()) == []
        serving = SpreadServing(client, limits, {}, replicas)
        app = make_app(serving)

        @app.get("/api/process")
        async def of_one(request: Request) -> int:
            return await serving.ask(request, process)

        with answering(app) as at:
            yield at


def body(seed: int, **besides: Any) -> dict[str, Any]:
    return {"messages": RIVER, "max_tokens": 40, "temperature": 2, "seed": seed, **besides}


def test_replicas_answer_as_one_process_does(address: str, client: Client) -> None:
    reply = ask(address, CHAT, body(3)).json()
    settings: Any = {"max_completion_tokens": 40, "temperature": 2, "top_p": 1, "seed": 3}
    assert reply["choices"][0]["message"]["content"] == str(client.chat.completions.create(RIVER, **settings))
    variant = client.variant().set(7, 4.0, unit="max")
    steered = ask(address, CHAT, body(3, controller=variant.controller, max_tokens=4, temperature=0)).json()
    assert steered["choices"][0]["message"]["content"] == " piano" * 4
    inspected = ask(address, EMBER + "/chat-attribution/compute-features", {"messages": RIVER}).json()
    assert [token["token"] for token in inspected["tokens"]] == [
        of.text for of in client.features.inspect(RIVER).tokens
    ]
    found = ask(address, f"{EMBER}/features/search?query=river").json()
    assert found["features"][0]["label"] == "river"


def test_errors_are_told_as_by_one_process(address: str) -> None:
    assert "temperature can't be 3" in told(ask(address, CHAT, body(3, temperature=3)), 400)
    assert "temperature can't be 3" in told(ask(address, CHAT, body(3, temperature=3, stream=True)), 400)
    attributed = {"messages": RIVER, "startIndex": 99, "endIndex": 99}
    assert told(ask(address, EMBER + "/attributions/compute-logit-attribution", attributed), 400)
    assert "there is no model" in told(ask(address, CHAT, body(3, model="moon")), 404)


def test_a_replica_that_is_killed_loses_no_answer_not_even_those_that_it_streamed(
    address: str, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    settings: Any = {"max_completion_tokens": 40, "temperature": 2, "top_p": 1}
    expected = [str(client.chat.completions.create(RIVER, seed=seed, **settings)) for seed in range(48)]
    said = [""] * 48

    def whole(seed: int) -> None:
        said[seed] = ask(address, CHAT, body(seed)).json()["choices"][0]["message"]["content"]

    def streamed(seed: int) -> None:
        with httpx.stream("POST", address + CHAT, json=body(seed, stream=True), timeout=60) as response:
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    said[seed] += json.loads(line.removeprefix("data: "))["choices"][0]["delta"]["content"]

    with ThreadPoolExecutor(48) as pool:
        asked = [pool.submit(streamed if seed % 2 else whole, seed) for seed in range(48)]
        killed = httpx.get(address + "/api/process", timeout=60).json()
        os.kill(killed, signal.SIGKILL)
        for one in asked:
            one.result()
    assert said == expected
    assert "another is asked" in caplog.text
    assert httpx.get(address + "/api/process", timeout=60).json() != killed


def test_a_client_that_goes_away_frees_its_place(address: str, client: Client) -> None:
    with httpx.stream("POST", address + CHAT, json=body(1, stream=True), timeout=60) as response:
        next(response.iter_lines())
    assert ask(address, CHAT, body(2, max_tokens=1)).json()["usage"]["completion_tokens"] == 1
