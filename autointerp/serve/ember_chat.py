"""Chats by Ember's protocol: answers, whole and streamed, with a variant's controller and the names of its events."""

from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field

from autointerp.library.chat.replies import ChatCompletionChunk
from autointerp.serve.answers import ChatAsked, beginnings, conversation, streamed
from autointerp.serve.chats import Piece
from autointerp.serve.controllers import Controller, variant_of
from autointerp.serve.knows import Knows
from autointerp.serve.serving import Serving
from autointerp.serve.shapes import Conversation, Shape, Text

_MOST_WORDS = 8_192


class Logits(Shape):
    """Before what the next token is wanted, and which of them."""

    messages: Conversation
    model: Text | None = None
    controller: Controller | None = None
    top_k: Annotated[int, Field(ge=1)] | None = None
    filter_vocabulary: Annotated[list[Text], Field(min_length=1, max_length=_MOST_WORDS)] | None = None


def add_routes(routes: APIRouter, serving: Serving) -> None:
    """Add the routes, over what is served."""
    names = serving.names

    @routes.post("/chat/completions")
    async def complete(request: Request, asked: ChatAsked) -> Any:
        begins = beginnings(serving, asked)
        if asked.stream:
            return await streamed(serving, request, begins, _pieces)
        (whole,) = await serving.chats.whole(request, begins)
        return _whole(whole)

    @routes.post("/chat-attribution/compute-logits")
    async def logits(request: Request, asked: Logits) -> Any:
        return await serving.ask(request, partial(_logits, asked, names.source(asked.model)))


def _logits(asked: Logits, source: str, knows: Knows) -> dict[str, Any]:
    variant = variant_of(knows, source, asked.controller)
    messages, words = conversation(asked.messages), asked.filter_vocabulary
    return knows.client.chat.logits(messages, variant, top_k=asked.top_k, filter_vocabulary=words).as_plain()


def _pieces(piece: Piece) -> Iterable[dict[str, Any]]:
    """Every piece has a role, and says whether it is the last; the client passes over tokens that it has seen."""
    (choice,) = piece.chunk.choices
    shape = {
        "index": 0,
        "gf_token_index": choice.gf_token_index,
        "delta": asdict(choice.delta),
        "finish_reason": choice.finish_reason,
    }
    yield {**_head(piece.chunk), "choices": [shape]}


def _whole(piece: ChatCompletionChunk) -> dict[str, Any]:
    (choice,) = piece.choices
    shape = {"index": 0, "message": asdict(choice.delta), "finish_reason": choice.finish_reason}
    return {**_head(piece), "object": "chat.completion", "choices": [shape]}


def _head(piece: ChatCompletionChunk) -> dict[str, Any]:
    told = {name: value for name, value in piece.as_plain().items() if name not in ("choices", "gf_event_names")}
    return {**told, "gf_event_names": piece.gf_event_names or None}
