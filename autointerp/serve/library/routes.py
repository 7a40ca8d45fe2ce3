"""The routes that `autointerp.open("http://…")` asks: one for each question of `library.remote.calls`.

`GET /api/library` says what answers, and which protocol it speaks; the questions stand under the protocol's version.
"""

from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from autointerp.library.remote import calls
from autointerp.library.remote.calls import Call
from autointerp.library.remote.shapes import PATH, PROGRAM, PROTOCOL, Asked, Completed, Served, ServedRun
from autointerp.library.run import Run
from autointerp.serve.answers import streamed
from autointerp.serve.knows import Knows, Question
from autointerp.serve.library import chatting, noting, reading, stored, tables
from autointerp.serve.library.names import place_of, served_names
from autointerp.serve.serving import Serving
from autointerp.serve.views.runs import named_runs

A = TypeVar("A", bound=Asked)
R = TypeVar("R")
Ask = Callable[[Run, Any], Any]
JSON = "application/json"

_STORED: Mapping[Call[Any, Any], Ask] = {
    calls.FACTS: stored.facts,
    calls.SEARCH: stored.search,
    calls.RERANK: stored.rerank,
    calls.NEIGHBORS: stored.neighbors,
    calls.DESCRIBE: stored.describe,
    calls.FEATURE: stored.feature,
    calls.CONTEXTS: stored.contexts,
    calls.TRIALS: stored.trials,
    calls.STRONGEST: stored.strongest,
    calls.STATUS: stored.status,
    calls.SUMMARY: stored.score_summary,
    calls.HISTOGRAMS: stored.histograms,
    calls.NOTES: noting.notes,
    calls.STAR: noting.star,
    calls.STARS: noting.stars,
    calls.VOTE: noting.vote,
    calls.COMMENT: noting.comment,
    calls.DELETE_COMMENT: noting.delete_comment,
    calls.LABELS: noting.labels,
    calls.FEATURE_OF_LABEL: noting.feature_of_label,
    calls.DELETE_LABEL: noting.delete_label,
    calls.LISTS: noting.lists,
    calls.LIST_FACTS: noting.list_facts,
    calls.LISTED: noting.listed,
    calls.NEW_LIST: noting.new_list,
    calls.CHANGE_LIST: noting.change_list,
    calls.DELETE_LIST: noting.delete_list,
    calls.ADD_TO_LIST: noting.add_to_list,
    calls.REMOVE_FROM_LIST: noting.remove_from_list,
    calls.ORDER_LIST: noting.order_list,
}
_READ: Mapping[Call[Any, Any], Ask] = {
    calls.FIRINGS: reading.firings,
    calls.ATTRIBUTION: reading.attribution,
    calls.WRITE_LABEL: noting.write_label,
}
_FOR_MINUTES: Mapping[Call[Any, Any], Ask] = {
    calls.DOSES: reading.doses,
    calls.ON_OWN_TEXTS: reading.on_own_texts,
}


def router(serving: Serving) -> APIRouter:
    """The routes, over what is served."""
    routes = APIRouter(prefix=PATH, tags=["Library"])
    names = served_names(serving)

    @routes.get("", response_model=Served, summary="What answers here")
    async def served(request: Request) -> Any:
        found = await serving.store.answer(request, partial(_served, serving))
        return Response(found.model_dump_json(), media_type=JSON)

    for of, ask in _STORED.items():
        add(routes, of, names, partial(_stored, serving, ask, of))
    for of, ask in _READ.items():
        add(routes, of, names, partial(_asked, serving.ask, ask, of))
    for of, ask in _FOR_MINUTES.items():
        add(routes, of, names, partial(_asked, serving.ask_for_minutes, ask, of))
    add(routes, calls.LOGITS, names, partial(_of_all, serving.ask, chatting.logits, calls.LOGITS))
    add(
        routes,
        calls.AUTO_STEER,
        names,
        partial(_of_all, serving.ask_for_minutes, chatting.auto_steer, calls.AUTO_STEER),
    )

    tables.add_routes(routes, serving, names)

    @routes.post(
        f"/v{PROTOCOL}/{calls.CHAT.path}",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
        summary=calls.CHAT.told,
        operation_id="library-chat",
    )
    async def chat(request: Request, asked: Completed) -> Response:
        return await streamed(serving, request, [chatting.Beginning(asked)], chatting.shapes_of)

    return routes


def add(routes: APIRouter, call: Call[Any, Any], names: Mapping[str, int], answer: Callable[..., Any]) -> None:
    """Add the route of a question.

    Args:
        routes: To which.
        call: The question.
        names: Places of the runs by their names.
        answer: Gives its answer as JSON, of a request, a run's place where it is of one, and what is asked.
    """

    async def of_run(request: Request, run: str, asked: Any) -> Response:
        return Response(await answer(request, place_of(names, run), asked), media_type=JSON)

    async def of_all(request: Request, asked: Any) -> Response:
        return Response(await answer(request, asked), media_type=JSON)

    endpoint = of_run if call.of_run else of_all
    endpoint.__annotations__["asked"] = call.asked
    routes.post(
        f"/v{PROTOCOL}/runs/{{run}}/{call.path}" if call.of_run else f"/v{PROTOCOL}/{call.path}",
        response_model=call.model,
        summary=call.told,
        name=call.path,
        operation_id=f"library-{call.path}",
    )(endpoint)


def _served(serving: Serving) -> Served:
    runs = [ServedRun(name=name, told=run.told) for name, run in named_runs(serving).items()]
    return Served(program=PROGRAM, version=version("autointerp"), protocol=PROTOCOL, runs=runs)


async def _stored(serving: Serving, ask: Ask, call: Call[Any, Any], request: Request, run: int, asked: Asked) -> bytes:
    return await serving.store.answer(request, partial(_written, ask, call, run, asked, serving))


async def _asked(
    line: Callable[[Request, Question[bytes]], Any],
    ask: Ask,
    call: Call[Any, Any],
    request: Request,
    run: int,
    asked: Asked,
) -> Any:
    return await line(request, partial(_written, ask, call, run, asked))


def _written(ask: Ask, call: Call[Any, Any], run: int, asked: Asked, knows: Knows) -> bytes:
    """An answer as JSON; it is written where it is found, since the event loop has others to serve."""
    return call.write(ask(knows.client.runs[run], asked))


async def _of_all(
    line: Callable[[Request, Question[bytes]], Any],
    ask: Callable[[Knows, Any], Any],
    call: Call[Any, Any],
    request: Request,
    asked: Asked,
) -> Any:
    return await line(request, partial(_written_of_all, ask, call, asked))


def _written_of_all(ask: Callable[[Knows, Any], Any], call: Call[Any, Any], asked: Asked, knows: Knows) -> bytes:
    return call.write(ask(knows, asked))
