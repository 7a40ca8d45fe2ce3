"""API keys: read from the environment, handed to the SDK, and kept out of everything that is shown or stored.

A key goes where its variable says that it belongs. `OPENAI_API_KEY` and `ANTHROPIC_API_KEY` are the providers' own:
they go to the providers' own servers, and to the one that `OPENAI_BASE_URL` or `ANTHROPIC_BASE_URL` names beside them,
as the SDKs have it. A server that the pipeline file names gets the key that the file names for it by `api_key_env`.
"""

import os
import re

from autointerp.config import ModelConfig
from autointerp.errors import NoKeyError
from autointerp.llm.providers.address import Address, find_address

_USUAL_VARIABLE = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}
KEYLESS = "no-key"
"""What is sent to a server that wants no key: the SDKs refuse to send nothing."""
# Shorter words are what people give to servers that want any key, and stand in many an error for other reasons.
_SHORTEST_SECRET = 8
_MOST_ESCAPES = 15  # backslashes before one character: JSON within JSON, four deep


def key_variable(config: ModelConfig, address: Address) -> str | None:
    """The environment variable that holds the key for an address; None where none is sent there."""
    if config.api_key_env is not None:
        return config.api_key_env
    return _USUAL_VARIABLE[config.provider] if address.is_own or address.variable is not None else None


def read_key(config: ModelConfig) -> str:
    """The key of a model, without surrounding space.

    Another server than the provider's own may want no key; where the config names a variable, it does.

    Raises:
        NoKeyError: If there is none, and one is wanted.
        LanguageModelError: If the model's address is none.
    """
    address = find_address(config)
    variable = key_variable(config, address)
    key = os.environ.get(variable, "").strip() if variable is not None else ""
    if key and not (key.isascii() and key.isprintable()):
        raise NoKeyError(
            f"what stands in {variable} is no API key: it holds a character that no header may hold",
            "copy the key again, without line breaks or an ellipsis",
        )
    if key:
        return key
    if config.api_key_env is None and not address.is_own:
        return KEYLESS
    raise NoKeyError(
        f"no API key for {config.model}: the environment variable {variable} is not set",
        f"set {variable}, or name another variable by `api_key_env`",
    )


def what_to_do_without(config: ModelConfig) -> str:
    """What a user may do about a key that is refused."""
    variable = key_variable(config, find_address(config))
    if variable is None:
        usual = _USUAL_VARIABLE[config.provider]
        return (
            "none was sent: name the environment variable that holds this server's key by `api_key_env`"
            f" ({usual} goes to the provider only, unless the file says so)"
        )
    return f"check {variable}, its permissions and the account's credit"


def blotted(text: str, secrets: tuple[str, ...]) -> str:
    """What a server said in place of an answer, without the secrets that it may repeat; all else stands as it was.

    JSON may escape any character of a secret, and again where JSON stands in its strings.
    """
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET and secret != KEYLESS:
            text = re.sub("".join(map(_escaped_or_not, secret)), "[key]", text)
    return text


def _escaped_or_not(character: str) -> str:
    """A pattern of a character as JSON may write it."""
    units = character.encode("utf-16-be", "surrogatepass").hex(" ", 2).split()
    code = "".join(rf"\\{{1,{_MOST_ESCAPES}}}u(?i:{unit})" for unit in units)
    return rf"(?:\\{{0,{_MOST_ESCAPES}}}{re.escape(character)}|{code})"
