"""The server itself: an address, a model that is warm, and an end at Ctrl-C."""

import socket
from collections.abc import Callable
from contextlib import closing, suppress

import uvicorn
from fastapi import FastAPI

from autointerp.errors import ServeError

_BACKLOG = 256
_LAST_ANSWERS_S = 5
_HEAD_BYTES = 2**17  # a text of the most characters stands in an address


def serve(app: FastAPI, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Answer at an address until the process is asked to end.

    Args:
        app: What answers.
        host: A name or an address of this machine.
        port: 0 for one that is free.
        ready: Told the address as soon as it answers.

    Raises:
        ServeError: If the address can't be had.
    """
    with closing(listen(host, port)) as listener:
        ready(_address(listener))
        with suppress(KeyboardInterrupt):  # raised anew when all is closed
            uvicorn.Server(configured(app)).run([listener])


def configured(app: FastAPI) -> uvicorn.Config:
    """How an application is served: without a log of requests, and believing no proxy.

    The parser is h11, also where another is installed: it bounds the line and the headers of a request.
    """
    return uvicorn.Config(
        app,
        http="h11",
        h11_max_incomplete_event_size=_HEAD_BYTES,
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_LAST_ANSWERS_S,
    )


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes requests.

    Raises:
        ServeError: If there is no such address, or the port is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise ServeError(f"{host!r} is no address of this machine", "give --host one, such as 127.0.0.1") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        said = (error.strerror or "no reason given").lower()
        raise ServeError(f"nothing can listen at {host}:{port} ({said})", "give another --host or --port") from error
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
