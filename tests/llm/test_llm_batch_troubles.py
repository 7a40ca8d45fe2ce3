"""What can go wrong with a batch or with one of its calls, through the real SDKs; for both where they read it apart."""

import asyncio
import json
from typing import Any

import pytest

from autointerp.errors import KeyRefusedError, LanguageModelError, ModelNotServedError, TooManyFailuresError
from autointerp.llm import CallFailure, Reply, connect
from autointerp.llm.model import Terms
from tests.llm.asking import Asker
from tests.llm.batch_asking import echo, features, labels, requests_of, sizes
from tests.llm.providers import cases
from tests.loopback.batches import BatchServer
from tests.loopback.server import (
    Always,
    Call,
    CutBody,
    Drop,
    Http,
    LoopbackServer,
    Outcome,
    Provider,
    Raw,
    Say,
    Stall,
)

PASSING: dict[str, Outcome] = {
    "too_many_requests": Http(429, "slow down"),
    "internal_error": Http(500),
    "overloaded": Http(529, "overloaded"),
    "too_late": Stall(),
    "no_result": Drop(),
    "no_answer": Raw("<html>"),
}


class Moody:
    """Does something else to the first attempts at some features."""

    def __init__(self, outcome: Outcome, *names: str, n_times: int = 1) -> None:
        self._outcome, self._names, self._n_times = outcome, names, n_times
        self._seen: dict[str, int] = {}

    def reply(self, call: Call) -> Outcome:
        self._seen[call.user] = self._seen.get(call.user, 0) + 1
        return self._outcome if call.user in self._names and self._seen[call.user] <= self._n_times else echo(call)


@pytest.mark.slow
# Anthropic's results have an error's kind and no status: each is read there.
@pytest.mark.parametrize(
    ("provider", "fault"), cases("anthropic", PASSING, of_each=["internal_error", "too_late", "no_result", "no_answer"])
)
def test_a_call_that_fails_for_now_goes_into_the_next_batch(asker: Asker, provider: Provider, fault: Outcome) -> None:
    with BatchServer(Moody(fault, "feature 1", n_times=2)) as server:
        outcomes = asker.ask(server, *requests_of(0, 1, 2), provider=provider, batch=True)
        assert labels(outcomes) == features(0, 1, 2)
        assert sizes(server) == [3, 1, 1]


@pytest.mark.parametrize(
    ("provider", "fault", "error_type"),
    [
        ("openai", Http(429), "RateLimited"),
        ("anthropic", Http(500), "ServerError"),
        ("openai", Stall(), "Timeout"),
        ("anthropic", Stall(), "ServerError"),
        ("openai", Drop(), "Timeout"),
    ],
    ids=["429", "500", "openai-stall", "anthropic-stall", "no_result"],
)
def test_a_call_that_fails_in_every_batch_is_given_up(
    asker: Asker, provider: Provider, fault: Outcome, error_type: str
) -> None:
    with BatchServer(Moody(fault, "feature 1", n_times=9)) as server:
        outcomes = asker.ask(server, *requests_of(0, 1, 2), provider=provider, batch=True, max_attempts=3)
        assert sizes(server) == [3, 1, 1]
    failure = outcomes[1]
    assert isinstance(failure, CallFailure)
    assert failure.error_type == error_type
    assert "given up after 3 batches" in failure.message
    assert labels([outcomes[0], outcomes[2]]) == features(0, 2)


@pytest.mark.parametrize(
    ("provider", "fault", "error_type"),
    cases(
        "anthropic",
        {
            "bad": (Http(400, "no such tool"), "BadRequest"),
            "long": (Http(400, "prompt is too long: 210000 tokens > 200000 maximum"), "TooLong"),
            "flagged": (Http(403, "your input was flagged"), "Refusal"),
        },
        of_each=["bad"],
    ),
)
def test_a_call_that_is_refused_as_it_stands_is_a_failure_of_that_call(
    asker: Asker, provider: Provider, fault: Outcome, error_type: str
) -> None:
    with BatchServer(Moody(fault, "feature 1", n_times=9)) as server:
        outcomes = asker.ask(server, *requests_of(0, 1, 2), provider=provider, batch=True)
        assert labels(outcomes) == ["feature 0", error_type, "feature 2"]
        assert sizes(server) == [3]


