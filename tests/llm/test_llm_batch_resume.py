"""Nothing that went off in a batch is lost or paid twice: after a kill, days later, with others at one journal."""

import asyncio
import errno
import fcntl
import json
import math
import sqlite3
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from autointerp.errors import BudgetError, LanguageModelError, RunError
from autointerp.llm import Journal, Reply, connect
from autointerp.llm.budget import Budget
from autointerp.llm.model import Terms
from tests.llm.asking import KEY, Asker, Outcome
from tests.llm.batch_asking import PRICES, echo, features, grow_older, kill, labels, requests_of, sizes, start, until
from tests.llm.providers import cases
from tests.loopback.batches import BatchServer
from tests.loopback.server import Always, Drop, Http, Provider, Raw, Stall
from tests.loopback.server import Outcome as Answer


@pytest.fixture
def path(journal: Journal) -> Path:
    return journal.path


def before_the_provider_has_it(server: BatchServer) -> Callable[[], bool]:
    server.faults["create"] = [Stall(60)]
    return lambda: server.asked_for["create"] == 1


def before_its_id_is_known(server: BatchServer) -> Callable[[], bool]:
    server.faults["create"] = [lambda taken: Stall(60)]
    return lambda: len(server.batches) == 1


def while_it_is_under_way(server: BatchServer) -> Callable[[], bool]:
    server.is_held = True
    return lambda: len(server.batches) == 3 and all(batch.n_looks > 1 for batch in server.batches)


def while_its_results_come(server: BatchServer) -> Callable[[], bool]:
    server.faults["results"] = [None, Stall(60)]
    return lambda: server.asked_for["results"] == 2


MOMENTS = [before_the_provider_has_it, before_its_id_is_known, while_it_is_under_way, while_its_results_come]


# Only how a batch is found again whose id is not known is a provider's own.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("provider", "moment"),
    cases("openai", {moment.__name__: moment for moment in MOMENTS}, of_each=[before_its_id_is_known.__name__]),
)
def test_killed_at_any_moment_a_rerun_has_every_answer_and_pays_each_once(
    asker: Asker, provider: Provider, path: Path, moment: Callable[[BatchServer], Callable[[], bool]]
) -> None:
    with BatchServer(Always(echo)) as server:
        has_come = moment(server)
        process = start(server, provider, path, 0, 25)
        until(has_come, process)
        kill(process)
        server.faults.clear()
        server.is_held = False
        outcomes = asker.ask(server, *requests_of(*range(25)), provider=provider, batch=True, batch_size=10)
        assert labels(outcomes) == features(*range(25))
        assert len(server.answered) == 25
        assert set(server.answered.values()) == {1}
        assert len(asker.journal) == 25


def has_asked_for(server: BatchServer, n_requests: int) -> bool:
    return server.asked_for.total() >= n_requests


@pytest.mark.slow
def test_killed_again_and_again_a_rerun_has_every_answer_and_pays_each_once(asker: Asker, path: Path) -> None:
    provider: Provider = "anthropic"
    with BatchServer(Always(echo)) as server:
        server.n_per_look = 1
        for n_requests in (4, 9, 15, 30, 44):
            process = start(server, provider, path, 0, 60)
            until(partial(has_asked_for, server, n_requests), process)
            kill(process)
        outcomes = asker.ask(server, *requests_of(*range(60)), provider=provider, batch=True, batch_size=10)
        assert labels(outcomes) == features(*range(60))
        assert len(server.answered) == 60
        assert set(server.answered.values()) == {1}


def leave_under_way(asker: Asker, server: BatchServer, provider: Provider, *numbers: int, payer: str = "") -> None:
    """Ask in a run that is stopped, as by Ctrl-C, when the batch is at the provider."""

    async def run() -> None:
        config = asker.config(server, provider, batch=True, **PRICES)
        terms = Terms(payer=payer)
        async with connect(config, asker.journal, terms=terms, sleep=asker.waits) as model:
            asked = [asyncio.ensure_future(model.ask(request)) for request in requests_of(*numbers)]
            while not any(batch.n_looks for batch in server.batches):
                await asyncio.sleep(0.005)
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    was_held, server.is_held = server.is_held, True
    asyncio.run(run())
    server.is_held = was_held


