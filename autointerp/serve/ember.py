"""Goodfire's Ember: what its client `goodfire` 0.3.5 asks, and in which shapes it takes answers.

Activations and thresholds are in the coder's own units. Features carry their labels' scores besides, which that client
does not read. What a request may name and the client never does (`space`, `min_relevance`) is ours.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import Field

from autointerp.errors import ServeError
from autointerp.library.attribution import AttributedFeature
from autointerp.library.feature import Feature, FeatureGroup
from autointerp.library.inspector import ContextInspector
from autointerp.serve import ember_auto, ember_chat
from autointerp.serve.controllers import Controller, variant_of
from autointerp.serve.knows import Knows
from autointerp.serve.serving import Serving
from autointerp.serve.shapes import Conversation, Shape, Text, TopK, plain, told_feature
from autointerp.store.neighbors import LABEL_SPACE

PREFIX = "/api/inference/v1"
_MOST_FEATURES = 8_192
_MOST_CONVERSATIONS = 1_024
_PAGES = 100
_MOST_ATTRIBUTED = 200

Index = Annotated[int, Field(ge=0)]
Ids = Annotated[list[Text], Field(max_length=_MOST_FEATURES)]


class Lookup(Shape):
    """Which features are looked up."""

    indices: Annotated[list[Index], Field(max_length=_MOST_FEATURES)]
    model: Text | None = None


class Neighbors(Shape):
    """Of which features neighbors are wanted."""

    feature_indices: Annotated[list[Index], Field(min_length=1, max_length=_MOST_FEATURES)]
    model: Text | None = None
    top_k: TopK = 10
    space: Text = LABEL_SPACE


class Rerank(Shape):
    """Which features are put in order."""

    query: Text
    feature_ids: Ids
    top_k: TopK = 10
    model: Text | None = None


class Contrast(Shape):
    """Which conversations are held against each other, pair by pair."""

    dataset_1: Annotated[list[Conversation], Field(min_length=1, max_length=_MOST_CONVERSATIONS)]
    dataset_2: Annotated[list[Conversation], Field(min_length=1, max_length=_MOST_CONVERSATIONS)]
    k_to_add: TopK = 5
    k_to_remove: TopK = 5
    model: Text | None = None


class Inspect(Shape):
    """What is read, and of which features."""

    messages: Conversation
    aggregate_by: Literal["count", "frequency", "mean", "max", "sum"] = "count"
    include_feature_indexes: Annotated[list[Index], Field(min_length=1, max_length=_MOST_FEATURES)] | None = None
    model: Text | None = None
    controller: Controller | None = None


class Attributed(Shape):
    """Of which token it is asked what pushes it."""

    messages: Conversation
    start_index: Annotated[int, Field(alias="startIndex")]
    end_index: Annotated[int, Field(alias="endIndex")]
    model: Text | None = None


def router(serving: Serving) -> APIRouter:
    """The routes, over what is served."""
    routes = APIRouter(prefix=PREFIX, tags=["Ember"])
    features, names = serving.client.features, serving.names

    @routes.get("/features/search")
    async def search(
        request: Request,
        query: str,
        model: str | None = None,
        page: Annotated[int, Query(ge=1, le=_PAGES)] = 1,
        per_page: Annotated[int, Query(alias="perPage", ge=1, le=1_000)] = 10,
        min_relevance: Annotated[float, Query(ge=0, le=1, allow_inf_nan=False)] = 0.0,
    ) -> Any:
        source = names.source(model)

        def found() -> FeatureGroup:
            return features.search(query, page * per_page, source=source, min_relevance=min_relevance)

        hits = await serving.store.answer(request, found)
        return _features(hits[(page - 1) * per_page :])

    @routes.get("/features/")
    async def by_ids(request: Request, feature_id: Annotated[list[str], Query(max_length=1_000)]) -> Any:
        def found() -> FeatureGroup:
            return _of(serving, names.features(feature_id))

        return _features(await serving.store.answer(request, found))

    @routes.post("/features/lookup")
    async def lookup(request: Request, asked: Lookup) -> Any:
        source = names.source(asked.model)
        found = await serving.store.answer(request, lambda: features.lookup(asked.indices, source))
        return {"features": [{**(of := told_feature(feature)), "uuid": of["id"]} for feature in found]}

    @routes.post("/features/rerank")
    async def rerank(request: Request, asked: Rerank) -> Any:
        def found() -> FeatureGroup:
            return features.rerank(_of(serving, names.features(asked.feature_ids)), asked.query, asked.top_k)

        return _features(await serving.store.answer(request, found))

    @routes.post("/attributions/neighbors")
    async def neighbors(request: Request, asked: Neighbors) -> Any:
        source = names.source(asked.model)

        def found() -> FeatureGroup:
            return features.neighbors(features.lookup(asked.feature_indices, source), asked.space, asked.top_k)

        return {"neighbors": _features(await serving.store.answer(request, found))["features"]}

    @routes.post("/chat-attribution/contrast")
    async def contrast(request: Request, asked: Contrast) -> Any:
        return await serving.ask(request, partial(_contrast, asked, names.source(asked.model)))

    @routes.post("/chat-attribution/compute-features")
    async def inspect(request: Request, asked: Inspect) -> Any:
        return JSONResponse(await serving.ask(request, partial(_inspected, asked, names.source(asked.model))))

    @routes.post("/attributions/compute-logit-attribution")
    async def attribute(request: Request, asked: Attributed) -> Any:
        source = names.source(asked.model)
        if asked.start_index != asked.end_index:
            raise ServeError("several tokens are asked about", "ask about one: startIndex and endIndex are the same")
        return await serving.ask(request, partial(_attributed, asked, source))

    ember_chat.add_routes(routes, serving)
    ember_auto.add_routes(routes, serving)
    return routes


def _of(serving: Serving, named: Sequence[tuple[str, int]]) -> FeatureGroup:
    """Features by their names, in order."""
    sources: dict[str, list[int]] = {}
    for source, index in named:
        sources.setdefault(source, []).append(index)
    found = {
        of.names()[0]: of
        for source, indices in sources.items()
        for of in serving.client.features.lookup(indices, source)
    }
    return FeatureGroup(found[name] for name in named)


def _features(features: Iterable[Feature]) -> dict[str, list[dict[str, Any]]]:
    return {"features": [told_feature(feature) for feature in features]}


def _contrast(asked: Contrast, source: str, knows: Knows) -> dict[str, Any]:
    first, second = ([plain(of) for of in dataset] for dataset in (asked.dataset_1, asked.dataset_2))
    n_most = max(asked.k_to_add, asked.k_to_remove)
    found = knows.client.features.contrast(first, second, n_most, paired=True, source=source)
    # Whether or not they are surely more than chance: few conversations, as this client's users give, show nothing.
    return {
        "dataset_1_features": [told_feature(of.feature) for of in found.leading_1[: asked.k_to_remove]],
        "dataset_2_features": [told_feature(of.feature) for of in found.leading_2[: asked.k_to_add]],
    }


def _inspected(asked: Inspect, source: str, knows: Knows) -> dict[str, Any]:
    variant, wanted = variant_of(knows, source, asked.controller), asked.include_feature_indexes
    text = knows.client.features.inspect(plain(asked.messages), wanted, source=source, model=variant)
    return {"tokens": _tokens(knows, source, text, wanted)}


def _attributed(asked: Attributed, source: str, knows: Knows) -> dict[str, Any]:
    """What pushes a token, and what holds it back: by gradient times activation, at all tokens together."""
    found = knows.client.features.attribute(plain(asked.messages), asked.start_index, source=source)
    pushing = found.by_feature(_MOST_ATTRIBUTED)
    return {
        "to_ablate": [_attributed_feature(of) for of in pushing if of.gradient > 0],
        "to_add": [_attributed_feature(of) for of in pushing if of.gradient < 0],
        "num_input_tokens": found.index,
        "token": found.token,
        "log_prob": found.record.log_prob,
    }


def _attributed_feature(of: AttributedFeature) -> dict[str, Any]:
    tokens = [
        {"index": position, "activation_strength": activation}
        for position, activation in zip(of.positions, of.activations, strict=True)
    ]
    return {"id": of.feature.uuid, "value": of.gradient, "direct": of.direct, "tokens": tokens}


def _tokens(knows: Knows, source: str, text: ContextInspector, wanted: Sequence[int] | None) -> list[dict[str, Any]]:
    """What fires on each token, strongest first; of features that are asked for, those that don't as well."""
    matrix = text.matrix()
    columns = list(range(matrix.shape[1])) if wanted is None else list(dict.fromkeys(wanted))
    silent = {} if wanted is None else dict.fromkeys(columns, 0.0)
    ids: dict[int, str] = {}
    shapes = []
    for token, first, last in zip(text.tokens, matrix.indptr[:-1].tolist(), matrix.indptr[1:].tolist(), strict=True):
        fired = [columns[column] for column in matrix.indices[first:last].tolist()]
        values = silent | dict(zip(fired, matrix.data[first:last].tolist(), strict=True))
        attributions = []
        for index in sorted(values, key=lambda index: (-values[index], index)):
            if index not in ids:
                ids[index] = knows.names.uuid(source, index)
            attributions.append({"id": ids[index], "index_in_sae": index, "activation_strength": values[index]})
        shapes.append({"token": token.text, "attributions": attributions})
    return shapes
