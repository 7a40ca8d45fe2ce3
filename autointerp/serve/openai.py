"""OpenAI's chat completions, as its own client asks for them (`openai_asked`) and reads them.

`edited`, `events` and `notes` are ours; they stand beside the choices where there is one answer, and in each choice
where there are several. Where nothing is said, answers are drawn as that service draws them: temperature 1, top_p 1,
any seed.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request

from autointerp.errors import UnknownModelError
from autointerp.library.chat.replies import ChatCompletionChunk, Usage
from autointerp.serve.answers import beginnings, streamed
from autointerp.serve.chats import Piece
from autointerp.serve.openai_asked import Completion
from autointerp.serve.serving import Serving
from autointerp.store.known import shown

PREFIX = "/v1"
# `content_filter` is what these clients know of an answer that was ended for what it was about.
_REASONS = {"abort": "content_filter"}


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
        asked = asked.checked()
        begins = beginnings(serving, asked, asked.n_answers)
        if not asked.stream:
            return _whole(await serving.chats.whole(request, begins))
        return await streamed(serving, request, begins, _Stream(asked).shapes)

    return routes


def _model(name: str, since: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": since, "owned_by": "autointerp"}


class _Stream:
    """The events of a stream, whose answers come together under one id."""

    def __init__(self, asked: Completion) -> None:
        self._with_usage = asked.with_usage
        self._n = asked.n_answers
        self._first: ChatCompletionChunk | None = None
        self._begun: set[int] = set()
        self._usages: list[Usage] = []

    def shapes(self, piece: Piece) -> Iterable[dict[str, Any]]:
        """Those of a piece; behind the last one of all, the usage."""
        chunk = piece.chunk
        self._first = self._first or chunk
        head = _head(self._first, "chat.completion.chunk")
        (choice,) = chunk.choices
        delta = ({} if piece.answer in self._begun else {"role": "assistant"}) | {"content": choice.delta.content}
        self._begun.add(piece.answer)
        shape = {"delta": delta, "logprobs": _logprobs(chunk)}
        usage = {"usage": None} if self._with_usage else {}
        yield {**head, **_choices([(piece.answer, chunk, shape)], is_one=self._n == 1), **usage}
        if chunk.usage is not None:
            self._usages.append(chunk.usage)
        if self._with_usage and len(self._usages) == self._n:
            yield {**head, "choices": [], "usage": _together(self._usages)}


def _head(chunk: ChatCompletionChunk, kind: str) -> dict[str, Any]:
    return {
        "id": chunk.id,
        "object": kind,
        "created": chunk.created,
        "model": chunk.model,
        "system_fingerprint": chunk.system_fingerprint,
    }


def _besides(chunk: ChatCompletionChunk) -> dict[str, Any]:
    """What is told of steering, where there is something to tell."""
    told: dict[str, Any] = {"events": [asdict(event) for event in chunk.events]} if chunk.events else {}
    if chunk.edited is not None:
        told |= {"edited": asdict(chunk.edited), "notes": list(chunk.notes)}
    return told


def _choices(answers: Sequence[tuple[int, ChatCompletionChunk, dict[str, Any]]], *, is_one: bool) -> dict[str, Any]:
    """Choices, of answers with what is told of each."""
    choices: list[dict[str, Any]] = []
    for number, chunk, shape in answers:
        reason = chunk.choices[0].finish_reason
        choice = {"index": number, **shape, "finish_reason": None if reason is None else _REASONS.get(reason, reason)}
        choices.append(choice if is_one else choice | _besides(chunk))
    return {"choices": choices} | (_besides(answers[0][1]) if is_one else {})


def _logprobs(chunk: ChatCompletionChunk) -> dict[str, Any] | None:
    told = chunk.choices[0].logprobs
    return None if told is None else {"content": [asdict(of) for of in told], "refusal": None}


def _whole(answers: Sequence[ChatCompletionChunk]) -> dict[str, Any]:
    shapes = [
        {
            "message": {"role": "assistant", "content": answer.choices[0].delta.content, "refusal": None},
            "logprobs": _logprobs(answer),
        }
        for answer in answers
    ]
    return {
        **_head(answers[0], "chat.completion"),
        **_choices(list(zip(range(len(answers)), answers, shapes, strict=True)), is_one=len(answers) == 1),
        "usage": _together([answer.usage for answer in answers if answer.usage is not None]),
    }


def _together(usages: Sequence[Usage]) -> dict[str, int]:
    """Of all answers to one prompt, which counts once."""
    n = sum(usage.completion_tokens for usage in usages)
    return asdict(Usage(usages[0].prompt_tokens, n, usages[0].prompt_tokens + n))
