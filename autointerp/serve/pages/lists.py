"""The pages of people's lists: all, one, one as CSV, and the forms that make and change them.

Forms need no script: each is sent to the list's own address, and leads back to it. The guard sees to the key, and to
where a form comes from.
"""

import csv
import io
import re

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from autointerp.export.csv import no_formula
from autointerp.library.lists import FeatureList
from autointerp.serve.pages.frame import Pages, add_page, form_of, see_other
from autointerp.serve.pages.headers import data_headers
from autointerp.serve.views.lists import a_list, list_path, lists

_APART = re.compile(r"[\s,;]+")
_MOVES = {"up": -1, "down": 1}
_COLUMNS = ("place", "feature", "source", "index", "label", "explainer", "scores", "note")


def add(pages: Pages) -> None:
    """Add them."""
    client = pages.serving.client

    async def begin(request: Request) -> Response:
        sent = await form_of(request)
        name, description, text = (sent.get(of, "") for of in ("name", "description", "test_text"))
        made = await pages.serving.store.answer(request, lambda: client.lists.new(name, description, text))
        return see_other(list_path(made.id))

    async def change(request: Request, list_id: str) -> Response:
        sent = await form_of(request)
        path = await pages.serving.store.answer(request, lambda: _change(client.lists.get(list_id), sent))
        return see_other(path)

    async def as_csv(request: Request, list_id: str) -> Response:
        text = await pages.serving.store.answer(request, lambda: _csv(client.lists.get(list_id)))
        headers = {**data_headers(), "Content-Disposition": 'attachment; filename="list.csv"'}
        return Response(text, media_type="text/csv; charset=utf-8", headers=headers)

    pages.routes.add_api_route("/lists", begin, methods=["POST"], include_in_schema=False)
    pages.routes.add_api_route("/lists/{list_id}.csv", as_csv, include_in_schema=False)
    pages.routes.add_api_route("/lists/{list_id}", change, methods=["POST"], include_in_schema=False)
    add_page(pages, "/lists", "lists.html", lists, "Lists")
    add_page(pages, "/lists/{list_id}", "list.html", a_list)


def _change(of: FeatureList, sent: dict[str, str]) -> str:
    """Do what a form says; the path that it leads to."""
    said, feature = sent.get("do", ""), sent.get("feature", "")
    if said == "change":
        of.change(sent.get("name"), sent.get("description"), sent.get("test_text"))
    elif said == "add":
        of.add([name for name in _APART.split(feature) if name], sent.get("note", ""))
    elif said == "remove":
        of.remove(feature)
    elif said in _MOVES:
        of.move(feature, _MOVES[said])
    elif said == "delete":
        of.delete()
        return "/lists"
    else:
        raise HTTPException(400, "the form says nothing that can be done: send it from the list's page")
    first = sent.get("first", "")
    at = f"?first={first}" if first.isascii() and first.isdigit() and int(first[:9]) else ""
    return f"{list_path(of.id)}{at}#features"


def _csv(found: FeatureList) -> str:
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(_COLUMNS)
    items = found.items
    known = {feature.names()[0]: feature for feature in found.known(items)}
    for place, of in enumerate(items, 1):
        feature = known.get((of.source_id, of.feature_index))
        scores = {} if feature is None else feature.scores
        row = (
            *(place, f"{of.source_id}:{of.feature_index}", of.source_id, of.feature_index),
            ("" if feature is None else feature.label or ""),
            ("" if feature is None else feature.explainer or ""),
            " ".join(f"{scorer}={value:.4f}" for scorer, value in sorted(scores.items())),
            of.note,
        )
        writer.writerow([no_formula(cell) if isinstance(cell, str) else cell for cell in row])
    return file.getvalue()
