"""What the server says of itself holds, whatever it is asked: requests are made from its own description."""

from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.openapi import from_dict
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
# What runs the model for long, or answers in events. All else is asked, so that a new route is too.
LONG = (
    "/v1/chat/completions",
    "/api/inference/v1/chat/completions",
    "/api/inference/v1/features/auto-edits",
    "/api/inference/v1/features/auto-conditional",
    "/api/library/v1/chat",
    "/api/library/v1/auto-steer",
    "/api/library/v1/runs/{run}/on-own-texts",
    "/api/library/v1/runs/{run}/doses",
    "/api/library/v1/runs/{run}/sql",
)


@pytest.fixture(scope="module")
def described(address: str) -> dict[str, Any]:
    plain: dict[str, Any] = httpx.get(address + "/openapi.json").json()
    return plain


def test_what_is_asked_by_the_description_is_answered_as_it_says(described: dict[str, Any], address: str) -> None:
    wrong = []
    for found in from_dict(described).get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        if operation.path in LONG:
            continue

        @settings(
            max_examples=2,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def holds(case: Any) -> None:
            response = case.call(base_url=address, timeout=30)
            case.validate_response(response, checks=list(CHECKS))

        try:
            holds()
        except FailureGroup as error:
            wrong.append(f"{operation.label}: {error}")
    assert not wrong, "\n".join(wrong)


def test_what_is_not_asked_is_there(described: dict[str, Any]) -> None:
    assert set(LONG) <= set(described["paths"])


def test_streams_errors_and_formats_are_described(described: dict[str, Any]) -> None:
    assert described["info"]["title"] == "autointerp"
    for path in ("/v1/chat/completions", "/api/inference/v1/chat/completions", "/api/library/v1/chat"):
        assert "text/event-stream" in described["paths"][path]["post"]["responses"]["200"]["content"]
    for path, of_path in described["paths"].items():
        for operation in of_path.values():
            assert {"4XX", "5XX"} <= set(operation["responses"]), path
            assert "422" not in operation["responses"], path
