"""Anthropic's messages through the `anthropic` SDK.

The fixed part is the system block, marked for the provider's cache; the answer's schema goes into `output_config`.
"""

from typing import TYPE_CHECKING, Any, Literal

import anthropic
import pydantic

from autointerp.config import ModelConfig
from autointerp.json_text import without_half_pairs
from autointerp.llm.answers import answer_schema
from autointerp.llm.limits.headers import anthropic_limits
from autointerp.llm.protocol import AnswerT, RawAnswer, Repair, Request, Trouble
from autointerp.llm.providers.errors import not_an_answer
from autointerp.llm.providers.sdk import Dialect

if TYPE_CHECKING:
    from anthropic.types import MessageParam

_STOPS: dict[str | None, Literal["truncated", "refusal"]] = {
    "max_tokens": "truncated",
    "model_context_window_exceeded": "truncated",
    "refusal": "refusal",
}


class _Usage(pydantic.BaseModel):
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


class _Block(pydantic.BaseModel):
    type: str
    text: str = ""


class _Message(pydantic.BaseModel):
    content: list[_Block]
    stop_reason: str | None = None
    usage: _Usage = _Usage()
    model: str = ""


def message_body(
    request: Request[AnswerT], repair: Repair | None, config: ModelConfig, structured: bool
) -> dict[str, Any]:
    """The JSON of a call: what stands in a batch too.

    Args:
        request: What is asked.
        repair: The second turn, if this is one.
        config: The model.
        structured: Whether the answer's schema is sent along.
    """
    body: dict[str, Any] = {
        "model": config.model,
        "max_tokens": request.max_output_tokens,
        "system": [{"type": "text", "text": request.system, "cache_control": {"type": "ephemeral"}}],
        "messages": _messages(request, repair),
    }
    if structured:
        wanted = {"type": "json_schema", "schema": answer_schema(request.answer)}
        body["output_config"] = {"format": wanted}
    if request.temperature is not None:
        body["temperature"] = request.temperature
    return body


def _messages(request: Request[AnswerT], repair: Repair | None) -> "list[MessageParam]":
    messages: list[MessageParam] = [{"role": "user", "content": request.user}]
    if repair is not None:
        # The provider refuses an empty turn.
        messages.append({"role": "assistant", "content": repair.bad_answer.strip() or "(nothing)"})
        messages.append({"role": "user", "content": repair.complaint})
    return messages


def read_message(status: int, body: str) -> RawAnswer | Trouble:
    """Read the JSON of an answer: what stands in a batch's results too."""
    try:
        message = _Message.model_validate_json(without_half_pairs(body))
    except pydantic.ValidationError as error:
        return not_an_answer(status, body, error.errors(include_url=False, include_input=False)[0]["msg"])
    usage = message.usage
    cached = usage.cache_read_input_tokens or 0
    return RawAnswer(
        text="".join(block.text for block in message.content if block.type == "text"),
        stop=_STOPS.get(message.stop_reason, "complete"),
        model=message.model,
        # This provider counts cached tokens apart from the rest.
        input_tokens=usage.input_tokens + cached + (usage.cache_creation_input_tokens or 0),
        cached_input_tokens=cached,
        output_tokens=usage.output_tokens,
        cache_write_tokens=usage.cache_creation_input_tokens or 0,
    )


ANTHROPIC = Dialect(anthropic, anthropic.AsyncAnthropic, "/v1/messages", message_body, read_message, anthropic_limits)
