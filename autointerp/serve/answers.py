"""What the chats of all wire formats have in common: what is asked, and answers as server-sent events.

An event is one line of ASCII JSON, sent by itself, since there are clients that take each read from the network for
whole events; for the same clients the text `data: ` does not stand in it as it is.
"""

import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from autointerp.errors import AutointerpError, ServeError
from autointerp.library.chat.completions import ChatStream
from autointerp.library.chat.replies import ChatCompletionChunk
from autointerp.serve.chats import Begin
from autointerp.serve.controllers import Controller, variant_of
from autointerp.serve.errors import as_http, error_shape
from autointerp.serve.limits import ClientGoneError
from autointerp.serve.serving import Serving
from autointerp.serve.shapes import Conversation, Message, Shape, Text, plain
from autointerp.store.known import shown

DONE = b"data: [DONE]\n\n"
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_SEEDS = 2**63


class ChatAsked(Shape):
    """A conversation that is to be answered, and how; what makes no sense is told by the library.

    Attributes:
        controller: What is done to the model.
    """

    messages: Conversation
    model: Text | None = None
    controller: Controller | None = None
    stream: bool | None = False
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: Text | list[Text] | None = None


def conversation(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """A conversation as the library takes it.

    Raises:
        ServeError: If a message is of a role that a chat does not have.
    """
    given = list(messages)
    if wrong := next((message.role for message in given if message.role not in _ROLES), None):
        raise ServeError(f"there is no role {shown(wrong)} in a chat", f"roles are {', '.join(_ROLES)}")
    return [{**message, "role": _ROLES[message["role"]]} for message in plain(given)]


def beginning(serving: Serving, asked: ChatAsked) -> Begin:
    """What begins an answer; what it raises is what is wrong with the request."""
    source, longest = serving.names.source(asked.model), serving.limits.longest_answer

    def begin() -> ChatStream:
        return serving.client.chat.completions.create(
            conversation(asked.messages),
            variant_of(serving, source, asked.controller),
            stream=True,
            max_completion_tokens=min(
                longest, longest if asked.max_completion_tokens is None else asked.max_completion_tokens
            ),
            temperature=asked.temperature,
            top_p=asked.top_p,
            seed=None if asked.seed is None else asked.seed % _SEEDS,
            stop=asked.stop,
        )

    return begin


async def streamed(
    serving: Serving, request: Request, begin: Begin, shapes: Callable[[ChatCompletionChunk], Iterable[dict[str, Any]]]
) -> Response:
    """An answer as events; what goes wrong before its first piece is an error with a status.

    Args:
        serving: What answers.
        request: Whose client waits.
        begin: Begins the answer.
        shapes: The events of a piece, which is last where it has a `finish_reason`.
    """
    pieces = serving.chats.pieces(request, begin)
    first = await anext(pieces)

    async def events() -> AsyncIterator[bytes]:
        async with aclosing(pieces):
            try:
                for shape in shapes(first):
                    yield event(shape)
                async for piece in pieces:
                    for shape in shapes(piece):
                        yield event(shape)
            except ClientGoneError:
                return
            except AutointerpError as error:
                yield event(error_shape(as_http(error)))
                return
            yield DONE

    return StreamingResponse(events(), media_type="text/event-stream", headers=_HEADERS)


def event(shape: dict[str, Any]) -> bytes:
    """One event."""
    text = json.dumps(shape, allow_nan=False).replace("data: ", "data:\\u0020")
    return f"data: {text}\n\n".encode("ascii")
