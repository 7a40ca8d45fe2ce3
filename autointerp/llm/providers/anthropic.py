"""Anthropic's messages through the `anthropic` SDK.

The fixed part is the system block, marked for the provider's cache; the answer's schema goes into `output_config`.
"""

from typing import TYPE_CHECKING, Any

import anthropic

from autointerp.config import ModelConfig
from autointerp.llm.answers import answer_schema
from autointerp.llm.limits.headers import anthropic_limits
from autointerp.llm.protocol import AnswerT, RawAnswer, Repair, Request, Trouble
from autointerp.llm.providers.body import (
    Json,
    Stop,
    arguments_of,
    count,
    holder_of,
    is_whole,
    joined,
    mapping,
    paid_answer,
    read_objects,
    text_of,
    thoughts_of,
    turn_of,
)
from autointerp.llm.providers.manner import Manner
from autointerp.llm.providers.problem import HttpProblem, busy_instead, error_in, not_an_answer, page_problem
from autointerp.llm.providers.sdk import Dialect

if TYPE_CHECKING:
    from anthropic.types import MessageParam

_STOPS: dict[str, Stop] = {
    "max_tokens": "truncated",
    "model_context_window_exceeded": "truncated",
    "refusal": "refusal",
}


def message_body(
    request: Request[AnswerT], repair: Repair | None, config: ModelConfig, manner: Manner
) -> dict[str, Any]:
    """The JSON of a call: what stands in a batch too.

    Args:
        request: What is asked.
        repair: The second turn, if this is one.
        config: The model.
        manner: How the model is asked.
    """
    body: dict[str, Any] = {
        "model": config.model,
        "max_tokens": manner.output_tokens(request.max_output_tokens),
        "messages": _messages(request, repair, manner),
    }
    if manner.has_system:
        mark = {"cache_control": {"type": "ephemeral"}} if manner.marks_cache else {}
        body["system"] = [{"type": "text", "text": request.system, **mark}]
    if manner.structure != "none":
        wanted = {"type": "json_schema", "schema": answer_schema(request.answer)}
        body["output_config"] = {"format": wanted}
    if manner.is_stream:
        body["stream"] = True
    if request.temperature is not None:
        body["temperature"] = request.temperature
    return body


def _messages(request: Request[AnswerT], repair: Repair | None, manner: Manner) -> "list[MessageParam]":
    messages: list[MessageParam] = [{"role": "user", "content": manner.user_turn(request)}]
    if repair is not None:
        messages.append({"role": "assistant", "content": turn_of(repair.bad_answer)})
        messages.append({"role": "user", "content": repair.complaint})
    return messages


def read_message(status: int, body: str) -> RawAnswer | Trouble | HttpProblem:
    """Read the JSON of an answer: what stands in a batch's results too."""
    objects = read_objects(body)
    if not objects:
        return page_problem(body) or not_an_answer(status, body)
    message = objects[0] if len(objects) == 1 else _of_stream(objects)
    message = holder_of("content", message) or message
    content = message.get("content")
    text, usage = _text(content), mapping(message.get("usage"))
    n_output = count(usage.get("output_tokens"))
    problem = error_in(message, body)
    if problem is not None and not is_whole(text):
        return problem
    if content is None and not n_output:
        return busy_instead(body) or not_an_answer(status, body)
    # This provider counts cached tokens apart from the rest.
    n_cached = count(usage.get("cache_read_input_tokens"))
    n_written = count(usage.get("cache_creation_input_tokens"))
    n_input = count(usage.get("input_tokens")) + n_cached + n_written
    stop: Stop = _STOPS.get(str(message.get("stop_reason")), "complete")
    return paid_answer(text, stop, message.get("model"), (n_input, n_cached, n_output, n_written))


def _text(content: Any) -> str:
    """The model's words, wherever the server has put them."""
    blocks = [mapping(block) for block in content] if isinstance(content, list) else []
    calls = "".join(arguments_of(block) for block in blocks if block.get("type") == "tool_use")
    found = (text_of(content), calls, "".join(map(thoughts_of, blocks)))
    return next((text for text in found if text.strip()), "")


def _of_stream(events: list[Json]) -> Json:
    """One message of a stream's events."""
    message: Json = {}
    text = ""
    for event in events:
        if event.get("error"):
            return event
        delta = mapping(event.get("delta"))
        text += text_of(delta.get("text")) + text_of(mapping(event.get("content_block")).get("text"))
        whole = event if event.get("type") == "message" else {"usage": event.get("usage")}
        for piece in (event.get("message"), delta, whole):
            message = joined(message, mapping(piece))
    return message | {"content": text or message.get("content"), "type": "message"}


ANTHROPIC = Dialect(anthropic, anthropic.AsyncAnthropic, "/v1/messages", message_body, read_message, anthropic_limits)
