"""API keys: read from the environment, handed to the SDK, and kept out of everything that is shown or stored."""

import os
import re

from autointerp.config import ModelConfig
from autointerp.errors import NoKeyError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_USUAL_VARIABLE = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}
KEYLESS = "no-key"
"""What is sent to a server that wants no key: the OpenAI SDK refuses to send nothing."""


def key_variable(config: ModelConfig) -> str:
    """The environment variable that holds the model's key."""
    return config.api_key_env or _USUAL_VARIABLE[config.provider]


def read_key(config: ModelConfig) -> str:
    """The key of a model, without surrounding space.

    An OpenAI-compatible server at `base_url` may want no key; where the config names a variable, it does.

    Raises:
        NoKeyError: If there is none, and one is wanted.
    """
    variable = key_variable(config)
    if not _NAME.fullmatch(variable):
        # perhaps the key itself was put there: it must not be shown
        raise NoKeyError(
            f"api_key_env of {config.model} is not the name of an environment variable",
            "put the key into the environment, and the variable's name there",
        )
    if key := os.environ.get(variable, "").strip():
        if not (key.isascii() and key.isprintable()):
            raise NoKeyError(
                f"what stands in {variable} is no API key: it holds a character that no header may hold",
                "copy the key again, without line breaks or an ellipsis",
            )
        return key
    if config.provider == "openai" and config.base_url is not None and config.api_key_env is None:
        return KEYLESS
    raise NoKeyError(
        f"no API key for {config.model}: the environment variable {variable} is not set",
        f"set {variable}, or name another variable by `api_key_env`",
    )


def without_key(text: str, key: str) -> str:
    """The text with the key blotted out: servers repeat it in their errors."""
    return text.replace(key, "[key]") if key and key != KEYLESS else text
