"""Half the price by one setting: the same answers as by single calls, in few batches, each paid once."""

import asyncio
import json
import logging
import math
from pathlib import Path

import pytest

from autointerp.errors import BudgetError
from autointerp.llm import CallFailure, Journal, Reply, connect
from autointerp.llm.batch.openai import OpenAIBatches
from autointerp.llm.budget import Budget
from autointerp.llm.model import Terms
from tests.llm.asking import KEY, Asker, label_request
from tests.llm.batch_asking import PRICES, echo, features, labels, requests_of, sizes
from tests.loopback.batches import BatchServer
from tests.loopback.server import Always, Call, Http, Outcome, Provider, Say


def test_the_answers_are_those_of_single_calls_at_half_the_price(
    asker: Asker, provider: Provider, tmp_path: Path
) -> None:
    requests = requests_of(*range(12))
    with BatchServer(Always(echo)) as server, Journal(tmp_path / "single.sqlite") as other:
        single = Asker(other).ask(server, *requests, provider=provider, **PRICES)
        n_single = len(server.calls)
        batched = asker.ask(server, *requests, provider=provider, batch=True, **PRICES)
        assert sizes(server) == [12]
        bodies = [json.dumps(call.body, sort_keys=True) for call in server.calls]
        assert sorted(bodies[:n_single]) == sorted(bodies[n_single:])
        assert {call.key for call in server.calls} == {KEY}
    for one, two in zip(single, batched, strict=True):
        assert isinstance(one, Reply)
        assert isinstance(two, Reply)
        assert (one.answer, one.model, one.usage.input_tokens) == (two.answer, two.model, two.usage.input_tokens)
        assert one.usage.cost_usd is not None
        assert two.usage.cost_usd == one.usage.cost_usd / 2
        assert not two.from_journal


def test_a_batch_holds_no_more_than_it_may_and_each_call_is_in_one(asker: Asker, provider: Provider) -> None:
    with BatchServer(Always(echo)) as server:
        outcomes = asker.ask(server, *requests_of(*range(25)), provider=provider, batch=True, batch_size=10)
        assert labels(outcomes) == features(*range(25))
        assert sizes(server) == [10, 10, 5]
        assert set(server.answered.values()) == {1}


def test_a_batch_holds_no_more_bytes_than_the_provider_takes(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpenAIBatches, "most_bytes", 3000)
    with BatchServer(Always(echo)) as server:
        requests = [label_request(f"{i}" * 700) for i in range(5)]
        assert len(labels(asker.ask(server, *requests, batch=True))) == 5
        assert sizes(server) == [2, 2, 1]


def test_a_rerun_pays_nothing_by_batches_or_by_single_calls(asker: Asker, provider: Provider) -> None:
    requests = requests_of(*range(7))
    with BatchServer(Always(echo)) as server:
        first = asker.ask(server, *requests, provider=provider, batch=True)
        n_calls, n_asked_for = len(server.calls), sum(server.asked_for.values())
        for batch in (True, False):
            again = asker.ask(server, *requests, provider=provider, batch=batch)
            assert labels(again) == labels(first)
            assert all(isinstance(outcome, Reply) and outcome.from_journal for outcome in again)
        assert (len(server.calls), sum(server.asked_for.values())) == (n_calls, n_asked_for)


def test_two_who_ask_the_same_at_once_pay_once(asker: Asker, provider: Provider) -> None:
    with BatchServer(Always(echo)) as server:
        outcomes = asker.ask(server, *[label_request("feature 1")] * 5, provider=provider, batch=True)
        assert labels(outcomes) == features(1) * 5
        assert len(server.calls) == 1


def test_what_was_paid_stands_in_the_usage_and_in_the_journal(asker: Asker, provider: Provider) -> None:
    async def run(server: BatchServer) -> None:
        config = asker.config(server, provider, batch=True, **PRICES)
        async with connect(config, asker.journal, terms=Terms(payer="run"), sleep=asker.waits) as model:
            await asyncio.gather(*(model.ask(request) for request in requests_of(*range(4))))
            assert (model.usage.n_calls, model.usage.input_tokens, model.usage.output_tokens) == (4, 40, 20)
            assert model.usage.cost_usd is not None
            assert math.isclose(model.usage.cost_usd, 4 * 20e-6 / 2)
            assert math.isclose(asker.journal.spent_usd("run"), model.usage.cost_usd)

    with BatchServer(Always(echo)) as server:
        asyncio.run(run(server))


