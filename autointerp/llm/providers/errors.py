"""What an HTTP status and body mean to us: an attempt to repeat, a call that fails, or the end of the run.

Both providers, and the servers that imitate them, are read by the same rules, since they differ more between servers
than between protocols:

- 401, 402, 403, and any status whose body says that credit or quota is gone: the key is refused, the run stops. A 403
  for a flagged prompt is a refusal of that prompt only (OpenRouter).
- 404, and 400 that says the model is unknown: the model is not served, the run stops.
- 408, 409, 425, 429, 5xx: another attempt may succeed.
- 400, 413 and 422 that speak of the context's length: this request is too long for the model.
- Any other 4xx: this request is refused as it stands; if it is for a parameter that every request has, the run stops.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from autointerp.config import ModelConfig
from autointerp.errors import KeyRefusedError, LanguageModelError, ModelNotServedError
from autointerp.json_text import parse_json
from autointerp.llm.protocol import CallErrorType, RawAnswer, ServerLimits, Trouble
from autointerp.llm.providers.keys import key_variable

_RAW_LENGTH = 500
_REFUSED_KEY = frozenset({401, 402, 403})
_AGAIN = frozenset({408, 409, 425, 429})
_OVERLOAD = frozenset({429, 502, 503, 504, 529})
_NO_CREDIT = ("insufficient_quota", "billing_hard_limit", "credit balance is too low", "insufficient credits")
_UNKNOWN_MODEL = ("model_not_found", "unknown_model", "does not exist")
_WRONG_SETTING = ("unsupported_parameter", "unsupported_value")
_NO_STRUCTURE = ("response_format", "json_schema", "structured output", "guided", "output_config", "output_format")
_TOO_LONG = (
    "context_length_exceeded", "maximum context length", "prompt is too long", "maximum model length",
    "exceed_context_size", "exceeds the available context", "context window", "input is too long",
)  # fmt: skip
_BLOCKED = ("content_filter", "content_policy_violation", "flagged")


@dataclass(frozen=True, slots=True)
class HttpProblem:
    """An answer that is none.

    Attributes:
        status: HTTP status.
        body: Text of the body, the key blotted out.
        headers: The response's, names in lower case.
    """

    status: int
    body: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Posted:
    """What came of one call's body, and what the server said of its limits with it."""

    outcome: RawAnswer | Trouble | HttpProblem
    limits: ServerLimits | None = None


def read_problem(problem: HttpProblem, config: ModelConfig) -> Trouble:
    """Say what an error status means for this call.

    Raises:
        KeyRefusedError: If the key is refused, or the account is out of credit.
        ModelNotServedError: If the server does not know the model, or the address is not the API's.
        LanguageModelError: If the server refuses a setting that every request has.
    """
    status, body = problem.status, problem.body.lower()
    message = f"HTTP {status}: {said(problem.body)}"
    if status in (400, 403, 422) and _says(body, _BLOCKED):
        return Trouble("Refusal", message, problem.body[:_RAW_LENGTH])
    if status in _REFUSED_KEY or _says(body, _NO_CREDIT):
        why = "refuses the key: its credit or quota is used up" if _says(body, _NO_CREDIT) else "refuses the key"
        raise KeyRefusedError(
            f"{_server(config)} {why} ({message})",
            f"check {key_variable(config)}, its permissions and the account's credit",
        )
    if status == 404 or (status == 400 and _says(body, _UNKNOWN_MODEL)):
        raise ModelNotServedError(
            f"{_server(config)} does not serve the model {config.model!r} ({message})",
            "correct `model`, or `base_url`: that of most servers ends in /v1",
        )
    if status in (400, 413, 422) and _says(body, _TOO_LONG):
        return Trouble("TooLong", message, problem.body[:_RAW_LENGTH])
    wrong_temperature = config.temperature is not None and "temperature" in body
    if status == 400 and (wrong_temperature or _says(body, _WRONG_SETTING)):
        raise LanguageModelError(
            f"{config.model} refuses a setting ({message})", "change it in the model's table of the pipeline file"
        )
    retriable = status in _AGAIN or status >= 500
    kind: CallErrorType = "RateLimited" if status == 429 else "ServerError" if retriable else "BadRequest"
    return Trouble(
        kind,
        message,
        problem.body[:_RAW_LENGTH] or None,
        retriable,
        retry_after_s(problem.headers),
        is_overload=status in _OVERLOAD,
    )


def refuses_structure(problem: HttpProblem) -> bool:
    """Whether a server refuses the request for a structured answer, and may give a plain one."""
    return problem.status in (400, 404, 415, 422, 501) and _says(problem.body.lower(), _NO_STRUCTURE)


def not_an_answer(status: int, body: str, reason: str) -> Trouble:
    """A success status over something that is no answer: HTML from a proxy, half a JSON document."""
    return Trouble(
        "ServerError",
        f"HTTP {status}, but not an answer ({reason}): {said(body)}",
        body[:_RAW_LENGTH] or None,
        retriable=True,
    )


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """How long the server asks us to wait: `retry-after-ms`, or `retry-after` as seconds or as a date (RFC 9110)."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None or text is None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def said(body: str) -> str:
    """The error message in a body, or the start of the body, on one line."""
    text = _message(body) or body
    line = " ".join(text.split())
    return line[:200] + "…" if len(line) > 200 else line or "an empty body"


def _message(body: str) -> str | None:
    try:
        content: Any = parse_json(body)
    except ValueError:
        return None
    error = content.get("error", content) if isinstance(content, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else None


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return max(0.0, value) if math.isfinite(value) else None


def _says(body: str, phrases: tuple[str, ...]) -> bool:
    return any(phrase in body for phrase in phrases)


def _server(config: ModelConfig) -> str:
    return config.base_url or {"openai": "OpenAI", "anthropic": "Anthropic"}[config.provider]
