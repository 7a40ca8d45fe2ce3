"""A feature's page, looked at and used in a browser."""

import pytest
from playwright.sync_api import Browser

from tests.run.planted import DEAD
from tests.serve.browser import Visitor, visiting

AT = "/planted/0-res-12"
SHOWN = {"script": 0, "long": 1, "arabic": 2, "dead": DEAD, "code": 6, "without-contexts": 9, "without-label": 10}


def test_a_text_is_tried_and_the_link_keeps_it(visitor: Visitor) -> None:
    page = visitor.open(f"{AT}/1")
    page.get_by_role("textbox", name="Text").fill("the ship went up the river")
    page.get_by_role("button", name="Try").click()
    page.wait_for_url("**text=the+ship**")
    assert page.locator(".tested .tokens span").inner_text() == "river"
    assert visitor.faults() == []
    visitor.keep("feature-tested")
    visitor.open(page.url.removeprefix(visitor.address))
    assert page.get_by_role("textbox", name="Text").input_value() == "the ship went up the river"


def test_a_score_opens_into_its_trials_in_place(visitor: Visitor) -> None:
    page = visitor.open(f"{AT}/2")
    link = page.locator("a.trials-link").first
    link.click()
    opened = page.locator("tr.opened .trials")
    opened.wait_for()
    n_trials = opened.locator("tbody tr").count()
    assert n_trials == int(link.inner_text())
    assert visitor.faults() == []
    visitor.keep("feature-trials")
    page.locator("tr.opened").get_by_role("link", name="only errors").click()
    page.locator("tr.opened .chip[aria-current]", has_text="only errors").wait_for()
    assert page.locator("tr.opened .trials tbody tr").count() < n_trials
    assert page.url.endswith(f"{AT}/2")
    link.click()
    assert page.locator("tr.opened").count() == 0


def test_keys_lead_to_other_features_but_not_while_one_writes(visitor: Visitor) -> None:
    page = visitor.open(f"{AT}/1")
    page.keyboard.press("ArrowRight")
    page.wait_for_url(f"**{AT}/2")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(f"**{AT}/1")
    page.keyboard.press("t")
    page.keyboard.type("r")
    page.keyboard.press("ArrowLeft")
    assert page.get_by_role("textbox", name="Text").input_value() == "r"
    assert page.url.endswith(f"{AT}/1")


@pytest.mark.parametrize(("name", "index"), SHOWN.items())
def test_ugly_features_are_shown_as_they_are_and_fit(
    browser: Browser, ugly_address: str, name: str, index: int
) -> None:
    is_phone = index % 2 == 0
    with visiting(browser, ugly_address, 375 if is_phone else 1600, "light" if index % 3 else "dark") as of:
        page = of.open(f"{AT}/{index}")
        assert of.overflow() <= 0
        assert page.title() != "owned"
        assert of.faults() == []
        of.keep(f"feature-{name}")


def test_a_feature_reads_when_letters_are_twice_as_large(visitor: Visitor) -> None:
    page = visitor.open(f"{AT}/1")
    page.evaluate("document.documentElement.style.setProperty('font-size', '200%')")
    assert visitor.overflow() <= 0
    assert visitor.faults() == []
