"""Paths and names of Neuronpedia's API: each path with a slash at its end and without, since its client asks both."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from autointerp.errors import UnknownModelError
from autointerp.identity import feature_id, read_index, source_id
from autointerp.serve.names import Names
from autointerp.serve.shapes import Shape, Text
from autointerp.store.known import shown

Endpoint = Callable[..., Awaitable[Any]]
_MOST = 2**31


def _number(value: object) -> object:
    return value if (index := read_index(value)) is None else index


Index = Annotated[int, BeforeValidator(_number), Field(ge=0, lt=_MOST)]
"""A feature's index, as a number or as a text: that API has both."""


class Camel(Shape):
    """What comes in, named as that API names it."""

    model_config = ConfigDict(alias_generator=to_camel)


class NamedFeature(Camel):
    """A feature.

    Attributes:
        model_id: Its model.
        layer: Its source, such as `3-res-2k`.
        source: The same, as some requests name it.
        index: The feature.
    """

    model_id: Text
    layer: Text | None = None
    source: Text | None = None
    index: Index


class Paths:
    """Routes that answer with and without a slash at their end, without sending anybody elsewhere."""

    def __init__(self, routes: APIRouter) -> None:
        self._routes = routes

    def get(self, path: str) -> Callable[[Endpoint], Endpoint]:
        """Answer to GET."""
        return self._add("GET", path)

    def post(self, path: str) -> Callable[[Endpoint], Endpoint]:
        """Answer to POST."""
        return self._add("POST", path)

    def _add(self, method: str, path: str) -> Callable[[Endpoint], Endpoint]:
        def add(endpoint: Endpoint) -> Endpoint:
            self._routes.add_api_route(path, endpoint, methods=[method])
            self._routes.add_api_route(f"{path}/", endpoint, methods=[method], include_in_schema=False)
            return endpoint

        return add


def source_of(names: Names, model: str, layer: str | None) -> str:
    """The source that a request means.

    Raises:
        UnknownModelError: If there is none, or none is named.
    """
    found = source_id(model, layer or "")
    if found not in names.sources:
        told = "no source is named" if layer is None else f"there is no source {shown(found)} here"
        raise UnknownModelError(told, f"there are {', '.join(names.sources) or 'none yet'}")
    return found


def feature_of(names: Names, named: NamedFeature) -> str:
    """The feature that a request means, as `model@source:index`.

    Raises:
        UnknownModelError: If there is no such source.
    """
    return feature_id(source_of(names, named.model_id, named.layer or named.source), named.index)


def in_its_words(feature: str) -> dict[str, str]:
    """A feature's name, `model@source:index`, as that API has it."""
    source, _, index = feature.rpartition(":")
    model, _, layer = source.partition("@")
    return {"modelId": model, "layer": layer, "index": index}
