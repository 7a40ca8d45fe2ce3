"""What the headers of real providers say of their limits."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.llm.limits.headers import anthropic_limits, duration_s, openai_limits
from autointerp.llm.protocol import Allowance, ServerLimits


def test_openais_headers_are_read() -> None:
    headers = httpx2.Headers(
        {
            "X-RateLimit-Limit-Requests": "60",
            "X-RateLimit-Remaining-Requests": "59",
            "X-RateLimit-Reset-Requests": "1s",
            "x-ratelimit-limit-tokens": "150000",
            "x-ratelimit-remaining-tokens": "149984",
            "x-ratelimit-reset-tokens": "6m0s",
        }
    )
    assert openai_limits(headers) == ServerLimits(Allowance(60, 59, 1.0), Allowance(150_000, 149_984, 360.0))


def test_a_server_that_says_only_what_remains_is_understood() -> None:
    headers = {"x-ratelimit-remaining-requests": "9", "x-ratelimit-remaining-tokens": "900"}
    assert openai_limits(headers) == ServerLimits(Allowance(None, 9, None), Allowance(None, 900, None))


@pytest.mark.parametrize("ahead_s", [0, 3600, -3600])
def test_anthropics_moments_are_read_by_the_servers_own_clock(ahead_s: int) -> None:
    now = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=ahead_s)
    headers = {
        "date": format_datetime(now, usegmt=True),
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": (now + timedelta(seconds=12)).isoformat().replace("+00:00", "Z"),
        "anthropic-ratelimit-input-tokens-limit": "30000",
        "anthropic-ratelimit-input-tokens-remaining": "29000",
        "anthropic-ratelimit-input-tokens-reset": (now - timedelta(seconds=2)).isoformat(),
        "anthropic-ratelimit-output-tokens-limit": "8000",
        "anthropic-ratelimit-output-tokens-remaining": "7900",
    }
    assert anthropic_limits(headers) == ServerLimits(
        requests=Allowance(50, 0, 12.0),
        input_tokens=Allowance(30_000, 29_000, 0.0),
        output_tokens=Allowance(8000, 7900, None),
    )


@pytest.mark.parametrize("count", ["many", "-1", "1.5", "²", "9" * 5000, ""])
def test_a_count_that_is_none_says_nothing(count: str) -> None:
    headers = {"x-ratelimit-limit-requests": count, "x-ratelimit-remaining-requests": "7"}
    assert openai_limits(headers) == ServerLimits(Allowance(None, 7, None))


def test_an_answer_without_such_headers_says_nothing() -> None:
    assert openai_limits({"content-type": "application/json"}) is None
    assert anthropic_limits({"date": "Mon, 99 Foo 2026 25:00:00 GMT"}) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20ms", 0.02),
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("1h2m3.5s", 3723.5),
        ("2m59.56s", 179.56),
        ("1d", 86400.0),
        ("12", 12.0),
        ("-3", 0.0),
        ("soon", None),
        ("1s later", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        (None, None),
    ],
)
def test_durations_are_read_or_say_nothing(text: str | None, seconds: float | None) -> None:
    assert duration_s(text) == (None if seconds is None else pytest.approx(seconds))


@given(
    st.dictionaries(
        st.sampled_from(
            [
                f"{start}{end}"
                for start, end in [
                    ("x-ratelimit-limit-", "requests"),
                    ("x-ratelimit-remaining-", "tokens"),
                    ("x-ratelimit-reset-", "tokens"),
                    ("anthropic-ratelimit-", "requests-limit"),
                    ("anthropic-ratelimit-", "tokens-remaining"),
                    ("anthropic-ratelimit-", "tokens-reset"),
                    ("", "date"),
                ]
            ]
        ),
        st.text(st.characters(max_codepoint=255), max_size=20),
    )
)
def test_no_header_however_odd_breaks_an_answer(headers: dict[str, str]) -> None:
    for limits in (openai_limits(headers), anthropic_limits(headers)):
        for allowance in (limits.requests, limits.tokens) if limits else ():
            assert allowance is None or allowance.remaining is None or allowance.remaining >= 0
