"""One server, asked over HTTP; whatever goes wrong on the way is one line.

- A redirect is not followed, since the key would go with it; proxies of the environment are not used for this machine.
- A key of the environment goes only where nobody on the way can read it: over https, or to this machine. A key that is
  given goes wherever its giver says, with a warning where it could be read.
"""

import ipaddress
import json
import logging
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx2

from autointerp.errors import AutointerpError, BusyError, RemoteError, SearchError, in_one_line
from autointerp.library.remote.calls import Call
from autointerp.library.remote.shapes import PATH, PROGRAM, PROTOCOL, Asked, Served
from autointerp.library.remote.told import read_error
from autointerp.store.known import shown
from autointerp.valid_text import visible

logger = logging.getLogger(__name__)
KEY_VARIABLE = "AUTOINTERP_API_KEY"
_START = "start it by `autointerp serve RUN`, or check the address"
_UPGRADE = "install the same version of autointerp on both sides"
_TIMEOUT = httpx2.Timeout(600.0, connect=10.0)
_LONGEST_LINE = 300
R = TypeVar("R")


class Connection:
    """A server.

    Attributes:
        address: Where it is.

    Args:
        address: `http://` or `https://`, a host and a port; and a path, behind a proxy.
        key: What it wants to be given; that of the environment where None.

    Raises:
        RemoteError: If the address is none, or the key may not go there.
    """

    def __init__(self, address: str, key: str | None = None) -> None:
        self.address, host = _checked_address(address)
        is_here = _is_loopback(host)
        key = self._checked_key(key, is_here=is_here)
        headers = {"User-Agent": f"autointerp/{version('autointerp')}"}
        self._http = httpx2.Client(
            headers=headers if key is None else {**headers, "Authorization": f"Bearer {key}"},
            timeout=_TIMEOUT,
            follow_redirects=False,
            trust_env=not is_here,
        )
        self._close = weakref.finalize(self, self._http.close)  # whoever lets go of it leaves no connection open

    def _checked_key(self, given: str | None, *, is_here: bool) -> str | None:
        key = given or os.environ.get(KEY_VARIABLE) or None
        if key is None:
            return None
        if not (isinstance(key, str) and key.isascii() and key.isprintable()):
            raise RemoteError("the key is none: it holds characters that no header can", "give it in ASCII")
        if not is_here and self.address.startswith("http://"):
            if given is None:
                raise RemoteError(
                    f"the key of {KEY_VARIABLE} is not sent to {self.address}, where others could read it on the way",
                    "use https, or a tunnel to 127.0.0.1; or give the key as api_key= to send it all the same",
                )
            logger.warning("the key is sent to %s unencrypted: whoever is on the way can read it", self.address)
        return key

    def served(self) -> Served:
        """What answers there.

        Raises:
            RemoteError: If nothing does, another program, or one of another protocol.
        """
        text = self._whole("GET", PATH, None)
        plain = _json(text)
        if not isinstance(plain, dict) or plain.get("program") != PROGRAM:
            raise self._another_program()
        if plain.get("protocol") != PROTOCOL:
            raise RemoteError(
                f"{self.address} speaks protocol {shown(plain.get('protocol'))} (autointerp {plain.get('version')}), "
                f"and this client {PROTOCOL} (autointerp {version('autointerp')})",
                _UPGRADE,
            )
        try:
            return Served.model_validate_json(text)
        except ValueError as error:
            raise self._unreadable(error) from error

    def ask(self, call: Call[Any, R], asked: Asked, run: str | None = None) -> R:
        """Ask a question, about a run where it is of one.

        Raises:
            AutointerpError: What the server answers in place of an answer; RemoteError if it can't be reached.
        """
        return self._read(call, self._whole("POST", _path(call.path, run), _body(asked)))

    def table(self, path: str, asked: Asked, run: str) -> Any:
        """A table of Arrow about a run; raises as `ask`."""
        import pyarrow as pa  # slow to import

        data = self._whole("POST", _path(path, run), _body(asked))
        try:
            with pa.ipc.open_stream(data) as stream:
                return stream.read_all()
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(ValueError(in_one_line(error))) from error

    def pieces(self, call: Call[Any, R], asked: Asked) -> Iterator[R]:
        """An answer that comes piece by piece; ends the request where it is closed.

        Raises:
            As `ask`, also amid the answer.
        """
        is_over = False
        with (
            self._telling(),
            self._http.stream(
                "POST", self.address + _path(call.path, None), content=_body(asked), headers=_JSON
            ) as response,
        ):
            if response.status_code != 200:
                raise self._refused(response, response.read())
            for line in response.iter_lines():
                if not line.startswith("data: "):
                    continue
                if line == "data: [DONE]":
                    is_over = True
                    break
                text = line.removeprefix("data: ")
                if text.startswith('{"error"'):
                    raise self._told(_json(text)) or self._unreadable(ValueError("an error of another shape"))
                yield self._read(call, text.encode())
        if not is_over:
            raise self._cut()

    def close(self) -> None:
        """Let go of the server."""
        self._close()

    def _read(self, call: Call[Any, R], text: bytes) -> R:
        try:
            return call.read(text)
        except ValueError as error:
            raise self._unreadable(error) from error

    def _whole(self, method: str, path: str, body: bytes | None) -> bytes:
        with self._telling():
            response = self._http.request(method, self.address + path, content=body, headers=_JSON)
        if response.status_code != 200:
            raise self._refused(response, response.content)
        return response.content

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """What the HTTP library says, in our words."""
        try:
            yield
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise RemoteError(f"nothing answers at {self.address} ({in_one_line(error)})", _START) from error
        except httpx2.TimeoutException as error:
            raise RemoteError(f"{self.address} takes too long to answer", "ask for less, or try again") from error
        except (httpx2.ReadError, httpx2.WriteError, httpx2.CloseError, httpx2.RemoteProtocolError) as error:
            raise self._cut() from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            told = in_one_line(error, with_kind=True)
            raise RemoteError(f"{self.address} can't be asked ({told})", "check the address") from error

    def _cut(self) -> RemoteError:
        return RemoteError(
            f"the connection to {self.address} was cut amid an answer", "see whether it still runs, and ask again"
        )

    def _another_program(self) -> RemoteError:
        return RemoteError(
            f"what answers at {self.address} is another program, or an autointerp that serves no clients like this",
            _START,
        )

    def _unreadable(self, error: ValueError) -> RemoteError:
        told = in_one_line(error)
        return RemoteError(f"{self.address} answers in a shape that is not known here ({told})", _UPGRADE)

    def _refused(self, response: httpx2.Response, body: bytes) -> AutointerpError:
        """The error of a response that is none of what was asked for."""
        plain = _json(body)
        if (told := self._told(plain)) is not None:
            return told
        status, line = response.status_code, _line(plain)
        if status == 401:
            what = "the key is missing, or not the server's" if line is None else line.partition(":")[0]
            return RemoteError(f"{self.address} refuses to answer ({what})", f"give api_key=, or set {KEY_VARIABLE}")
        if status in (429, 503):
            after = response.headers.get("Retry-After", "")
            when = f"in {after} s" if after.isascii() and after.isdigit() and len(after) < 6 else "in a while"
            return BusyError(f"{self.address} takes no more requests now", f"try again {when}")
        if line is None:
            return self._another_program() if status < 500 else self._failed(f"status {status}")
        return self._failed(line)

    def _failed(self, line: str) -> RemoteError:
        problem, _, remedy = line.partition(": ")
        return RemoteError(f"{self.address} does not answer ({problem})", remedy or "see what its log says")

    def _told(self, plain: Any) -> AutointerpError | None:
        return read_error(plain.get("error")) if isinstance(plain, dict) else None


