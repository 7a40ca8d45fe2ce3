"""A run never pays more than it may, and what it paid for is kept."""

import asyncio
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.config import LlmConfig
from autointerp.errors import BudgetError, KeyRefusedError, LanguageModelError, TooManyFailuresError
from autointerp.llm import CallFailure, Journal, Reply, Terms, connect
from autointerp.llm.budget import Budget, Stop
from autointerp.llm.limits.gate import Gate
from autointerp.llm.prices import Prices
from tests.llm.asking import Asker, Label, label_request
from tests.loopback.server import Always, Call, Http, LoopbackServer, Outcome, Provider, Raw, Say

# A call of these tests has 1,000 tokens in and 10 out: $0.002 and $0.0001 at these prices.
PRICES = Prices(input=2.0, cached_input=None, output=10.0)
CALL_USD = 0.0021


def echo(call: Call) -> Outcome:
    return Say(f'{{"label": "{call.user[:20]}"}}', tokens=(1000, 0, 10))


def ask_under(
    asker: Asker, server: LoopbackServer, budget: Budget, n: int, provider: Provider = "openai", **settings: object
) -> list[Reply[Label] | CallFailure | BaseException]:
    """Ask n questions of about 1,000 tokens at once; what each came to."""

    async def run() -> list[Reply[Label] | CallFailure | BaseException]:
        config = asker.config(server, provider, **{"concurrency": 8, **settings})
        terms = Terms(budget, PRICES, payer="a run")
        async with connect(config, asker.journal, terms=terms, sleep=asker.waits) as model:
            asking = (model.ask(label_request(f"feature {i:<10} " + "x" * 2000)) for i in range(n))
            return await asyncio.gather(*asking, return_exceptions=True)

    return asyncio.run(run())


@pytest.mark.parametrize("n_affordable", [1, 7, 30])
def test_the_limit_is_never_passed_and_what_was_paid_is_kept(
    asker: Asker, provider: Provider, n_affordable: int
) -> None:
    limit = n_affordable * CALL_USD + 0.001
    with LoopbackServer(Always(echo), latency_s=0.01) as server:
        outcomes = ask_under(asker, server, budget := Budget(limit), 40, provider)
        replies = [o for o in outcomes if isinstance(o, Reply)]
        stopped = [o for o in outcomes if isinstance(o, BudgetError)]
        assert len(replies) + len(stopped) == 40
        assert len(server.calls) == len(replies) == len(asker.journal)
    assert len(replies) * CALL_USD == pytest.approx(budget.spent_usd)
    assert budget.spent_usd <= limit
    # What is left would not have paid for another call at its most: 100 tokens out.
    assert limit - budget.spent_usd < CALL_USD + 0.001
    assert asker.journal.spent_usd("a run") == pytest.approx(budget.spent_usd)
    assert asker.journal.spent_usd("another run") == 0.0
    assert "raise llm.max_cost_usd" in str(stopped[0])


def test_a_larger_budget_goes_on_from_what_was_paid(asker: Asker) -> None:
    with LoopbackServer(Always(echo)) as server:
        first = ask_under(asker, server, Budget(5 * CALL_USD + 0.001), 20)
        n_paid = sum(isinstance(o, Reply) for o in first)
        spent = asker.journal.spent_usd("a run")
        again = ask_under(asker, server, budget := Budget(1.0, spent), 20)
        assert all(isinstance(o, Reply) for o in again)
        assert len(server.calls) == 20
    assert n_paid == 5
    assert budget.spent_usd == pytest.approx(20 * CALL_USD)


def test_answers_from_the_journal_need_no_budget(asker: Asker) -> None:
    with LoopbackServer(Always(echo)) as server:
        ask_under(asker, server, Budget(None), 5)
        assert all(isinstance(o, Reply) for o in ask_under(asker, server, Budget(1e-9), 5))


def test_a_call_that_fails_gives_back_what_was_set_aside_for_it(asker: Asker) -> None:
    with LoopbackServer(Always(Http(500))) as server:
        outcomes = ask_under(asker, server, budget := Budget(0.0035), 12, max_attempts=2)
    assert all(isinstance(o, CallFailure) for o in outcomes)
    assert budget.spent_usd == 0.0


