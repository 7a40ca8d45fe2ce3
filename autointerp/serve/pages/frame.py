"""Pages of a server: each view as HTML at its path, and as JSON at the same path with `.json`.

What a page says is a view: a function from what is served and a parsed query to plain values. The HTML is made of the
view by a template; the JSON is the view. Errors are told as a page where a page was asked for, else as JSON.
"""

import inspect
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Match
from starlette.types import Scope

from autointerp.serve.guard import ASKING
from autointerp.serve.pages.forms import fields_of
from autointerp.serve.pages.headers import data_headers
from autointerp.serve.pages.rendering import Frame, NavigationLink, facts_of, html_reply
from autointerp.serve.serving import Serving

_INDEX = "/index"


class PageRoute(APIRoute):
    """A path of a page: it takes none of the paths of programs, and its errors are pages."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether a request is for it."""
        return (Match.NONE, {}) if scope["path"].startswith(ASKING) else super().matches(scope)


class Pages:
    """The pages of a server.

    Attributes:
        serving: What they ask.
        frame: Renders them.
        routes: Theirs, to which forms and files may be added.
        programs: Those that answer programs with what a page says, where they need more than its JSON.
    """

    def __init__(self, serving: Serving) -> None:
        self.serving = serving
        self.frame = Frame()
        self.routes = APIRouter(route_class=PageRoute)
        self.programs = APIRouter(tags=["pages"])
        self.routes.add_api_route("/static/{asked_hash}/{name:path}", self.frame.static.reply, include_in_schema=False)

    def add(self, path: str, template: str, view: Callable[..., Any], title: str | None = None) -> None:
        """Add a page. Paths that were added before go first, where both fit.

        Args:
            path: Its path, with places for values such as `/{model}/{source}`.
            template: Its file in `templates/`.
            view: Takes what is served, then the path's values and the query, declared as FastAPI reads them, and gives
                what the page says, by a type that pydantic knows; it runs in a thread that reads the store. A coroutine
                function runs on the event loop and has work done by `serving.store.answer` and the other lines; where
                it takes `request`, it is given that.
            title: Name in the header of every page; None for a page that it does not lead to.
        """
        endpoint = _Endpoint(self, template, view)
        name = view.__name__
        self.routes.add_api_route(
            f"{_INDEX if path == '/' else path}.json",
            _JsonEndpoint(self, template, view),
            response_model=endpoint.said,
            name=name,
            operation_id=name,
            tags=["pages"],
        )
        self.routes.add_api_route(path, endpoint, methods=["GET", "HEAD"], include_in_schema=False, name=f"{name}_page")
        if title is not None:
            self.frame.navigation.append(NavigationLink(title, path))


def add_page(pages: Pages, path: str, template: str, view: Callable[..., Any], title: str | None = None) -> None:
    """Add a page; see `Pages.add`."""
    pages.add(path, template, view, title)


class _Endpoint:
    """Answers with the HTML of a view."""

    def __init__(self, pages: Pages, template: str, view: Callable[..., Any]) -> None:
        declared = inspect.signature(view, eval_str=True)
        self._pages, self._template, self._view = pages, template, view
        self._is_waited_for = inspect.iscoroutinefunction(view)
        self._takes_request = "request" in declared.parameters
        self.said = declared.return_annotation
        asked = [of for of in list(declared.parameters.values())[1:] if of.name != "request"]
        request = inspect.Parameter("request", inspect.Parameter.KEYWORD_ONLY, annotation=Request)
        of_query = [of.replace(kind=inspect.Parameter.KEYWORD_ONLY) for of in asked]
        self.__signature__ = inspect.Signature([request, *of_query])

    async def __call__(self, request: Request, **asked: Any) -> Response:
        """Answer."""
        serving = self._pages.serving
        if self._takes_request:
            asked["request"] = request
        if self._is_waited_for:
            view = await self._view(serving, **asked)
            return await serving.store.answer(request, lambda: self.reply(request, view))
        return await serving.store.answer(request, lambda: self.reply(request, self._view(serving, **asked)))

    def reply(self, request: Request, view: Any) -> Response:
        """What is answered, of what the page says."""
        if isinstance(view, Response):
            return view
        facts, frame = facts_of(request, has_json=True), self._pages.frame
        text = self._pages.serving.kept.text(view, facts, lambda: frame.text(self._template, facts, view).encode())
        return html_reply(text, facts)


class _JsonEndpoint(_Endpoint):
    """Answers with the JSON of a view."""

    def __init__(self, pages: Pages, template: str, view: Callable[..., Any]) -> None:
        super().__init__(pages, template, view)
        self._adapter: TypeAdapter[Any] = TypeAdapter(self.said)

    def reply(self, request: Request, view: Any) -> Response:
        """What is answered, of what the page says."""
        if isinstance(view, Response):
            return view
        text = self._pages.serving.kept.text(view, "json", lambda: self._adapter.dump_json(view))
        return Response(text, media_type="application/json", headers=data_headers())


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form that was sent, each by its last value.

    Raises:
        HTTPException: If the body is no form.
    """
    return {name: values[-1] for name, values in fields_of(await request.body()).items()}


def see_other(path: str) -> Response:
    """Send a browser on to a page, after a form was sent."""
    return RedirectResponse(path, 303, headers={"Cache-Control": "no-store"})
