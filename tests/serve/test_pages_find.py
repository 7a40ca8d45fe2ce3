"""The pages that find, as HTML and as JSON."""

import html
import re
from urllib.parse import quote

import httpx
import pytest

from tests.serve.asking import SOURCE, told

PAGES = (
    "/search",
    "/search?q=river&min_score=detection:0.5&min_score=&density_to=",
    "/compare",
    "/compare?a=1&b=7",
    "/compare?of=labels&feature=1",
    "/compare?of=runs&run=demo&explainer=shuffled",
    "/runs",
    "/runs/demo",
    "/runs/demo?stage=contexts&error=TooFewContexts",
)
UGLY = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "مرحبا", "a\0b", "{{ 7*7 }}", "🎹")


def get(address: str, path: str) -> httpx.Response:
    return httpx.get(address + path, headers={"Accept": "text/html"}, timeout=60)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_says_what_its_json_says(address: str, path: str) -> None:
    page = get(address, path)
    assert page.status_code == 200, page.text
    assert "<main" in page.text
    link = html.unescape(re.findall(r'rel="alternate" type="application/json" href="([^"]+)"', page.text)[0])
    view = httpx.get(address + link).json()
    words = " ".join(html.unescape(re.sub("<[^>]*>", " ", page.text)).split())
    for label in re.findall(r'"(?:told|label|name)":"([^"]+)"', httpx.get(address + link).text):
        assert label in words
    assert view


@pytest.mark.parametrize("query", UGLY)
def test_what_is_searched_for_comes_back_as_text(address: str, query: str) -> None:
    page = get(address, f"/search?q={quote(query)}")
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    assert "<img" not in page.text
    said = httpx.get(f"{address}/search.json?q={quote(query)}").json()
    assert said["asked"]["q"] == query


@pytest.mark.parametrize(
    ("path", "status", "line"),
    [
        ("/search.json?q=river&density_from=-1", 400, "-1"),
        ("/search.json?q=river&density_from=many", 422, "density_from"),
        ("/search.json?q=river&n=0", 422, "n:"),
        ("/search.json?q=river&min_score=x", 400, "min_score"),
        ("/compare.json?a=1&b=99", 404, "has no feature 99"),
        ("/compare.json?of=labels&feature=3", 400, "has 0 labels"),
        ("/compare.json?of=nothing", 422, "of:"),
        ("/runs/nothing.json", 404, "there is no run"),
        ("/runs/..%2f..%2fetc.json", 404, "there is nothing"),
    ],
)
def test_what_makes_no_sense_is_told(address: str, path: str, status: int, line: str) -> None:
    response = httpx.get(address + path, timeout=60)
    assert response.status_code == status
    if "there is nothing" not in line:
        assert line in told(response, status)


def test_a_search_finds_the_page_of_a_feature(address: str) -> None:
    found = httpx.get(f"{address}/search.json?q=river&n=1").json()["found"]
    assert [of["id"] for of in found] == [f"{SOURCE}:1"]
    assert get(address, found[0]["path"]).status_code == 200
