"""What providers say of their limits in the headers of each answer.

OpenAI and compatible servers: `x-ratelimit-limit-requests`, `x-ratelimit-remaining-tokens`, `x-ratelimit-reset-tokens`
(a duration such as `6m0s` or `20ms`); some say only what remains. Anthropic: `anthropic-ratelimit-input-tokens-limit`,
`…-remaining`, `…-reset` (a moment, RFC 3339, by the server's clock, which its `date` tells). A header that is missing
or can't be read says nothing.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import inf, isfinite

from autointerp.llm.protocol import Allowance, ServerLimits

_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>ms|us|µs|ns|s|m|h|d)")
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def openai_limits(headers: Mapping[str, str]) -> ServerLimits | None:
    """Read OpenAI's headers, names in any case; None where there are none."""

    def allowance(of: str) -> Allowance | None:
        return _allowance(
            headers.get(f"x-ratelimit-limit-{of}"),
            headers.get(f"x-ratelimit-remaining-{of}"),
            duration_s(headers.get(f"x-ratelimit-reset-{of}")),
        )

    requests, tokens = allowance("requests"), allowance("tokens")
    return ServerLimits(requests, tokens) if requests or tokens else None


def anthropic_limits(headers: Mapping[str, str]) -> ServerLimits | None:
    """Read Anthropic's headers, names in any case; None where there are none."""
    moment = _server_time(headers.get("date"))

    def allowance(of: str) -> Allowance | None:
        start = f"anthropic-ratelimit-{of}"
        return _allowance(
            headers.get(f"{start}-limit"),
            headers.get(f"{start}-remaining"),
            _seconds_until(headers.get(f"{start}-reset"), moment),
        )

    limits = ServerLimits(
        requests=allowance("requests"),
        tokens=allowance("tokens"),
        input_tokens=allowance("input-tokens"),
        output_tokens=allowance("output-tokens"),
    )
    return limits if limits != ServerLimits() else None


def duration_s(text: str | None) -> float | None:
    """Seconds of a duration such as `1h2m3.5s`, `20ms`, or a bare number of seconds; None for anything else."""
    if text is None:
        return None
    plain = text.strip()
    try:
        seconds = float(plain)
    except ValueError:
        seconds = inf
    if isfinite(seconds):
        return max(0.0, seconds)
    parts = list(_DURATION.finditer(plain))
    if not parts or "".join(part.group() for part in parts) != plain:
        return None
    return sum(float(part["number"]) * _SECONDS[part["unit"]] for part in parts)


def _allowance(per_minute: str | None, remaining: str | None, reset_s: float | None) -> Allowance | None:
    if per_minute is None and remaining is None:
        return None
    return Allowance(_count(per_minute), _count(remaining), reset_s)


def _count(text: str | None) -> int | None:
    digits = "" if text is None else text.strip()
    return int(digits) if digits.isdecimal() and len(digits) < 20 else None


def _seconds_until(text: str | None, now: datetime) -> float | None:
    try:
        moment = datetime.fromisoformat(text) if text is not None else None
    except ValueError:
        return None
    if moment is None:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())


def _server_time(text: str | None) -> datetime:
    try:
        moment = parsedate_to_datetime(text) if text is not None else datetime.now(UTC)
    except ValueError:
        moment = datetime.now(UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
