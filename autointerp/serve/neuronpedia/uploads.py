"""Features of one's own: a model and a set of sources are named, then features are uploaded in batches."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field

from autointerp.errors import UnknownNoteError
from autointerp.identity import read_index, source_id
from autointerp.records.labels import TokenLogit
from autointerp.records.uploads import UploadedContext, UploadedFeature, UploadedLabel, UploadedSet
from autointerp.serve.neuronpedia.paths import Camel, Index, Paths
from autointerp.serve.serving import Serving
from autointerp.serve.shapes import Text
from autointerp.store.known import shown

_MOST_FEATURES = 128
_MOST_CONTEXTS = 200
_MOST_TOKENS = 2_048
_MOST_LABELS = 20
_MOST_LOGITS = 100

Piece = Annotated[Text, Field(max_length=1_000)]


class NewModel(Camel):
    """A model that is named."""

    id: Text
    layers: int
    display_name: Text | None = None
    url: Text | None = None


class NewSourceSet(Camel):
    """A set of sources that is named."""

    name: Text
    model_id: Text
    description: Text | None = None
    url: Text | None = None


class Logit(Camel):
    """A token, and how far its logit is moved."""

    token: Piece
    value: float


class Label(Camel):
    """A label."""

    text: Text
    method_name: Text | None = None
    model_name: Text | None = None


class Activation(Camel):
    """A text with the feature's activations."""

    tokens: Annotated[list[Piece], Field(min_length=1, max_length=_MOST_TOKENS)]
    values: Annotated[list[float], Field(min_length=1, max_length=_MOST_TOKENS)]
    quantile_min: float | None = None
    quantile_max: float | None = None
    quantile_fraction: float | None = None


class Feature(Camel):
    """A feature."""

    index: Index
    density: Annotated[float, Field(ge=0, le=1)] | None = None
    top_logits: Annotated[list[Logit], Field(max_length=_MOST_LOGITS)] | None = None
    bottom_logits: Annotated[list[Logit], Field(max_length=_MOST_LOGITS)] | None = None
    explanations: Annotated[list[Label], Field(max_length=_MOST_LABELS)] | None = None
    activations: Annotated[list[Activation], Field(max_length=_MOST_CONTEXTS)] | None = None

    def read(self) -> UploadedFeature:
        """The feature as it is kept."""
        return UploadedFeature(
            self.index,
            self.density or 0.0,
            tuple(TokenLogit(of.token, of.value) for of in self.top_logits or ()),
            tuple(TokenLogit(of.token, of.value) for of in self.bottom_logits or ()),
            tuple(
                UploadedLabel(of.text, of.method_name or "uploaded", of.model_name or "unknown")
                for of in self.explanations or ()
            ),
            tuple(
                # The strongest ones have no interval there, or one that begins at -1.
                UploadedContext(
                    tuple(of.tokens),
                    tuple(of.values),
                    None if of.quantile_min is None or of.quantile_min < 0 else of.quantile_min,
                )
                for of in self.activations or ()
            ),
        )


class Batch(Camel):
    """Features of one source."""

    model_id: Text
    source: Text
    features: Annotated[list[Feature], Field(min_length=1, max_length=_MOST_FEATURES)]


def add_routes(routes: APIRouter, serving: Serving) -> None:
    """Answer for uploads."""
    paths = Paths(routes)

    @paths.post("/model/new")
    async def new_model(request: Request, asked: NewModel) -> Any:
        def done() -> dict[str, Any]:
            made = serving.client.runs[0].notes.new_model(
                asked.id, asked.layers, asked.display_name or "", asked.url or ""
            )
            shape = {"id": made.model_id, "layers": made.layers, "displayName": made.name, "website": made.url or None}
            return {**shape, "displayNameShort": made.name, "visibility": "UNLISTED"}

        return await serving.store.answer(request, done)

    @paths.post("/source-set/new")
    async def new_source_set(request: Request, asked: NewSourceSet) -> Any:
        def done() -> dict[str, Any]:
            notes = serving.client.runs[0].notes
            made = notes.new_source_set(asked.model_id, asked.name, asked.description or "", asked.url or "")
            return _told(made, notes.model(asked.model_id).layers)

        return await serving.store.answer(request, done)

    @paths.get("/source-set/{model:path}/{name}")
    async def source_set(request: Request, model: str, name: str) -> Any:
        def found() -> dict[str, Any]:
            notes = serving.client.runs[0].notes
            return _told(notes.source_set(model, name), notes.model(model).layers)

        return await serving.store.answer(request, found)

    @paths.post("/feature/upload-batch")
    async def upload(request: Request, asked: Batch) -> Any:
        return await serving.model.answer(request, partial(_uploaded, serving, asked))  # it embeds labels


def _uploaded(serving: Serving, asked: Batch) -> dict[str, Any]:
    notes = serving.client.runs[0].notes
    layer, _, name = asked.source.partition("-")
    place = read_index(layer)
    n_layers = notes.model(notes.source_set(asked.model_id, name).model_id).layers
    if place is None or str(place) != layer or place >= n_layers:
        raise UnknownNoteError(
            f"{shown(asked.model_id)} has no source {shown(asked.source)}", f"its layers are 0 to {n_layers - 1}"
        )
    source = source_id(asked.model_id, asked.source)
    n_features = serving.client.upload(source, [feature.read() for feature in asked.features])
    serving.names.reread()
    return {
        "success": True,
        "modelId": asked.model_id,
        "source": asked.source,
        "indexes": [str(feature.index) for feature in asked.features],
        "featuresInSource": n_features,
    }


def _told(of: UploadedSet, layers: int) -> dict[str, Any]:
    return {
        "name": of.name,
        "modelId": of.model_id,
        "description": of.description,
        "urls": [of.url] if of.url else [],
        "sources": [
            {"id": f"{layer}-{of.name}", "modelId": of.model_id, "setName": of.name} for layer in range(layers)
        ],
    }