def test_a_run_that_is_stopped_leaves_its_batch_to_the_next_at_once(
    asker: Asker, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="autointerp")
    with BatchServer(Always(echo)) as server:
        leave_under_way(asker, server, provider, 0, 1, 2)
        assert "batches of m left at the provider for the next run: 1" in caplog.text
        outcomes = asker.ask(server, *requests_of(2, 3), provider=provider, batch=True)
        assert labels(outcomes) == features(2, 3)
        assert sizes(server) == [3, 1]
        assert len(asker.journal) == 4  # also what nobody asked for now
        assert labels(asker.ask(server, *requests_of(0, 1), provider=provider)) == features(0, 1)
        assert set(server.answered.values()) == {1}


def test_what_an_earlier_run_sent_is_paid_by_the_run_that_takes_it_over(asker: Asker, provider: Provider) -> None:
    async def run(server: BatchServer) -> Budget:
        budget = Budget(1.0)
        config = asker.config(server, provider, batch=True, **PRICES)
        terms = Terms(budget=budget, payer="run")
        async with connect(config, asker.journal, terms=terms, sleep=asker.waits) as model:
            outcome = await model.ask(requests_of(1)[0])
            assert isinstance(outcome, Reply)
            assert not outcome.from_journal
            assert model.usage.n_calls == 3
        return budget

    with BatchServer(Always(echo)) as server:
        leave_under_way(asker, server, provider, 0, 1, 2, payer="run")
        budget = asyncio.run(run(server))
        assert math.isclose(budget.spent_usd, 3 * 20e-6 / 2)
        assert math.isclose(asker.journal.spent_usd("run"), 3 * 20e-6 / 2)


def test_what_an_earlier_run_sent_is_in_the_budget_before_anything_else_is(asker: Asker, provider: Provider) -> None:
    async def run(server: BatchServer, most_usd: float) -> list[object]:
        config = asker.config(server, provider, batch=True, **PRICES)
        terms = Terms(budget=Budget(most_usd), payer="run")
        async with connect(config, asker.journal, terms=terms, sleep=asker.waits) as model:
            asked = [model.ask(request) for request in requests_of(5, 0)]
            return list(await asyncio.gather(*asked, return_exceptions=True))

    with BatchServer(Always(echo)) as server:
        leave_under_way(asker, server, provider, 0, 1, payer="run")
        # A call costs 104e-6 at most: enough for one, were there not two under way, which cost 20e-6 in the end.
        stopped, answered = asyncio.run(run(server, 120e-6))
        assert isinstance(stopped, BudgetError)
        assert isinstance(answered, Reply)
        assert sizes(server) == [2]