@pytest.mark.parametrize(
    ("provider", "fault", "error"),
    cases(
        "anthropic",
        {
            "key": (Http(401, "invalid key"), KeyRefusedError),
            "credit": (Http(402, "your credit balance is too low"), KeyRefusedError),
            "model": (Http(404, "model: m", code="model_not_found"), ModelNotServedError),
        },
        of_each=["key"],
    ),
)
def test_what_no_further_call_can_mend_stops_the_run_with_what_was_paid_for_kept(
    asker: Asker, provider: Provider, fault: Outcome, error: type[Exception]
) -> None:
    with BatchServer(Moody(fault, "feature 1", n_times=9)) as server:
        with pytest.raises(error):
            asker.ask(server, *requests_of(0, 1, 2), provider=provider, batch=True)
        assert sizes(server) == [3]
        assert labels(asker.ask(server, *requests_of(0, 2), provider=provider)) == features(0, 2)
        assert set(server.answered.values()) == {1}


def test_too_many_failures_stop_the_run(asker: Asker) -> None:
    async def run(server: BatchServer) -> None:
        config = asker.config(server, batch=True)
        async with connect(config, asker.journal, terms=Terms(max_failed_share=0.5), sleep=asker.waits) as model:
            await asyncio.gather(*(model.ask(request) for request in requests_of(*range(30))))

    with BatchServer(Always(Say("no", stop="refusal"))) as server:
        with pytest.raises(TooManyFailuresError):
            asyncio.run(run(server))
        assert len(asker.journal) == 30


def test_a_model_without_structured_answers_is_asked_for_text(asker: Asker, provider: Provider) -> None:
    field = {"openai": "response_format", "anthropic": "output_config"}[provider]

    def plain(call: Call) -> Outcome:
        return Http(400, f"{field} is not supported") if call.schema else echo(call)

    with BatchServer(Always(plain)) as server:
        outcomes = asker.ask(server, *requests_of(*range(4)), provider=provider, batch=True, max_attempts=1)
        assert labels(outcomes) == features(*range(4))
        assert [call.schema is not None for call in server.calls] == [True] * 4 + [False] * 4


def test_a_form_that_the_model_refuses_is_changed_for_the_next_batch(asker: Asker, provider: Provider) -> None:
    def gemma(call: Call) -> Outcome:
        return Http(400, "System role not supported") if call.system else echo(call)

    with BatchServer(Always(gemma)) as server:
        outcomes = asker.ask(server, *requests_of(*range(4)), provider=provider, batch=True, max_attempts=1)
        assert labels(outcomes) == [f"Name it.\n\n{feature}" for feature in features(*range(4))]
        assert sizes(server) == [4, 4]


def test_an_answer_that_a_batch_holds_back_is_read(asker: Asker) -> None:
    error = {"message": "no JSON", "code": "json_validate_failed", "failed_generation": 'Yes: {"label": "feature 1"}.'}
    held_back = Raw(json.dumps({"error": error}), status=400)
    with BatchServer(Moody(held_back, "feature 1")) as server:
        assert labels(asker.ask(server, *requests_of(*range(2)), batch=True)) == features(*range(2))
        assert sizes(server) == [2]


ODD = {
    "openai": [
        {"choices": [{"message": {"content": [{"type": "text", "text": '{"label": "odd \ud83d"}'}]}}], "usage": []},
        {"choices": [{"message": {"content": {"label": "odd \ud83d"}}}], "usage": {"prompt_tokens": None}},
    ],
    "anthropic": [
        {"content": [{"type": "text", "text": '{"label": "odd \ud83d"}'}], "usage": {"input_tokens": None}},
        {"content": '{"label": "odd \ud83d"}', "usage": []},
    ],
}


@pytest.mark.parametrize("number", [0, 1])
def test_one_odd_envelope_costs_a_batch_nothing(asker: Asker, provider: Provider, number: int) -> None:
    odd = Raw(json.dumps(ODD[provider][number]))
    with BatchServer(Moody(odd, "feature 1")) as server:
        outcomes = asker.ask(server, *requests_of(0, 1, 2), provider=provider, batch=True)
        assert labels(outcomes) == ["feature 0", "odd �", "feature 2"]
        assert sizes(server) == [3]


