"""Where a model's calls go: as the file says, else as the environment says, else to the provider itself.

What belongs to an address and is secret (a user and a password) goes into a call's header, and nowhere else: what is
shown, stored and part of a key is the address without it. So a pipeline file may not hold it (`config`), since run
folders keep what the file says; the environment may.
"""

import os
from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit

from autointerp.config import ModelConfig
from autointerp.config.secrets import login_in, query_in
from autointerp.errors import LanguageModelError

_OWN = {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com"}
_VARIABLE = {"openai": "OPENAI_BASE_URL", "anthropic": "ANTHROPIC_BASE_URL"}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a model's calls go.

    Attributes:
        url: Without a user and a password.
        variable: The environment variable that names it; None if the file does, or nothing.
        is_own: Whether it is the provider's own server, reached so that nobody else can read what is sent.
        login: `user:password` for the server; empty if there is none.
    """

    url: str
    variable: str | None
    is_own: bool
    login: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The login as HTTP's basic authentication has it; empty if there is none."""
        return b64encode(self.login.encode()).decode()


def find_address(config: ModelConfig) -> Address:
    """Where the calls of a model go.

    Raises:
        LanguageModelError: If what is named is no address of a server.
    """
    own, variable = _OWN[config.provider], _VARIABLE[config.provider]
    in_environment = os.environ.get(variable, "").strip()
    if config.base_url is None and not in_environment:
        return Address(own, None, is_own=True)
    named = in_environment if config.base_url is None else config.base_url
    where = variable if config.base_url is None else "base_url"
    if query_in(named):
        raise LanguageModelError(
            f"{where} goes on behind its path, with a `?` or a `#`",
            "leave that out; a key belongs into an environment variable that `api_key_env` names",
        )
    if not _is_address(named):
        shown = "" if "@" in named else f" = {named!r}"
        raise LanguageModelError(
            f"{where}{shown} is not the address of a server", "write it as http://127.0.0.1:8000/v1"
        )
    parts = urlsplit(named)
    url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    host, own_host = (parts.hostname or "").rstrip("."), urlsplit(own).hostname or ""
    is_own = parts.scheme == "https" and (host == own_host or host.endswith(f".{own_host}"))
    return Address(url, variable if config.base_url is None else None, is_own, unquote(login_in(named)))


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_host = bool(parts.hostname) and bool((parts.hostname or "").encode("idna"))
        return parts.scheme in ("http", "https") and is_host and parts.port != 0
    except ValueError:
        return False
