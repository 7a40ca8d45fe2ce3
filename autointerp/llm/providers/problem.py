"""An answer that is none: what came instead, and what it says on one line."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autointerp.llm.protocol import RawAnswer, ServerLimits, Trouble
from autointerp.llm.providers.body import Json, error_of, first, mapping, read_objects, text_of
from autointerp.llm.providers.refusals import passing_status, speaks_of_a_rate, words_of
from autointerp.valid_text import valid_text

RAW_LENGTH = 500
_LINE_LENGTH = 200
_TITLE = re.compile(r"<title>(?P<title>[^<]*)</title>|<h1>(?P<heading>[^<]*)</h1>", re.IGNORECASE)
_STATUS = re.compile(r"[45]\d\d")
_PAGES_STATUS = re.compile(r"\b(?P<status>429|5\d\d)\b")
_STATUS_OF = {
    "invalid_request_error": 400, "context_length_exceeded": 400, "exceed_context_size_error": 400,
    "content_filter": 400, "authentication_error": 401, "invalid_api_key": 401, "billing_error": 402,
    "permission_error": 403, "not_found_error": 404, "model_not_found": 404, "request_too_large": 413,
    "rate_limit_error": 429, "rate_limit_exceeded": 429, "insufficient_quota": 429, "too_many_requests": 429,
    "resource_exhausted": 429, "api_error": 500, "server_error": 500, "unavailable": 503, "service_unavailable": 503,
    "timeout_error": 504, "timeout": 504, "overloaded_error": 529, "overloaded": 529, "engine_overloaded": 529,
    "server_overloaded": 529,
}  # fmt: skip
_UNSAID = 500
_SAYING = ("message", "msg", "detail", "errors", "error_description")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")  # a terminal may do as they say


@dataclass(frozen=True, slots=True)
class HttpProblem:
    """An answer that is none.

    Attributes:
        status: HTTP status; of an error in the body of a success, the status that it names.
        body: Text of the body.
        headers: The response's, names in lower case.
    """

    status: int
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Posted:
    """What came of one call's body, and what the server said of its limits with it."""

    outcome: RawAnswer | Trouble | HttpProblem
    limits: ServerLimits | None = None


def error_in(content: Json, body: str) -> HttpProblem | None:
    """The error that stands in the body of a success; None if it holds none.

    Args:
        content: The object that may hold it: `error` as an object or a text, or with the words beside their status.
        body: The whole body.
    """
    return HttpProblem(status_of(content), body) if error_of(content) or _is_error(content) else None


def status_of(content: Json) -> int:
    """The status that an error names by number or kind; 500 if by none."""
    error = mapping(content.get("error"))
    for named in (*(error.get(key) for key in ("code", "status", "status_code", "type")), *_outside(content)):
        number = str(named).strip().lower()
        if number in _STATUS_OF:
            return _STATUS_OF[number]
        if _STATUS.fullmatch(number):
            return int(number)
    return _UNSAID


def busy_instead(body: str) -> HttpProblem | None:
    """The error that a body without an answer tells of by its words only, if it says that it passes."""
    words = words_of(body)
    status = 429 if speaks_of_a_rate(words) else passing_status(words)
    return None if status is None else HttpProblem(status, body)


def rejected_answer(problem: HttpProblem) -> RawAnswer | None:
    """The answer that a server holds back since it is not the JSON that was promised (Groq); None if there is none.

    It is read like any other, and sent back if it does not fit. What it cost is not said.
    """
    error = next((mapping(found.get("error")) for found in read_objects(problem.body)), {})
    text = text_of(error.get("failed_generation"))
    return RawAnswer(valid_text(text), "complete", "", 0, 0, 0, 0) if text.strip() else None


def page_problem(body: str) -> HttpProblem | None:
    """The error that a gateway's page names in its title, whatever status it came with; None if it names none."""
    found = _PAGES_STATUS.search(_heading(body) or "")
    return HttpProblem(int(found["status"]), body) if found else None


def not_an_answer(status: int, body: str) -> Trouble:
    """A success status over something that is no answer: HTML from a proxy, half a JSON document."""
    return Trouble(
        "ServerError",
        f"HTTP {status}, but not an answer: {said(body)}",
        body[:RAW_LENGTH] or None,
        retriable=True,
    )


def said(body: str) -> str:
    """The error message in a body, or the start of the body, on one line."""
    objects = read_objects(body)
    text = (_message(objects[0]) if objects else _heading(body)) or body
    line = " ".join(_CONTROLS.sub(" ", valid_text(text)).split())
    return line[:_LINE_LENGTH] + "…" if len(line) > _LINE_LENGTH else line or "an empty body"


def _outside(content: Json) -> tuple[Any, ...]:
    return tuple(content.get(key) for key in ("code", "status", "status_code", "type"))


def _is_error(content: Json) -> bool:
    if "error" in (content.get("object"), content.get("type")):
        return True
    says = isinstance(content.get("message", content.get("detail")), str | list)
    return says and not {"choices", "content"} & content.keys()


def _message(content: Json) -> str | None:
    """What an error says: servers put it into `error`, `error.message`, `message`, `detail` or `errors`."""
    error = content.get("error")
    if isinstance(error, str):
        return error
    fields = mapping(error)
    found = next((told for name in _SAYING if (told := fields.get(name) or content.get(name))), None)
    if isinstance(found, list):
        complaint = first(found)
        loc = complaint.get("loc")
        place = ".".join(map(str, loc)) if isinstance(loc, list) else ""
        told = next((complaint[name] for name in _SAYING if name in complaint), found[0])
        found = f"{place}: {told}" if place else str(told)
    # A router's own words say less than those of the server behind it.
    behind = mapping(fields.get("metadata")).get("raw")
    if isinstance(found, str) and isinstance(behind, str) and behind:
        return f"{found}: {said(behind)}"
    return found if isinstance(found, str) else None


def _heading(body: str) -> str | None:
    found = _TITLE.search(body) if body.lstrip().startswith("<") else None
    return None if found is None else found["title"] or found["heading"]
