"""The page of a source, as HTML, JSON and CSV, and in a browser."""

import contextlib
import csv
import http.client
import io
import math
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from playwright.sync_api import Browser

import autointerp
from autointerp.serve.app import make_app
from autointerp.serve.limits import Limits
from autointerp.serve.serving import Serving
from autointerp.store.writer import Writer
from tests.serve.browser import Visitor, visiting
from tests.serve.serving import answering
from tests.store.making import SOURCE, make, spoil_score

PAGE = "/planted/0-res-12"
UGLY = "/" + SOURCE.replace("@", "/")
SCRIPT = "</td><script>alert(1)</script>"
LABELS = {0: SCRIPT, 1: "رسالة خطأ", 2: "=HYPERLINK(1)", 3: "long " * 60, 4: "emoji 🦊 `code` {{ 7*7 }} %s"}


def get(address: str, path: str, status: int = 200) -> httpx.Response:
    found = httpx.get(address + path, headers={"Accept": "text/html"}, timeout=60)
    assert found.status_code == status, found.text[:300]
    return found


@pytest.fixture(scope="module")
def ugly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of a run whose labels are markup, formulas and other scripts, and whose numbers are none."""
    writer = Writer(tmp_path_factory.mktemp("ugly"))
    writer.add_source(make.source(700))
    features = [make.feature(i, density=(i % 97 + 1) / 1000) for i in range(700)]
    features[5] = replace(features[5], density=math.nan, max_activation=math.inf)
    features[6] = replace(features[6], status="dead")
    writer.add_features(features)
    labels = [make.explanation(i, LABELS.get(i, f"label {i}")) for i in range(5)]
    labels += [make.explanation(i, f"label {i}") for i in range(10, 700)]
    writer.add_explanations(labels)
    writer.add_scores([make.graded(of, value=0.5) for of in labels])
    spoil_score(writer.path, 0)
    writer.add_failures([replace(make.failure(7), message=SCRIPT, error_type="Parse<b>")])
    with answering(make_app(Serving(autointerp.open(writer.path.parent), Limits()))) as at:
        yield at


def test_the_page_tells_what_its_json_tells(address: str) -> None:
    asked = f"{PAGE}%s?sort=score:detection&order=desc&state=scored"
    said, page = get(address, asked % ".json").json(), get(address, asked % "").text
    assert said["n_passing"] == len(said["rows"]) == 10
    places = [page.index(f'<a href="{row["path"]}">{row["index"]}</a>') for row in said["rows"]]
    assert places == sorted(places)
    for row in said["rows"]:
        assert f'dir="auto">{row["label"]}</td>' in page
    values = [row["scores"]["detection"]["value"] for row in said["rows"]]
    assert values == sorted(values, reverse=True)
    assert sum(of["n"] for of in said["states"]) == said["n_features"] == 12
    assert page.count("<circle") == 1 + len(said["plot"]["cells"])  # one is on the button


def test_rows_as_a_file_are_those_of_the_page(address: str) -> None:
    asked = f"{PAGE}%s?sort=density&order=desc&q=er"
    said = get(address, asked % ".json").json()
    rows = list(csv.DictReader(io.StringIO(get(address, asked % ".csv").text)))
    assert [(int(row["feature"]), row["label"], float(row["density"])) for row in rows] == [
        (row["index"], row["label"], row["density"]) for row in said["rows"]
    ]
    assert rows[0]["detection_ci_low"] == str(said["rows"][0]["scores"]["detection"]["low"])


def test_what_stands_in_labels_is_text_wherever_it_is_shown(ugly: str) -> None:
    page = get(ugly, UGLY).text
    assert "<script>alert" not in page
    assert "&lt;/td&gt;&lt;script&gt;" in page
    assert "{{ 7*7 }}" in page
    assert "Parse&lt;b&gt;" in page
    rows = list(csv.reader(io.StringIO(get(ugly, f"{UGLY}.csv").text)))
    assert rows[3][1] == "'=HYPERLINK(1)"
    assert rows[1][1] == SCRIPT


def test_numbers_that_are_none_are_told_as_none(ugly: str) -> None:
    said = get(ugly, f"{UGLY}.json").json()
    assert (said["rows"][5]["density"], said["rows"][5]["max_activation"], said["rows"][0]["scores"]) == (
        None,
        None,
        {},
    )
    assert said["rows"][7]["reasons"] == [f"explain: Parse<b>: {SCRIPT}"]


def test_a_dot_of_many_features_lists_them(ugly: str) -> None:
    said = get(ugly, f"{UGLY}.json").json()
    assert said["plot"]["is_binned"]
    cell = max(said["plot"]["cells"], key=lambda of: of["n"])
    query = (
        f"density_from={cell['density_from']}&density_to={cell['density_to']}"
        f"&min_score=detection:{cell['score_from']}&max_score=detection:{cell['score_to']}"
    )
    assert query.replace(":", "%3A").replace("&", "&amp;") in get(ugly, UGLY).text
    assert get(ugly, f"{UGLY}.json?{query}").json()["n_passing"] == cell["n"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("sort=nothing", 400),
        ("sort=score:nobody", 400),
        ("sort=density;DROP", 400),
        ("page=-1", 422),
        ("page=1e9", 422),
        ("n=0", 422),
        ("n=999999", 422),
        ("order=sideways", 422),
        ("min_score=detection", 400),
        ("min_score=detection:nan", 400),
        ("max_score=detection:7", 400),
        ("density_from=nan", 422),
        ("density_from=2", 400),
        ("state=happy", 400),
        ("explainer=nobody", 400),
        ("features=1,x", 400),
        ("features=999999", 400),
        ("plot=nobody", 400),
        (f"q={'a' * 5000}", 400),
        ("q=%00%ff%ed%a0%80", 200),
        ("page=9999", 200),
    ],
)
def test_what_makes_no_sense_is_told_without_internals(ugly: str, query: str, status: int) -> None:
    for path in (UGLY, f"{UGLY}.json", f"{UGLY}.csv"):
        found = get(ugly, f"{path}?{query}", status).text
        assert "Traceback" not in found
        assert "duckdb" not in found


def test_a_filter_of_megabytes_is_refused(ugly: str) -> None:
    connection = http.client.HTTPConnection(ugly.removeprefix("http://"), timeout=60)
    with contextlib.closing(connection), contextlib.suppress(OSError):  # it may hang up before it was told all
        connection.request("GET", f"{UGLY}?q={'a' * 10**7}")
        assert connection.getresponse().status in {400, 414, 431}
    assert get(ugly, UGLY)


def test_a_source_is_filtered_sorted_and_paged_by_keyboard_and_without_scripts(browser: Browser, ugly: str) -> None:
    with visiting(browser, ugly, has_scripts=False) as of:
        page = of.open(UGLY)
        page.get_by_label("words in the label").fill("label 12")
        page.keyboard.press("Enter")
        page.wait_for_url("**q=label+12**")
        assert page.locator(".of-features tbody tr").count() == 17
        page.get_by_role("link", name="density").click()
        assert page.locator('[aria-sort="descending"]').inner_text().startswith("density")
        page.get_by_role("link", name="Show all").click()
        page.get_by_role("link", name="Next").click()
        assert "page 2 of 14" in page.locator(".status").inner_text()


def test_the_table_follows_as_one_types_and_the_address_with_it(browser: Browser, ugly: str) -> None:
    with visiting(browser, ugly) as of:
        page = of.open(f"{UGLY}?sort=score:detection&order=desc")
        page.get_by_label("words in the label").press_sequentially("label 69")
        page.wait_for_url("**q=label+69**")
        page.locator(".of-features tbody tr:nth-child(17)").wait_for()
        assert page.locator(".of-features tbody tr").count() == 17  # 69, 169, … 669, and 690 to 699
        assert page.locator(".status").inner_text() == "17 of 700 features."
        assert "sort=score%3Adetection" in page.url
        assert of.faults() == []


def test_the_page_of_a_source_reads_for_everyone(browser: Browser, ugly: str) -> None:
    for width, scheme in ((1200, "light"), (375, "dark")):
        with visiting(browser, ugly, width, "dark" if scheme == "dark" else "light") as of:
            of.open(UGLY)
            assert of.faults() == []
            assert of.overflow() <= 0
            of.keep(f"source-ugly-{width}")


def test_a_dot_of_the_plot_opens_its_feature(visitor: Visitor, address: str) -> None:
    page = visitor.open(PAGE)
    visitor.keep("source")
    cell = httpx.get(f"{address}{PAGE}.json").json()["plot"]["cells"][-1]
    page.locator(".dots a").last.click()
    page.wait_for_url(f"**{PAGE}/{cell['index']}")