def test_a_budget_without_prices_is_refused_before_a_call(journal: Journal, asker: Asker) -> None:
    with (
        LoopbackServer(Always(echo)) as server,
        pytest.raises(LanguageModelError, match=r"max_cost_usd is set, and the prices of m are unknown"),
    ):
        connect(asker.config(server), journal, terms=Terms(Budget(1.0)))


@given(st.lists(st.tuples(st.floats(0.01, 1.0), st.floats(0, 1)), max_size=30), st.floats(0.05, 5.0))
def test_whatever_calls_need_the_sum_stays_under_the_limit(calls: list[tuple[float, float]], limit: float) -> None:
    async def run() -> tuple[float, int, int]:
        budget, n_done, n_stopped = Budget(limit), 0, 0

        async def call(most: float, share: float) -> None:
            nonlocal n_done, n_stopped
            try:
                await budget.reserve(most)
            except BudgetError:
                n_stopped += 1
                return
            await asyncio.sleep(0)
            await budget.settle(most, most * share)
            n_done += 1

        await asyncio.gather(*(call(most, share) for most, share in calls))
        return budget.spent_usd, n_done, n_stopped

    spent, n_done, n_stopped = asyncio.run(run())
    assert spent <= limit * (1 + 1e-9)
    assert n_done + n_stopped == len(calls)


def test_a_journal_of_an_earlier_version_is_read_and_its_answers_are_not_paid_again(
    asker: Asker, tmp_path: Path
) -> None:
    with LoopbackServer(Always(echo)) as server:
        asker.ask(server, label_request("old"))
        path = tmp_path / "journal.sqlite"
        with Journal(path) as journal:
            for table in ("failures", "payments", "batches", "batch_calls"):
                journal._database.execute(f"DROP TABLE {table}")
            for column in ("cache_write_tokens", "payer", "asked_model", "prompt_bytes", "cost_usd", "tokens"):
                journal._database.execute(f"ALTER TABLE answers DROP COLUMN {column}")
            journal._database.execute("PRAGMA user_version = 0")
        with Journal(path) as journal:
            outcomes = Asker(journal).ask(server, label_request("old"), label_request("new"))
            assert len(server.calls) == 2
            assert [o.from_journal for o in outcomes if isinstance(o, Reply)] == [True, False]


def test_when_too_many_calls_fail_the_run_stops_and_says_why(asker: Asker, provider: Provider) -> None:
    def half(call: Call) -> Outcome:
        return Say("no", stop="refusal") if int(call.user.split()[-1]) % 2 else Say('{"label": "a"}')

    async def run(share: float) -> list[Reply[Label] | CallFailure | BaseException]:
        config = asker.config(server, provider, concurrency=1)
        async with connect(config, asker.journal, terms=Terms(max_failed_share=share), sleep=asker.waits) as model:
            asking = (model.ask(label_request(f"share {share} feature {i}")) for i in range(60))
            return await asyncio.gather(*asking, return_exceptions=True)

    with LoopbackServer(Always(half)) as server:
        assert not any(isinstance(o, BaseException) for o in asyncio.run(run(0.6)))
        n_before = len(server.calls)
        outcomes = asyncio.run(run(0.3))
        n_sent = len(server.calls) - n_before
    stops = [o for o in outcomes if isinstance(o, TooManyFailuresError)]
    assert 20 <= n_sent < 60
    assert "Refusal; the last: the model refuses" in str(stops[0])
    assert "llm.max_failed_share" in stops[0].remedy


def test_a_question_whose_answer_was_sent_back_counts_once_and_the_option_says_questions(asker: Asker) -> None:
    """Of 60 questions 24 fail, by two calls each: 40 % of the questions, and 57 % of the calls."""

    def sometimes_unreadable(call: Call) -> Outcome:
        n = int(re.findall(r"feature (\d+)", json.dumps(call.body))[0])
        return Say("no JSON") if n % 5 in (1, 3) else Say('{"label": "a"}')

    async def run() -> list[Reply[Label] | CallFailure]:
        config = asker.config(server, concurrency=1)
        async with connect(config, asker.journal, terms=Terms(max_failed_share=0.5), sleep=asker.waits) as model:
            return await asyncio.gather(*(model.ask(label_request(f"feature {i}")) for i in range(60)))

    with LoopbackServer(Always(sometimes_unreadable)) as server:
        outcomes = asyncio.run(run())
        assert len(server.calls) == 84
    assert sum(isinstance(outcome, CallFailure) for outcome in outcomes) == 24
    assert "share of the questions" in (LlmConfig.model_fields["max_failed_share"].description or "")


