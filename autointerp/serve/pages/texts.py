"""The page of a text, and the same by a request of a program.

The text stands in the page's address, so that it can be shared; one that is too long for that comes by POST.
"""

from functools import partial
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from autointerp.serve.guard import need_key
from autointerp.serve.pages.forms import fields_of, read_as
from autointerp.serve.pages.frame import Pages, add_page, see_other
from autointerp.serve.serving import Serving
from autointerp.serve.views.text import TextAsked, TextView, text_view

_LONGEST_LINK = 2_000
_SEVERAL = ("role", "content")


def add(pages: Pages) -> None:
    """Add the page."""

    async def text(serving: Serving, request: Request, asked: Annotated[TextAsked, Query()]) -> TextView:
        """Which features fire on which tokens of a text or a conversation."""
        if not asked.is_any:
            return text_view(asked, serving)
        need_key(request)
        return await serving.ask(request, partial(text_view, asked))

    async def sent(request: Request) -> Response:
        asked = read_as(TextAsked, fields_of(await request.body()), _SEVERAL)
        link = link_of(asked)
        if len(link) <= _LONGEST_LINK:
            return see_other(link)
        view = await text(pages.serving, request, asked)
        return pages.frame.reply("text.html", request, view)

    @pages.programs.post("/api/text", operation_id="read_text")
    async def read(request: Request, asked: TextAsked) -> TextView:
        """Which features fire on which tokens of a text or a conversation, of any length that a page can show."""
        return await text(pages.serving, request, asked)

    add_page(pages, "/text", "text.html", text, "Text")
    pages.routes.add_api_route("/text", sent, methods=["POST"], include_in_schema=False)


def link_of(asked: TextAsked) -> str:
    """The page's address that asks for this, without what goes without saying."""
    said = asked.model_dump(exclude_defaults=True)
    if messages := asked.messages:
        said = {**said, "role": tuple(m["role"] for m in messages), "content": tuple(m["content"] for m in messages)}
    elif asked.content:
        said = {name: value for name, value in said.items() if name not in _SEVERAL}
    fields = [(name, value) for name, values in said.items() for value in _each(values)]
    return f"/text?{urlencode(fields)}" if fields else "/text"


def _each(values: object) -> list[object]:
    return list(values) if isinstance(values, tuple) else [str(values).lower() if values is True else values]
