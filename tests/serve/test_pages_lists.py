"""People's lists on pages: begun, filled, put in order, read by the model and taken away, by forms alone."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

import autointerp
from autointerp import Client
from autointerp.records.notes import ListedFeature
from autointerp.serve.app import Access, make_app
from autointerp.serve.limits import Limits
from autointerp.serve.serving import Serving
from tests.serve.asking import SOURCE
from tests.serve.browser import visiting
from tests.serve.serving import answering

SCRIPT = "<script>alert(1)</script>"
RIVER, SHIP = f"{SOURCE}:1", f"{SOURCE}:0"
ELSEWHERE = "other@0-res-3:5"


@pytest.fixture(scope="module")
def client(planted_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Client:
    """Of a copy of the run, which nobody else writes notes beside."""
    copy = tmp_path_factory.mktemp("lists") / "runs/demo"
    shutil.copytree(planted_runs / "runs/demo", copy, ignore=shutil.ignore_patterns("notes.sqlite*"))
    return autointerp.open(copy)


@pytest.fixture(scope="module")
def at(client: Client) -> Iterator[str]:
    with answering(make_app(Serving(client, Limits()))) as address:
        yield address


@pytest.fixture
def path(client: Client) -> Iterator[str]:
    """A list's page."""
    made = client.lists.new("Water", SCRIPT, "a ship on the river")
    made.add([RIVER, SHIP], note="wet")
    client.run.notes.add_to_list(made.id, [ListedFeature("other@0-res-3", 5, "of elsewhere")])
    yield f"/lists/{made.id}"
    made.delete()


def send(at: str, path: str, **fields: str) -> httpx.Response:
    return httpx.post(at + path, data=fields, headers={"Origin": at, "Accept": "text/html"}, timeout=60)


def order(at: str, path: str) -> list[str]:
    return [of["id"] for of in httpx.get(f"{at}{path}.json").json()["features"]]


def test_a_list_tells_the_same_as_html_as_json_and_as_csv(at: str, path: str) -> None:
    said, page = httpx.get(f"{at}{path}.json").json(), httpx.get(at + path).text
    assert [(of["id"], of["place"], of["note"]) for of in said["features"]] == [
        (RIVER, 1, "wet"),
        (SHIP, 2, "wet"),
        (ELSEWHERE, 3, "of elsewhere"),
    ]
    assert [of["feature"] and of["feature"]["label"] for of in said["features"]] == ["river", "ship", None]
    assert SCRIPT not in page
    for chip in said["features"][0]["feature"]["chips"]:
        assert f"<span>{chip['scorer']}</span>" in page
    rows = httpx.get(f"{at}{path}.csv").text.splitlines()
    assert [row.split(",")[1] for row in rows] == ["feature", RIVER, SHIP, ELSEWHERE]
    assert "detection=" in rows[1]


def test_features_change_places_and_leave_also_those_that_are_not_served(at: str, path: str) -> None:
    for do, feature in (("up", ELSEWHERE), ("up", RIVER), ("down", RIVER), ("down", SHIP)):
        assert send(at, path, do=do, feature=feature).status_code == 303
    assert order(at, path) == [ELSEWHERE, RIVER, SHIP]
    for feature in (ELSEWHERE, RIVER):
        assert send(at, path, do="remove", feature=feature).status_code == 303
    assert order(at, path) == [SHIP]
    assert send(at, path, do="add", feature=f"3, {RIVER}").headers["Location"] == f"{path}#features"
    assert order(at, path) == [SHIP, f"{SOURCE}:3", RIVER]


@pytest.mark.parametrize(
    ("fields", "status", "told"),
    [
        ({"do": "up", "feature": f"{SOURCE}:7"}, 404, "the list has no feature"),
        ({"do": "add", "feature": f"{SOURCE}:99"}, 404, "has no feature 99"),
        ({"do": "change", "name": ""}, 400, "is empty"),
        ({"do": "burn"}, 400, "nothing that can be done"),
    ],
)
def test_a_form_that_makes_no_sense_is_told_in_one_line(
    at: str, path: str, fields: dict[str, str], status: int, told: str
) -> None:
    reply = send(at, path, **fields)
    assert (reply.status_code, told in reply.text) == (status, True)
    assert httpx.get(f"{at}/lists/none.json").status_code == 404


def test_the_test_text_is_read_where_asked_with_the_key_and_not_for_other_sites(
    at: str, path: str, client: Client
) -> None:
    assert httpx.get(f"{at}{path}.json").json()["readings"] == []
    said = httpx.get(f"{at}{path}.json?read=true", timeout=60).json()
    (reading,) = said["readings"]
    peaks = {of["id"]: of["on_text"] and reading["tokens"][of["on_text"]["peak"]].strip() for of in said["features"]}
    assert peaks == {RIVER: "river", SHIP: "ship", ELSEWHERE: None}
    by_the_way = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert httpx.get(f"{at}{path}?read=true", headers=by_the_way).status_code == 403
    with answering(make_app(Serving(client, Limits()), Access(key="a key"))) as other:
        assert httpx.get(other + path).status_code == 200
        assert httpx.get(f"{other}{path}?read=true").status_code == 401
        assert send(other, path, do="delete").status_code == 401


def test_a_list_is_made_without_scripts_and_filled_from_a_features_page(browser: Browser, at: str) -> None:
    with visiting(browser, at, width=375, has_scripts=False) as of:
        page = of.open("/lists")
        page.fill("#name", "Boats")
        page.fill("#test-text", "a ship on the river")
        page.get_by_role("button", name="Begin it").click()
        expect(page.locator("h1")).to_have_text("Boats")
        of.open("/planted/0-res-12/0")
        page.get_by_text("Add it to a list").click()
        page.fill("#list-note", "floats")
        page.get_by_role("button", name="Add it", exact=True).click()
        page.get_by_role("link", name="Boats").click()
        expect(page.locator(".listed .about")).to_have_text("floats")
        page.get_by_role("link", name="Have its features read it").click()
        expect(page.locator(".listed .a9")).to_have_text("ship")
        assert of.overflow() == 0
        link = page.url.removeprefix(at)
    with visiting(browser, at, scheme="dark") as of:
        for shown in ("/lists", link):
            of.open(shown)
            assert of.faults() == [], shown
        of.keep("list")
        of.page.get_by_text("Delete the list").click()
        of.page.get_by_role("button", name="Delete it").click()
        expect(of.page).to_have_url(f"{at}/lists")
        expect(of.page.locator(".lists li")).to_have_count(0)
