"""What providers say of their limits in the headers of each answer.

OpenAI and compatible servers: `x-ratelimit-limit-requests`, `x-ratelimit-remaining-tokens`, `x-ratelimit-reset-tokens`
(a duration such as `6m0s` or `20ms`). Anthropic: `anthropic-ratelimit-input-tokens-limit`, `…-remaining`, `…-reset` (a
time of day, RFC 3339). A header that is missing or can't be read says nothing.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from autointerp.llm.protocol import Allowance, ServerLimits

_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>ms|us|µs|ns|s|m|h|d)")
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def openai_limits(headers: Mapping[str, str]) -> ServerLimits | None:
    """Read OpenAI's headers, names in any case; None where there are none."""
    if "x-ratelimit-limit-requests" not in headers and "x-ratelimit-limit-tokens" not in headers:
        return None

    def allowance(of: str) -> Allowance | None:
        return _allowance(
            headers.get(f"x-ratelimit-limit-{of}"),
            headers.get(f"x-ratelimit-remaining-{of}"),
            duration_s(headers.get(f"x-ratelimit-reset-{of}")),
        )

    return ServerLimits(requests=allowance("requests"), tokens=allowance("tokens"))


def anthropic_limits(headers: Mapping[str, str], now: datetime | None = None) -> ServerLimits | None:
    """Read Anthropic's headers; None where there are none.

    Args:
        headers: Of an answer, names in any case.
        now: The time; by default the clock's.
    """
    if "anthropic-ratelimit-requests-limit" not in headers and "anthropic-ratelimit-tokens-limit" not in headers:
        return None
    moment = now or datetime.now(UTC)

    def allowance(of: str) -> Allowance | None:
        start = f"anthropic-ratelimit-{of}"
        return _allowance(
            headers.get(f"{start}-limit"),
            headers.get(f"{start}-remaining"),
            _seconds_until(headers.get(f"{start}-reset"), moment),
        )

    return ServerLimits(
        requests=allowance("requests"),
        tokens=allowance("tokens"),
        input_tokens=allowance("input-tokens"),
        output_tokens=allowance("output-tokens"),
    )


def duration_s(text: str | None) -> float | None:
    """Seconds of a duration such as `1h2m3.5s`, `20ms`, or a bare number of seconds; None for anything else."""
    if text is None:
        return None
    plain = text.strip()
    try:
        return max(0.0, float(plain))
    except ValueError:
        pass
    parts = list(_DURATION.finditer(plain))
    if not parts or "".join(part.group() for part in parts) != plain:
        return None
    return sum(float(part["number"]) * _SECONDS[part["unit"]] for part in parts)


def _allowance(per_minute: str | None, remaining: str | None, reset_s: float | None) -> Allowance | None:
    if per_minute is None and remaining is None:
        return None
    return Allowance(_count(per_minute), _count(remaining), reset_s)


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isdigit() else None


def _seconds_until(text: str | None, now: datetime) -> float | None:
    try:
        moment = datetime.fromisoformat(text) if text is not None else None
    except ValueError:
        return None
    if moment is None:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())
