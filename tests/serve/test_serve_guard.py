"""Who may ask, and how much."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from autointerp.serve.app import Access, make_app
from autointerp.serve.limits import Limits
from autointerp.serve.serving import Serving
from tests.serve.asking import EMBER, ask, told
from tests.serve.serving import answering

SEARCH = EMBER + "/features/search?query=river"
LOOKUP = EMBER + "/features/lookup"


@contextmanager
def limited(serving: Serving, limits: Limits, access: Access | None = None) -> Iterator[tuple[str, Serving]]:
    """The same run by a server with other limits."""
    other = Serving(serving.client, limits)
    with answering(make_app(other, access)) as at:
        yield at, other


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"Host": "evil.example"}, "by --allow-host"),
        ({"Host": "[::1"}, "by --allow-host"),
        ({"Host": ""}, "by --allow-host"),
        ({"Origin": "https://evil.example"}, "pages of other sites"),
        ({"Origin": "http://[::1"}, "pages of other sites"),
        ({"Origin": "null"}, "pages of other sites"),
        ({"Sec-Fetch-Site": "cross-site"}, "pages of other sites"),
    ],
)
def test_other_names_and_other_sites_get_nothing(address: str, headers: dict[str, str], message: str) -> None:
    assert message in told(ask(address, SEARCH, headers=headers), 403)


def test_the_servers_own_pages_and_other_programs_get_answers(address: str) -> None:
    assert ask(address, SEARCH).status_code == 200
    assert ask(address, SEARCH, headers={"Origin": address, "Sec-Fetch-Site": "same-origin"}).status_code == 200
    assert ask(address.replace("127.0.0.1", "localhost"), SEARCH).status_code == 200


def test_a_key_is_needed_where_there_is_one(serving: Serving) -> None:
    with limited(serving, Limits(), Access(key="right key")) as (at, _):
        for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic right key"}):
            response = ask(at, SEARCH, headers=given)
            assert "Authorization: Bearer KEY" in told(response, 401)
            assert response.headers["WWW-Authenticate"] == "Bearer"
        assert ask(at, SEARCH, headers={"Authorization": "bearer right key"}).status_code == 200


def test_a_body_that_is_too_large_is_not_read_whether_or_not_its_size_is_said(serving: Serving) -> None:
    with limited(serving, Limits(body_bytes=1_000)) as (at, _):
        assert "larger than 1,000 bytes" in told(ask(at, LOOKUP, {"indices": [1] * 1_000}), 413)
        pieces = (b"[" * 100 for _ in range(100))
        headers = {"Content-Type": "application/json"}
        assert "larger than 1,000 bytes" in told(ask(at, LOOKUP, content=pieces, headers=headers), 413)
        assert ask(at, LOOKUP, {"indices": [1]}).status_code == 200


def test_who_would_wait_behind_too_many_is_told_when_to_try_again(serving: Serving) -> None:
    with limited(serving, Limits(n_waiting=0)) as (at, other):
        free = threading.Event()
        held = [other.store.submit(free.wait) for _ in range(4)]
        response = ask(at, SEARCH)
        assert "try again in a few seconds" in told(response, 429)
        assert int(response.headers["Retry-After"]) > 0
        free.set()
        assert all(future.result(10) for future in held)
        assert ask(at, SEARCH).status_code == 200


def test_a_request_that_takes_too_long_is_told_so(serving: Serving) -> None:
    with limited(serving, Limits(seconds=0.2)) as (at, other):
        free = threading.Event()
        for _ in range(4):
            other.store.submit(free.wait)
        assert "no answer in 0.2 s" in told(ask(at, SEARCH), 504)
        free.set()


def test_a_client_that_goes_away_leaves_the_line(serving: Serving) -> None:
    with limited(serving, Limits()) as (at, other):
        free = threading.Event()
        held = [other.store.submit(free.wait) for _ in range(4)]
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(at + SEARCH, timeout=0.2)
        gone = threading.Event()
        while other.store.n_taken > 4 and not gone.wait(0.01):
            pass
        free.set()
        assert all(future.result(10) for future in held)