_JSON = {"Content-Type": "application/json"}


def _path(path: str, run: str | None) -> str:
    of_run = "" if run is None else f"runs/{quote(run, safe='')}/"
    return f"{PATH}/v{PROTOCOL}/{of_run}{path}"


def _body(asked: Asked) -> bytes:
    """As JSON; a number that is none goes as Python's JSON has it, and the library at the other end says so."""
    try:
        return json.dumps(asked.model_dump(), separators=(",", ":")).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        told = in_one_line(error)
        raise SearchError(f"what is asked can't be sent as JSON ({told})", "give texts, numbers and lists") from error


def _json(text: bytes | str) -> Any:
    """What JSON holds; None of what is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _line(plain: Any) -> str | None:
    """The line of an error in the shape of OpenAI's."""
    match plain:
        case {"error": {"message": str(message)}}:
            line = visible(" ".join(message.split()))
            return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}…"
        case _:
            return None


def _checked_address(address: str) -> tuple[str, str]:
    """An address without its last slash, and the host in it."""
    try:
        parts = urlsplit(address.strip())
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise RemoteError(f"{shown(address)} is no address ({in_one_line(error)})", _EXAMPLE) from error
    if parts.scheme.lower() not in ("http", "https") or not host or port == 0:
        raise RemoteError(f"{shown(address)} is no address", _EXAMPLE)
    if parts.username is not None or parts.password is not None:
        raise RemoteError("the address has a name or a key in it, which would be shown", "give the key as api_key=")
    if parts.query or parts.fragment:
        raise RemoteError(f"{shown(address)} has more than an address in it", _EXAMPLE)
    return f"{parts.scheme.lower()}://{parts.netloc}{parts.path.rstrip('/')}", host


_EXAMPLE = "give one such as http://127.0.0.1:8000"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