def test_what_failed_is_in_the_journal_with_what_came_back(asker: Asker) -> None:
    with LoopbackServer(Always(Say("I'd rather not.", stop="refusal"))) as server:
        asker.ask_one(server)
    rows = asker.journal._database.execute("SELECT asked_model, error_type, raw FROM failures").fetchall()
    assert rows == [("m", "Refusal", "I'd rather not.")]


def test_waiting_calls_end_with_the_run(asker: Asker) -> None:
    """One call waits for minutes as the server asked; the key is refused meanwhile; nobody waits for the minutes."""

    def moody(call: Call) -> Outcome:
        first = call.user.endswith("feature 0")
        return Http(500, headers={"Retry-After": "300"}) if first else Http(401, "no such key")

    async def run() -> list[Reply[Label] | CallFailure | BaseException]:
        config = asker.config(server, concurrency=2)
        async with connect(config, asker.journal) as model:
            async with asyncio.timeout(30):
                first = asyncio.create_task(model.ask(label_request("feature 0")))
                while not server.calls:
                    await asyncio.sleep(0.01)
                second = asyncio.create_task(model.ask(label_request("feature 1")))
                return list(await asyncio.gather(first, second, return_exceptions=True))

    with LoopbackServer(Always(moody)) as server:
        outcomes = asyncio.run(run())
    assert all(isinstance(o, LanguageModelError) for o in outcomes)


def test_what_was_asked_anew_counts_as_often_as_it_was_paid(asker: Asker) -> None:
    with LoopbackServer(Always(Say("no", stop="refusal", tokens=(1000, 0, 10)))) as server:
        for _ in range(3):
            spent = asker.journal.spent_usd("a run")

            async def run(budget: Budget) -> None:
                config = asker.config(server)
                terms = Terms(budget, PRICES, payer="a run")
                async with connect(config, asker.journal, terms=terms, retry_failures=True) as model:
                    await model.ask(label_request("x" * 4000))

            asyncio.run(run(Budget(1.0, spent)))
        assert len(server.calls) == 3
    assert asker.journal.spent_usd("a run") == pytest.approx(3 * CALL_USD)


def test_a_server_that_counts_no_tokens_uses_the_budget_up_all_the_same(asker: Asker) -> None:
    body = '{"choices": [{"message": {"content": "{\\"label\\": \\"months\\"}"}}]}'
    with LoopbackServer(Always(Raw(body, content_type="application/json"))) as server:
        outcomes = ask_under(asker, server, budget := Budget(0.02), 40)
        assert len(server.calls) < 40
    assert any(isinstance(o, BudgetError) for o in outcomes)
    assert 0 < budget.spent_usd <= 0.02
    assert asker.journal.spent_usd("a run") == pytest.approx(budget.spent_usd)


def test_what_a_provider_may_write_to_its_cache_is_set_aside_at_its_own_price() -> None:
    prices = Prices(input=2.0, cached_input=0.2, output=10.0, cache_write=2.5)
    assert prices.most_usd(1000, 100) == pytest.approx(0.0035)
    assert Prices(input=2.0, cached_input=0.2, output=10.0).most_usd(1000, 100) == pytest.approx(0.003)
    assert Prices(None, None, 10.0).most_usd(1000, 100) is None


def test_when_one_model_of_a_run_stops_the_other_sends_nothing_more_though_they_share_a_gate(asker: Asker) -> None:
    def moody(call: Call) -> Outcome:
        return Http(401, "no such key") if call.user.startswith("bad") else echo(call)

    async def run(server: LoopbackServer) -> list[Reply[Label] | CallFailure | BaseException]:
        config = asker.config(server, concurrency=2)
        terms = Terms(gate=Gate(config), stop=Stop())
        async with (
            connect(config, asker.journal, terms=terms) as one,
            connect(config, asker.journal, terms=terms) as other,
        ):
            asking = [one.ask(label_request(f"good {i}")) for i in range(3)]
            asking += [other.ask(label_request("bad"))] + [one.ask(label_request(f"more {i}")) for i in range(60)]
            return await asyncio.gather(*asking, return_exceptions=True)

    with LoopbackServer(Always(moody), latency_s=0.02) as server:
        outcomes = asyncio.run(run(server))
        assert len(server.calls) <= 6
    assert sum(isinstance(o, KeyRefusedError) for o in outcomes) >= 58
