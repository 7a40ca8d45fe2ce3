"""The frame around every page, and the first pages, as HTML and JSON."""

import re
from html.parser import HTMLParser

import httpx
import pytest

from autointerp.serve.app import Access, make_app
from autointerp.serve.limits import Limits
from autointerp.serve.serving import Serving
from tests.serve.asking import EMBER, told
from tests.serve.serving import answering

RIVER = "/planted/0-res-12/1"
PAGES = ("/", RIVER, "/planted/0-res-12", "/planted/0-res-12/map", "/lists")
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


class Addresses(HTMLParser):
    """What a page loads, and whether anything in it is code."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        of = dict(attrs)
        if tag in ("script", "img", "iframe") or (tag == "link" and of.get("rel") in ("stylesheet", "icon")):
            self.loaded.append(of.get("src") or of.get("href") or "inline")
        self.inline += [name for name in of if name == "style" or name.startswith("on")]
        self.inline += ["<style>"] if tag == "style" else []


def get(address: str, path: str, **headers: str) -> httpx.Response:
    return httpx.get(address + path, headers={**BROWSER, **headers}, timeout=60)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_loads_nothing_but_our_own_files_and_has_no_inline_code(address: str, path: str) -> None:
    page = get(address, path)
    assert page.status_code == 200
    found = Addresses()
    found.feed(page.text)
    assert found.inline == []
    assert found.loaded
    for file in found.loaded:
        assert re.fullmatch(r"/static/[0-9a-f]{12}/[\w.-]+", file)
        assert "immutable" in get(address, file).headers["Cache-Control"]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_kept_from_running_what_is_not_ours(address: str, path: str) -> None:
    headers = get(address, path).headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", PAGES)
def test_a_page_names_its_json_which_is_described(address: str, path: str) -> None:
    (link,) = re.findall(r'<link rel="alternate" type="application/json" href="([^"]+)">', get(address, path).text)
    said = httpx.get(address + link)
    assert said.headers["Content-Type"] == "application/json"
    described = httpx.get(f"{address}/openapi.json").json()["paths"]
    fitting = [at for at in described if re.fullmatch(re.sub(r"{\w+}", "[^/]+", at), link)]
    of = min(fitting, key=lambda at: at.count("{"))  # of two that fit, the one that says more
    assert described[of]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert said.json()


def test_a_feature_tells_the_same_as_html_and_as_json(address: str) -> None:
    said, page = httpx.get(f"{address}{RIVER}.json").json(), get(address, RIVER).text
    assert (said["label"], said["index"], said["source_id"]) == ("river", 1, "planted@0-res-12")
    assert "<h1" in page
    assert ">river</h1>" in page
    scorers = {score["scorer"] for label in said["labels"] if label["null"] is None for score in label["scores"]}
    assert {"detection", "fuzzing", "embedding", "recall"} <= scorers
    assert all(f">{scorer}</th>" in page for scorer in scorers)


def test_wrong_names_are_told_as_a_page_to_browsers_and_as_json_to_programs(address: str) -> None:
    for path in ("/planted/nothing/1", "/planted/0-res-12/99", "/planted/0-res-12/x", "/nothing"):
        page = get(address, path)
        assert page.status_code == 404
        assert page.headers["Content-Type"].startswith("text/html")
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    for path in ("/planted/nothing/1.json", "/planted/0-res-12/99.json", "/planted/0-res-12/x.json"):
        told(get(address, path), 404)
    told(get(address, f"{EMBER}/nothing"), 404)


def test_what_is_asked_comes_back_as_text(address: str) -> None:
    page = get(address, "/planted/<script>alert(1)/1")
    assert page.status_code == 404
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;" in page.text


def test_files_are_those_of_the_pages_only(address: str) -> None:
    for name in ("%2e%2e%2fframe.py", "%2fetc%2fpasswd", "/etc/passwd", "nothing.css"):
        assert get(address, f"/static/0/{name}").status_code == 404
    assert get(address, "/static/0/style.css").headers["Cache-Control"] == "no-cache"


def test_a_random_feature_has_a_label(address: str, serving: Serving) -> None:
    labelled = serving.client.run.reader.labelled_indices("planted@0-res-12")
    for _ in range(3):
        sent = get(address, "/planted/0-res-12/random?embed=true")
        assert sent.status_code == 303
        path, _, query = sent.headers["Location"].partition("?")
        assert int(path.rpartition("/")[2]) in labelled
        assert query == "embed=true"


def test_an_embed_has_no_frame_and_may_stand_in_other_pages(address: str) -> None:
    page = get(address, f"{RIVER}?embed=true")
    assert "frame-ancestors *" in page.headers["Content-Security-Policy"]
    assert '<header class="site">' not in page.text
    assert ">river</h1>" in page.text


def test_a_browser_is_given_the_key_by_a_form_and_keeps_it_where_no_script_reads_it(serving: Serving) -> None:
    with (
        answering(make_app(Serving(serving.client, Limits()), Access(key="right key"))) as at,
        httpx.Client(base_url=at, headers={**BROWSER, "Origin": at}, timeout=60) as browser,
    ):
        assert browser.get(RIVER).status_code == 200  # which only reads
        refused = browser.get(f"{EMBER}/features/search?query=river")
        told(refused, 401)
        wrong = browser.post("/key", data={"key": "wrong", "back": RIVER})
        assert (wrong.status_code, wrong.headers["Content-Type"]) == (401, "text/html; charset=utf-8")
        given = browser.post("/key", data={"key": "right key", "back": f"{RIVER}?a=1"})
        assert (given.status_code, given.headers["Location"]) == (303, f"{RIVER}?a=1")
        assert {"HttpOnly", "SameSite=lax"} <= set(given.headers["Set-Cookie"].split("; "))
        assert "right key" not in given.headers["Set-Cookie"]
        assert browser.get(f"{EMBER}/features/search?query=river").status_code == 200
        for elsewhere in ("//evil.example", "/\\evil.example", "https://evil.example"):
            assert browser.post("/key", data={"key": "right key", "back": elsewhere}).headers["Location"] == "/"
        assert (
            browser.post("/key", data={"key": "right key"}, headers={"Origin": "https://evil.example"}).status_code
            == 403
        )