@pytest.mark.parametrize("reached", [0, 3])
def test_of_a_batch_that_expires_what_is_there_is_kept_and_the_rest_sent_again(
    asker: Asker, provider: Provider, reached: int
) -> None:
    with BatchServer(Always(echo)) as server:
        server.expire_after = [reached]
        outcomes = asker.ask(server, *requests_of(*range(8)), provider=provider, batch=True)
        assert labels(outcomes) == features(*range(8))
        assert sizes(server) == [8, 8 - reached]
        assert set(server.answered.values()) == {1}


def test_batches_that_expire_time_and_again_are_given_up(asker: Asker) -> None:
    with BatchServer(Always(echo)) as server:
        server.expire_after = [0] * 9
        outcome = asker.ask_one(server, batch=True, max_attempts=2)
        assert isinstance(outcome, CallFailure)
        assert outcome.error_type == "Timeout"
        assert "(expired) (given up after 2 batches)" in outcome.message
        assert sizes(server) == [1, 1]


# --- a batch as a whole -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ({"code": "model_not_found", "message": "no model m", "line": 1}, ModelNotServedError, "line 1: no model m"),
        (
            {"code": "invalid_json_line", "message": "bad", "line": 2},
            LanguageModelError,
            r"2 calls as a whole .*line 2",
        ),
    ],
    ids=["model", "line"],
)
def test_a_batch_that_fails_its_validation_is_a_clear_error(
    asker: Asker, fault: dict[str, Any], error: type[Exception], words: str
) -> None:
    with BatchServer(Always(echo)) as server:
        server.refusals = [[fault]]
        with pytest.raises(error, match=words):
            asker.ask(server, *requests_of(0, 1), batch=True)
        assert sizes(server) == [2]
        assert labels(asker.ask(server, *requests_of(0, 1), batch=True)) == features(0, 1)
        assert sizes(server) == [2, 2]


def test_a_batch_that_is_refused_when_it_is_sent_is_a_clear_error(asker: Asker, provider: Provider) -> None:
    with BatchServer(Always(echo)) as server:
        server.faults["create"] = [Http(400, "requests.1: not so", kind="invalid_request_error")]
        with pytest.raises(LanguageModelError, match=r"refuses a batch of 2 calls as a whole .*requests\.1: not so"):
            asker.ask(server, *requests_of(0, 1), provider=provider, batch=True)
        assert sizes(server) == []
        assert labels(asker.ask(server, *requests_of(0, 1), provider=provider, batch=True)) == features(0, 1)


def test_a_refused_key_stops_at_once(asker: Asker, provider: Provider) -> None:
    with BatchServer(Always(echo)) as server:
        for kind in ("upload", "create"):
            server.faults[kind] = [Http(401, "invalid key")]
        with pytest.raises(KeyRefusedError):
            asker.ask(server, *requests_of(*range(30)), provider=provider, batch=True, batch_size=10)
        assert sizes(server) == []
        assert server.asked_for.total() == 1
        server.faults.clear()
        outcomes = asker.ask(server, *requests_of(*range(30)), provider=provider, batch=True, batch_size=10)
        assert labels(outcomes) == features(*range(30))
        assert server.asked_for["list"] == 0, "what was refused need not be looked for"


def test_a_server_without_batches_is_said(asker: Asker, provider: Provider) -> None:
    with (
        LoopbackServer(Always(echo)) as server,
        pytest.raises(LanguageModelError, match=r"has no batch endpoint .* set batch = false"),
    ):
        asker.ask(server, *requests_of(0), provider=provider, batch=True)


def test_where_there_is_no_room_smaller_batches_are_sent(asker: Asker) -> None:
    with BatchServer(Always(echo)) as server:
        server.room = 3
        outcomes = asker.ask(server, *requests_of(*range(16)), batch=True)
        assert labels(outcomes) == features(*range(16))
        assert max(len(batch.requests) for batch in server.batches if not batch.refusal) <= 3
        assert set(server.answered.values()) == {1}


def test_where_others_take_the_room_a_batch_waits_for_them_as_it_is(asker: Asker) -> None:
    with BatchServer(Always(echo)) as server:
        server.room = 10
        server.n_per_look = 1
        outcomes = asker.ask(server, *requests_of(*range(20)), batch=True, batch_size=10)
        assert labels(outcomes) == features(*range(20))
        assert set(sizes(server)) == {10}


