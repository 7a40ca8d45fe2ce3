"""An answer that is there is read, whatever its envelope; an error is one, whatever its status."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.config import ModelConfig
from autointerp.errors import KeyRefusedError
from autointerp.llm import CallFailure, Reply
from autointerp.llm.protocol import RawAnswer
from autointerp.llm.providers.anthropic import read_message
from autointerp.llm.providers.manner import Learned, Manner
from autointerp.llm.providers.openai import read_completion
from autointerp.llm.providers.problem import HttpProblem, said
from autointerp.llm.providers.refusals import is_too_long, words_of
from tests.llm.asking import Asker, Label
from tests.loopback.server import Always, LoopbackServer, Outcome, Provider, Raw, Say, Script

GOOD = '{"label": "months"}'
USAGE = {"prompt_tokens": 10, "completion_tokens": 5}


def completion(message: Any = None, **more: Any) -> str:
    choice = {"message": {"content": GOOD} if message is None else message, "finish_reason": "stop"}
    return json.dumps({"model": "m", "choices": [choice], "usage": USAGE, **more})


def message(content: Any = None, **more: Any) -> str:
    blocks = [{"type": "text", "text": GOOD}] if content is None else content
    usage = {"input_tokens": 10, "output_tokens": 5}
    return json.dumps({"model": "m", "content": blocks, "stop_reason": "end_turn", "usage": usage, **more})


def in_stream(*events: Any) -> str:
    return "".join(f"event: x\ndata: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"


HALVES = GOOD[:9], GOOD[9:]
THOUGHT = {"type": "thinking", "thinking": [{"type": "text", "text": "perhaps keys"}]}
OPENAI_ENVELOPES = {
    "plain": completion(),
    "parts": completion(
        {"content": [THOUGHT, {"type": "text", "text": HALVES[0]}, {"type": "text", "text": HALVES[1]}]}
    ),
    "output text": completion({"content": [{"type": "output_text", "text": GOOD}]}),
    "texts": completion({"content": list(HALVES)}),
    "object": completion({"content": json.loads(GOOD)}),
    "tool call": completion({"content": None, "tool_calls": [{"function": {"name": "answer", "arguments": GOOD}}]}),
    "tool call with an object": completion({"tool_calls": [{"function": {"arguments": json.loads(GOOD)}}]}),
    "where thoughts stand": completion({"content": "\n\n", "reasoning_content": GOOD}),
    "refusal is false": completion({"content": GOOD, "refusal": False}),
    "refusal is empty": completion({"content": GOOD, "refusal": "", "tool_calls": [], "audio": None}),
    "no reason to finish": completion(choices=[{"message": {"content": GOOD}}]),
    "text of old": completion(choices=[{"text": GOOD, "finish_reason": None}]),
    "no error": completion(error=None),
    "an error beside a whole answer": completion(error={"message": "logging failed", "code": 500}),
    "byte order mark": "\ufeff" + completion(),
    "blanks": "\n \n" * 50 + completion() + "\n\n",
    "comments of a router": ": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n" + completion(),
    "stream": in_stream(
        {"model": "m", "choices": [{"delta": {"role": "assistant", "content": ""}}]},
        *({"model": "m", "choices": [{"delta": {"content": half}}]} for half in HALVES),
        {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": None},
        {"choices": [], "usage": USAGE},
    ),
    "one event": in_stream(json.loads(completion())),
    "line break in a string": completion(id="a\nb").replace("\\n", "\n"),
    "message without a field": completion(choices=[{"message": GOOD}]),
    "huge figure": completion(created=0).replace('"created": 0', '"created": ' + "9" * 5000),
    "wrapped": json.dumps({"code": 200, "message": "success", "data": json.loads(completion())}),
    "wrapped with its errors": json.dumps({"result": json.loads(completion()), "success": True, "errors": []}),
    "wrapped as text": json.dumps({"statusCode": 200, "body": completion()}),
    "written as a string": json.dumps(completion()),
    "written as a string behind a byte order mark": "\ufeff " + json.dumps(completion()),
    "one choice of two is empty": completion(choices=[{"message": {"content": ""}}, {"message": {"content": GOOD}}]),
    "choices by number": completion(choices={"0": {"message": {"content": GOOD}, "finish_reason": "stop"}}),
    "choices of text": completion(choices=[GOOD]),
    "parsed": completion({"content": None, "parsed": json.loads(GOOD)}),
    "a type in capitals": completion({"content": [{"type": "TEXT", "text": GOOD}]}),
    "stream of another line end": in_stream(json.loads(completion())).replace("\n", "\r"),
    "odd thoughts": completion({"content": GOOD, "reasoning_content": "\ud83d"}),
}
ANTHROPIC_ENVELOPES = {
    "plain": message(),
    "thoughts first": message([{"type": "thinking", "thinking": "perhaps"}, {"type": "text", "text": GOOD}]),
    "text": message(GOOD),
    "tool call": message([{"type": "tool_use", "name": "answer", "input": json.loads(GOOD)}], stop_reason="tool_use"),
    "where thoughts stand": message([{"type": "thinking", "thinking": GOOD}, {"type": "text", "text": ""}]),
    "no reason to stop": message(stop_reason=None),
    "wrapped": json.dumps({"code": 200, "message": "success", "data": json.loads(message())}),
    "wrapped as text": json.dumps({"statusCode": 200, "body": message()}),
    "comments": ": ping\n\n" + message(),
    "stream": in_stream(
        {"type": "message_start", "message": {"model": "m", "content": [], "usage": {"input_tokens": 10}}},
        *({"type": "content_block_delta", "delta": {"type": "text_delta", "text": half}} for half in HALVES),
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
    ),
}


@pytest.mark.parametrize("body", OPENAI_ENVELOPES.values(), ids=OPENAI_ENVELOPES.keys())
def test_an_answer_of_openais_protocol_is_read_in_any_envelope(body: str) -> None:
    read = read_completion(200, body)
    assert isinstance(read, RawAnswer)
    assert (json.loads(read.text), read.stop) == ({"label": "months"}, "complete")
    assert (read.input_tokens, read.output_tokens, read.model) == (10, 5, "m")


@pytest.mark.parametrize("body", ANTHROPIC_ENVELOPES.values(), ids=ANTHROPIC_ENVELOPES.keys())
def test_an_answer_of_anthropics_protocol_is_read_in_any_envelope(body: str) -> None:
    read = read_message(200, body)
    assert isinstance(read, RawAnswer)
    assert (json.loads(read.text), read.stop) == ({"label": "months"}, "complete")
    assert (read.input_tokens, read.output_tokens, read.model) == (10, 5, "m")


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        (USAGE | {"prompt_tokens_details": {"cached_tokens": 4}}, (10, 4, 5)),
        (USAGE | {"prompt_tokens_details": []}, (10, 0, 5)),
        (USAGE | {"prompt_tokens_details": {"cached_tokens": 99}}, (10, 10, 5)),
        ({"prompt_tokens": 12.5, "completion_tokens": "5"}, (13, 0, 5)),
        ({"prompt_tokens": None, "completion_tokens": None}, (0, 0, 0)),
        ({"prompt_tokens": 10, "completion_tokens": None}, (0, 0, 0)),
        ({"prompt_tokens": None, "completion_tokens": 5}, (0, 0, 5)),
        ({"prompt_tokens": -10, "completion_tokens": True}, (0, 0, 0)),
        ({"prompt_tokens": 1e300, "completion_tokens": float("nan")}, (0, 0, 0)),
        (None, (0, 0, 0)),
        ([], (0, 0, 0)),
    ],
)
def test_a_count_that_can_not_be_read_is_an_unknown_one(usage: Any, counts: tuple[int, int, int]) -> None:
    read = read_completion(200, completion(usage=usage))
    assert isinstance(read, RawAnswer)
    assert (read.input_tokens, read.cached_input_tokens, read.output_tokens) == counts
    assert read.text == GOOD


def test_anthropics_counts_are_read_alike() -> None:
    usage: dict[str, Any] = {
        "input_tokens": None,
        "cache_read_input_tokens": 7,
        "cache_creation_input_tokens": [],
        "output_tokens": 5,
    }
    read = read_message(200, message(usage=usage))
    assert isinstance(read, RawAnswer)
    assert (read.input_tokens, read.cached_input_tokens, read.output_tokens) == (7, 7, 5)


def test_half_a_surrogate_pair_is_replaced_and_two_halves_are_joined(asker: Asker) -> None:
    halves = [{"type": "text", "text": "\ud83d"}, {"type": "text", "text": "\ude00 \ud83d"}]
    body = completion({"content": [{"type": "text", "text": '{"label": "'}, *halves, {"type": "text", "text": '"}'}]})
    with LoopbackServer(Always(Raw(body, content_type="text/plain"))) as server:
        first, again = asker.ask_one(server), asker.ask_one(server)
        assert len(server.calls) == 1
    assert isinstance(first, Reply)
    assert isinstance(again, Reply)
    assert first.answer == again.answer == Label(label="😀 �")


@pytest.mark.parametrize(
    ("body", "stop"),
    [
        (completion({"content": None, "refusal": "I'd rather not."}), "refusal"),
        (completion({"content": [{"type": "refusal", "refusal": "I'd rather not."}]}), "refusal"),
        (completion(choices=[{"message": {}, "finish_reason": "SAFETY"}]), "refusal"),
        (completion(choices=[{"message": {"content": '{"la'}, "finish_reason": "MAX_TOKENS"}]), "truncated"),
        (completion(choices=[{"message": {"content": '{"la'}, "finish_reason": "model_length"}]), "truncated"),
        (completion(choices=[{"finish_reason": "length"}]), "truncated"),
        (completion(choices=[]), "complete"),
    ],
)
def test_what_was_paid_and_is_no_answer_is_told_apart(body: str, stop: str) -> None:
    read = read_completion(200, body)
    assert isinstance(read, RawAnswer)
    assert (read.stop, read.output_tokens) == (stop, 5)


def test_thoughts_without_an_answer_are_none(asker: Asker) -> None:
    drafting = {"content": None, "reasoning_content": f"Perhaps {GOOD}? Keys rather."}
    with LoopbackServer(Script(Raw(completion(drafting)), then=Always(Say('{"label": "keys"}')))) as server:
        outcome = asker.ask_one(server)
        assert server.calls[1].turns[1] == ("assistant", f"<think>{drafting['reasoning_content']}")
    assert isinstance(outcome, Reply)
    assert outcome.answer == Label(label="keys")


@pytest.mark.parametrize(
    ("text", "is_read"),
    [(GOOD + "\n" * 90, True), (f"```json\n{GOOD}\n```", True), (f"Is it {GOOD}? Let me", False), (GOOD[:-1], False)],
)
def test_an_answer_that_ended_before_the_limit_is_not_cut_short(
    asker: Asker, provider: Provider, text: str, is_read: bool
) -> None:
    with LoopbackServer(Always(Say(text, stop="truncated"))) as server:
        outcome = asker.ask_one(server, provider=provider)
        assert len(server.calls) == 1
    assert isinstance(outcome, Reply if is_read else CallFailure)


@pytest.mark.parametrize(
    ("body", "stop"),
    [
        (message([], stop_reason="refusal"), "refusal"),
        (message(stop_reason="model_context_window_exceeded"), "truncated"),
        (message(stop_reason="max_tokens"), "truncated"),
    ],
)
def test_what_anthropic_stops_for_is_told_apart(body: str, stop: str) -> None:
    read = read_message(200, body)
    assert isinstance(read, RawAnswer)
    assert read.stop == stop


BUSY = {
    "code": '{"error": {"message": "Provider returned error", "code": 429}, "user_id": "u"}',
    "code as text": '{"error": {"message": "busy", "code": "429"}}',
    "kind": '{"error": {"message": "busy", "type": "overloaded_error"}}',
    "anthropics": '{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}',
    "googles": '[{"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}]',
    "beside its words": '{"message": "busy", "code": 503}',
    "vllms": '{"object": "error", "message": "busy", "type": "ServiceUnavailable", "code": 503}',
    "without an error": '{"choices": null, "base_resp": {"status_code": 1002, "status_msg": "rate limit exceeded"}}',
    "in words only": '{"error_code": 336501, "error_msg": "The server is busy, please try again later"}',
    "in an event": 'data: {"choices": [{"delta": {"content": "{\\"la"}}]}\n\ndata: {"error": {"code": 529}}\n\n',
    "page": "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>",
    "heading": "<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>",
}


@pytest.mark.parametrize("body", BUSY.values(), ids=BUSY.keys())
def test_a_busy_server_is_waited_for_also_where_it_says_so_with_200(
    asker: Asker, provider: Provider, body: str
) -> None:
    busy = Raw(body, content_type="application/json")
    with LoopbackServer(Script(busy, busy, busy, then=Always(Say(GOOD)))) as server:
        assert isinstance(asker.ask_one(server, provider=provider, max_attempts=1), Reply)
        assert len(server.calls) == 4


def test_an_error_that_says_it_is_none_costs_no_answer(asker: Asker) -> None:
    body = completion(error="ok", choices=[{"message": {"content": f"Here it is: {GOOD}"}}])
    with LoopbackServer(Always(Raw(body))) as server:
        assert isinstance(asker.ask_one(server), Reply)
        assert len(server.calls) == 1


def test_an_error_beside_a_whole_answer_costs_nothing(asker: Asker) -> None:
    body = completion({"content": f"Here it is: {GOOD}"}, error={"message": "logging failed", "code": 500})
    with LoopbackServer(Always(Raw(body, content_type="application/json"))) as server:
        assert isinstance(asker.ask_one(server), Reply)
        assert len(server.calls) == 1


def test_a_filter_that_speaks_up_behind_a_whole_answer_takes_nothing_back(asker: Asker) -> None:
    whole, cut = ([{"message": {"content": text}, "finish_reason": "content_filter"}] for text in (GOOD, '{"la'))
    with LoopbackServer(Always(Raw(completion(choices=whole)))) as server:
        assert isinstance(asker.ask_one(server), Reply)
    with LoopbackServer(Always(Raw(completion(choices=cut)))) as server:
        outcome = asker.ask_one(server)
    assert isinstance(outcome, CallFailure)
    assert outcome.error_type == "Refusal"


def test_an_answer_is_read_as_utf_8_whatever_charset_is_declared(asker: Asker) -> None:
    body = completion({"content": '{"label": "août ☀"}'}).replace("\\u2600", "☀")
    latin = Raw(body, content_type="application/json; charset=ISO-8859-1")
    with LoopbackServer(Always(latin)) as server:
        outcome = asker.ask_one(server)
    assert isinstance(outcome, Reply)
    assert isinstance(outcome.answer, Label)
    assert outcome.answer.label == "août ☀"


def test_an_error_in_a_choice_is_no_answer_cut_short(asker: Asker) -> None:
    lost = {"code": 502, "message": "Network connection lost"}
    cut = [{"message": {"content": '{"la'}, "finish_reason": "error", "error": lost}]
    busy = Raw(completion(choices=cut), content_type="application/json")
    with LoopbackServer(Script(busy, busy, then=Always(Say(GOOD)))) as server:
        assert isinstance(asker.ask_one(server, max_attempts=1), Reply)
        assert len(server.calls) == 3


@pytest.mark.parametrize(
    ("body", "error_type", "n_calls"),
    [
        ('{"error": "Trying to keep the first 5000 tokens when context the overflows. The model is loaded with context'
         ' length of only 4096 tokens"}', "TooLong", 1),
        ('{"error": {"message": "maximum context length is 4096 tokens", "code": 400}}', "TooLong", 1),
        ('{"error": {"message": "your input was flagged", "code": 403}}', "Refusal", 1),
        ('{"error": {"message": "no such voice", "code": 400}}', "BadRequest", 1),
        ('{"error": "model crashed"}', "ServerError", 2),
        ('{"detail": "Internal"}', "ServerError", 2),
        ('{"choices": [], "usage": {}}', "ServerError", 2),
    ],
)  # fmt: skip
def test_an_error_in_a_success_is_read_as_if_it_were_the_status(
    asker: Asker, body: str, error_type: str, n_calls: int
) -> None:
    with LoopbackServer(Always(Raw(body, content_type="application/json"))) as server:
        outcome = asker.ask_one(server, max_attempts=2)
        assert len(server.calls) == n_calls
    assert isinstance(outcome, CallFailure)
    assert outcome.error_type == error_type


def test_an_account_without_credit_stops_the_run_also_with_200(asker: Asker) -> None:
    spent = Raw('{"error": {"message": "Insufficient credits", "code": 402}}', content_type="application/json")
    with (
        LoopbackServer(Always(spent)) as server,
        pytest.raises(KeyRefusedError, match=r"credit or quota is used up.*: add credit"),
    ):
        asker.ask_one(server)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('{"error": "model not loaded"}', "model not loaded"),
        ('{"detail": "Not today"}', "Not today"),
        ('{"detail": [{"loc": ["body", "n"], "msg": "too many", "input": "SENT"}]}', "body.n: too many"),
        ('{"message": "no such voice"}', "no such voice"),
        ('{"success": false, "errors": [{"code": 7009, "message": "no voice"}]}', "no voice"),
        ('{"code": 1302, "msg": "no \\u001b[31mvoice"}', "no [31mvoice"),
        ('{"error": {"message": "Provider returned error", "metadata": {"raw": "{\\"error\\": \\"no voice\\"}"}}}',
         "Provider returned error: no voice"),
        ('{"error": {"message": "half \\ud83d"}}', "half �"),
        ("<html><head><title>400 Bad\nRequest</title><style>a {}</style></head></html>", "400 Bad Request"),
        ("", "an empty body"),
    ],
)  # fmt: skip
def test_a_failure_says_what_the_server_said(asker: Asker, body: str, told: str) -> None:
    with LoopbackServer(Always(Raw(body, status=400))) as server:
        outcome = asker.ask_one(server)
    assert isinstance(outcome, CallFailure)
    assert (outcome.error_type, outcome.message) == ("BadRequest", f"HTTP 400: {told}")


@pytest.mark.parametrize(("usd_in", "usd_out"), [(1.0, 1.0), (0.0, 1.0), (1.0, 0.0)])
def test_a_flaw_in_an_envelope_is_not_paid_twice_and_its_cost_unknown(
    asker: Asker, provider: Provider, usd_in: float, usd_out: float
) -> None:
    bodies: dict[Provider, Outcome] = {
        "openai": Raw(completion(usage={"prompt_tokens": None}), content_type="text/plain"),
        "anthropic": Raw(message(usage={"input_tokens": None}), content_type="text/plain"),
    }
    with LoopbackServer(Always(bodies[provider])) as server:
        prices = {"usd_per_million_input": usd_in, "usd_per_million_output": usd_out}
        outcome = asker.ask_one(server, provider=provider, **prices)
        assert len(server.calls) == 1
    assert isinstance(outcome, Reply)
    assert outcome.usage.cost_usd is None


_NAMES = st.sampled_from(["content", "text", "type", "code", "message", "refusal", "loc", "msg", "metadata", "raw"])
_COUNTS = st.sampled_from(
    ["prompt_tokens", "completion_tokens", "prompt_tokens_details", "input_tokens", "output_tokens"]
)
_ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=12,
)
_CHOICE = st.fixed_dictionaries({}, optional={"message": _ODD, "delta": _ODD, "finish_reason": _ODD, "error": _ODD})
_BODY = st.fixed_dictionaries(
    {},
    optional={
        "choices": st.lists(_CHOICE, max_size=2) | _ODD,
        "usage": st.dictionaries(_COUNTS, _ODD, max_size=4) | _ODD,
        **dict.fromkeys(("content", "error", "model", "message", "detail", "errors", "stop_reason"), _ODD),
    },
)


@given(_BODY | _ODD, st.sampled_from([200, 400, 404, 429, 500]))
def test_no_body_however_odd_breaks_the_reading(value: Any, status: int) -> None:
    body = json.dumps(value)
    for read in (read_completion(200, body), read_message(200, body)):
        if isinstance(read, RawAnswer):
            read.text.encode()
            assert 0 <= read.cached_input_tokens + read.cache_write_tokens <= read.input_tokens
    said(body).encode()
    is_too_long(status, words_of(body))
    Learned(ModelConfig(base_url="http://h/v1")).learn(Manner(), HttpProblem(status, body), 4096)
