"""The pages that find: search, a text, steering, comparisons, runs."""

from typing import Annotated

from fastapi import Query

from autointerp.serve.pages import steering, texts
from autointerp.serve.pages.frame import Pages, add_page
from autointerp.serve.serving import Serving
from autointerp.serve.views.compare import compare_view
from autointerp.serve.views.compare_shapes import CompareAsked, CompareView
from autointerp.serve.views.run_shapes import RunAsked, RunsView, RunView
from autointerp.serve.views.runs import run_view, runs_view
from autointerp.serve.views.search import SearchAsked, SearchView, search_view


def add(pages: Pages) -> None:
    """Add them."""
    add_page(pages, "/search", "search.html", search, "Search")
    texts.add(pages)
    steering.add(pages)
    add_page(pages, "/compare", "compare.html", compare, "Compare")
    add_page(pages, "/runs", "runs.html", runs, "Runs")
    add_page(pages, "/runs/{name}", "run.html", run)


def search(serving: Serving, asked: Annotated[SearchAsked, Query()]) -> SearchView:
    """Features whose labels are about something, by meaning and words."""
    return search_view(serving, asked)


def compare(serving: Serving, asked: Annotated[CompareAsked, Query()]) -> CompareView:
    """Two features, two labels of one feature, or two runs."""
    return compare_view(serving, asked)


def runs(serving: Serving) -> RunsView:
    """Every run that is served, and how far it is."""
    return runs_view(serving)


def run(serving: Serving, name: str, asked: Annotated[RunAsked, Query()]) -> RunView:
    """A run: its stages, cost and scores, and what failed and why."""
    return run_view(serving, name, asked)
