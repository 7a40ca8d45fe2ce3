"""OpenAI's chat completions, and every server that speaks them, through the `openai` SDK.

The answer's envelope is read here, since servers that imitate the protocol differ in what they leave out, and the SDK
does not check what it is given.
"""

from typing import TYPE_CHECKING, Any

import openai
import pydantic

from autointerp.config import ModelConfig
from autointerp.json_text import without_half_pairs
from autointerp.llm.answers import answer_schema
from autointerp.llm.limits.headers import openai_limits
from autointerp.llm.protocol import AnswerT, RawAnswer, Repair, Request, Trouble
from autointerp.llm.providers.errors import not_an_answer
from autointerp.llm.providers.sdk import Dialect

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam


class _Cached(pydantic.BaseModel):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _Usage(pydantic.BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Cached | None = None


class _Message(pydantic.BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(pydantic.BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Completion(pydantic.BaseModel):
    choices: list[_Choice] = pydantic.Field(min_length=1)
    usage: _Usage | None = None
    model: str | None = None


def completion_body(
    request: Request[AnswerT], repair: Repair | None, config: ModelConfig, structured: bool
) -> dict[str, Any]:
    """The JSON of a call: what stands in a batch's file too.

    Args:
        request: What is asked.
        repair: The second turn, if this is one.
        config: The model.
        structured: Whether the answer's schema is sent along.
    """
    body: dict[str, Any] = {
        "model": config.model,
        "messages": _messages(request, repair),
        _limit_name(config): request.max_output_tokens,
    }
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if structured:
        wanted = {"name": "answer", "strict": True, "schema": answer_schema(request.answer)}
        body["response_format"] = {"type": "json_schema", "json_schema": wanted}
    return body


def _limit_name(config: ModelConfig) -> str:
    # OpenAI's reasoning models refuse `max_tokens`; most compatible servers know only that.
    return "max_completion_tokens" if config.base_url is None else "max_tokens"


def _messages(request: Request[AnswerT], repair: Repair | None) -> "list[ChatCompletionMessageParam]":
    messages: list[ChatCompletionMessageParam] = [
        {"role": "system", "content": request.system},
        {"role": "user", "content": request.user},
    ]
    if repair is not None:
        messages.append({"role": "assistant", "content": repair.bad_answer})
        messages.append({"role": "user", "content": repair.complaint})
    return messages


def read_completion(status: int, body: str) -> RawAnswer | Trouble:
    """Read the JSON of an answer: what stands in a batch's results too."""
    try:
        completion = _Completion.model_validate_json(without_half_pairs(body))
    except pydantic.ValidationError as error:
        return not_an_answer(status, body, error.errors(include_url=False, include_input=False)[0]["msg"])
    choice, usage = completion.choices[0], completion.usage or _Usage()
    refused = choice.message.refusal or (choice.finish_reason == "content_filter" and "stopped by the content filter")
    cached = usage.prompt_tokens_details or _Cached()
    return RawAnswer(
        text=choice.message.content or choice.message.refusal or "",
        stop="refusal" if refused else "truncated" if choice.finish_reason == "length" else "complete",
        model=completion.model or "",
        input_tokens=usage.prompt_tokens,
        cached_input_tokens=cached.cached_tokens or 0,
        output_tokens=usage.completion_tokens,
        cache_write_tokens=cached.cache_write_tokens or 0,
    )


OPENAI = Dialect(openai, openai.AsyncOpenAI, "/chat/completions", completion_body, read_completion, openai_limits)
