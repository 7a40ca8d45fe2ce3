"""Labels: searched, and voted on. Twenty a page, as there; the nearest come in any case, as there."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from autointerp.serve.neuronpedia.features import neuron
from autointerp.serve.neuronpedia.paths import Camel, Paths, in_its_words, source_of
from autointerp.serve.serving import Serving
from autointerp.serve.shapes import Shape, Text

_A_PAGE = 20
_LAST = 980
_MOST_LAYERS = 64


class Search(Camel):
    """What is searched for, everywhere.

    Attributes:
        query: Three characters or more.
        offset: Results that are passed over.
    """

    query: Annotated[Text, Field(min_length=3, max_length=2_000)]
    offset: Annotated[int, Field(ge=0, le=_LAST)] = 0


class SearchModel(Search):
    """The same, in one model."""

    model_id: Text


class SearchSources(SearchModel):
    """The same, in some of its sources; in all where none is named."""

    layers: Annotated[list[Text], Field(default_factory=list, max_length=_MOST_LAYERS)]


class Voting(Shape):
    """A vote; for the label where nothing is said."""

    vote: Literal[-1, 0, 1] = 1
    author: Text = ""


def add_routes(routes: APIRouter, serving: Serving) -> None:
    """Answer for labels."""
    paths = Paths(routes)

    @paths.post("/explanation/search")
    async def search(request: Request, asked: SearchSources) -> Any:
        named = [source_of(serving.names, asked.model_id, layer) for layer in asked.layers]
        return await _found(serving, request, asked, named or serving.names.of_model(asked.model_id))

    @paths.post("/explanation/search-model")
    async def search_model(request: Request, asked: SearchModel) -> Any:
        return await _found(serving, request, asked, serving.names.of_model(asked.model_id))

    @paths.post("/explanation/search-all")
    async def search_all(request: Request, asked: Search) -> Any:
        return await _found(serving, request, asked, None)

    @paths.post("/explanation/{explanation_id}/vote")
    async def vote(request: Request, explanation_id: str, asked: Voting | None = None) -> Any:
        voting = asked or Voting()

        def done() -> dict[str, Any]:
            feature = serving.client.feature_of_label(explanation_id)
            feature.vote(voting.vote, voting.author, explanation_id)
            approval = feature.notes().approval(explanation_id)
            return {**in_its_words(feature.id), "explanationId": explanation_id, "votes": approval}

        return await serving.store.answer(request, done)


async def _found(serving: Serving, request: Request, asked: Search, sources: Sequence[str] | None) -> Any:
    def found() -> dict[str, Any]:
        n_wanted = asked.offset + _A_PAGE
        hits = serving.client.features.search(asked.query, n_wanted + 1, source=sources, min_relevance=0.0)
        results = [
            {
                **in_its_words(feature.id),
                "id": feature.explanation_id,
                "description": feature.label,
                "explanationModelName": feature.explainer,
                "typeName": feature.explainer,
                "cosine_similarity": feature.relevance,
                "neuron": neuron(feature),
            }
            for feature in hits[asked.offset : n_wanted]
        ]
        has_more = len(hits) > n_wanted and n_wanted <= _LAST
        return {
            "request": {"query": asked.query, "offset": asked.offset},
            "results": results,
            "resultsCount": len(results),
            "hasMore": has_more,
            "nextOffset": n_wanted if has_more else None,
        }

    return await serving.store.answer(request, found)
