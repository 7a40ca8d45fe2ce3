"""The form by which a browser is given the server's key, where the server needs one."""

import hmac
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from autointerp.serve.guard import KEY_COOKIE, KEY_PATH, has_key, key_cookie
from autointerp.serve.pages.frame import Pages, form_of, see_other


@dataclass(frozen=True, slots=True)
class KeyView:
    """What the form says.

    Attributes:
        is_needed: Whether the server needs a key.
        is_given: Whether this browser has given it.
        back: Where to go after it was given.
    """

    is_needed: bool
    is_given: bool
    back: str


def add(pages: Pages, server_key: str | None) -> None:
    """Add the form."""

    async def form(request: Request, back: str = "/") -> Response:
        view = KeyView(server_key is not None, has_key(request), _here(back))
        return pages.frame.reply("key.html", request, view)

    async def give(request: Request) -> Response:
        given = await form_of(request)
        reply = see_other(_here(given.get("back", "/")))
        if server_key is None:
            return reply
        if not hmac.compare_digest(given.get("key", "").strip().encode(), server_key.encode()):
            raise HTTPException(401, "that is not the server's key: it was given by --api-key-file or by a variable")
        reply.set_cookie(KEY_COOKIE, key_cookie(server_key), httponly=True, samesite="lax", path="/")
        return reply

    pages.routes.add_api_route(KEY_PATH, form, methods=["GET"], include_in_schema=False)
    pages.routes.add_api_route(KEY_PATH, give, methods=["POST"], include_in_schema=False)


def _here(path: str) -> str:
    r"""A path of this server: `//host` and `/\host` would lead to another one."""
    return path if path.startswith("/") and path[1:2] not in ("/", "\\") and path.isprintable() else "/"
