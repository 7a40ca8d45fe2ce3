"""The page of a source, and its table as a file."""

import csv
import io
from typing import Annotated

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from autointerp.export.csv import no_formula
from autointerp.serve.pages.frame import Pages, add_page
from autointerp.serve.pages.headers import data_headers
from autointerp.serve.serving import Serving
from autointerp.serve.views.source import csv_rows, source_view
from autointerp.serve.views.source_shapes import SourceAsked, SourceView


def add(pages: Pages) -> None:
    """Add them; their paths fit what those of most other pages are, and go behind them."""

    async def source_as_csv(
        request: Request, model: str, source: str, asked: Annotated[SourceAsked, Query()]
    ) -> Response:
        view = await pages.serving.store.answer(request, lambda: source_view(pages.serving, model, source, asked))
        return Response(_csv(view), media_type="text/csv; charset=utf-8", headers=data_headers())

    pages.routes.add_api_route("/{model}/{source}.csv", source_as_csv, include_in_schema=False)
    add_page(pages, "/{model}/{source}", "source.html", source)


def source(serving: Serving, model: str, source: str, asked: Annotated[SourceAsked, Query()]) -> SourceView:
    """A source: its features as a table, sorted and filtered, how many are in each state, and density against score."""
    return source_view(serving, model, source, asked)


def _csv(view: SourceView) -> str:
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    for row in csv_rows(view.rows, view.scorers):
        writer.writerow([no_formula(cell) if isinstance(cell, str) else cell for cell in row])
    return file.getvalue()
