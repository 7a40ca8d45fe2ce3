"""The pages of people's lists of features: all lists, and one with its features on one line each.

A list's test text is read by the model when the page is asked to (`read`): it says where each of the list's features
fires. Features of sources that are not served here stay in the list and are told by name.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated
from urllib.parse import quote

import numpy as np
from fastapi import Query
from pydantic import Field
from starlette.requests import Request

from autointerp.errors import AutointerpError
from autointerp.library.lists import FeatureList
from autointerp.records.notes import ListedFeature
from autointerp.serve.errors import as_http, error_line
from autointerp.serve.guard import need_key
from autointerp.serve.knows import Knows
from autointerp.serve.serving import Serving
from autointerp.serve.views.asked import Asked
from autointerp.serve.views.shown import FeatureLine, View, feature_line

A_PAGE = 100
_Name = tuple[str, int]


class ListLine(View):
    """A list, without its features.

    Attributes:
        id: UUID.
        path: Of its page here.
        name: One line.
        description: What it is of; may be empty.
        test_text: A text to try its features on; may be empty.
        n_features: How many it has.
        created_at: UTC.
        changed_at: UTC.
    """

    id: str
    path: str
    name: str
    description: str
    test_text: str
    n_features: int
    created_at: datetime
    changed_at: datetime


class ListsView(View):
    """What the page of all lists says: each, the one that was changed last first."""

    lists: tuple[ListLine, ...]


class OnTestText(View):
    """What a feature does on the list's test text.

    Attributes:
        activations: At each token, in the coder's own units.
        max_activation: The largest.
        peak: The first token on which it is; None where the feature is silent.
    """

    activations: tuple[float, ...]
    max_activation: float
    peak: int | None


class ListedLine(View):
    """A feature in a list.

    Attributes:
        id: `model@source:index`.
        place: In the list, from 1.
        note: Why it is there; often empty.
        feature: As it is known here; None where its source is not served.
        on_text: What it does on the test text; None where that was not read.
    """

    id: str
    place: int
    note: str
    feature: FeatureLine | None
    on_text: OnTestText | None = None


class TextReading(View):
    """How a source's model read the test text.

    Attributes:
        source_id: The source.
        tokens: As its model reads them; none where it could not.
        problem: Why it could not; None where it could.
    """

    source_id: str
    tokens: tuple[str, ...] = ()
    problem: str | None = None


class ListAsked(Asked):
    """What is asked of a list's page.

    Attributes:
        first: So many features are left out before the first that is shown.
        read: Whether the model reads the test text.
    """

    first: Annotated[int, Field(ge=0, le=2**31)] = 0
    read: bool = False


class ListView(View):
    """What the page of a list says.

    Attributes:
        asked: What was asked of it.
        about: The list.
        features: Some of its features, in its order.
        a_page: So many are shown at most.
        readings: By source, how the test text was read; none where nobody asked.
    """

    asked: ListAsked
    about: ListLine
    features: tuple[ListedLine, ...]
    a_page: int
    readings: tuple[TextReading, ...] = ()


def list_path(list_id: str) -> str:
    """The page of a list."""
    return f"/lists/{quote(list_id, safe='')}"


def lists(serving: Serving) -> ListsView:
    """People's lists of features, the one that was changed last first."""
    return ListsView(lists=tuple(map(_line, serving.client.lists)))


async def a_list(serving: Serving, request: Request, list_id: str, asked: Annotated[ListAsked, Query()]) -> ListView:
    """A list of features in its order, with labels, scores and notes, and what they do on its test text where asked."""
    if not asked.read:
        return await serving.store.answer(request, partial(list_view, serving, list_id, asked))
    need_key(request)
    return await serving.ask(request, partial(list_view, list_id=list_id, asked=asked))


def list_view(knows: Knows, list_id: str, asked: ListAsked) -> ListView:
    """A list.

    Args:
        knows: Who knows the lists, and has the model that reads the test text.
        list_id: UUID.
        asked: Which of its features, and whether the test text is read.

    Raises:
        UnknownNoteError: If there is no such list.
    """
    found = knows.client.lists.get(list_id)
    some = found.items[asked.first : asked.first + A_PAGE]
    known = {feature.names()[0]: feature_line(feature) for feature in found.known(some)}
    readings, done = _read(knows, found.test_text, list(known)) if asked.read and found.test_text else ((), {})
    return ListView(
        asked=asked,
        about=_line(found),
        features=tuple(_listed(of, asked.first + n, known, done) for n, of in enumerate(some, 1)),
        a_page=A_PAGE,
        readings=readings,
    )


def _line(of: FeatureList) -> ListLine:
    return ListLine(
        id=of.id,
        path=list_path(of.id),
        name=of.name,
        description=of.description,
        test_text=of.test_text,
        n_features=len(of),
        created_at=of.created_at,
        changed_at=of.changed_at,
    )


def _listed(
    of: ListedFeature, place: int, known: Mapping[_Name, FeatureLine], done: Mapping[_Name, OnTestText]
) -> ListedLine:
    name = (of.source_id, of.feature_index)
    return ListedLine(
        id=f"{of.source_id}:{of.feature_index}",
        place=place,
        note=of.note,
        feature=known.get(name),
        on_text=done.get(name),
    )


def _read(
    knows: Knows, text: str, features: Sequence[_Name]
) -> tuple[tuple[TextReading, ...], dict[_Name, OnTestText]]:
    """What features do on a text, source by source; a source whose model can't read it says why."""
    readings: list[TextReading] = []
    done: dict[_Name, OnTestText] = {}
    for source in dict.fromkeys(of for of, _ in features):
        indices = [index for of, index in features if of == source]
        try:
            inspected = knows.client.features.inspect(text, indices, source=source)
        except AutointerpError as error:
            readings.append(TextReading(source_id=source, problem=error_line(as_http(error))))
            continue
        readings.append(TextReading(source_id=source, tokens=inspected.firings.tokens))
        values = inspected.matrix().toarray().astype(np.float64)
        for index, column in zip(indices, values.T, strict=True):
            most = float(column.max(initial=0.0))
            done[source, index] = OnTestText(
                activations=tuple(column.tolist()),
                max_activation=most,
                peak=int(column.argmax()) if most > 0 else None,
            )
    return tuple(readings), done
