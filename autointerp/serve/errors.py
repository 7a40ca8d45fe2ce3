"""What goes wrong, as clients are told: a status and one line, in the shape of OpenAI's errors, and no internals.

| status | what |
|---|---|
| 400 | what is asked makes no sense, or can't be answered |
| 401, 403 | no key, or the wrong one; another host or site |
| 404 | no such model, feature, note or path |
| 409 | notes can't be kept: their file can't be written |
| 413, 414 | a body that is too large, an address of too many fields |
| 422 | a body of another shape; 400 under `/v1` |
| 429 | too many wait; `Retry-After` says when to try again |
| 500, 503 | the server's own trouble, which its log tells; the store is busy, or a replica is lost |
| 504 | it took too long |
| 507 | the server's disk is full |
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from autointerp.errors import (
    AutointerpError,
    BusyError,
    CompareError,
    DiskFullError,
    FilterError,
    GenerationError,
    NoteError,
    NotesFileError,
    SearchError,
    ServeError,
    StoreBusyError,
    SubjectError,
    TimeLimitError,
    UnknownFeatureError,
    UnknownModelError,
    UnknownNoteError,
    UnknownRunError,
    UnknownSourceError,
)
from autointerp.library.remote.shapes import PATH
from autointerp.library.remote.told import plain_error
from autointerp.serve.limits import ClientGoneError, ReplicaLostError
from autointerp.serve.pages.headers import data_headers
from autointerp.valid_text import valid_text, visible

_LOG = logging.getLogger(__name__)
_STATUS: Sequence[tuple[type[AutointerpError], int]] = (
    (UnknownModelError, 404),
    (UnknownRunError, 404),
    (UnknownFeatureError, 404),
    (UnknownSourceError, 404),
    (BusyError, 429),
    (TimeLimitError, 504),
    (StoreBusyError, 503),
    (ReplicaLostError, 503),
    (UnknownNoteError, 404),
    (NotesFileError, 409),
    (NoteError, 400),
    (GenerationError, 400),
    (ServeError, 400),
    (SearchError, 400),
    (FilterError, 400),
    (CompareError, 400),
    (SubjectError, 400),
)
_OUR_OWN = HTTPException(500, "the server can't answer this: its log says why")
_NO_ROOM = HTTPException(507, "the server's disk is full: what was there before is kept")
_RETRY_AFTER_S = 2
_LONGEST = 1_000
_KINDS = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


Told = Callable[[Request, HTTPException], Response]
"""Makes the reply that tells of an error."""


def add_handlers(app: FastAPI, told: Told | None = None) -> None:
    """Have an application tell errors so.

    Args:
        app: The application.
        told: Makes replies; JSON for all where None.
    """

    def handle(request: Request, error: Exception) -> Response:
        if isinstance(error, ClientGoneError):
            return Response(status_code=499)  # nobody reads it
        of = _of_http(request, error)
        return refused(of) if told is None else told(request, of)

    for kind in (AutointerpError, HTTPException, RequestValidationError, ClientGoneError):
        app.add_exception_handler(kind, handle)
    app.add_exception_handler(Exception, handle)  # which the server's log has with its traceback


def _of_http(request: Request, error: Exception) -> HTTPException:
    match error:
        case HTTPException():
            return error
        case RequestValidationError():
            return _unread(request, error.errors())
        case AutointerpError():
            return as_http(error, whole=request.url.path.startswith(PATH))
        case _:
            return _OUR_OWN


class WholeError(HTTPException):
    """An error that our own client raises as it was raised here.

    Attributes:
        plain: What JSON can hold of it.
    """

    def __init__(self, status: int, error: AutointerpError, headers: dict[str, str] | None) -> None:
        super().__init__(status, f"{error.problem}: {error.remedy}", headers)
        self.plain = plain_error(error)


def as_http(error: AutointerpError, *, whole: bool = False) -> HTTPException:
    """What a client is told of an error of ours.

    Args:
        error: The error.
        whole: Whether it is our own client, which is told its class and parts, too.
    """
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    headers = {"Retry-After": str(_RETRY_AFTER_S)} if status in (429, 503) else None
    if isinstance(error, DiskFullError):
        _LOG.error("%s", error)
        return _NO_ROOM
    if status == 500:
        _LOG.error("%s", error)  # it may name the server's own files
        return _OUR_OWN
    if whole:
        return WholeError(status, error, headers)
    return HTTPException(status, f"{error.problem}: {error.remedy}", headers)


def refused(error: HTTPException) -> Response:
    """The reply that tells of an error."""
    return JSONResponse(error_shape(error), error.status_code, {**data_headers(), **(error.headers or {})})


def error_shape(error: HTTPException) -> dict[str, Any]:
    """An error as OpenAI's clients read it."""
    kind = _KINDS.get(error.status_code, "server_error" if error.status_code >= 500 else _KINDS[400])
    shape = {"message": error_line(error), "type": kind, "param": None, "code": error.status_code}
    return {"error": {**shape, **error.plain} if isinstance(error, WholeError) else shape}


def error_line(error: HTTPException) -> str:
    """What is told of an error, in one line."""
    line = visible(valid_text(" ".join(str(error.detail).split())))
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _unread(request: Request, faults: Sequence[Any]) -> HTTPException:
    """Of a path that names nothing there can be; of all else what is wrong with it."""
    if any(fault["loc"][:1] == ("path",) for fault in faults):
        return HTTPException(404, f"there is nothing at this address: {_faults(faults)}")
    # OpenAI's own service knows no 422, and its users' programs look for 400.
    return HTTPException(400 if request.url.path.startswith("/v1/") else 422, _faults(faults))


def _faults(faults: Sequence[Any]) -> str:
    """What is wrong with a request, without what was given: it may be long, and is known to whoever gave it."""
    told = {".".join(map(str, fault["loc"][1:]))[:60]: fault["msg"] for fault in faults}
    return "; ".join(f"{where or 'body'}: {message}" for where, message in list(told.items())[:5])
