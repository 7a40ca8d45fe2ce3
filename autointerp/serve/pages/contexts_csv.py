"""The contexts of a feature as CSV, a row each, for a spreadsheet or a notebook."""

import csv
import io
from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import Response

from autointerp.export.csv import no_formula
from autointerp.library.feature_page import ContextChoice, read_page
from autointerp.records import Context
from autointerp.serve.pages.frame import Pages
from autointerp.serve.pages.headers import data_headers
from autointerp.serve.views.served import named_source, run_of

_COLUMNS = (
    "context_id",
    "kind",
    "split",
    "quantile",
    "document_id",
    "block_index",
    "start",
    "max_activation",
    "peak",
    "peak_token",
    "text",
    "activations",
)


def add(pages: Pages) -> None:
    """Add them."""

    async def contexts_as_csv(request: Request, model: str, source: str, index: int) -> Response:
        of = named_source(pages.serving, model, source)
        page = await pages.serving.store.answer(
            request, lambda: read_page(run_of(pages.serving, of), f"{of}:{index}", ContextChoice())
        )
        name = "".join(sign if sign.isalnum() else "-" for sign in f"{of}-{index}")
        disposition = f'attachment; filename="{name}.csv"' if name.isascii() else "attachment"
        headers = {**data_headers(), "Content-Disposition": disposition}
        return Response(_csv(page.contexts), media_type="text/csv; charset=utf-8", headers=headers)

    pages.routes.add_api_route("/{model}/{source}/{index}.csv", contexts_as_csv, include_in_schema=False)


def _csv(contexts: Iterable[Context]) -> str:
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(_COLUMNS)
    for of in sorted(contexts, key=lambda context: (-context.max_activation, context.context_id)):
        row = (
            *(of.context_id, of.kind, of.split or "", "" if of.quantile is None else of.quantile),
            *(of.document_id, of.block_index, of.start, of.max_activation, of.peak, of.tokens[of.peak]),
            *("".join(of.tokens), " ".join(f"{activation:.5g}" for activation in of.activations)),
        )
        writer.writerow([no_formula(cell) if isinstance(cell, str) else cell for cell in row])
    return file.getvalue()
