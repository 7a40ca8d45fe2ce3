"""A server that gives no answer is told of while it is waited for, and not before."""

import asyncio
import logging

import pytest

from autointerp.config import ModelConfig
from autointerp.errors import LanguageModelError
from autointerp.llm import CallFailure, Reply, connect
from autointerp.llm.limits.retries import Retries
from autointerp.llm.limits.silence import Silence
from autointerp.llm.protocol import Trouble
from tests.llm.asking import Asker, label_request
from tests.loopback.batches import BatchServer
from tests.loopback.server import Always, Call, Http, LoopbackServer, Outcome, Say, Script, Stall

BUSY = Trouble("RateLimited", "HTTP 429: slow down", retriable=True, is_overload=True)
BROKEN = Trouble("ServerError", "HTTP 500: oh", retriable=True)
CONFIG = ModelConfig(model="m", max_attempts=4)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        (BUSY, "HTTP 429: slow down; a call is given up when it has waited 600 s (llm.patience_s)"),
        (BROKEN, "HTTP 500: oh; a call is given up after 4 attempts (max_attempts)"),
        (
            Trouble("RateLimited", "HTTP 429: later", retriable=True, retry_after_s=90.0, is_overload=True),
            "HTTP 429: later; it asks to wait 90 s; a call is given up when it has waited 600 s (llm.patience_s)",
        ),
    ],
)
def test_what_the_server_says_is_told_again_and_again_until_it_answers(
    caplog: pytest.LogCaptureFixture, trouble: Trouble, says: str
) -> None:
    async def wait() -> None:
        quiet = Silence(CONFIG, 600.0, (0.001,))
        quiet.goes_on(trouble)
        while len(told(caplog)) < 3:
            await asyncio.sleep(0.001)
        quiet.ends()

    asyncio.run(wait())
    assert told(caplog)[0] == f"m has given no answer for 0 s: {says}"
    assert told(caplog)[1] == told(caplog)[0]
    assert told(caplog)[-1] == "m answers again, after 0 s"


def test_the_last_that_was_said_is_told_and_nothing_after_the_end(caplog: pytest.LogCaptureFixture) -> None:
    async def wait() -> None:
        quiet = Silence(CONFIG, 600.0, (0.01,))
        quiet.goes_on(BROKEN)
        quiet.goes_on(BUSY)
        while not told(caplog):
            await asyncio.sleep(0.001)
        quiet.close()
        n_told = len(told(caplog))
        await asyncio.sleep(0.05)
        assert len(told(caplog)) == n_told

    asyncio.run(wait())
    assert "HTTP 429" in told(caplog)[0]


def test_refusals_between_answers_are_no_silence(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        lively = Silence(CONFIG, 600.0, (0.05,))
        for _ in range(40):
            lively.goes_on(BUSY)
            await asyncio.sleep(0.002)
            lively.ends()

    asyncio.run(work())
    assert told(caplog) == []


def test_a_run_tells_why_nothing_comes(
    asker: Asker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Silence.__init__, "__defaults__", ((0.01,),))

    def busy(call: Call) -> Outcome:
        return Say('{"label": "months"}') if told(caplog) else Http(429, "slow down")

    async def run(server: LoopbackServer) -> object:
        retries = Retries(6, longest_delay_s=0.01)
        async with connect(asker.config(server), asker.journal, retries=retries) as model:
            return await model.ask(label_request())

    with LoopbackServer(Always(busy)) as server:
        assert isinstance(asyncio.run(run(server)), Reply)
    assert "m has given no answer for 0 s: HTTP 429: slow down; a call" in told(caplog)[0]
    assert told(caplog)[-1].startswith("m answers again")


def test_when_nobody_waits_any_more_nothing_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def wait() -> None:
        quiet = Silence(CONFIG, 600.0, (0.001,))
        with quiet.waited():
            with quiet.waited():
                quiet.goes_on(BUSY)
            while len(told(caplog)) < 2:  # the other one still waits
                await asyncio.sleep(0.001)
        n_told = len(told(caplog))
        await asyncio.sleep(0.02)
        assert len(told(caplog)) == n_told

    asyncio.run(wait())


REFUSED = Http(400, "no such tool")
AFTERWARDS: dict[str, tuple[Outcome, ...]] = {
    "given up": (Http(500), Http(500)),
    "refused": (Http(500), REFUSED),
    "no longer wanted": (Http(500), Stall()),
}


@pytest.mark.parametrize("outcomes", AFTERWARDS.values(), ids=AFTERWARDS.keys())
def test_a_call_that_came_to_nothing_is_waited_for_no_longer(
    asker: Asker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, outcomes: tuple[Outcome, ...]
) -> None:
    monkeypatch.setattr(Silence.__init__, "__defaults__", ((0.03,),))

    async def run(server: LoopbackServer) -> None:
        retries = Retries(2, first_delay_s=0.0)
        async with connect(asker.config(server), asker.journal, retries=retries) as model:
            asking = asyncio.create_task(model.ask(label_request()))
            while len(server.calls) < 2:
                await asyncio.sleep(0.001)
            if isinstance(outcomes[-1], Stall):
                asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            caplog.clear()
            await asyncio.sleep(0.1)

    with LoopbackServer(Script(*outcomes, then=Always(REFUSED))) as server:
        asyncio.run(run(server))
    assert told(caplog) == []


def test_a_refusal_is_an_answer_to_those_who_wait(
    asker: Asker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Silence.__init__, "__defaults__", ((0.01,),))

    def moody(call: Call) -> Outcome:
        if call.user == "refused":
            return REFUSED if told(caplog) else Http(500)
        return Say('{"label": "months"}') if any("answers again" in line for line in told(caplog)) else Http(500)

    async def run(server: LoopbackServer) -> list[object]:
        retries = Retries(1000, longest_delay_s=0.005)
        async with connect(asker.config(server), asker.journal, retries=retries) as model:
            return list(await asyncio.gather(*(model.ask(label_request(user)) for user in ("refused", "months"))))

    with LoopbackServer(Always(moody)) as server:
        refused, answered = asyncio.run(run(server))
    assert isinstance(refused, CallFailure)
    assert isinstance(answered, Reply)


def test_a_batch_that_came_to_nothing_is_waited_for_no_longer(
    asker: Asker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Silence.__init__, "__defaults__", ((0.03,),))

    async def run(server: BatchServer) -> None:
        retries = Retries(2, first_delay_s=0.0)
        async with connect(asker.config(server, batch=True), asker.journal, retries=retries) as model:
            with pytest.raises(LanguageModelError, match="refuses a batch"):
                await model.ask(label_request())
            caplog.clear()
            await asyncio.sleep(0.1)

    with BatchServer(Always(Say('{"label": "months"}'))) as server:
        server.faults["upload"] = [Http(429, "slow down"), Http(400, "not so")]
        asyncio.run(run(server))
    assert told(caplog) == []
