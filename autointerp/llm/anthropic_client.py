"""Anthropic's messages through the `anthropic` SDK.

The SDK signs, sends and receives; its own retries are off. The fixed part is the system block, marked for the
provider's cache; the answer's schema goes into `output_config`.
"""

from typing import TYPE_CHECKING, Any, Literal

import pydantic
from anthropic import APIConnectionError, APIStatusError, APITimeoutError, AsyncAnthropic

from autointerp.config import ModelConfig
from autointerp.llm.answers import answer_schema
from autointerp.llm.keys import without_key
from autointerp.llm.protocol import AnswerT, RawAnswer, Repair, Request, Trouble
from autointerp.llm.troubles import HttpProblem, not_an_answer, read_problem, refuses_structure

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


class AnthropicProvider:
    """One attempt at Anthropic; see `protocol.Provider`."""

    def __init__(self, config: ModelConfig, key: str) -> None:
        self._config = config
        self._key = key
        self._structured = True
        self._client = AsyncAnthropic(api_key=key, base_url=config.base_url, max_retries=0, timeout=config.timeout_s)

    @property
    def base_url(self) -> str:
        """Where the calls go."""
        return str(self._client.base_url)

    async def send(self, request: Request[AnswerT], repair: Repair | None) -> RawAnswer | Trouble:
        """Make one attempt; a model that can't do structured answers is asked again without."""
        structured = self._structured
        outcome = await self._create(request, repair, structured)
        if structured and isinstance(outcome, HttpProblem) and refuses_structure(outcome):
            self._structured = False
            outcome = await self._create(request, repair, structured=False)
        return read_problem(outcome, self._config) if isinstance(outcome, HttpProblem) else outcome

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _create(
        self, request: Request[AnswerT], repair: Repair | None, structured: bool
    ) -> RawAnswer | Trouble | HttpProblem:
        settings: dict[str, Any] = {}
        if structured:
            wanted = {"type": "json_schema", "schema": answer_schema(request.answer)}
            settings["output_config"] = {"format": wanted}
        if request.temperature is not None:
            # The SDK's own arguments no longer name it; models that take one read it from the body.
            settings["extra_body"] = {"temperature": request.temperature}
        try:
            response = await self._client.messages.with_raw_response.create(
                model=self._config.model,
                max_tokens=request.max_output_tokens,
                system=[{"type": "text", "text": request.system, "cache_control": {"type": "ephemeral"}}],
                messages=_messages(request, repair),
                **settings,
            )
        except APITimeoutError:
            return Trouble("Timeout", f"no answer within {self._config.timeout_s:g} s", retriable=True)
        except APIConnectionError as error:
            reason = type(error.__cause__).__name__ if error.__cause__ else "connection error"
            return Trouble("ConnectionDropped", f"the connection failed ({reason})", retriable=True)
        except APIStatusError as error:
            body = without_key(error.response.text, self._key)
            return HttpProblem(error.status_code, body, dict(error.response.headers))
        return _read(response.http_response.status_code, without_key(response.http_response.text, self._key))


def _messages(request: Request[AnswerT], repair: Repair | None) -> "list[MessageParam]":
    messages: list[MessageParam] = [{"role": "user", "content": request.user}]
    if repair is not None:
        # The provider refuses an empty turn.
        messages.append({"role": "assistant", "content": repair.bad_answer.strip() or "(nothing)"})
        messages.append({"role": "user", "content": repair.complaint})
    return messages


def _read(status: int, body: str) -> RawAnswer | Trouble:
    try:
        message = _Message.model_validate_json(body)
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
    )
