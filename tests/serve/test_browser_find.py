"""The pages that find and steer, looked at in a browser."""

from playwright.sync_api import Browser, expect

from tests.serve.browser import Visitor, visiting

PAGES = (
    "/search?q=river",
    "/text?text=the+ship+is+red&token=1&feature=2",
    "/steer?feature=1&unit=max",
    "/compare?of=labels&feature=1",
    "/runs/demo",
)


def test_a_search_answers_as_one_types_and_the_last_answer_wins(visitor: Visitor) -> None:
    page = visitor.open("/search")
    page.keyboard.type("piano")
    expect(page.locator(".found h2").first).to_have_text("piano")
    page.fill("#q", "<script>alert(1)</script>")
    page.fill("#q", "river")
    expect(page.locator(".found h2").first).to_have_text("river")
    expect(page).to_have_url(f"{visitor.address}/search?q=river&n=20")
    assert page.input_value("#q") == "river"
    page.get_by_text("Filters").click()
    page.select_option("#least-1", label=".90")
    expect(page).to_have_url(f"{visitor.address}/search?q=river&min_score=detection%3A0.9&n=20")
    page.locator(".found a").first.click()
    expect(page.locator("h1")).to_have_text("river")
    visitor.page.go_back()
    assert page.input_value("#q") == "river"


def test_a_search_that_makes_no_sense_is_told_in_place(visitor: Visitor) -> None:
    page = visitor.open("/search?q=river")
    page.get_by_text("Filters").click()
    page.fill("#density-from", "-1")
    expect(page.get_by_role("status")).to_contain_text("-1")
    assert page.locator(".found").count() > 0
    visitor.complaints.clear()  # the browser tells of the status


def test_a_token_is_clicked_to_see_its_features_and_a_feature_to_see_its_tokens(visitor: Visitor) -> None:
    page = visitor.open("/text")
    page.fill("#text", "the ship is red and\nthe river is blue")
    page.get_by_role("button", name="Read it").click()
    expect(page.locator(".passage")).to_contain_text("river")
    page.locator(".passage span", has_text="red").click()
    expect(page.locator("#on-token")).to_contain_text("On token 3")
    expect(page.locator(".passage .here")).to_have_text("red")
    page.get_by_role("button", name="Shade the tokens of feature 2").first.click()
    expect(page.locator("#passage-title")).to_contain_text("Where red green blue fires")
    assert page.locator(".passage span.a9").count() >= 1
    link = page.url
    assert "token=3" in link
    assert "feature=2" in link
    visitor.open(link.removeprefix(visitor.address))
    expect(page.locator(".passage .here")).to_have_text("red")
    visitor.keep("text")


def test_two_answers_stand_side_by_side_and_the_address_holds_how_they_came(visitor: Visitor) -> None:
    page = visitor.open("/steer?feature=1&strength=2&unit=max&mode=add&n_tokens=4")
    page.fill("#say", "a ship")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("status")).to_contain_text("Answered by seed 1")
    expect(page.locator(".steered .counts")).to_contain_text("1 feature edited at")
    page.fill("#say", "the river")
    page.locator("form.steer").get_by_role("button", name="Answer").click()
    expect(page.locator(".turn")).to_have_count(2)
    expect(page.get_by_role("status")).to_contain_text("Answered by seed 1")
    assert "say=a+ship&say=the+river" in page.url
    visitor.keep("steer")


def test_they_read_on_a_phone_in_the_dark_twice_as_large_and_break_no_rule(browser: Browser, address: str) -> None:
    with visiting(browser, address, width=375, scheme="dark") as of:
        for path in PAGES:
            page = of.open(path)
            assert of.faults() == [], path
            assert of.overflow() <= 0, path
            page.evaluate("document.documentElement.style.fontSize = '200%'")
            assert of.overflow() <= 0, path


def test_they_work_without_scripts(browser: Browser, address: str) -> None:
    with visiting(browser, address, has_scripts=False) as of:
        page = of.open("/search")
        page.fill("#q", "river")
        page.locator("main").get_by_role("button", name="Search").click()
        expect(page.locator(".found h2").first).to_have_text("river")
        of.open("/text")
        page.fill("#text", "the ship is red")
        page.get_by_role("button", name="Read it").click()
        page.get_by_role("button", name="Features on token 3").click()
        expect(page.locator("#on-token")).to_contain_text("red")
        of.open("/steer?feature=1&unit=max&n_tokens=2")
        page.fill("#say", "a ship")
        page.locator(".talk-column").get_by_role("button", name="Answer").click()
        expect(page.locator(".steered .counts")).to_contain_text("1 feature edited at")