def test_an_answer_that_does_not_fit_is_repaired_in_a_second_batch(asker: Asker, provider: Provider) -> None:
    def clumsy(call: Call) -> Outcome:
        return Say("not json") if len(call.turns) == 1 and call.user == "feature 1" else echo(call)

    with BatchServer(Always(clumsy)) as server:
        outcomes = asker.ask(server, *requests_of(0, 1, 2), provider=provider, batch=True)
        assert labels(outcomes) == features(0, 1, 2)
        assert sizes(server) == [3, 1]
        assert [role for role, _ in server.calls[-1].turns] == ["user", "assistant", "user"]
        assert outcomes[1].usage.n_calls == 2


def test_a_refusal_and_an_answer_cut_short_are_failures_as_ever(asker: Asker, provider: Provider) -> None:
    says = {"feature 0": Say("no", stop="refusal"), "feature 1": Say("{", stop="truncated")}
    with BatchServer(Always(lambda call: says.get(call.user, echo(call)))) as server:
        outcomes = asker.ask(server, *requests_of(0, 1, 2), provider=provider, batch=True)
        assert labels(outcomes) == ["Refusal", "Truncated", "feature 2"]


def test_text_in_any_script_and_with_any_line_separator_comes_back_as_it_went(asker: Asker, provider: Provider) -> None:
    texts = ["日本語 🙂", "a\u2028b\u2029c\x85d\x0be", 'quotes " and \\ and \n lines']
    with BatchServer(Always(echo)) as server:
        outcomes = asker.ask(server, *[label_request(text) for text in texts], provider=provider, batch=True)
        assert labels(outcomes) == texts
        assert sizes(server) == [3]


def test_a_budget_that_is_too_small_for_all_sends_what_fits_and_then_stops(asker: Asker, provider: Provider) -> None:
    async def run(server: BatchServer) -> float:
        config = asker.config(server, provider, batch=True, **PRICES)
        budget = Budget(0.0005)
        terms = Terms(budget=budget, payer="run")
        async with connect(config, asker.journal, terms=terms, sleep=asker.waits) as model:
            asked = [asyncio.ensure_future(model.ask(request)) for request in requests_of(*range(100))]
            results = await asyncio.gather(*asked, return_exceptions=True)
            assert {type(result) for result in results} == {Reply, BudgetError}
            assert sum(isinstance(result, Reply) for result in results) == len(asker.journal)
        return budget.spent_usd

    with BatchServer(Always(echo)) as server:
        spent = asyncio.run(run(server))
        assert len(server.batches) > 1
        assert math.isclose(spent, len(server.calls) * 20e-6 / 2)
        assert spent <= 0.0005


def test_what_is_under_way_is_told(asker: Asker) -> None:
    told: list[str] = []

    async def run(server: BatchServer) -> None:
        async def sleep(seconds: float) -> None:
            told.append(model.batches_under_way)
            await asyncio.sleep(0)

        config = asker.config(server, batch=True)
        async with connect(config, asker.journal, sleep=sleep) as model:
            assert model.batches_under_way == ""
            await asyncio.gather(*(model.ask(request) for request in requests_of(*range(10))))
            assert model.batches_under_way == ""

    with BatchServer(Always(echo)) as server:
        server.n_per_look = 4
        asyncio.run(run(server))
    assert {"1 batch, 4 of 10 done", "1 batch, 8 of 10 done"} <= set(told)


def test_the_key_is_in_no_file_no_log_and_no_error(
    asker: Asker, provider: Provider, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="autointerp")
    with BatchServer(Always(lambda call: Http(400, f"your key {call.key} can't do this"))) as server:
        server.faults["look"] = [Http(500, f"out of order, {KEY}"), None]
        server.faults["create"] = [Http(429, f"slow down, {KEY}")]
        outcomes = asker.ask(server, *requests_of(0, 1), provider=provider, batch=True)
    assert all(isinstance(outcome, CallFailure) and "[key]" in outcome.message for outcome in outcomes)
    assert "out of order, [key]" in caplog.text
    assert KEY not in caplog.text + repr(outcomes)
    for path in tmp_path.iterdir():
        assert KEY.encode() not in path.read_bytes()
