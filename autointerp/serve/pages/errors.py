"""Errors where a page was asked for: a page with the same line that programs are told."""

from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.datastructures import URL
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from autointerp.serve.errors import Told, error_line, refused
from autointerp.serve.guard import ASKING, KEY_PATH
from autointerp.serve.pages.rendering import Frame

_DATA = (".json", ".csv", ".svg", ".png", ".txt", ".html")
_TITLES = {
    400: "That can't be answered",
    401: "This needs the server's key",
    403: "Not from here",
    404: "There is nothing here",
    405: "Not that way",
    413: "Too much at once",
    414: "Too much at once",
    422: "That can't be read",
    429: "Too many at once",
    503: "The store is busy",
    504: "That took too long",
}


@dataclass(frozen=True, slots=True)
class ErrorView:
    """What an error's page says.

    Attributes:
        status: Of HTTP.
        title: In a few words.
        line: What is wrong, and what to do.
        key_form: Where the server's key can be given, and where that leads; None where it is not what is missing.
    """

    status: int
    title: str
    line: str
    key_form: str | None


def teller(frame: Frame) -> Told:
    """Tells errors as pages to those who asked for a page, and as JSON to others."""

    def told(request: Request, error: HTTPException) -> Response:
        if not wants_page(request):
            return refused(error)
        status = error.status_code
        title = _TITLES.get(status, "The server can't answer this" if status >= 500 else "That can't be answered")
        key_form = f"{KEY_PATH}?{urlencode({'back': _back(request)})}" if status == 401 else None
        view = ErrorView(status, title, error_line(error), key_form)
        reply = frame.reply("error.html", request, view, status)
        reply.headers.update(error.headers or {})
        reply.headers["Cache-Control"] = "no-store"
        return reply

    return told


def _back(request: Request) -> str:
    """The page that was asked for, or whose form was sent."""
    url = request.url
    if request.method not in ("GET", "HEAD"):
        referer = URL(request.headers.get("referer", ""))
        if referer.netloc != url.netloc:
            return "/"
        url = referer
    return f"{url.path}?{url.query}" if url.query else url.path


def wants_page(request: Request) -> bool:
    """Whether a request is a browser's, for a page."""
    path = request.url.path
    return "text/html" in request.headers.get("accept", "") and not path.startswith(ASKING) and not path.endswith(_DATA)
