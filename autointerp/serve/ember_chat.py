"""Chats by Ember's protocol: answers, whole and streamed, with a variant's controller and the names of its events."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request

from autointerp.library.chat.replies import ChatCompletionChunk
from autointerp.serve.answers import ChatAsked, beginning, streamed
from autointerp.serve.serving import Serving


def add_routes(routes: APIRouter, serving: Serving) -> None:
    """Add the routes, over what is served."""

    @routes.post("/chat/completions")
    async def complete(request: Request, asked: ChatAsked) -> Any:
        begin = beginning(serving, asked)
        if asked.stream:
            return await streamed(serving, request, begin, _pieces)
        return _whole(await serving.chats.whole(request, begin))


def _pieces(piece: ChatCompletionChunk) -> Iterable[dict[str, Any]]:
    """Every piece has a role, and says whether it is the last; the client passes over tokens that it has seen."""
    (choice,) = piece.choices
    shape = {
        "index": 0,
        "gf_token_index": choice.gf_token_index,
        "delta": asdict(choice.delta),
        "finish_reason": choice.finish_reason,
    }
    yield {**_head(piece), "choices": [shape]}


def _whole(piece: ChatCompletionChunk) -> dict[str, Any]:
    (choice,) = piece.choices
    shape = {"index": 0, "message": asdict(choice.delta), "finish_reason": choice.finish_reason}
    return {**_head(piece), "object": "chat.completion", "choices": [shape]}


def _head(piece: ChatCompletionChunk) -> dict[str, Any]:
    told = {name: value for name, value in piece.as_plain().items() if name not in ("choices", "gf_event_names")}
    return {**told, "gf_event_names": piece.gf_event_names or None}
