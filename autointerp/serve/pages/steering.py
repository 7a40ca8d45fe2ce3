"""The page of steering. What runs the model is sent: by the page's form, or as a program sends it."""

import threading
from collections import OrderedDict
from collections.abc import Iterable
from functools import partial
from typing import Annotated, Any

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from autointerp.errors import ServeError
from autointerp.serve.answers import streamed
from autointerp.serve.chats import Piece
from autointerp.serve.pages.forms import fields_of, read_as
from autointerp.serve.pages.frame import Pages, add_page, see_other
from autointerp.serve.serving import Serving
from autointerp.serve.views.steer import answer_of, find_steering, path_of, sides, steer_view
from autointerp.serve.views.steer_shapes import Answered, SteerAsked, SteerReceipt, SteerTurn, SteerView

_SEVERAL = ("say", "feature", "strength", "unit", "mode")
_SIDES = ("plain", "steered")
_RECEIPTS = 64


class Receipts:
    """Those of what was found here, the last ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], SteerReceipt] = OrderedDict()

    def get(self, source: str | None, wanted: str) -> SteerReceipt | None:
        """The receipt of what was wanted of a source."""
        return None if source is None else self._kept.get((source, wanted.strip()))

    def keep(self, source: str, receipt: SteerReceipt) -> None:
        """Keep one."""
        with self._lock:
            self._kept[source, receipt.wanted.strip()] = receipt
            while len(self._kept) > _RECEIPTS:
                self._kept.popitem(last=False)


def add(pages: Pages) -> None:
    """Add the page."""
    receipts, serving = Receipts(), pages.serving

    def steer(serving: Serving, asked: Annotated[SteerAsked, Query()]) -> SteerView:
        """How a model is steered; nothing is answered."""
        view = steer_view(serving, asked)
        return view.model_copy(update={"receipt": receipts.get(view.source, asked.wanted)})

    async def found(request: Request, asked: SteerAsked) -> SteerView:
        """The page with features that steer towards what is wanted, and their receipt."""
        source = _able(await serving.store.answer(request, partial(steer, serving, asked)))
        receipt = receipts.get(source, asked.wanted)
        if receipt is None:
            receipt = await serving.ask_for_minutes(request, partial(find_steering, asked.wanted.strip(), source))
            receipts.keep(source, receipt)
        edits = receipt.edits if receipt.steers else ()
        asked = asked.model_copy(
            update={
                "feature": tuple(str(of.feature.index) for of in edits),
                "strength": tuple(f"{of.strength:g}" for of in edits),
                "unit": tuple(of.unit for of in edits),
                "mode": tuple(of.mode for of in edits),
            }
        )
        return await serving.store.answer(request, partial(steer, serving, asked))

    async def sent(request: Request) -> Response:
        """What the page's form asks for."""
        fields = fields_of(await request.body())
        asked = read_as(SteerAsked, fields, _SEVERAL)
        match fields.get("do", [""])[-1]:
            case "find":
                view = await found(request, asked)
            case "answer":
                view = await serving.store.answer(request, partial(steer, serving, asked))
                view = view.model_copy(update={"answered": await _answers(serving, request, _able(view), asked)})
            case _:
                return see_other(path_of(asked))
        return pages.frame.reply("steer.html", request, view)

    @pages.programs.post(
        "/api/steering",
        operation_id="steer_turn",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    )
    async def answer(request: Request, asked: SteerTurn) -> Response:
        """Answers to the last message, plain and steered side by side, as they are written."""
        view = await serving.store.answer(request, partial(steer_view, serving, asked))
        if not asked.messages:
            raise ServeError("nothing is said to the model", "say something")
        begins = sides(asked, _able(view), asked.plain, asked.steered)
        reply = await streamed(serving, request, begins, _Events())
        reply.headers["Content-Location"] = view.path
        return reply

    @pages.programs.post("/api/steering/find", operation_id="find_steering")
    async def find(request: Request, asked: SteerAsked) -> SteerView:
        """Features that steer towards what is wanted in words, with what they do and cost; it takes minutes."""
        return await found(request, asked)

    add_page(pages, "/steer", "steer.html", steer, "Steer")
    pages.routes.add_api_route("/steer", sent, methods=["POST"], include_in_schema=False)


class _Events:
    """The events of answers: each piece with its side, the last with how the answer ended."""

    def __init__(self) -> None:
        self._said = dict.fromkeys(_SIDES, "")

    def __call__(self, piece: Piece) -> Iterable[dict[str, Any]]:
        side, choice = _SIDES[piece.answer], piece.chunk.choices[0]
        self._said[side] += choice.delta.content
        yield {"side": side, "text": choice.delta.content}
        if choice.finish_reason is not None:
            yield {"side": side, "answer": answer_of(piece.chunk, self._said[side]).model_dump()}


async def _answers(serving: Serving, request: Request, source: str, asked: SteerAsked) -> tuple[Answered, ...]:
    """Answers to all messages, one after the other."""
    if not asked.messages:
        raise ServeError("nothing is said to the model", "say something")
    found: list[Answered] = []
    for place, say in enumerate(asked.messages):
        turn = asked.model_copy(update={"say": asked.messages[: place + 1]})
        before = [of.plain.text for of in found], [of.steered.text for of in found if of.steered is not None]
        whole = await serving.chats.whole(request, sides(turn, source, *before))
        answers = [answer_of(chunk, chunk.choices[0].delta.content) for chunk in whole]
        found.append(Answered(say=say, plain=answers[0], steered=answers[1] if len(answers) > 1 else None))
    return tuple(found)


def _able(view: SteerView) -> str:
    """The source whose model answers.

    Raises:
        ServeError: If none can.
    """
    if view.source is None:
        raise ServeError(f"no model here can be steered ({view.why_none})", "serve a run of one that chats")
    return view.source