def test_where_there_is_no_room_for_a_single_call_the_run_stops(asker: Asker) -> None:
    with BatchServer(Always(echo)) as server:
        server.room = 0
        with pytest.raises(LanguageModelError, match=r"no room for a batch of one call .*Enqueued token limit"):
            asker.ask(server, *requests_of(0, 1, 2), batch=True)


def test_a_batch_that_is_too_large_is_sent_in_parts(asker: Asker, provider: Provider) -> None:
    with BatchServer(Always(echo)) as server:
        server.most_in_a_batch = 5
        outcomes = asker.ask(server, *requests_of(*range(17)), provider=provider, batch=True)
        assert labels(outcomes) == features(*range(17))
        assert max(sizes(server)) <= 5


# --- trouble on the way -----------------------------------------------------------------------------------------------

ON_THE_WAY: dict[str, Outcome] = {
    "500": Http(500),
    "503": Http(503, "try later"),
    "429": Http(429, "slow down"),
    "drop": Drop(),
    "cut": CutBody(),
    "html": Raw("<html><body>Log in to the hotel</body></html>"),
    "other_json": Raw('["what?"]', content_type="application/json"),
}
STEPS = ("upload", "create", "look", "results")


@pytest.mark.slow
# A batch of Anthropic's is sent without an upload, and its statuses are read as those of the other.
@pytest.mark.parametrize(
    ("provider", "kind", "fault"),
    cases(
        "openai",
        {f"{kind}-{name}": (kind, fault) for kind in STEPS for name, fault in ON_THE_WAY.items()},
        of_each=[f"{kind}-{name}" for kind in STEPS[1:] for name in ON_THE_WAY if name not in {"503", "429"}],
    ),
)
def test_trouble_on_the_way_is_waited_out(asker: Asker, provider: Provider, kind: str, fault: Outcome) -> None:
    with BatchServer(Always(echo)) as server:
        server.faults[kind] = [fault] * 3
        server.n_per_look = 2
        outcomes = asker.ask(server, *requests_of(*range(5)), provider=provider, batch=True)
        assert labels(outcomes) == features(*range(5))
        assert sizes(server) == [5]
        assert set(server.answered.values()) == {1}


def test_results_that_break_off_are_read_again_and_no_answer_is_lost(asker: Asker, provider: Provider) -> None:
    def halved(server: BatchServer) -> Raw:
        whole = [json.dumps({"custom_id": "x", "result": {"type": "expired"}}), '{"custom_id": "y", "resu']
        return Raw("\n".join(whole))

    with BatchServer(Always(echo)) as server:
        server.faults["results"] = [halved(server)] * 2
        outcomes = asker.ask(server, *requests_of(*range(5)), provider=provider, batch=True)
        assert labels(outcomes) == features(*range(5))
        assert set(server.answered.values()) == {1}


def test_a_line_of_the_results_that_can_not_be_read_costs_its_own_call_only(asker: Asker, provider: Provider) -> None:
    def with_a_flaw(said: Outcome) -> Outcome:
        assert isinstance(said, Raw)
        first, *others = said.body.split("\n")
        return Raw("\n".join([first[:-9], *others]), content_type=said.content_type)

    with BatchServer(Always(echo)) as server:
        server.faults["results"] = [with_a_flaw]
        outcomes = asker.ask(server, *requests_of(*range(5)), provider=provider, batch=True)
        assert labels(outcomes) == features(*range(5))
        assert sizes(server) == [5, 1]


@pytest.mark.parametrize("kind", ["look", "results"])
def test_when_patience_ends_the_batch_is_left_to_the_next_run(asker: Asker, provider: Provider, kind: str) -> None:
    with BatchServer(Always(echo)) as server:
        server.faults[kind] = [Drop()] * 200
        with pytest.raises(
            LanguageModelError, match="run the same command again: what is at the provider is picked up"
        ):
            asker.ask(server, *requests_of(0, 1), provider=provider, batch=True)
        server.faults.clear()
        outcomes = asker.ask(server, *requests_of(0, 1), provider=provider, batch=True)
        assert labels(outcomes) == features(0, 1)
        assert all(isinstance(outcome, Reply) for outcome in outcomes)
        assert sizes(server) == [2]
        assert set(server.answered.values()) == {1}
