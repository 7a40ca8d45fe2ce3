"""A stream's events come to one answer, whatever its server leaves empty in them."""

import json
from typing import Any

import pytest

from autointerp.llm.protocol import RawAnswer
from autointerp.llm.providers.anthropic import read_message
from autointerp.llm.providers.openai import read_completion

GOOD = '{"label": "months"}'
HALVES = GOOD[:9], GOOD[9:]
USAGE = {"prompt_tokens": 10, "completion_tokens": 5}
END = ({"choices": [{"delta": {}, "finish_reason": "stop"}]}, {"model": "m", "choices": [], "usage": USAGE})


def in_stream(*events: Any) -> str:
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"


def deltas(*found: Any) -> list[Any]:
    return [{"model": "m", "choices": [{"delta": delta}]} for delta in found]


WORDS = deltas(*({"content": half} for half in HALVES))
CALL = {"id": "c", "type": "function", "function": {"name": "answer", "arguments": ""}}
OPENAI = {
    "content is null": [*deltas({"role": "assistant", "content": None}), *WORDS, *END],
    "role only": [*deltas({"role": "assistant"}), *WORDS, *END],
    "content is null behind": [*WORDS, *deltas({"content": None, "refusal": None}), *END],
    "thoughts are null": [
        *deltas({"content": None, "reasoning_content": "so"}, {"reasoning_content": None, "content": HALVES[0]}),
        *deltas({"reasoning_content": None, "content": HALVES[1]}),
        *END,
    ],
    "delta is null": [*deltas(None), *WORDS, *deltas(None), *END],
    "a delta is text": [*deltas(*HALVES), *END],
    "choices are null": [{"choices": None}, *WORDS, {"choices": None}, *END],
    "a choice is null": [{"choices": [None]}, *WORDS, {"choices": [None]}, *END],
    "usage is null": [{**event, "usage": None} for event in WORDS] + [*END, {"choices": [], "usage": None}],
    "a count is null": [*WORDS, *END, {"choices": [], "usage": dict.fromkeys(USAGE)}],
    "model is null": [*WORDS, *END, {"model": None, "choices": []}],
    "tool calls are null": [*deltas({"content": None, "tool_calls": None}), *WORDS, *END],
    "tool calls are null behind": [*WORDS, *deltas({"tool_calls": None, "function_call": None}), *END],
    "reason is null behind": [*WORDS, END[0], {"choices": [{"delta": {}, "finish_reason": None}]}, END[1]],
    "a tool call in pieces": [
        *deltas({"content": None, "tool_calls": [{"index": 0, **CALL}]}),
        *deltas(*({"tool_calls": [{"index": 0, "id": None, "function": {"arguments": half}}]} for half in HALVES)),
        *END,
    ],
    "a function call in pieces": [*deltas(*({"function_call": {"arguments": half}} for half in HALVES)), *END],
    "parts": [
        *deltas({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "so"}]}]}),
        *deltas({"content": [{"type": "text", "text": HALVES[0]}]}, {"content": HALVES[1]}),
        *END,
    ],
    "text of old": [{"model": "m", "choices": [{"text": half}]} for half in HALVES] + [*END],
    "the reason twice": [*WORDS, END[0], *END],
}
START: dict[str, Any] = {
    "type": "message_start",
    "message": {"model": "m", "content": [], "usage": {"input_tokens": 10}},
}
TEXTS: list[dict[str, Any]] = [
    {"type": "content_block_delta", "delta": {"type": "text_delta", "text": half}} for half in HALVES
]
STOP: dict[str, Any] = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}}
ANTHROPIC = {
    "delta is null": [START, {"type": "content_block_delta", "delta": None}, *TEXTS, STOP],
    "text is null": [START, {"type": "content_block_delta", "delta": {"text": None}}, *TEXTS, STOP],
    "message is null": [START, {"type": "message_start", "message": None}, *TEXTS, STOP],
    "content is null": [{**START, "message": {**START["message"], "content": None}}, *TEXTS, STOP],
    "usage is null": [START, *TEXTS, STOP, {"type": "message_delta", "delta": {}, "usage": None}],
    "a count is null": [START, *TEXTS, {**STOP, "usage": {"input_tokens": None, "output_tokens": 5}}],
    "error is null": [START, *({**event, "error": None} for event in TEXTS), STOP],
    "model is null behind": [START, *TEXTS, {**STOP, "delta": {"stop_reason": "end_turn", "model": None}}],
    "text where a block begins": [
        START,
        {"type": "content_block_start", "content_block": {"type": "text", "text": HALVES[0]}},
        TEXTS[1],
        STOP,
    ],
    "one whole message behind a ping": [
        {"type": "ping"},
        {
            "type": "message",
            "model": "m",
            "content": [{"type": "text", "text": GOOD}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 10, "output_tokens": 5},
        },
    ],
}


@pytest.mark.parametrize("events", OPENAI.values(), ids=OPENAI.keys())
def test_what_is_empty_in_a_stream_of_openais_protocol_costs_nothing(events: list[Any]) -> None:
    read = read_completion(200, in_stream(*events))
    assert read == RawAnswer(GOOD, "complete", "m", 10, 0, 5)


@pytest.mark.parametrize("events", ANTHROPIC.values(), ids=ANTHROPIC.keys())
def test_what_is_empty_in_a_stream_of_anthropics_protocol_costs_nothing(events: list[Any]) -> None:
    read = read_message(200, in_stream(*events))
    assert read == RawAnswer(GOOD, "complete", "m", 10, 0, 5)


def test_why_a_stream_stops_is_the_last_reason_that_it_gives() -> None:
    cut = {"choices": [{"delta": {"content": None}, "finish_reason": "length"}]}
    read = read_completion(200, in_stream(*WORDS, cut, cut, END[1]))
    assert isinstance(read, RawAnswer)
    assert read.stop == "truncated"
    full = {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 5}}
    behind = {"type": "message_delta", "delta": {"stop_reason": None}, "usage": None}
    message = read_message(200, in_stream(START, *TEXTS, full, behind))
    assert isinstance(message, RawAnswer)
    assert message.stop == "truncated"


def test_a_refusal_in_pieces_is_one() -> None:
    pieces = deltas({"content": None, "refusal": None}, {"refusal": "I'd "}, {"content": None, "refusal": "not."})
    read = read_completion(200, in_stream(*pieces, *END))
    assert read == RawAnswer("I'd not.", "refusal", "m", 10, 0, 5)