def test_results_that_were_read_before_the_end_are_not_counted_again(asker: Asker, provider: Provider) -> None:
    def half(said: Answer) -> Answer:
        assert isinstance(said, Raw)
        return Raw(said.body[: len(said.body) // 2], content_type=said.content_type)

    async def run(server: BatchServer) -> tuple[int, list[Any]]:
        config = asker.config(server, provider, batch=True)
        async with connect(config, asker.journal, sleep=asker.waits) as model:
            asked = [model.ask(request) for request in requests_of(*range(5))]
            outcomes = list(await asyncio.gather(*asked, return_exceptions=True))
        return model.usage.n_calls, outcomes

    with BatchServer(Always(echo)) as server:
        server.faults["results"] = [half] * 200
        n_first, stopped = asyncio.run(run(server))
        assert {type(outcome) for outcome in stopped} == {Reply, LanguageModelError}
        server.faults.clear()
        n_then, answered = asyncio.run(run(server))
        assert all(isinstance(outcome, Reply) for outcome in answered)
        assert (n_first, n_then) == (2, 3)
        assert set(server.answered.values()) == {1}


def test_what_another_run_at_the_journal_left_behind_is_paid_by_that_run(asker: Asker, provider: Provider) -> None:
    async def run(server: BatchServer) -> tuple[float, list[Outcome]]:
        budget = Budget(1.0)
        config = asker.config(server, provider, batch=True, **PRICES)
        terms = Terms(budget=budget, payer="second")
        async with connect(config, asker.journal, terms=terms, sleep=asker.waits) as model:
            outcomes = list(await asyncio.gather(*(model.ask(request) for request in requests_of(2, 3))))
        return budget.spent_usd, outcomes

    with BatchServer(Always(echo)) as server:
        leave_under_way(asker, server, provider, 0, 1, 2, payer="first")
        spent, outcomes = asyncio.run(run(server))
        assert labels(outcomes) == features(2, 3)
        assert [(outcome.usage.n_calls, outcome.paid.n_calls) for outcome in outcomes] == [(1, 0), (1, 1)]
        assert [isinstance(outcome, Reply) and outcome.from_journal for outcome in outcomes] == [True, False]
        assert sizes(server) == [3, 1]
        assert math.isclose(spent, 20e-6 / 2)
        assert math.isclose(asker.journal.spent_usd("first"), 3 * 20e-6 / 2)
        assert math.isclose(asker.journal.spent_usd("second"), 20e-6 / 2)


def test_what_another_run_left_behind_waits_until_it_is_asked_for(asker: Asker, provider: Provider) -> None:
    async def run(server: BatchServer) -> list[Outcome]:
        config = asker.config(server, provider, batch=True)
        async with connect(config, asker.journal, terms=Terms(payer="second"), sleep=asker.waits) as model:
            return list(await asyncio.gather(*(model.ask(request) for request in requests_of(3, 4))))

    with BatchServer(Always(echo)) as server:
        leave_under_way(asker, server, provider, 0, 1, 2, payer="first")
        server.batches.clear()  # it was sent with another key, by which alone it can be seen
        n_looks = server.asked_for["look"]
        assert labels(asyncio.run(run(server))) == features(3, 4)
        assert server.asked_for["look"] - n_looks == server.batches[-1].n_looks


def test_a_call_that_nobody_waits_for_any_more_is_not_sent_again_when_it_is_asked_for(
    asker: Asker, provider: Provider
) -> None:
    async def run(server: BatchServer) -> Outcome:
        config = asker.config(server, provider, batch=True)
        async with connect(config, asker.journal, sleep=asker.waits) as model:
            given_up = asyncio.ensure_future(model.ask(requests_of(0)[0]))
            while not any(batch.n_looks for batch in server.batches):
                await asyncio.sleep(0.005)
            given_up.cancel()
            asking = asyncio.ensure_future(model.ask(requests_of(0)[0]))
            await asyncio.sleep(0.05)
            server.is_held = False
            return await asking

    with BatchServer(Always(echo)) as server:
        server.is_held = True
        assert labels([asyncio.run(run(server))]) == features(0)
        assert sizes(server) == [1]


@pytest.mark.slow
def test_a_second_process_is_told_to_wait_and_sends_nothing(asker: Asker, path: Path) -> None:
    provider: Provider = "openai"
    requests = requests_of(*range(4, 12))
    with BatchServer(Always(echo)) as server:
        server.is_held = True
        process = start(server, provider, path, 0, 8)
        until(lambda: bool(server.batches), process)
        with pytest.raises(RunError, match=r"another process asks by batches over the journal .*journal\.sqlite"):
            asker.ask(server, *requests, provider=provider, batch=True)
        assert labels(asker.ask(server, *requests_of(20), provider=provider)) == features(20)
        server.is_held = False
        output, _ = process.communicate()
        assert output.split("\n")[:-1] == features(*range(8))
        assert sizes(server) == [8]
        outcomes = asker.ask(server, *requests, provider=provider, batch=True)
        assert labels(outcomes) == features(*range(4, 12))
        assert [isinstance(o, Reply) and o.from_journal for o in outcomes] == [True] * 4 + [False] * 4
        assert set(server.answered.values()) == {1}


def test_two_models_of_one_process_leave_each_other_s_batches_alone(asker: Asker, provider: Provider) -> None:
    async def run(server: BatchServer) -> list[Outcome]:
        config = asker.config(server, provider, batch=True)
        async with connect(config, asker.journal, sleep=asker.waits) as explainer:
            asking = asyncio.ensure_future(explainer.ask(requests_of(0)[0]))
            while not server.batches:
                await asyncio.sleep(0.005)
            async with connect(config, asker.journal, sleep=asker.waits) as judge:
                judging = asyncio.ensure_future(judge.ask(requests_of(1)[0]))
                while len(server.batches) < 2:
                    await asyncio.sleep(0.005)
                server.is_held = False
                outcomes = [await asking, await judging]
                assert [model.usage.n_calls for model in (explainer, judge)] == [1, 1]
                return outcomes

    with BatchServer(Always(echo)) as server:
        server.is_held = True
        assert labels(asyncio.run(run(server))) == features(0, 1)
        assert sizes(server) == [1, 1]
        assert set(server.answered.values()) == {1}


async def until_it_shows(is_so: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Wait for something in this event loop; whether it came."""
    for _ in range(int(seconds / 0.005)):
        if is_so():
            return True
        await asyncio.sleep(0.005)
    return False


def test_what_one_model_of_a_process_took_over_is_not_sent_again_by_another(asker: Asker, provider: Provider) -> None:
    async def run(server: BatchServer) -> list[Outcome]:
        config = asker.config(server, provider, batch=True, **PRICES)
        budget = Budget(1.0)
        terms = Terms(budget=budget, payer="run")
        async with (
            connect(config, asker.journal, terms=terms, sleep=asker.waits) as explainer,
            connect(config, asker.journal, terms=terms, sleep=asker.waits) as judge,
        ):
            explaining = asyncio.ensure_future(explainer.ask(requests_of(9)[0]))
            assert await until_it_shows(lambda: len(server.batches) == 2)
            judging = [asyncio.ensure_future(judge.ask(request)) for request in requests_of(1, 5)]
            assert await until_it_shows(lambda: len(server.batches) == 3)
            server.is_held = False
            outcomes = list(await asyncio.gather(explaining, *judging))
            assert explainer.usage.n_calls + judge.usage.n_calls == 5
        assert math.isclose(budget.spent_usd, 5 * 20e-6 / 2)
        assert math.isclose(asker.journal.spent_usd("run"), 5 * 20e-6 / 2)
        return outcomes

    with BatchServer(Always(echo)) as server:
        leave_under_way(asker, server, provider, 0, 1, 2, payer="run")
        server.is_held = True
        outcomes = asyncio.run(run(server))
        assert labels(outcomes) == features(9, 1, 5)
        assert all(isinstance(outcome, Reply) and outcome.paid.n_calls == 1 for outcome in outcomes)
        assert sizes(server) == [3, 1, 1]
        assert set(server.answered.values()) == {1}
        assert len(asker.journal) == 5


@pytest.mark.parametrize("batch", [True, False], ids=["batches", "single"])
def test_two_models_that_ask_the_same_at_once_pay_once(asker: Asker, batch: bool) -> None:
    async def run(server: BatchServer) -> list[Outcome]:
        config = asker.config(server, batch=batch)
        async with (
            connect(config, asker.journal, sleep=asker.waits) as explainer,
            connect(config, asker.journal, sleep=asker.waits) as judge,
        ):
            return list(await asyncio.gather(*(model.ask(requests_of(0)[0]) for model in (explainer, judge))))

    with BatchServer(Always(echo)) as server:
        outcomes = asyncio.run(run(server))
        assert labels(outcomes) == features(0, 0)
        assert [isinstance(outcome, Reply) and outcome.from_journal for outcome in outcomes] == [False, True]
        assert len(server.calls) == 1


def test_what_a_model_leaves_that_is_closed_another_of_the_process_takes_over(asker: Asker, provider: Provider) -> None:
    async def run(server: BatchServer) -> Outcome:
        config = asker.config(server, provider, batch=True)
        async with connect(config, asker.journal, sleep=asker.waits) as judge:
            async with connect(config, asker.journal, sleep=asker.waits) as explainer:
                given_up = asyncio.ensure_future(explainer.ask(requests_of(0)[0]))
                assert await until_it_shows(lambda: any(batch.n_looks for batch in server.batches))
                given_up.cancel()
                judging = asyncio.ensure_future(judge.ask(requests_of(0)[0]))
                await asyncio.sleep(0.05)
            server.is_held = False
            return await asyncio.wait_for(judging, 10)

    with BatchServer(Always(echo)) as server:
        server.is_held = True
        assert labels([asyncio.run(run(server))]) == features(0)
        assert sizes(server) == [1]
        assert set(server.answered.values()) == {1}


def test_a_disk_without_locks_is_said_before_anything_is_sent(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    def has_no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with BatchServer(Always(echo)) as server:
        with monkeypatch.context() as patched:
            patched.setattr(fcntl, "flock", has_no_locks)
            with pytest.raises(RunError, match=r"can't be locked \(No locks available\).*local disk") as stop:
                asker.ask(server, *requests_of(0), batch=True)
        assert "\n" not in str(stop.value)
        assert sizes(server) == []
        assert labels(asker.ask(server, *requests_of(0), batch=True)) == features(0)


def test_a_batch_that_an_older_version_sent_is_found(asker: Asker, provider: Provider) -> None:
    with BatchServer(Always(echo)) as server:
        leave_under_way(asker, server, provider, 0, 1, 2)
        asker.journal.close()
        with sqlite3.connect(asker.journal.path) as database:
            database.execute("ALTER TABLE batches RENAME COLUMN name TO mark")
            database.execute("ALTER TABLE batches ADD COLUMN owner TEXT NOT NULL DEFAULT 'a'")
            database.execute("ALTER TABLE batches ADD COLUMN alive_at REAL NOT NULL DEFAULT 0")
            database.execute("ALTER TABLE batch_calls RENAME COLUMN batch TO mark")
            database.execute("ALTER TABLE batch_calls ADD COLUMN done_at REAL")
            database.execute("ALTER TABLE answers DROP COLUMN tokens")
            database.execute("PRAGMA user_version = 1")
        database.close()
        with Journal(asker.journal.path) as journal:
            outcomes = Asker(journal).ask(server, *requests_of(0, 1, 2), provider=provider, batch=True)
        assert labels(outcomes) == features(0, 1, 2)
        assert sizes(server) == [3]


LOST = {"drop": Drop(), "502": Http(502, "bad gateway"), "html": Raw("<html>a proxy</html>")}


@pytest.mark.parametrize(("provider", "lost"), cases("openai", LOST, of_each=["drop", "html"]))
def test_a_batch_whose_reply_was_lost_is_found_and_not_sent_again(
    asker: Asker, provider: Provider, lost: Drop | Http | Raw
) -> None:
    with BatchServer(Always(echo)) as server:
        server.faults["create"] = [lambda taken: lost]
        outcomes = asker.ask(server, *requests_of(*range(5)), provider=provider, batch=True)
        assert labels(outcomes) == features(*range(5))
        assert sizes(server) == [5]


@pytest.mark.parametrize("lost", [Drop(), Http(502, "bad gateway")], ids=["drop", "502"])
def test_a_batch_that_never_arrived_is_sent_again(asker: Asker, provider: Provider, lost: Drop | Http) -> None:
    with BatchServer(Always(echo)) as server:
        server.faults["create"] = [lost]
        outcomes = asker.ask(server, *requests_of(*range(5)), provider=provider, batch=True)
        assert labels(outcomes) == features(*range(5))
        assert sizes(server) == [5]


def submit_by_hand(server: BatchServer, names: list[str]) -> None:
    """Somebody else of the same account sends a batch."""
    params = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "theirs"}]}
    body = json.dumps({"requests": [{"custom_id": name, "params": params} for name in names]}).encode()
    request = urllib.request.Request(f"{server.url}/v1/messages/batches", body, {"x-api-key": KEY})
    with urllib.request.urlopen(request):
        pass


@pytest.mark.parametrize("n_per_look", [None, 1], ids=["over", "under_way"])
def test_another_batch_of_the_same_size_is_not_taken_for_ours(asker: Asker, n_per_look: int | None) -> None:
    with BatchServer(Always(echo)) as server:
        server.n_per_look = n_per_look
        submit_by_hand(server, [f"their-{i}" for i in range(3)])
        server.faults["create"] = [Drop()]
        # Read as ours, it would be an attempt that brought nothing.
        outcomes = asker.ask(server, *requests_of(0, 1, 2), provider="anthropic", batch=True, max_attempts=1)
        assert labels(outcomes) == features(0, 1, 2)
        assert sizes(server) == [3, 3]
        assert set(server.answered.values()) == {1}


def test_our_batch_is_found_behind_a_hundred_others(asker: Asker) -> None:
    with BatchServer(Always(echo)) as server:
        for number in range(120):
            submit_by_hand(server, [f"a-{number}", f"b-{number}"])
        leave_under_way(asker, server, "anthropic", 0, 1, 2)
        with sqlite3.connect(asker.journal.path) as database:
            database.execute("UPDATE batches SET batch_id = NULL")
        database.close()
        for number in range(120):
            submit_by_hand(server, [f"c-{number}", f"d-{number}"])
        outcomes = asker.ask(server, *requests_of(0, 1, 2), provider="anthropic", batch=True)
        assert labels(outcomes) == features(0, 1, 2)
        assert len(server.batches) == 241


def test_results_that_the_provider_keeps_no_longer_are_asked_for_anew(asker: Asker, provider: Provider) -> None:
    with BatchServer(Always(echo)) as server:
        leave_under_way(asker, server, provider, 0, 1)
        server.forget_results()
        grow_older(asker.journal.path, days=40)
        outcomes = asker.ask(server, *requests_of(0, 1), provider=provider, batch=True)
        assert labels(outcomes) == features(0, 1)
        assert sizes(server) == [2, 2]
        assert asker.journal.rows("SELECT * FROM batch_calls") == []


def test_results_of_today_that_can_not_be_found_are_not_paid_again(asker: Asker, provider: Provider) -> None:
    with BatchServer(Always(echo)) as server:
        leave_under_way(asker, server, provider, 0, 1)
        server.forget_results()
        with pytest.raises(LanguageModelError, match=r"reading a batch failed .*HTTP 404"):
            asker.ask(server, *requests_of(0, 1), provider=provider, batch=True)
        assert sizes(server) == [2]


def test_a_batch_of_another_key_is_said_and_not_paid_again(asker: Asker, provider: Provider) -> None:
    with BatchServer(Always(echo)) as server:
        leave_under_way(asker, server, provider, 0, 1)
        server.batches.clear()
        with pytest.raises(LanguageModelError, match="sent with another key"):
            asker.ask(server, *requests_of(0, 1), provider=provider, batch=True)
        assert sizes(server) == []
