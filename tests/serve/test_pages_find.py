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
    "/text",
    "/text?text=the+ship+is+red&token=1&feature=2",
    "/text?chat=true",
    "/steer",
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


TEXT = "the ship is red and the river is blue"


def test_a_text_stands_in_the_address_of_its_page(address: str) -> None:
    sent = httpx.post(f"{address}/text", data={"text": TEXT, "token": ["", "3"], "by": "surprise", "feature": ""})
    assert (sent.status_code, sent.headers["Location"]) == (
        303,
        f"/text?text={quote(TEXT).replace('%20', '+')}&token=3",
    )
    page = get(address, sent.headers["Location"])
    assert page.status_code == 200
    said = httpx.get(f"{address}/text.json?text={quote(TEXT)}&token=3", timeout=60).json()
    assert [of["feature"]["label"] for of in said["read"]["on_token"]["fired"]] == ["red green blue"]
    passage = re.findall(r'<p class="tokens passage".*?</p>', page.text, re.DOTALL)
    assert len(passage) == 1
    assert html.unescape(re.sub("<[^>]*>", "", passage[0])).strip() == TEXT


def test_a_text_that_is_too_long_for_an_address_is_read_all_the_same(address: str) -> None:
    text = "<script>alert(1)</script> ship\n" * 100
    page = httpx.post(f"{address}/text", data={"text": text}, headers={"Accept": "text/html"}, timeout=60)
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    said = httpx.post(f"{address}/api/text", json={"text": text}, timeout=60).json()
    assert said["read"]["n_tokens"] > 1_000


def test_a_conversation_is_read_and_linked_message_by_message(address: str) -> None:
    fields = {"chat": "true", "role": ["user", "assistant", "user"], "content": ["a ship?\r\nyes", "a river", ""]}
    sent = httpx.post(f"{address}/text", data=fields)
    page = get(address, sent.headers["Location"])
    assert page.status_code == 200
    assert "<h3>assistant</h3>" in page.text
    assert "a ship?\nyes</textarea>" in page.text


@pytest.mark.parametrize(
    ("body", "status", "line"),
    [
        ({"text": "ship " * 200_000}, 400, "1,000,000 characters: give at most 20,000"),
        ({"text": TEXT, "by": "luck"}, 422, "by:"),
        ({"text": TEXT, "token": -1}, 422, "token:"),
        ({"text": TEXT, "feature": 99}, 404, "has no feature 99"),
        ({"text": 5}, 422, "text:"),
        ([], 422, "body"),
    ],
)
def test_a_text_that_makes_no_sense_is_told(address: str, body: object, status: int, line: str) -> None:
    assert line in told(httpx.post(f"{address}/api/text", json=body, timeout=60), status)


def test_half_a_character_and_a_null_are_read_as_they_are(address: str) -> None:
    for text in ("\\ud83d ship", "a\\u0000 ship"):
        body = f'{{"text": "{text}"}}'
        said = httpx.post(f"{address}/api/text", content=body, headers={"Content-Type": "application/json"}, timeout=60)
        assert said.status_code == 200
        assert said.json()["read"]["n_tokens"] > 0


def test_pages_of_other_sites_have_nothing_read_by_the_way(address: str) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert httpx.get(f"{address}/text?text=ship", headers=headers).status_code == 403
    followed = {**headers, "Sec-Fetch-Mode": "navigate"}
    assert httpx.get(f"{address}/text?text=ship", headers=followed, timeout=60).status_code == 200
