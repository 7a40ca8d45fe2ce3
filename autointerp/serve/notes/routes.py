"""Routes for notes: `/api/notes` about one feature, `/api/labels` of one's own, `/api/stars`, and `/api/lists`.

A feature is named `model@source:index` here: a model's name may have what a path may not.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request

from autointerp.library.feature import Feature
from autointerp.library.lists import FeatureList
from autointerp.serve.knows import Knows
from autointerp.serve.notes.shapes import (
    ChangedList,
    Commenting,
    Labelling,
    Listing,
    NewList,
    Starring,
    ToldComment,
    ToldLabel,
    ToldList,
    ToldListed,
    ToldLists,
    ToldListWithFeatures,
    ToldNotes,
    ToldStar,
    ToldStars,
    Voting,
)
from autointerp.serve.serving import Serving

_A_PAGE = 1_000


def router(serving: Serving) -> APIRouter:
    """The routes, over what is served."""
    routes = APIRouter(prefix="/api", tags=["Notes"])
    client = serving.client

    def notes_of(feature: Feature) -> ToldNotes:
        return ToldNotes.of(feature.id, feature.notes())

    @routes.get("/notes")
    async def notes(request: Request, feature: Annotated[str, Query(description="model@source:index")]) -> ToldNotes:
        """What people have written about a feature."""
        return await serving.store.answer(request, lambda: notes_of(client.features.get(feature)))

    @routes.post("/notes/star")
    async def star(request: Request, asked: Starring) -> ToldNotes:
        """Give a feature a star, or take it away."""

        def done() -> ToldNotes:
            feature = client.features.get(asked.feature)
            if asked.starred:
                feature.star()
            else:
                feature.unstar()
            return notes_of(feature)

        return await serving.store.answer(request, done)

    @routes.post("/notes/vote")
    async def vote(request: Request, asked: Voting) -> ToldNotes:
        """Vote on a label; who votes again, changes the vote."""

        def done() -> ToldNotes:
            feature = client.features.get(asked.feature)
            feature.vote(asked.value, asked.author, asked.explanation_id)
            return notes_of(feature)

        return await serving.store.answer(request, done)

    @routes.post("/notes/comment")
    async def comment(request: Request, asked: Commenting) -> ToldComment:
        """Comment on a feature."""

        def done() -> ToldComment:
            return ToldComment.of(client.features.get(asked.feature).comment(asked.text, asked.author))

        return await serving.store.answer(request, done)

    @routes.delete("/notes/comments/{comment_id}", status_code=204)
    async def delete_comment(request: Request, comment_id: str) -> None:
        """Take a comment away."""
        await serving.store.answer(request, lambda: client.delete_comment(comment_id))

    @routes.post("/labels", status_code=201)
    async def write_label(request: Request, asked: Labelling) -> ToldLabel:
        """Write a label of one's own: it is scored at once by the judges that need no key."""
        return await serving.ask(request, partial(_written, asked=asked))

    @routes.delete("/labels/{explanation_id}", status_code=204)
    async def delete_label(request: Request, explanation_id: str) -> None:
        """Take a label of one's own away."""
        await serving.store.answer(request, lambda: client.delete_label(explanation_id))

    @routes.get("/stars")
    async def stars(request: Request) -> ToldStars:
        """The features with a star."""

        def found() -> ToldStars:
            return ToldStars(
                stars=[
                    ToldStar(feature=of.id, source_id=of.source_id, index=of.index, label=of.label)
                    for of in client.starred()
                ]
            )

        return await serving.store.answer(request, found)

    @routes.get("/lists")
    async def lists(request: Request) -> ToldLists:
        """All lists."""
        return await serving.store.answer(request, lambda: ToldLists(lists=[ToldList.of(of) for of in client.lists]))

    @routes.post("/lists", status_code=201)
    async def new_list(request: Request, asked: NewList) -> ToldList:
        """Begin a list."""
        return await serving.store.answer(
            request, lambda: ToldList.of(client.lists.new(asked.name, asked.description, asked.test_text))
        )

    @routes.get("/lists/{list_id}")
    async def get_list(
        request: Request,
        list_id: str,
        offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
        limit: Annotated[int, Query(ge=1, le=_A_PAGE)] = _A_PAGE,
    ) -> ToldListWithFeatures:
        """A list, with its features from a place on."""
        return await serving.store.answer(request, lambda: told_list(client.lists.get(list_id), offset, limit))

    async def changed(request: Request, list_id: str, change: Callable[[FeatureList], None]) -> ToldList:
        def done() -> ToldList:
            found = client.lists.get(list_id)
            change(found)
            return ToldList.of(found)

        return await serving.store.answer(request, done)

    @routes.patch("/lists/{list_id}")
    async def change_list(request: Request, list_id: str, asked: ChangedList) -> ToldList:
        """Change what is said of a list."""
        return await changed(request, list_id, lambda of: of.change(asked.name, asked.description, asked.test_text))

    @routes.delete("/lists/{list_id}", status_code=204)
    async def delete_list(request: Request, list_id: str) -> None:
        """Take a list away; its features stay."""
        await serving.store.answer(request, lambda: client.lists.get(list_id).delete())

    @routes.post("/lists/{list_id}/features")
    async def add(request: Request, list_id: str, asked: Listing) -> ToldList:
        """Put features at the end of a list; one that is in it already stays where it is."""
        return await changed(request, list_id, lambda of: of.add(asked.features, asked.note))

    @routes.post("/lists/{list_id}/features/remove")
    async def remove(request: Request, list_id: str, asked: Listing) -> ToldList:
        """Take features out of a list, if they are in it."""
        return await changed(request, list_id, lambda of: of.remove(asked.features))

    @routes.put("/lists/{list_id}/features")
    async def order(request: Request, list_id: str, asked: Listing) -> ToldList:
        """Put the features of a list into another order: all of them are named, each once."""
        return await changed(request, list_id, lambda of: of.order(asked.features))

    return routes


def _written(knows: Knows, asked: Labelling) -> ToldLabel:
    return ToldLabel.of(knows.client.features.get(asked.feature).write_label(asked.label, asked.author))


def told_list(found: FeatureList, offset: int, limit: int) -> ToldListWithFeatures:
    """A list with some of its features, each with its label where its source is served."""
    some = found.items[offset : offset + limit]
    labels = {feature.names()[0]: feature.label for feature in found.known(some)}
    return ToldListWithFeatures(
        **ToldList.of(found).model_dump(),
        features=[
            ToldListed(
                feature=f"{of.source_id}:{of.feature_index}",
                source_id=of.source_id,
                index=of.feature_index,
                note=of.note,
                label=labels.get((of.source_id, of.feature_index)),
                is_served=(of.source_id, of.feature_index) in labels,
            )
            for of in some
        ],
    )
