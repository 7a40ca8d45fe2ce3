"""Every way in which a provider fails, through the real SDKs; for both where their clients read it apart."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from autointerp.errors import KeyRefusedError, LanguageModelError, ModelNotServedError
from autointerp.llm import CallFailure, Reply
from autointerp.records import Usage
from tests.llm.asking import Asker, Label, label_request
from tests.llm.providers import cases
from tests.loopback.server import (
    Always,
    Call,
    CutBody,
    Drop,
    Garbage,
    Http,
    LoopbackServer,
    Outcome,
    Provider,
    Raw,
    Say,
    Script,
    Stall,
)

GOOD = Always(Say('{"label": "months"}', tokens=(10, 0, 5)))
PASSING: dict[str, Outcome] = {
    "too_many_requests": Http(429, "slow down", kind="rate_limit_error"),
    "internal_error": Http(500),
    "unavailable": Http(503),
    "overloaded": Http(529, kind="overloaded_error"),
    "request_timeout": Http(408),
    "conflict": Http(409),
    "dropped": Drop(),
    "body_cut": CutBody(),
    "no_http": Garbage(),
    "html_with_200": Raw("<html><body>Log in to the hotel</body></html>"),
    "html_with_502": Raw("<html><body>Bad gateway</body></html>", status=502),
    "half_a_json_document": Raw('{"id": "x", "choi', content_type="application/json"),
    "json_of_another_kind": Raw('["what?"]', content_type="application/json"),
    "empty_body": Raw("", content_type="application/json"),
    "error_with_200": Raw('{"error": {"message": "upstream failed"}}', content_type="application/json"),
}
# Statuses are read by one function, everything else by each SDK and each client.
ON_THE_WIRE = PASSING.keys() - {"too_many_requests", "unavailable", "overloaded", "request_timeout", "conflict"}


@pytest.mark.parametrize(("provider", "fault"), cases("openai", PASSING, of_each=ON_THE_WIRE))
def test_what_may_pass_is_tried_again(asker: Asker, provider: Provider, fault: Outcome) -> None:
    with LoopbackServer(Script(fault, fault, then=GOOD)) as server:
        outcome = asker.ask_one(server, provider=provider)
        assert isinstance(outcome, Reply)
        assert outcome.answer == Label(label="months")
        assert len(server.calls) == 3
    assert len(asker.waits.seconds) == 2
    assert all(0.25 <= wait <= 1.0 for wait in asker.waits.seconds)


def test_a_stalled_call_is_given_up_and_tried_again(asker: Asker, provider: Provider) -> None:
    with LoopbackServer(Script(Stall(60), then=GOOD)) as server:
        outcome = asker.ask_one(server, provider=provider, timeout_s=0.3)
        assert isinstance(outcome, Reply)
        assert len(server.calls) == 2


@pytest.mark.parametrize(
    ("fault", "error_type"),
    [
        (Http(500), "ServerError"),
        (Raw("<html>"), "ServerError"),
        (Drop(), "ConnectionDropped"),
        (CutBody(), "ConnectionDropped"),
        (Stall(60), "Timeout"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_does_not_pass_is_a_failure_of_its_kind_after_the_last_attempt(
    asker: Asker, provider: Provider, fault: Outcome, error_type: str
) -> None:
    with LoopbackServer(Always(fault)) as server:
        outcome = asker.ask_one(server, provider=provider, max_attempts=3, timeout_s=0.3)
        assert isinstance(outcome, CallFailure)
        assert outcome.error_type == error_type
        assert outcome.usage == Usage()
        assert "\n" not in outcome.message
        assert len(server.calls) == 3
    assert len(asker.waits.seconds) == 2


@pytest.mark.parametrize(
    ("provider", "fault", "error_type"),
    cases(
        "openai",
        {
            "429": (Http(429), "RateLimited"),
            "502": (Http(502), "ServerError"),
            "503": (Http(503), "ServerError"),
            "504": (Http(504), "ServerError"),
            "529": (Http(529), "ServerError"),
            "522": (Http(522), "ServerError"),
            "400": (Http(400, "ThrottlingException: please wait before trying again"), "RateLimited"),
            "403": (Http(403, "API rate limit exceeded for user 7"), "RateLimited"),
        },
        of_each=["429"],
    ),
)
def test_an_overloaded_server_is_waited_for_whatever_the_attempts_until_patience_ends(
    asker: Asker, provider: Provider, fault: Outcome, error_type: str
) -> None:
    with LoopbackServer(Script(*[fault] * 9, then=GOOD)) as server:
        assert isinstance(asker.ask_one(server, provider=provider, max_attempts=2), Reply)
    asker.waits.seconds.clear()
    with LoopbackServer(Always(fault)) as server:
        outcome = asker.ask_one(server, provider=provider, max_attempts=2)
    assert isinstance(outcome, CallFailure)
    assert outcome.error_type == error_type
    assert 570 < sum(asker.waits.seconds) <= 600


def test_a_server_that_nobody_runs_is_waited_for_too(asker: Asker, provider: Provider) -> None:
    with LoopbackServer(GOOD) as server:
        pass
    outcome = asker.ask_one(server, provider=provider, max_attempts=2)
    assert isinstance(outcome, CallFailure)
    assert outcome.error_type == "ConnectionDropped"
    assert 570 < sum(asker.waits.seconds) <= 600


@pytest.mark.parametrize(
    ("provider", "headers", "wait"),
    cases(
        "openai",
        {
            "seconds": ({"Retry-After": "7"}, 7.0),
            "milliseconds": ({"retry-after-ms": "2500", "Retry-After": "9"}, 2.5),
        },
        of_each=["seconds"],
    ),
)
def test_retry_after_is_obeyed(asker: Asker, provider: Provider, headers: dict[str, str], wait: float) -> None:
    with LoopbackServer(Script(Http(429, headers=headers), then=GOOD)) as server:
        assert isinstance(asker.ask_one(server, provider=provider), Reply)
    assert asker.waits.seconds == [wait]


def test_a_date_in_retry_after_is_obeyed(asker: Asker) -> None:
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    with LoopbackServer(Script(Http(503, headers={"Retry-After": then}), then=GOOD)) as server:
        assert isinstance(asker.ask_one(server), Reply)
    assert 60 < asker.waits.seconds[0] <= 90


@pytest.mark.parametrize("value", ["soon", "", "-5", "nan", "inf", "Mon, 99 Foo 2026 25:00:00 GMT"])
def test_a_retry_after_that_says_nothing_leaves_the_usual_wait(asker: Asker, value: str) -> None:
    with LoopbackServer(Script(Http(429, headers={"Retry-After": value}), then=GOOD)) as server:
        assert isinstance(asker.ask_one(server), Reply)
    assert 0.25 <= asker.waits.seconds[0] <= 0.5


def test_a_server_that_asks_for_hours_ends_the_call(asker: Asker) -> None:
    with LoopbackServer(Always(Http(429, headers={"Retry-After": "7200"}))) as server:
        outcome = asker.ask_one(server)
        assert isinstance(outcome, CallFailure)
        assert outcome.error_type == "RateLimited"
        assert "7200 s" in outcome.message
        assert len(server.calls) == 1
    assert asker.waits.seconds == []


def test_a_refusal_is_kept_with_its_words_and_its_cost(asker: Asker, provider: Provider) -> None:
    with LoopbackServer(Always(Say("I'd rather not.", stop="refusal", tokens=(10, 0, 5)))) as server:
        outcome = asker.ask_one(server, provider=provider, usd_per_million_input=1.0, usd_per_million_output=2.0)
        assert len(server.calls) == 1
    usage = Usage(1, 10, 0, 5, 20e-6)
    assert outcome == CallFailure("Refusal", "the model refuses to answer", "I'd rather not.", usage, paid=usage)


def test_an_answer_cut_at_its_limit_is_truncated_and_not_repaired(asker: Asker, provider: Provider) -> None:
    with LoopbackServer(Always(Say('{"label": "mon', stop="truncated"))) as server:
        outcome = asker.ask_one(server, provider=provider)
        assert isinstance(outcome, CallFailure)
        assert (outcome.error_type, outcome.raw) == ("Truncated", '{"label": "mon')
        assert len(server.calls) == 1


BAD = {"cut": '{"label": "mon', "text": "months", "kind": '{"label": 3}', "two": '{"label": "a"} {"label": "b"}'}


@pytest.mark.parametrize(
    ("provider", "bad"), cases("openai", {**BAD, "less": "{}", "nothing": ""}, of_each=["text", "nothing"])
)
def test_an_answer_that_does_not_fit_is_repaired_once(asker: Asker, provider: Provider, bad: str) -> None:
    oracle = Script(Say(bad, tokens=(10, 0, 5)), then=Always(Say('{"label": "months"}', tokens=(30, 0, 5))))
    with LoopbackServer(oracle) as server:
        outcome = asker.ask_one(server, provider=provider)
        assert isinstance(outcome, Reply)
        assert outcome.answer.label == "months"
        assert outcome.usage == Usage(2, 40, 0, 10, None)
        repair = server.calls[1].turns
        assert [role for role, _ in repair] == ["user", "assistant", "user"]
        assert "can't be used" in repair[2][1]
        assert '"label"' in repair[2][1]


def test_an_answer_that_never_fits_is_a_parse_failure(asker: Asker, provider: Provider) -> None:
    with LoopbackServer(Always(Say("months!", tokens=(10, 0, 5)))) as server:
        outcome = asker.ask_one(server, provider=provider)
        assert isinstance(outcome, CallFailure)
        assert (outcome.error_type, outcome.raw, outcome.usage.n_calls) == ("ParseFailure", "months!", 2)
        assert len(server.calls) == 2


def test_a_repair_that_fails_still_counts_what_was_paid(asker: Asker, provider: Provider) -> None:
    with LoopbackServer(Script(Say("months!", tokens=(10, 0, 5)), then=Always(Http(500)))) as server:
        outcome = asker.ask_one(server, provider=provider, max_attempts=2)
        assert isinstance(outcome, CallFailure)
        assert outcome.error_type == "ServerError"
        assert outcome.usage.n_calls == 1


@pytest.mark.parametrize(
    ("provider", "fault"),
    cases(
        "openai",
        {
            "401": Http(401, "invalid key", kind="authentication_error"),
            "403": Http(403, "not allowed", kind="permission_error"),
            "402": Http(402, "no credit", kind="billing_error"),
            "quota": Http(429, "You exceeded your current quota", code="insufficient_quota", kind="insufficient_quota"),
            "credit": Http(400, "Your credit balance is too low to access the API", kind="invalid_request_error"),
            "html": Raw("<html>401</html>", status=401),
        },
        of_each=["401", "html"],
    ),
)
def test_a_refused_key_stops_at_once(asker: Asker, provider: Provider, fault: Outcome) -> None:
    requests = [label_request(f"feature {i}") for i in range(50)]
    with LoopbackServer(Always(fault), latency_s=0.01) as server:
        with pytest.raises(KeyRefusedError, match=r"refuses the key|is used up.*: add credit"):
            asker.ask(server, *requests, provider=provider, concurrency=3)
        assert len(server.calls) <= 3
    assert asker.waits.seconds == []


@pytest.mark.parametrize(
    "fault",
    [Http(404, "The model `m` does not exist", code="model_not_found", kind="not_found_error"), Raw("no", status=404)],
    ids=["model", "path"],
)
def test_an_unknown_model_stops_at_once(asker: Asker, provider: Provider, fault: Outcome) -> None:
    with LoopbackServer(Always(fault)) as server:
        with pytest.raises(ModelNotServedError, match="does not serve the model 'm'"):
            asker.ask_one(server, provider=provider)
        assert len(server.calls) == 1


@pytest.mark.parametrize(
    ("fault", "settings", "said"),
    [
        (Http(400, "`temperature` is deprecated"), {"temperature": 0.0}, "temperature = 0 .* remove `temperature`"),
        (Http(400, "use another voice", code="unsupported_parameter"), {}, "refuses a setting"),
    ],
    ids=["temperature", "parameter"],
)
def test_a_setting_that_the_model_refuses_stops_at_once(
    asker: Asker, fault: Outcome, settings: dict[str, float], said: str
) -> None:
    with LoopbackServer(Always(fault)) as server:
        with pytest.raises(LanguageModelError, match=said):
            asker.ask_one(server, **settings)
        assert len(server.calls) == 1


def test_a_request_that_is_refused_as_it_stands_is_a_failure_of_that_call(asker: Asker, provider: Provider) -> None:
    with LoopbackServer(Always(Http(400, "no such tool", kind="invalid_request_error"))) as server:
        outcome = asker.ask_one(server, provider=provider)
        assert isinstance(outcome, CallFailure)
        assert outcome.error_type == "BadRequest"
        assert "no such tool" in outcome.message
        assert len(server.calls) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Http(400, "This model's maximum context length is 8192 tokens", code="context_length_exceeded"),
        Http(400, "prompt is too long: 210000 tokens > 200000 maximum", kind="invalid_request_error"),
        Http(400, "the request exceeds the available context size", code="exceed_context_size_error"),
        Http(413, "Input is too long for the requested model"),
    ],
    ids=["openai", "anthropic", "llama.cpp", "413"],
)
def test_a_prompt_that_the_model_can_not_read_whole_is_too_long(asker: Asker, fault: Outcome) -> None:
    with LoopbackServer(Always(fault)) as server:
        outcome = asker.ask_one(server)
        assert isinstance(outcome, CallFailure)
        assert outcome.error_type == "TooLong"
        assert len(server.calls) == 1


def test_a_flagged_prompt_is_a_refusal_not_a_refused_key(asker: Asker) -> None:
    with LoopbackServer(Always(Http(403, "your input was flagged"))) as server:
        outcome = asker.ask_one(server)
    assert isinstance(outcome, CallFailure)
    assert outcome.error_type == "Refusal"


def test_all_calls_failed_are_as_many_failures(asker: Asker) -> None:
    requests = [label_request(f"feature {i}") for i in range(20)]
    with LoopbackServer(Always(Http(500))) as server:
        outcomes = asker.ask(server, *requests, max_attempts=2)
        assert len(server.calls) == 40
    assert [type(o) for o in outcomes] == [CallFailure] * 20


def test_a_mixture_of_faults_loses_no_call_and_answers_none_twice(asker: Asker, provider: Provider) -> None:
    faults = [*PASSING.values(), Say("no", stop="refusal"), Say("not json")]
    seen: dict[str, int] = {}

    def moody(call: Call) -> Outcome:
        seen[call.user] = seen.get(call.user, 0) + 1
        number = int(call.user.split()[-1])
        return faults[number % len(faults)] if seen[call.user] == 1 else Say(f'{{"label": "{number}"}}')

    requests = [label_request(f"feature {i}") for i in range(64)]
    with LoopbackServer(Always(moody)) as server:
        outcomes = asker.ask(server, *requests, provider=provider)
    for number, outcome in enumerate(outcomes):
        if isinstance(outcome, Reply):
            assert outcome.answer.label == str(number)
        else:
            assert (outcome.error_type, number % len(faults)) == ("Refusal", len(PASSING))
    assert sum(isinstance(o, CallFailure) for o in outcomes) == sum(n % len(faults) == len(PASSING) for n in range(64))
