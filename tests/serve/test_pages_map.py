"""The map of labels: its clusters as a page, its points for a script, and the canvas in a browser."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, FloatRect, Page

import autointerp
from autointerp.records.label_map import NO_CLUSTER, LabelMap, MapPlan
from autointerp.search.maps.clusters import describe_clusters
from autointerp.search.maps.file import map_path, write_map
from autointerp.serve.app import make_app
from autointerp.serve.limits import Limits
from autointerp.serve.serving import Serving
from autointerp.store.reader import Reader
from autointerp.store.writer import Writer
from tests.serve.browser import Visitor, visiting
from tests.serve.serving import answering
from tests.store.making import MOMENT, SOURCE, make

SOURCE_PAGE = "/" + SOURCE.replace("@", "/")
MAP = f"{SOURCE_PAGE}/map"
POINTS = f"{MAP}/points.json"
SCRIPT = "<script>alert(1)</script>"
RIVERS, COURTS = range(6), range(6, 12)
CENTRES = ((0.2, 0.625), (0.7, 0.625))


def make_store(folder: Path) -> Path:
    """Two groups of six labels at the left and at the right, and one label more between them."""
    writer = Writer(folder)
    writer.add_source(make.source(20))
    writer.add_features([make.feature(i, density=(i + 1) / 1000) for i in range(20)])
    texts = [*(f"river water {i}" for i in RIVERS), *(f"court law {i}" for i in COURTS), f"رسالة {SCRIPT}"]
    labels = [make.explanation(i, text) for i, text in enumerate(texts)]
    writer.add_explanations(labels)
    writer.add_scores([make.graded(labels[i], value=i / 12) for i in range(12)])
    return writer.path.parent


def draw_map(folder: Path) -> None:
    """A map as `autointerp map` keeps it, with places that are known."""
    store = folder / "store.duckdb"
    points, _ = Reader(folder).point_columns(SOURCE)
    xy = np.array([*(CENTRES[i // 6] for i in range(12)), (0.5, 0.375)], np.float32)
    xy[:12, 0] += np.tile(np.arange(6), 2) * 0.02
    cluster = np.array([*(i // 6 for i in range(12)), NO_CLUSTER], np.int32)
    write_map(
        map_path(store, SOURCE),
        LabelMap(
            MapPlan(SOURCE, "mini", 0, 15, 0.1, MOMENT, "0", "0"),
            points.feature_index,
            points.digest,
            xy,
            cluster,
            describe_clusters(points.labels, cluster, xy),
        ),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    of = make_store(tmp_path_factory.mktemp("mapped"))
    draw_map(of)
    return of


@pytest.fixture(scope="module")
def mapped(folder: Path) -> Iterator[str]:
    """A server of a run with a map."""
    with answering(make_app(Serving(autointerp.open(folder), Limits()))) as at:
        yield at


@pytest.fixture
def of_map(browser: Browser, mapped: str) -> Iterator[Visitor]:
    with visiting(browser, mapped) as of:
        yield of


def get(address: str, path: str, status: int = 200) -> httpx.Response:
    found = httpx.get(address + path, headers={"Accept": "text/html"}, timeout=60)
    assert found.status_code == status, found.text[:300]
    return found


def opened(visitor: Visitor, query: str = "") -> Page:
    page = visitor.open(MAP + query)
    page.wait_for_selector("[data-ready]")
    return page


def test_the_page_lists_clusters_by_name_and_the_features_of_one(mapped: str) -> None:
    said, page = get(mapped, f"{MAP}.json?cluster=1").json(), get(mapped, f"{MAP}?cluster=1").text
    assert [(of["name"], of["n"]) for of in said["made"]["clusters"]] == [
        ("river, water, 0", 6),
        ("court, law, 10", 6),
    ]
    assert (said["made"]["n_points"], said["made"]["n_unplaced"], said["n_listed"]) == (13, 0, 6)
    assert [row["index"] for row in said["rows"]] == list(COURTS)
    for row in said["rows"]:
        assert f'<a href="{row["path"]}">{row["index"]}</a>' in page
    assert all(page.count(of["name"]) >= 2 for of in said["made"]["clusters"])


def test_points_have_places_clusters_colours_and_labels(mapped: str) -> None:
    of = get(mapped, POINTS).json()
    assert of["feature"] == list(range(13))
    assert of["x"][0] == round(0.2 * 65535)
    assert of["cluster"] == [0] * 6 + [1] * 6 + [-1]
    columns = {column["name"]: column for column in of["columns"]}
    assert list(columns) == ["density", "max_activation", "score:detection"]
    density = columns["density"]
    assert (density["values"][0], density["values"][12]) == (0, 1000)
    assert (density["low"], density["high"]) == pytest.approx((0.001, 0.013))
    assert columns["score:detection"]["values"] == [*(round(1000 * i / 12) for i in range(12)), -1]
    assert of["labels"][12] == f"رسالة {SCRIPT}"


def test_without_a_map_the_page_says_how_one_is_made(tmp_path: Path) -> None:
    of = make_store(tmp_path)
    with answering(make_app(Serving(autointerp.open(of), Limits()))) as at:
        assert f"autointerp map {of.name}" in get(at, MAP).text
        assert get(at, f"{MAP}.json").json()["made"] is None
        get(at, POINTS, 400)


def test_labels_of_after_the_map_are_told(tmp_path: Path) -> None:
    of = make_store(tmp_path)
    draw_map(of)
    Writer(of).add_explanations([make.explanation(15, "new")])
    with answering(make_app(Serving(autointerp.open(of), Limits()))) as at:
        assert "1 labels came that are not on it" in get(at, MAP).text
        assert len(get(at, POINTS).json()["feature"]) == 13
        map_path(of / "store.duckdb", SOURCE).write_bytes(b"broken")
        told = get(at, MAP, 400).text
        assert "autointerp map" in told
        assert "Traceback" not in told


@pytest.mark.parametrize(
    ("query", "status"),
    [("cluster=2", 400), ("cluster=-1", 422), ("cluster=x", 422), ("colour=nothing", 400), ("view=x,y,z", 200)],
)
def test_what_makes_no_sense_is_told(mapped: str, query: str, status: int) -> None:
    get(mapped, f"{MAP}?{query}", status)
    get(mapped, f"{MAP}.json?{query}", status)


def test_the_map_reads_without_scripts(browser: Browser, mapped: str) -> None:
    with visiting(browser, mapped, width=375, scheme="dark", has_scripts=False) as of:
        page = of.open(MAP)
        assert not page.locator("canvas").is_visible()
        page.get_by_role("rowheader", name="river").get_by_role("link").click()
        assert page.locator(".of-cluster li").count() == 6


def test_a_point_tells_its_label_and_opens_its_feature(of_map: Visitor) -> None:
    page = opened(of_map)
    of_map.keep("map")
    assert of_map.faults() == []
    box = page.locator("canvas").bounding_box()
    assert box is not None
    x, y = at(box, 0.5, 0.375)
    page.mouse.move(x, y)
    page.wait_for_selector(".map-tip:not([hidden])")
    assert page.locator(".map-tip").inner_text().endswith(SCRIPT)
    page.mouse.click(x, y)
    page.wait_for_url(f"**{SOURCE_PAGE}/12")


def at(box: FloatRect, x: float, y: float) -> tuple[float, float]:
    """Where a place of the map lies on the canvas, as long as nobody has moved it."""
    wide, high = 0.6, 0.25
    side = min(box["width"] / wide, box["height"] / high) * 0.92
    return box["x"] + box["width"] / 2 + (x - 0.5) * side, box["y"] + box["height"] / 2 + (y - 0.5) * side


def test_a_lasso_lists_what_is_within_and_leads_to_the_table(of_map: Visitor) -> None:
    page = opened(of_map)
    box = page.locator("canvas").bounding_box()
    assert box is not None
    page.get_by_role("button", name="Lasso").click()
    corners = [at(box, x, y) for x, y in ((0.19, 0.58), (0.4, 0.58), (0.4, 0.64), (0.19, 0.64))]
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in corners[1:]:
        page.mouse.move(*corner, steps=4)
    page.mouse.up()
    page.wait_for_selector(".map-list li")
    assert page.locator(".map-list li a").all_inner_texts() == [str(i) for i in RIVERS]
    assert of_map.faults() == []
    page.get_by_role("link", name="In the table").click()
    assert page.locator(".of-features tbody tr").count() == len(RIVERS)


def test_words_mark_labels_and_colours_and_places_stay_in_the_address(of_map: Visitor) -> None:
    page = opened(of_map)
    page.get_by_label("mark labels").fill("LAW court")
    page.wait_for_selector(".map-list li:nth-child(6)")
    assert "6 features with these words" in page.locator(".map-status").inner_text()
    page.get_by_label("colour by").select_option("score:detection")
    assert page.locator(".map-legend").inner_text().split() == ["0", "1"]
    page.wait_for_url("**colour=score**")
    page.reload()
    page.wait_for_selector("[data-ready]")
    assert page.get_by_label("colour by").input_value() == "score:detection"


def test_the_map_is_moved_and_a_feature_opened_by_keyboard(of_map: Visitor) -> None:
    page = opened(of_map, "?view=0.5,0.41,2")
    page.locator("canvas").focus()
    page.keyboard.press("ArrowUp")
    page.wait_for_selector(".map-tip:not([hidden])")
    page.wait_for_url("**view=0.5000%2C0.37**")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{SOURCE_PAGE}/12")


def test_the_map_reads_on_a_phone_in_the_dark(browser: Browser, mapped: str) -> None:
    with visiting(browser, mapped, width=375, scheme="dark") as of:
        opened(of)
        assert of.faults() == []
        assert of.overflow() <= 0
        of.keep("map-phone-dark")
