"""What a stranger tries on every route of the application, as the application itself lists them."""

import re
import socket
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from autointerp.serve.app import Access, make_app
from autointerp.serve.serving import Serving
from tests.serve.asking import ask
from tests.serve.serving import answering

ONLY_READ = ("GET", "HEAD", "OPTIONS")
VALUES = {"model": "planted", "source": "0-res-12", "index": "1", "run": "demo"}
OTHER_SITES = (
    {"Origin": "https://evil.example", "Content-Type": "text/plain"},
    {"Origin": "http://127.0.0.1:1", "Content-Type": "application/json"},
    {"Origin": "null", "Content-Type": "application/x-www-form-urlencoded"},
    {"Sec-Fetch-Site": "cross-site", "Content-Type": "multipart/form-data; boundary=x"},
)
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PAGE = "/planted/0-res-12/1"
RUN_BY_LINK = [f"{PAGE}?text=river", f"{PAGE}.json?text=river", "/text?text=river", "/text.json?text=river"]


@pytest.fixture(scope="module")
def app(serving: Serving) -> FastAPI:
    return make_app(serving, Access(key="right key"))


@pytest.fixture(scope="module")
def keyed(app: FastAPI) -> Iterator[httpx.Client]:
    """Asks a server that has a key."""
    with answering(app) as at, httpx.Client(base_url=at, timeout=60) as client:
        yield client


def routes_of(app: FastAPI) -> set[tuple[str, str]]:
    """Each method with each path, the places for values filled."""
    found = set()
    for route in iter_route_contexts(app.routes):
        path = re.sub(r"\{(\w+)(?::\w+)?\}", lambda of: VALUES.get(of[1], "1"), str(route.path))
        found |= {(method, path) for method in route.methods or ()}
    return found


def test_no_route_hides_another(app: FastAPI) -> None:
    routes = iter_route_contexts(app.routes)
    asked = [(method, re.sub(r"\{.*?\}", "{}", str(of.path))) for of in routes for method in of.methods or ()]
    assert [of for of, n in Counter(asked).items() if n > 1] == []


def may_change(app: FastAPI) -> list[tuple[str, str]]:
    found = sorted(of for of in routes_of(app) if of[0] not in ONLY_READ)
    assert len(found) > 60
    return found


def test_what_writes_and_what_runs_the_model_wants_the_key_on_every_route(app: FastAPI, keyed: httpx.Client) -> None:
    read_by_programs = [of for of in routes_of(app) if of[0] == "GET" and of[1].startswith(("/api/", "/v1/"))]
    asked = [*may_change(app), *read_by_programs, *(("GET", path) for path in RUN_BY_LINK)]
    got = {of: keyed.request(*of, content=b"").status_code for of in asked}
    assert {of: status for of, status in got.items() if status != 401} == {}
    # The one that takes a key is told apart from the others by what it says.
    assert "is not the server's key" in keyed.post("/key", content=b"key=wrong", headers=FORM).text


@pytest.mark.parametrize("headers", OTHER_SITES)
def test_pages_of_other_sites_change_nothing_on_any_route(
    app: FastAPI, keyed: httpx.Client, headers: dict[str, str]
) -> None:
    with_key = {**headers, "X-Api-Key": "right key"}
    got = {of: keyed.request(*of, content=b"{}", headers=with_key).status_code for of in may_change(app)}
    assert {of: status for of, status in got.items() if status != 403} == {}


@pytest.mark.parametrize("path", RUN_BY_LINK)
def test_a_page_of_another_site_leads_to_a_text_and_has_none_read_by_the_way(address: str, path: str) -> None:
    from_elsewhere = {"Sec-Fetch-Site": "cross-site"}
    assert ask(address, path, headers={**from_elsewhere, "Sec-Fetch-Mode": "navigate"}).status_code == 200
    assert ask(address, path, headers={**from_elsewhere, "Sec-Fetch-Mode": "no-cors"}).status_code == 403


@pytest.mark.parametrize("path", ["/key", "/steer", "/text", "/no/such/page"])
def test_a_page_that_sends_something_stands_in_no_frame(keyed: httpx.Client, path: str) -> None:
    reply = keyed.get(path, params={"embed": "true"}, headers={"Accept": "text/html"})
    is_form = 'method="post"' in reply.text
    assert is_form == (path != "/no/such/page")
    assert ("frame-ancestors 'none'" in reply.headers["Content-Security-Policy"]) == is_form


@pytest.mark.parametrize(
    "path", ["/api/stars", "/api/library", "/v1/models", "/openapi.json", "/index.json", "/api/none", f"{PAGE}.csv"]
)
def test_nothing_runs_in_what_is_no_page(address: str, path: str) -> None:
    headers = ask(address, path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_addresses_and_forms_of_too_many_fields_are_not_read(address: str) -> None:
    assert ask(address, f"{PAGE}?{'a&' * 1_900}").status_code == 200
    assert ask(address, f"{PAGE}?{'a&' * 2_000}").status_code == 414
    assert ask(address, f"{PAGE}/notes", content=b"a=1&" * 2_000 + b"do=star", headers=FORM).status_code == 400


def test_a_head_that_goes_on_is_not_kept(address: str) -> None:
    assert ask(address, PAGE, headers={"X-Long": "a" * 60_000}).status_code == 200
    at = urlsplit(address)
    with socket.create_connection((at.hostname, at.port), timeout=10) as endless:
        endless.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ")
        with pytest.raises(ConnectionError):  # it hangs up long before
            endless.sendall(b"a" * 2**26)
