"""What features do on a text: the strongest of a text, the strongest on each token, and one feature's activations.

The model is run for each request, or each list of texts. Special tokens that stand around a text are not among its
tokens here, and features are not read on those within, so `ignoreBos` finds nothing more to leave out.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Request
from pydantic import Field
from scipy.sparse import csc_array

from autointerp.errors import UnknownModelError
from autointerp.library.feature import Feature
from autointerp.library.inspector import ContextInspector
from autointerp.serve.knows import Knows
from autointerp.serve.neuronpedia.features import neuron
from autointerp.serve.neuronpedia.paths import Camel, NamedFeature, Paths, in_its_words, source_of
from autointerp.serve.serving import Serving
from autointerp.serve.shapes import Text
from autointerp.store.known import shown

_MOST_TEXTS = 64
_MOST_LAYERS = 64
_MOST_TOKENS = 1_000

OneText = Annotated[Text, Field(min_length=1, max_length=20_000)]
Texts = OneText | Annotated[list[OneText], Field(min_length=1, max_length=_MOST_TEXTS)]
Told = dict[str, Any]


class SearchAll(Camel):
    """A text, or several, of which the strongest features are wanted.

    Attributes:
        source_set: Sources of the model that are looked at: those with this name behind the layer.
        selected_layers: Of these only some; all where none is named.
        sort_indexes: Tokens by whose sum features are ranked; by the largest activation where none is named.
        density_threshold: Largest share of the corpus's tokens on which a feature fires; none where not above 0.
    """

    model_id: Text
    source_set: Text
    text: Texts
    selected_layers: Annotated[list[Text], Field(default_factory=list, max_length=_MOST_LAYERS)]
    sort_indexes: Annotated[list[Annotated[int, Field(ge=0)]], Field(default_factory=list, max_length=_MOST_TOKENS)]
    ignore_bos: bool = True
    density_threshold: float = -1
    num_results: Annotated[int, Field(ge=1, le=100)] = 50


class TopByToken(Camel):
    """A text, or several, of which the strongest features on each token are wanted."""

    model_id: Text
    source: Text
    text: Texts
    num_results: Annotated[int, Field(ge=1, le=20)] = 10
    ignore_bos: bool = True
    density_threshold: float = 0.01


class TestFeature(Camel):
    """A feature that is tried on a text, or on several."""

    feature: NamedFeature
    custom_text: Texts
    ignore_bos: bool = True


class TestSource(Camel):
    """A source whose features are tried on a text, or on several."""

    model_id: Text
    source: Text
    custom_text: Texts


def add_routes(routes: APIRouter, serving: Serving) -> None:
    """Answer for texts."""
    paths = Paths(routes)

    @paths.post("/search-all")
    async def search_all(request: Request, asked: SearchAll) -> Any:
        layers = asked.selected_layers or [
            layer
            for source in serving.names.of_model(asked.model_id)
            if (layer := source.partition("@")[2]).partition("-")[2] == asked.source_set
        ]
        if not layers:
            raise UnknownModelError(
                f"there is no source set {shown(asked.source_set)} of {shown(asked.model_id)} here", "name another"
            )
        sources = [source_of(serving.names, asked.model_id, layer) for layer in layers]
        return await _of_each(serving, request, asked.text, partial(_strongest, asked=asked, sources=sources))

    @paths.post("/search-topk-by-token")
    async def by_token(request: Request, asked: TopByToken) -> Any:
        source = source_of(serving.names, asked.model_id, asked.source)
        return await _of_each(serving, request, asked.text, partial(_strongest_by_token, asked=asked, source=source))

    @paths.post("/activation/new")
    async def test(request: Request, asked: TestFeature) -> Any:
        named = asked.feature
        source = source_of(serving.names, named.model_id, named.layer or named.source)
        work = partial(_tested, source=source, index=named.index)
        return await _of_each(serving, request, asked.custom_text, work, together=list)

    @paths.post("/activation/source")
    async def test_source(request: Request, asked: TestSource) -> Any:
        source = source_of(serving.names, asked.model_id, asked.source)
        texts = [asked.custom_text] if isinstance(asked.custom_text, str) else asked.custom_text
        return await _of_each(serving, request, texts, partial(_all_active, source=source))


def _results(found: Sequence[Told]) -> Told:
    return {"results": list(found)}


async def _of_each(
    serving: Serving,
    request: Request,
    text: str | list[str],
    work: Callable[..., Told],
    together: Callable[[Sequence[Told]], Any] = _results,
) -> Any:
    """What is told of a text; of several, what is told of each, together."""
    texts = [text] if isinstance(text, str) else text
    found = await serving.ask(request, partial(_each, work=work, texts=texts))
    return found[0] if isinstance(text, str) else together(found)


def _each(knows: Knows, work: Callable[..., Told], texts: Sequence[str]) -> list[Told]:
    return [work(knows, text) for text in texts]


def _strongest(knows: Knows, text: str, asked: SearchAll, sources: Sequence[str]) -> Told:
    tokens: list[str] = []
    ranked: list[tuple[float, str, int]] = []
    activations: dict[str, csc_array] = {}
    for source in sources:
        inspected = knows.client.features.inspect(text, source=source)
        tokens = tokens or _tokens(inspected)
        activations[source] = inspected.matrix().tocsc()
        by_place = [place for place in set(asked.sort_indexes) if place < len(inspected.tokens)]
        of_rows = activations[source][by_place] if asked.sort_indexes else activations[source]
        ranks = of_rows.sum(axis=0) if asked.sort_indexes else of_rows.max(axis=0).toarray()
        ranked += [(float(ranks[index]), source, index) for index in np.flatnonzero(ranks > 0).tolist()]
    ranked.sort(key=lambda of: (-of[0], of[1], of[2]))
    kept = _within_density(knows, [(source, index) for _, source, index in ranked], asked.density_threshold)
    chosen = [(source, index) for _, source, index in ranked if (source, index) in kept][: asked.num_results]
    return {
        "tokens": tokens,
        "result": [
            {
                **in_its_words(kept[source, index].id),
                "values": values.tolist(),
                "maxValue": float(values.max()),
                "maxValueIndex": int(values.argmax()),
                "neuron": neuron(kept[source, index]),
            }
            for source, index in chosen
            for values in [activations[source][:, [index]].toarray()[:, 0]]
        ],
        "counts": [],
        "sortIndexes": asked.sort_indexes,
    }


def _strongest_by_token(knows: Knows, text: str, asked: TopByToken, source: str) -> Told:
    inspected = knows.client.features.inspect(text, source=source)
    matrix = inspected.matrix()
    fired = [(source, index) for index in np.unique(matrix.indices).tolist()]
    kept = _within_density(knows, fired, asked.density_threshold)
    results = []
    for place, token in enumerate(inspected.tokens):
        if asked.ignore_bos and not token.is_counted:
            continue
        of = slice(*matrix.indptr[place : place + 2].tolist())
        values = zip(matrix.indices[of].tolist(), matrix.data[of].tolist(), strict=True)
        some = sorted(((value, index) for index, value in values if (source, index) in kept), key=_by_value)
        results.append(
            {
                "position": place,
                "token": token.text,
                "isSpecial": not token.is_counted,
                "topFeatures": [
                    {"activationValue": value, "featureIndex": index, "feature": neuron(kept[source, index])}
                    for value, index in some[: asked.num_results]
                ],
            }
        )
    return {"source": asked.source, "results": results}


def _by_value(of: tuple[float, int]) -> tuple[float, int]:
    return -of[0], of[1]


def _tested(knows: Knows, text: str, source: str, index: int) -> Told:
    feature = knows.client.features.get(index, source)
    inspected = knows.client.features.inspect(text, [index], source=source)
    values = inspected.matrix().toarray()[:, 0].tolist()
    return {
        **in_its_words(feature.id),
        "tokens": _tokens(inspected),
        "values": values,
        "maxValue": max(values),
        "minValue": min(values),
        "maxValueTokenIndex": int(np.argmax(values)),
    }


def _all_active(knows: Knows, text: str, source: str) -> Told:
    inspected = knows.client.features.inspect(text, source=source)
    matrix = inspected.matrix()
    active = np.unique(matrix.indices).tolist()
    values = matrix[:, active].toarray().T.tolist() if active else []
    return {
        "tokens": _tokens(inspected),
        "activations": [{"index": index, "values": of} for index, of in zip(active, values, strict=True)],
    }


def _tokens(inspected: ContextInspector) -> list[str]:
    return [token.text for token in inspected.tokens]


def _within_density(knows: Knows, named: Sequence[tuple[str, int]], most: float) -> dict[tuple[str, int], Feature]:
    """Features that fire on no larger a share of the corpus's tokens than that; on any where it is not above 0."""
    found = knows.client.features.lookup([f"{source}:{index}" for source, index in named])
    return {feature.names()[0]: feature for feature in found if most <= 0 or feature.density <= most}
