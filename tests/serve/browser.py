"""A real browser, Debian's Chromium, that looks at our pages."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browsers import CHROMIUM

SCREENSHOTS = Path(__file__).resolve().parents[2] / "build/screenshots"
_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
)
_WAIT_MS = 20_000


@contextmanager
def started() -> Iterator[Browser]:
    """A browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_QUIET)
        yield browser
        browser.close()


@dataclass
class Visitor:
    """Someone who looks at a server's pages, in a browser that has seen none of them before.

    Attributes:
        address: The server's.
        page: What is open.
        complaints: What the browser said went wrong: scripts, the content policy, requests that leave the server.
    """

    address: str
    page: Page
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        """Go to a page."""
        self.page.goto(self.address + path)
        return self.page

    def keep(self, name: str) -> None:
        """Keep a screenshot as `build/screenshots/NAME.png`."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)

    def faults(self) -> list[str]:
        """What axe finds against the page that is open: rules that it breaks, with the elements."""
        found = Axe().run(self.page).response["violations"]
        return [f"{of['id']}: {of['help']}: {[node['html'][:120] for node in of['nodes'][:3]]}" for of in found]

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        return width


@contextmanager
def visiting(
    browser: Browser,
    address: str,
    width: int = 1200,
    scheme: Literal["light", "dark"] = "light",
    *,
    has_scripts: bool = True,
) -> Iterator[Visitor]:
    """Someone who looks; what the browser complains of fails the test.

    Args:
        browser: The browser.
        address: The server's.
        width: Of the window, in pixels.
        scheme: What the system prefers.
        has_scripts: Whether scripts run.
    """
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=has_scripts
    )
    context.set_default_timeout(_WAIT_MS)
    visitor = Visitor(address, context.new_page())
    complaints = visitor.complaints
    visitor.page.on("pageerror", lambda error: complaints.append(f"script: {error}"))
    visitor.page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    visitor.page.on("request", lambda of: complaints.append(of.url) if not _is_own(of.url, address) else None)
    yield visitor
    context.close()
    assert complaints == []


def _is_own(url: str, address: str) -> bool:
    return url.startswith((f"{address}/", "data:", "blob:"))
