"""What an HTTP status and body mean to us: an attempt to repeat, a call that fails, or the end of the run.

Both providers, and the servers that imitate them, are read by the same rules, since they differ more between servers
than between protocols. An error in the body of a success has the status that it names:

- A redirection is not followed: another server would be sent the prompts, and some keys.
- 401 and 403: the key is refused, the run stops; 402, and any status whose body says that credit or quota is gone: so
  it does. A 403 for a flagged prompt is a refusal of that prompt only (OpenRouter).
- What says that the model can't read as much: this request is too long for the model, whatever the status.
- 404, and 400 that says the model is unknown: the model is not served, the run stops.
- 408, 409, 424, 425, 429, 498, 499, 5xx, 400 or 403 that speaks of a rate limit, and 400 or 422 that says it passes:
  another attempt may succeed.
- Any other 4xx: this request is refused as it stands; if it is for a parameter that every request has, the run stops.
"""

import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin

from autointerp.config import ModelConfig
from autointerp.errors import KeyRefusedError, LanguageModelError, ModelNotServedError
from autointerp.llm.protocol import CallErrorType, Trouble
from autointerp.llm.providers.address import find_address
from autointerp.llm.providers.keys import what_to_do_without
from autointerp.llm.providers.problem import RAW_LENGTH, HttpProblem, said
from autointerp.llm.providers.refusals import is_too_long, passing_status, speaks_of_a_rate, words_of

_REFUSED_KEY = frozenset({401, 403})
_AGAIN = frozenset({408, 409, 424, 425, 429, 498, 499})  # 498: Groq has no room; 499: a gateway hung up
_OVERLOAD = frozenset({429, 498, 502, 503, 504, 521, 522, 523, 529})
_NO_CREDIT = ("insufficient_quota", "billing_hard_limit", "credit balance is too low", "insufficient credits")
_NO_KEY = ("api key not valid", "invalid api key", "invalid_api_key", "incorrect api key", "api_key_invalid")
_UNKNOWN_MODEL = ("model_not_found", "unknown_model", "does not exist", "no models loaded", "not a valid model")
_WRONG_SETTING = ("unsupported_parameter", "unsupported_value")
_BLOCKED = (
    "content_filter", "content_policy_violation", "flagged", "content management policy", "responsibleaipolicy",
)  # fmt: skip


def read_problem(problem: HttpProblem, config: ModelConfig) -> Trouble:
    """Say what an error status means for this call.

    Raises:
        KeyRefusedError: If the key is refused, or the account is out of credit.
        ModelNotServedError: If the server does not know the model, or the address is not the API's.
        LanguageModelError: If the server is elsewhere, or refuses a setting that every request has.
    """
    status, words = problem.status, words_of(problem.body)
    message = f"HTTP {status}: {said(problem.body)}"
    raw = problem.body[:RAW_LENGTH] or None
    if 300 <= status < 400:
        location = problem.headers.get("location", "").partition("?")[0]
        elsewhere = urljoin(find_address(config).url, location) if location else "an address that it keeps to itself"
        raise LanguageModelError(
            f"{server_of(config)} sends its callers on to {elsewhere}",
            "if that is the server that you mean, write its address as `base_url`",
        )
    if status in (400, 403, 422) and _says(words, _BLOCKED):
        return Trouble("Refusal", message, raw)
    if status in (400, 403) and speaks_of_a_rate(words):
        status = 429
    is_spent = status == 402 or _says(words, _NO_CREDIT)
    if status in _REFUSED_KEY or is_spent or (status == 400 and _says(words, _NO_KEY)):
        if is_spent:
            raise KeyRefusedError(
                f"{server_of(config)} answers nothing more: the account's credit or quota is used up ({message})",
                "add credit or raise the quota there, and run the same command again, which goes on from here",
            )
        raise KeyRefusedError(f"{server_of(config)} refuses the key ({message})", what_to_do_without(config))
    if is_too_long(status, words):
        return Trouble("TooLong", message, raw)
    if status == 404 or (status == 400 and _says(words, _UNKNOWN_MODEL)):
        raise ModelNotServedError(
            f"{server_of(config)} does not serve the model {config.model!r} ({message})",
            "correct `model`, or `base_url`: that of most servers ends in /v1",
        )
    if status == 400 and config.temperature is not None and "temperature" in words:
        raise LanguageModelError(
            f"{config.model} refuses temperature = {config.temperature:g} ({message})",
            "remove `temperature` from the model's table: it then answers with its own",
        )
    if status == 400 and _says(words, _WRONG_SETTING):
        raise LanguageModelError(
            f"{config.model} refuses a setting ({message})", "change it in the model's table of the pipeline file"
        )
    if status in (400, 422):
        status = passing_status(words) or status
    retriable = status in _AGAIN or status >= 500
    kind: CallErrorType = "RateLimited" if status == 429 else "ServerError" if retriable else "BadRequest"
    return Trouble(kind, message, raw, retriable, retry_after_s(problem.headers), is_overload=status in _OVERLOAD)


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


def server_of(config: ModelConfig) -> str:
    """The server's name for messages: its address, or the provider."""
    address = find_address(config)
    names = {"openai": "OpenAI", "anthropic": "Anthropic"}
    return names[config.provider] if address.is_own else address.url


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return max(0.0, value) if math.isfinite(value) else None


def _says(words: str, phrases: tuple[str, ...]) -> bool:
    return any(phrase in words for phrase in phrases)
