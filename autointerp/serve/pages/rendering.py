"""Views as HTML: the Jinja environment, what every template may use, and the frame around each page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from autointerp.serve.pages.headers import page_headers
from autointerp.serve.pages.static_files import StaticFiles
from autointerp.serve.pages.tokens import as_chat, has_turns, shaded, step, token_text
from autointerp.text_table import number, percent, shorten
from autointerp.valid_text import visible

_SENDS = b'method="post"'  # as templates write it: in what is escaped it can't stand
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class PageFacts:
    """What a template knows of the page besides its view.

    Attributes:
        path: Of its URL.
        query: Of its URL, as it was asked.
        origin: Scheme, host and port by which it was asked.
        is_embed: Whether it stands in a frame of another page: without header and footer.
        has_json: Whether its view can be had as JSON.
        in_file: The features that stand in the same file, where the page is one; None for a page of a server.
    """

    path: str
    query: str
    origin: str
    is_embed: bool = False
    has_json: bool = False
    in_file: frozenset[int] | None = None

    @property
    def is_file(self) -> bool:
        """Whether it is a file: it leads to nothing outside, and asks for nothing."""
        return self.in_file is not None

    @property
    def url(self) -> str:
        """Where it lies, without the origin."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def json_url(self) -> str:
        """Where its JSON lies."""
        path = "/index" if self.path == "/" else self.path
        return f"{path}.json?{self.query}" if self.query else f"{path}.json"

    def shows(self, section: str) -> bool:
        """Whether a section is shown: all that can be, but those that an embed leaves out, as by `embedplots=false`."""
        if self.is_file:
            return section != "test"
        return not self.is_embed or dict(parse_qsl(self.query)).get(f"embed{section}") != "false"

    @property
    def as_chat(self) -> bool:
        """Whether texts are shown as conversations, where they are some."""
        return dict(parse_qsl(self.query)).get("chat") == "true"

    def with_query(self, **changed: Any) -> str:
        """The page with other values in its query; a value of None leaves the name out."""
        kept = [(name, value) for name, value in parse_qsl(self.query, keep_blank_values=True) if name not in changed]
        asked = urlencode([*kept, *((name, value) for name, value in changed.items() if value is not None)])
        return f"{self.path}?{asked}" if asked else self.path


@dataclass(frozen=True, slots=True)
class NavigationLink:
    """A page that the header of every page leads to."""

    title: str
    path: str


class Frame:
    """Renders templates; nothing that is put into one becomes markup unless it was made here."""

    def __init__(self) -> None:
        self.static = StaticFiles()
        self.navigation: list[NavigationLink] = []
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= {
            "static": self.static.url,
            "shaded": shaded,
            "as_chat": as_chat,
            "has_turns": has_turns,
            "step": step,
            "feature_url": feature_url,
            "source_url": source_url,
        }
        self._environment.filters |= {
            "number": number,
            "percent": percent,
            "count": _count,
            "figure": _figure,
            "visible": visible,
            "token": token_text,
            "visible_lines": _visible_lines,
            "shorten": shorten,
        }

    def text(self, template: str, facts: PageFacts, view: Any, **more: Any) -> str:
        """A page as HTML.

        Args:
            template: Its file in `templates/`.
            facts: What it knows besides.
            view: What it says.
            more: What else it knows, by name.
        """
        known = {"view": view, "page": facts, "navigation": self.links(facts), **more}
        return self._environment.get_template(template).render(known)

    def links(self, facts: PageFacts) -> Sequence[tuple[NavigationLink, bool]]:
        """What the header leads to, each with whether it is this page."""
        return [(link, facts.path == link.path or facts.path.startswith(f"{link.path}/")) for link in self.navigation]

    def reply(self, template: str, request: Request, view: Any, status: int = 200) -> Response:
        """A page that has no JSON, such as a form's or an error's."""
        facts = facts_of(request)
        return html_reply(self.text(template, facts, view), facts, status)


def facts_of(request: Request, *, has_json: bool = False) -> PageFacts:
    """What templates know of the page that a request asks for."""
    return PageFacts(
        path=quote(request.url.path, safe="/@:%~!$&'()*+,;="),
        query=request.url.query,
        origin=f"{request.url.scheme}://{request.url.netloc}",
        is_embed=request.query_params.get("embed") == "true",
        has_json=has_json,
    )


def html_reply(text: str | bytes, facts: PageFacts, status: int = 200) -> Response:
    """HTML with the headers of a page.

    One that sends something stands in no frame: another site would have its buttons clicked under something else.
    """
    page = text.encode() if isinstance(text, str) else text
    return HTMLResponse(page, status, page_headers(is_embed=facts.is_embed and _SENDS not in page))


def source_url(source_id: str) -> str:
    """The page of a source, `model@source`."""
    model, _, source = source_id.partition("@")
    return f"/{quote(model, safe='')}/{quote(source, safe='')}"


def feature_url(source_id: str, index: int) -> str:
    """The page of a feature."""
    return f"{source_url(source_id)}/{index}"


def _visible_lines(text: str) -> str:
    """A text of several lines, each as `visible` shows it."""
    return "\n".join(map(visible, text.splitlines()))


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _figure(value: float) -> str:
    """An activation or a logit, to three significant digits and never in powers of ten where it is of common size."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
