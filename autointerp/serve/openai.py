"""OpenAI's chat completions, as its own client asks for them and reads them.

What is not offered here is refused, and not passed over, unless it asks for nothing: tools, several answers, formats of
the answer, penalties, log-probabilities. `controller` is ours (`extra_body` of that client); so are `edited`, `events`
and `notes` of an answer. Where nothing is said, answers are drawn as that service draws them: temperature 1, top_p 1,
any seed.
"""

import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request

from autointerp.errors import ServeError, UnknownModelError
from autointerp.library.chat.replies import ChatCompletionChunk
from autointerp.serve.answers import ChatAsked, beginning, streamed
from autointerp.serve.serving import Serving
from autointerp.serve.shapes import Shape
from autointerp.store.known import shown

PREFIX = "/v1"
# `content_filter` is what these clients know of an answer that was ended for what it was about.
_REASONS = {"abort": "content_filter"}


class StreamOptions(Shape):
    """What a stream has besides."""

    include_usage: bool | None = False


class Completion(ChatAsked):
    """A request; the fields behind `max_tokens` may only ask for what is done anyway."""

    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    n: int | None = 1
    logprobs: bool | None = False
    top_logprobs: int | None = 0
    logit_bias: dict[str, float] | None = None
    frequency_penalty: float | None = 0.0
    presence_penalty: float | None = 0.0
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    tool_choice: Any = None
    function_call: Any = None
    response_format: Any = None
    modalities: list[str] | None = None
    audio: Any = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None

    def checked(self) -> "Completion":
        """The request with its settings where the others read them.

        Raises:
            ServeError: If it asks for what is not offered.
        """
        usual: dict[str, tuple[Any, ...]] = {
            "n": (None, 1),
            "logprobs": (None, False),
            "top_logprobs": (None, 0),
            "logit_bias": (None, {}),
            "frequency_penalty": (None, 0.0),
            "presence_penalty": (None, 0.0),
            "tools": (None, []),
            "functions": (None, []),
            "tool_choice": (None, "none", "auto"),
            "function_call": (None, "none", "auto"),
            "response_format": (None, {"type": "text"}),
            "modalities": (None, ["text"]),
            "audio": (None,),
            "top_k": (None, -1, 0),
            "min_p": (None, 0.0),
            "repetition_penalty": (None, 1.0),
        }
        if wrong := next((name for name, values in usual.items() if getattr(self, name) not in values), None):
            raise ServeError(f"{wrong} {shown(getattr(self, wrong))} is not offered here", "leave it away")
        n_most = self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens
        return self.model_copy(
            update={
                "max_completion_tokens": n_most,
                "temperature": 1.0 if self.temperature is None else self.temperature,
                "top_p": 1.0 if self.top_p is None else self.top_p,
            }
        )


def router(serving: Serving) -> APIRouter:
    """The routes, over what is served."""
    routes = APIRouter(prefix=PREFIX, tags=["OpenAI"])
    since = int(time.time())

    @routes.get("/models")
    async def models() -> Any:
        return {"object": "list", "data": [_model(name, since) for name in serving.names.models]}

    @routes.get("/models/{name:path}")
    async def model(name: str) -> Any:
        if name not in serving.names.models:
            raise UnknownModelError(f"there is no model {shown(name)} here", "GET /v1/models lists them")
        return _model(name, since)

    @routes.post("/chat/completions")
    async def complete(request: Request, asked: Completion) -> Any:
        begin = beginning(serving, asked.checked())
        if not asked.stream:
            return _whole(await serving.chats.whole(request, begin))
        with_usage = bool(asked.stream_options and asked.stream_options.include_usage)
        is_first = iter([True])

        def shapes(piece: ChatCompletionChunk) -> Iterable[dict[str, Any]]:
            yield _piece(piece, is_first=next(is_first, False)) | ({"usage": None} if with_usage else {})
            if piece.usage is not None and with_usage:
                yield {**_head(piece, "chat.completion.chunk"), "choices": [], "usage": asdict(piece.usage)}

        return await streamed(serving, request, begin, shapes)

    return routes


def _model(name: str, since: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": since, "owned_by": "autointerp"}


def _head(piece: ChatCompletionChunk, kind: str) -> dict[str, Any]:
    return {
        "id": piece.id,
        "object": kind,
        "created": piece.created,
        "model": piece.model,
        "system_fingerprint": piece.system_fingerprint,
    }


def _besides(piece: ChatCompletionChunk) -> dict[str, Any]:
    """What is told of steering, where there is something to tell."""
    told: dict[str, Any] = {"events": [asdict(event) for event in piece.events]} if piece.events else {}
    if piece.edited is not None:
        told |= {"edited": asdict(piece.edited), "notes": list(piece.notes)}
    return told


def _piece(piece: ChatCompletionChunk, *, is_first: bool) -> dict[str, Any]:
    (choice,) = piece.choices
    delta = ({"role": "assistant"} if is_first else {}) | {"content": choice.delta.content}
    return {
        **_head(piece, "chat.completion.chunk"),
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": _reason(choice.finish_reason)}],
        **_besides(piece),
    }


def _whole(piece: ChatCompletionChunk) -> dict[str, Any]:
    (choice,) = piece.choices
    message = {"role": "assistant", "content": choice.delta.content, "refusal": None}
    assert piece.usage is not None
    return {
        **_head(piece, "chat.completion"),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": _reason(choice.finish_reason)}],
        "usage": asdict(piece.usage),
        **_besides(piece),
    }


def _reason(reason: str | None) -> str | None:
    return reason if reason is None else _REASONS.get(reason, reason)
