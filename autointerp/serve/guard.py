"""Who may ask: checked before a request's body is read.

1. A server on this machine alone answers to its own names only: a page whose name was made to point at 127.0.0.1 sends
   that name as the host (DNS rebinding).
2. Pages of other sites get nothing: their browser names them as the origin, or says `cross-site`.
3. Where there is a key, every request under `/api/` and `/v1/` has it, compared in constant time, and so has every
   other that may change something. Pages that only read are open; those that would run the model ask by `need_key`. A
   browser has the key from a form, in a cookie that scripts can't read.
4. A body larger than the limit is not read to its end, and an address of too many fields is not read.
5. What has no policy of its own is sent as data: a browser runs nothing in it.
"""

import hmac
import ipaddress
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request, cookie_parser
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autointerp.serve.errors import refused
from autointerp.serve.pages.headers import data_headers

ASKING = ("/api/", "/v1/")
KEY_PATH = "/key"
KEY_COOKIE = "autointerp_key"
_MOST_FIELDS = 2_000
_ONLY_READ = ("GET", "HEAD", "OPTIONS")
_HAS_KEY = "autointerp.has_key"
_NO_KEY = HTTPException(
    401, "the key is missing or wrong: send it as `Authorization: Bearer KEY`", {"WWW-Authenticate": "Bearer"}
)
_OTHER_SITE = HTTPException(403, "pages of other sites may not ask here: ask from a program, or from its own pages")

_BY_THE_WAY = HTTPException(403, "pages of other sites may lead here, and have nothing read by the way")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Guard:
    """Middleware that refuses what may not be asked.

    Args:
        app: What answers the rest.
        body_bytes: Largest body.
        key: What each request has to have; None where none needs one.
        hosts: By which names the server may be called; None for any.
        told: Makes the reply that refuses; JSON where None.
    """

    def __init__(
        self,
        app: ASGIApp,
        body_bytes: int,
        key: str | None,
        hosts: Iterable[str] | None,
        told: Callable[[Request, HTTPException], Response] | None = None,
    ) -> None:
        self._app = app
        self._told = told
        self._body_bytes = body_bytes
        self._key = None if key is None else key.encode()
        self._hosts = None if hosts is None else frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        scope[_HAS_KEY] = self._has_key(headers)
        try:
            self._check(headers, scope)
        except HTTPException as error:
            reply = refused(error) if self._told is None else self._told(Request(scope, receive), error)
            await reply(scope, receive, send)
            return
        n_read = 0

        async def counted() -> Message:
            nonlocal n_read
            message = await receive()
            n_read += len(message.get("body", b""))
            if n_read > self._body_bytes:
                raise self._too_large()
            return message

        async def as_data(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent = MutableHeaders(scope=message)
                for name, value in data_headers().items():
                    if name != "Cache-Control":
                        sent.setdefault(name, value)
            await send(message)

        await self._app(scope, counted, as_data)

    def _has_key(self, headers: Headers) -> bool:
        if self._key is None:
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        keys = [given] if kind.lower() == "bearer" else []
        # Neuronpedia's clients have theirs in a header of its own.
        keys += headers.getlist("x-api-key")
        if any(hmac.compare_digest(one.strip().encode("latin-1"), self._key) for one in keys):
            return True
        kept = cookie_parser(headers.get("cookie", "")).get(KEY_COOKIE, "")
        return hmac.compare_digest(kept.encode("latin-1", "replace"), key_cookie(self._key.decode()).encode())

    def _check(self, headers: Headers, scope: Scope) -> None:
        host = headers.get("host", "")
        if self._hosts is not None and _hostname(f"//{host}") not in self._hosts:
            raise HTTPException(403, "the server is not called so: call it by its address, or name it by --allow-host")
        origin = headers.get("origin")
        if origin is not None and _place(origin) != host:
            raise _OTHER_SITE
        is_asking = scope["path"].startswith(ASKING)
        may_change = scope["method"] not in _ONLY_READ
        if (is_asking or may_change) and headers.get("sec-fetch-site") == "cross-site":
            raise _OTHER_SITE
        if (is_asking or (may_change and scope["path"] != KEY_PATH)) and not scope[_HAS_KEY]:
            raise _NO_KEY
        if scope["query_string"].count(b"&") >= _MOST_FIELDS:
            raise HTTPException(414, f"the address has more than {_MOST_FIELDS:,} fields: ask for less at once")
        if not (is_asking or may_change):
            return
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit() and len(length) < 19 and int(length) <= self._body_bytes):
            raise self._too_large()

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"the request is larger than {self._body_bytes:,} bytes: ask for less at once")


def has_key(request: Request) -> bool:
    """Whether a request has the key, where one is needed."""
    return bool(request.scope.get(_HAS_KEY, True))


def need_key(request: Request) -> None:
    """Refuse a request that would run the model, or spend, without the key that the server needs, or by the way.

    Raises:
        HTTPException: 401, if it has none; 403, if a page of another site asks, and does not lead here.
    """
    if not has_key(request):
        raise _NO_KEY
    need_own_page(request)


def need_own_page(request: Request) -> None:
    """Refuse to run the model for what a page of another site loads by the way; a link from there is followed.

    Raises:
        HTTPException: 403, if it is that.
    """
    headers = request.headers
    if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
        raise _BY_THE_WAY


def key_cookie(key: str) -> str:
    """What a browser keeps in place of a key."""
    return hmac.new(key.encode(), b"autointerp pages", "sha256").hexdigest()


def _place(url: str) -> str | None:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return None


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
