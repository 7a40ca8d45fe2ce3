"""Requests as any program sends them."""

from typing import Any

import httpx

EMBER = "/api/inference/v1"
SOURCE = "planted@0-res-12"


def ask(address: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
    """What a server answers: to a body in JSON, or to a GET where there is none."""
    method = "GET" if body is None and "content" not in options else "POST"
    return httpx.request(method, address + path, json=body, timeout=60, **options)


def call(method: str, address: str, path: str, body: Any = None) -> httpx.Response:
    """What a server answers to a request of another kind."""
    return httpx.request(method, address + path, json=body, timeout=60)


def told(response: httpx.Response, status: int) -> str:
    """The line of an error, in the shape of OpenAI's."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == status
    line: str = error["message"]
    assert "\n" not in line
    return line
