"""The page of a map of labels, and its points."""

import json
from typing import Annotated

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from autointerp.serve.pages.frame import Pages, add_page
from autointerp.serve.pages.headers import data_headers
from autointerp.serve.serving import Serving
from autointerp.serve.views.label_map import map_points, map_view
from autointerp.serve.views.label_map_shapes import MapAsked, MapPoints, MapView


def add(pages: Pages) -> None:
    """Add them; they go before features, whose paths theirs fit."""

    async def label_map_points(request: Request, model: str, source: str) -> Response:
        """The points of a map of labels, each a labelled feature, as columns."""

        def answer() -> bytes:
            said = map_points(pages.serving, model, source)
            return json.dumps(said, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()

        body = await pages.serving.store.answer(request, answer)
        return Response(body, media_type="application/json", headers=data_headers())

    pages.routes.add_api_route(
        "/{model}/{source}/map/points.json",
        label_map_points,
        response_model=MapPoints,
        operation_id="label_map_points",
        tags=["pages"],
    )
    add_page(pages, "/{model}/{source}/map", "map.html", label_map)


def label_map(serving: Serving, model: str, source: str, asked: Annotated[MapAsked, Query()]) -> MapView:
    """A map of a source's labels: its clusters, and the features of one of them."""
    return map_view(serving, model, source, asked)
