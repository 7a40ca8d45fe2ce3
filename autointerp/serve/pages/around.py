"""Ways from one feature to another: a random one, and one of a given index."""

import random
from typing import Annotated

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from autointerp.errors import UnknownFeatureError
from autointerp.identity import parse_feature_id
from autointerp.serve.pages.frame import Pages, see_other
from autointerp.serve.pages.rendering import feature_url
from autointerp.serve.serving import Serving
from autointerp.serve.views.served import named_source, run_of
from autointerp.store.known import shown


def add(pages: Pages) -> None:
    """Add them."""

    async def a_random_feature(request: Request, model: str, source: str) -> Response:
        path = await pages.serving.store.answer(request, lambda: _random_path(pages.serving, model, source))
        return see_other(f"{path}?{request.url.query}" if request.url.query else path)

    async def a_named_feature(model: str, source: str, index: Annotated[str, Query(max_length=200)]) -> Response:
        named = parse_feature_id(index.strip())
        if named is None:
            raise UnknownFeatureError(f"{shown(index)} is no feature", "give an index such as 650")
        return see_other(feature_url(named_source(pages.serving, model, source), named[1]))

    pages.routes.add_api_route("/{model}/{source}/random", a_random_feature, include_in_schema=False)
    pages.routes.add_api_route("/{model}/{source}/go", a_named_feature, include_in_schema=False)


def _random_path(serving: Serving, model: str, source: str) -> str:
    """Of those that have a label; of all where none has."""
    of = named_source(serving, model, source)
    labelled = run_of(serving, of).reader.labelled_indices(of)
    among = sorted(labelled) or range(serving.names.sources[of].n_features)
    return feature_url(of, random.choice(among))
