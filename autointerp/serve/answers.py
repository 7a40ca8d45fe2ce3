"""What the chats of all wire formats have in common: what is asked, and answers as server-sent events.

An event is one line of ASCII JSON, sent by itself, since there are clients that take each read from the network for
whole events; for the same clients the text `data: ` does not stand in it as it is.
"""

import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from autointerp.errors import AutointerpError, ServeError
from autointerp.library.chat.completions import ChatStream
from autointerp.library.remote.shapes import PATH
from autointerp.serve.chats import Piece
from autointerp.serve.controllers import Controller, variant_of
from autointerp.serve.errors import as_http, error_shape
from autointerp.serve.knows import Begin, Knows
from autointerp.serve.limits import ClientGoneError
from autointerp.serve.serving import Serving
from autointerp.serve.shapes import Conversation, Message, Shape, Text, plain
from autointerp.store.known import shown

DONE = b"data: [DONE]\n\n"
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_OF_TOOLS = ("tool", "function")
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

    def begin(self, knows: Knows, source: str, seed: int) -> ChatStream:
        """Ask for an answer.

        Args:
            knows: What answers.
            source: The model's source.
            seed: From 0.
        """
        return knows.client.chat.completions.create(
            conversation(self.messages),
            variant_of(knows, source, self.controller),
            stream=True,
            max_completion_tokens=self.n_most(knows),
            temperature=self.temperature,
            top_p=self.top_p,
            seed=seed,
            stop=self.stop,
        )

    def n_most(self, knows: Knows) -> int:
        """Tokens of the answer at most."""
        longest = knows.limits.longest_answer
        return longest if self.max_completion_tokens is None else min(longest, self.max_completion_tokens)


@dataclass(frozen=True, slots=True)
class Beginning:
    """Begins one answer to a request.

    Attributes:
        asked: The request.
        source: The model's source.
        seed: By which it is drawn: begun once more, the answer is the same.
    """

    asked: ChatAsked
    source: str
    seed: int

    def __call__(self, knows: Knows) -> ChatStream:
        return self.asked.begin(knows, self.source, self.seed)


def conversation(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """A conversation as the library takes it.

    Raises:
        ServeError: If a message is of a role that a chat does not have, or of tools.
    """
    given = list(messages)
    if any(message.role in _OF_TOOLS or message.tool_calls or message.function_call for message in given):
        raise ServeError("tools are not offered here: the model was not taught to call any", "say it in words")
    if any(message.audio for message in given):
        raise ServeError("the model hears and says nothing aloud", "give what was said as a text")
    if (wrong := next((message.role for message in given if message.role not in _ROLES), None)) is not None:
        raise ServeError(f"there is no role {shown(wrong)} in a chat", f"roles are {', '.join(_ROLES)}")
    return [{**message, "role": _ROLES[message["role"]]} for message in plain(given)]


def beginnings(serving: Serving, asked: ChatAsked, n: int = 1) -> list[Beginning]:
    """What begins answers to a request, each by a seed of its own: the request's, or any, and those that follow it.

    Raises:
        UnknownModelError: If it names no model that is served.
    """
    source = serving.names.source(asked.model)
    seed = secrets.randbelow(_SEEDS) if asked.seed is None else asked.seed
    return [Beginning(asked, source, (seed + answer) % _SEEDS) for answer in range(n)]


async def streamed(
    serving: Serving, request: Request, begins: Sequence[Begin], shapes: Callable[[Piece], Iterable[dict[str, Any]]]
) -> Response:
    """Answers as events; what goes wrong before their first piece is an error with a status.

    Args:
        serving: What answers.
        request: Whose client waits.
        begins: Begin the answers.
        shapes: The events of a piece, which is an answer's last where it has a `finish_reason`.
    """
    pieces = serving.chats.pieces(request, begins)
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
                yield event(error_shape(as_http(error, whole=request.url.path.startswith(PATH))))
                return
            yield DONE

    return StreamingResponse(events(), media_type="text/event-stream", headers=_HEADERS)


def event(shape: dict[str, Any]) -> bytes:
    """One event."""
    text = json.dumps(shape, allow_nan=False).replace("data: ", "data:\\u0020")
    return f"data: {text}\n\n".encode("ascii")
