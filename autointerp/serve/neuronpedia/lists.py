"""Lists, comments and stars, which that API calls bookmarks."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field

from autointerp.library.lists import FeatureList
from autointerp.records.notes import MOST_LISTED, ListedFeature
from autointerp.serve.neuronpedia.paths import Camel, NamedFeature, Paths, feature_of, in_its_words
from autointerp.serve.serving import Serving
from autointerp.serve.shapes import Text


class NewList(Camel):
    """A list that is begun."""

    name: Text
    description: Text | None = ""
    test_text: Text | None = ""


class OneList(Camel):
    """A list."""

    list_id: Text


class EditedList(OneList):
    """What is said of a list from now on."""

    name: Text | None = None
    description: Text | None = None
    test_text: Text | None = None


class AddedFeature(NamedFeature):
    """A feature that comes to a list, and why."""

    description: Text | None = ""


class AddedFeatures(OneList):
    """Features that come to a list."""

    features_to_add: Annotated[list[AddedFeature], Field(min_length=1, max_length=MOST_LISTED)]


class RemovedFeature(NamedFeature, OneList):
    """A feature that leaves a list."""


class NewComment(NamedFeature):
    """A comment."""

    text: Text
    author: Text = ""


class OneComment(Camel):
    """A comment that is taken away."""

    comment_id: Text


def add_routes(routes: APIRouter, serving: Serving) -> None:
    """Answer for lists, comments and stars."""
    paths, client, names = Paths(routes), serving.client, serving.names

    @paths.post("/list/new")
    async def new_list(request: Request, asked: NewList) -> Any:
        def done() -> dict[str, Any]:
            return _facts(client.lists.new(asked.name, asked.description or "", asked.test_text or ""))

        return await serving.store.answer(request, done)

    @paths.post("/list/list")
    async def lists(request: Request) -> Any:
        return await serving.store.answer(request, lambda: [_facts(of) for of in client.lists])

    @paths.post("/list/get")
    async def get_list(request: Request, asked: OneList) -> Any:
        return await serving.store.answer(request, lambda: _whole(client.lists.get(asked.list_id)))

    @paths.post("/list/edit")
    async def edit_list(request: Request, asked: EditedList) -> Any:
        def done() -> dict[str, Any]:
            found = client.lists.get(asked.list_id)
            found.change(asked.name, asked.description, asked.test_text)
            return _facts(found)

        return await serving.store.answer(request, done)

    @paths.post("/list/delete")
    async def delete_list(request: Request, asked: OneList) -> Any:
        def done() -> dict[str, Any]:
            found = client.lists.get(asked.list_id)
            found.delete()
            return _facts(found)

        return await serving.store.answer(request, done)

    @paths.post("/list/add-features")
    async def add_features(request: Request, asked: AddedFeatures) -> Any:
        some = [(feature_of(names, of), of.description or "") for of in asked.features_to_add]

        def done() -> list[dict[str, Any]]:
            found = client.lists.get(asked.list_id)
            found.add_with_notes(some)
            return [_item(found, feature, note) for feature, note in some]

        return await serving.store.answer(request, done)

    @paths.post("/list/remove")
    async def remove(request: Request, asked: RemovedFeature) -> Any:
        def done() -> dict[str, Any]:
            found = client.lists.get(asked.list_id)
            found.remove([feature_of(names, asked)])
            return _whole(found)

        return await serving.store.answer(request, done)

    @paths.post("/bookmark/add")
    async def add_bookmark(request: Request, asked: NamedFeature) -> Any:
        def done() -> dict[str, Any]:
            feature = client.features.get(feature_of(names, asked))
            feature.star()
            return in_its_words(feature.id)

        return await serving.store.answer(request, done)

    @paths.post("/bookmark/delete")
    async def delete_bookmark(request: Request, asked: NamedFeature) -> Any:
        def done() -> dict[str, Any]:
            feature = client.features.get(feature_of(names, asked))
            feature.unstar()
            return in_its_words(feature.id)

        return await serving.store.answer(request, done)

    @paths.post("/bookmark/list")
    async def bookmarks(request: Request) -> Any:
        return await serving.store.answer(request, lambda: [in_its_words(of.id) for of in client.starred()])

    @paths.post("/comment/new")
    async def new_comment(request: Request, asked: NewComment) -> Any:
        def done() -> dict[str, Any]:
            feature = client.features.get(feature_of(names, asked))
            said = feature.comment(asked.text, asked.author)
            return {
                **in_its_words(feature.id),
                "id": said.comment_id,
                "text": said.text,
                "author": said.author,
                "createdAt": said.created_at.isoformat(),
            }

        return await serving.store.answer(request, done)

    @paths.post("/comment/delete")
    async def delete_comment(request: Request, asked: OneComment) -> Any:
        def done() -> dict[str, Any]:
            client.delete_comment(asked.comment_id)
            return {"id": asked.comment_id}

        return await serving.store.answer(request, done)


def _facts(of: FeatureList) -> dict[str, Any]:
    return {
        "id": of.id,
        "name": of.name,
        "description": of.description,
        "defaultTestText": of.test_text,
        "createdAt": of.created_at.isoformat(),
        "updatedAt": of.changed_at.isoformat(),
        "count": len(of),
    }


def _whole(of: FeatureList) -> dict[str, Any]:
    items = of.items
    labels = {feature.names()[0]: feature.label for feature in of.known(items)}

    def told(item: ListedFeature) -> dict[str, Any]:
        shape = _item(of, f"{item.source_id}:{item.feature_index}", item.note)
        label = labels.get((item.source_id, item.feature_index))
        return {**shape, "explanations": [] if label is None else [{"description": label}]}

    neurons = [told(item) for item in items]
    return {**_facts(of), "neurons": neurons}


def _item(of: FeatureList, feature: str, note: str) -> dict[str, Any]:
    return {**in_its_words(feature), "listId": of.id, "description": note}
