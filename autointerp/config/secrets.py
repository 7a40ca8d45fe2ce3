"""What a pipeline file may not hold, since run folders keep what it says: passwords and keys."""

import re
from urllib.parse import urlsplit

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Long, of letters and digits, and some of them small: no word of a name.
_KEYS_PART = re.compile(r"(?=.*[a-z])(?=.*\d)[A-Za-z0-9]{16,}")


def login_in(url: str) -> str:
    """The user and password that stand in an address before its host; empty if there are none."""
    try:
        return urlsplit(url).netloc.rpartition("@")[0]
    except ValueError:
        return ""


def query_in(url: str) -> str:
    """What stands behind an address's path, where some servers want a key; empty if nothing does."""
    return url[found.start() :] if (found := re.search(r"[?#]", url)) else ""


def check_address(url: str) -> None:
    """See that an address holds no password and no key.

    Raises:
        ValueError: If it may hold one. What it says does not repeat it.
    """
    if login_in(url) or ("@" in url and "://" not in url):
        raise ValueError(
            "holds a user or a password, which the run folder would keep; leave `base_url` out, and put the whole"
            " address into the environment, as OPENAI_BASE_URL or ANTHROPIC_BASE_URL"
        )
    if query_in(url):
        raise ValueError(
            "goes on behind its path, with a `?` or a `#`, where a key may stand; leave that out, and put a key into"
            " an environment variable that `api_key_env` names"
        )


def check_variable(name: str) -> None:
    """See that a name is that of an environment variable, and not a key that was put in its place.

    Raises:
        ValueError: If it is none. What it says does not repeat it.
    """
    if not _NAME.fullmatch(name) or any(_KEYS_PART.fullmatch(part) for part in name.split("_")):
        raise ValueError(
            "is not the name of an environment variable; put the key into the environment, and the variable's name here"
        )
