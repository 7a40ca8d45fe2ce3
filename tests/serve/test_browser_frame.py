"""The frame around every page, looked at in a browser."""

from playwright.sync_api import Browser

from tests.serve.browser import Visitor, visiting

RIVER = "/planted/0-res-12/1"


def test_the_first_page_leads_to_a_feature(visitor: Visitor) -> None:
    page = visitor.open("/")
    visitor.keep("home")
    assert visitor.faults() == []
    page.get_by_role("link", name="A random feature").click()
    page.wait_for_url("**/planted/0-res-12/*")
    assert page.locator("h1").count() == 1


def test_the_theme_is_the_systems_until_someone_switches_it_and_then_stays(browser: Browser, address: str) -> None:
    with visiting(browser, address, scheme="dark") as of:
        page = of.open("/")

        def background() -> object:
            return page.evaluate("getComputedStyle(document.body).backgroundColor")

        dark = background()
        page.get_by_role("button", name="Dark or light").click()
        assert background() != dark
        of.open(RIVER)
        assert page.evaluate("document.documentElement.dataset.theme") == "light"


def test_pages_read_on_a_phone_in_the_dark_without_scripts(browser: Browser, address: str) -> None:
    with visiting(browser, address, width=375, scheme="dark", has_scripts=False) as of:
        for path in ("/", RIVER):
            page = of.open(path)
            assert page.locator("main h1").is_visible()
            assert not page.locator("button.theme").is_visible()
    with visiting(browser, address, width=375, scheme="dark") as of:
        for name, path in (("home", "/"), ("feature", RIVER)):
            of.open(path)
            assert of.overflow() <= 0
            assert of.faults() == []
            of.keep(f"{name}-phone-dark")


def test_an_error_is_a_page_that_leads_on(visitor: Visitor) -> None:
    visitor.open("/planted/0-res-12/99")
    visitor.complaints.clear()  # the browser tells of the status
    assert "no feature" in visitor.page.locator("main").inner_text()
    assert visitor.faults() == []
