"""A run that is served."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

import autointerp
from autointerp.serve.app import make_app
from autointerp.serve.limits import Limits
from autointerp.serve.serving import Serving
from tests.browsers import CHROMIUM, WITHOUT
from tests.serve.browser import Visitor, started, visiting
from tests.serve.serving import answering
from tests.serve.ugly import uglify


@pytest.fixture(scope="module")
def serving(planted_runs: Path) -> Serving:
    """What is served: the run, whose model has a second name too."""
    aliases = {"smollm2-135m-instruct": "planted@0-res-12"}
    serving = Serving(
        autointerp.open(planted_runs / "runs/demo"),
        Limits(n_steering_prompts=24, steering_tokens=6, false_alarms=0.15),
        aliases,
    )
    assert list(serving.warm()) == []
    return serving


@pytest.fixture(scope="module")
def address(serving: Serving) -> Iterator[str]:
    """Where it answers."""
    with answering(make_app(serving)) as at:
        yield at


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser, for as long as the tests of one file: while it runs, its thread can't run another event loop."""
    if CHROMIUM is None:
        pytest.skip(WITHOUT)
    with started() as of:
        yield of


@pytest.fixture
def visitor(browser: Browser, address: str) -> Iterator[Visitor]:
    """Someone who looks at the planted run's pages."""
    with visiting(browser, address) as of:
        yield of


@pytest.fixture(scope="session")
def ugly_run(planted_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The planted run with ugly text everywhere."""
    return uglify(planted_runs / "runs/demo", tmp_path_factory.mktemp("ugly"))


@pytest.fixture(scope="module")
def ugly_address(ugly_run: Path) -> Iterator[str]:
    """Where it is served, not warmed: its model is never asked."""
    with answering(make_app(Serving(autointerp.open(ugly_run), Limits()))) as at:
        yield at
