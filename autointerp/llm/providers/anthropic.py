"""Anthropic's messages through the `anthropic` SDK.

The SDK signs, sends and receives; its own retries are off. The fixed part is the system block, marked for the
provider's cache; the answer's schema goes into `output_config`.
"""

from typing import TYPE_CHECKING, Any, Literal

import pydantic
from anthropic import APIConnectionError, APIStatusError, AsyncAnthropic, DefaultAioHttpClient
from httpx2 import Limits, Response

from autointerp.config import ModelConfig
from autointerp.llm.answers import answer_schema
from autointerp.llm.limits.headers import anthropic_limits
from autointerp.llm.protocol import AnswerT, RawAnswer, Repair, Request, Sent, ServerLimits, Trouble
from autointerp.llm.providers.connections import UNWRAPPED, broken_connection
from autointerp.llm.providers.errors import HttpProblem, not_an_answer, read_problem, refuses_structure
from autointerp.llm.providers.keys import without_key

if TYPE_CHECKING:
    from anthropic.types import MessageParam

_STOPS: dict[str | None, Literal["truncated", "refusal"]] = {
    "max_tokens": "truncated",
    "model_context_window_exceeded": "truncated",
    "refusal": "refusal",
}

# No limit of its own: how many calls are in flight is the gate's to say, which several models may share.
_MOST_CONNECTIONS = 10_000


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
        self._was_reached = False
        # httpx's pool looks at every connection at each request; aiohttp's does not.
        http = DefaultAioHttpClient(limits=Limits(max_connections=_MOST_CONNECTIONS), timeout=config.timeout_s)
        self._client = AsyncAnthropic(
            api_key=key, base_url=config.base_url, max_retries=0, timeout=config.timeout_s, http_client=http
        )

    @property
    def base_url(self) -> str:
        """Where the calls go."""
        return str(self._client.base_url)

    async def send(self, request: Request[AnswerT], repair: Repair | None) -> Sent:
        """Make one attempt; a model that can't do structured answers is asked again without."""
        structured = self._structured
        outcome, limits = await self._post(message_body(request, repair, self._config, structured=structured))
        if structured and isinstance(outcome, HttpProblem) and refuses_structure(outcome):
            self._structured = False
            outcome, limits = await self._post(message_body(request, repair, self._config, structured=False))
        return Sent(read_problem(outcome, self._config) if isinstance(outcome, HttpProblem) else outcome, limits)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _post(self, body: dict[str, Any]) -> tuple[RawAnswer | Trouble | HttpProblem, ServerLimits | None]:
        try:
            # `messages.create` checks and copies what it is given: see sdk and sdk-post in benchmarks/llm.md.
            response = await self._client.post("/v1/messages", body=body, cast_to=Response)
        except APIStatusError as error:
            self._was_reached = True
            headers = error.response.headers
            problem = HttpProblem(error.status_code, without_key(error.response.text, self._key), dict(headers))
            return problem, anthropic_limits(headers)
        except (APIConnectionError, *UNWRAPPED) as error:
            return broken_connection(error, self._config.timeout_s, was_reached=self._was_reached), None
        self._was_reached = True
        answer = read_message(response.status_code, without_key(response.text, self._key))
        return answer, anthropic_limits(response.headers)


def message_body(
    request: Request[AnswerT], repair: Repair | None, config: ModelConfig, *, structured: bool
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
        cache_write_tokens=usage.cache_creation_input_tokens or 0,
    )
