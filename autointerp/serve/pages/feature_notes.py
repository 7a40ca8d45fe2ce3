"""Forms of a feature's page: a star, votes on its labels, comments, lists, a label of one's own.

Each is sent to the feature's own address behind `/notes`, and leads back to the page; the guard sees to the key and to
where a form comes from.
"""

from functools import partial

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from autointerp.identity import feature_id
from autointerp.library.client import Client
from autointerp.library.feature import Feature
from autointerp.serve.knows import Knows
from autointerp.serve.pages.frame import Pages, form_of, see_other
from autointerp.serve.pages.rendering import feature_url
from autointerp.serve.views.served import named_source

_VOTES = {"vote-for": 1, "vote-against": -1, "vote-back": 0}


def add(pages: Pages) -> None:
    """Add what takes the forms."""

    async def write_note(request: Request, model: str, source: str, index: int) -> Response:
        serving, sent = pages.serving, await form_of(request)
        of = named_source(serving, model, source)
        name, said = feature_id(of, index), sent.get("do", "")
        if said == "label":
            await serving.ask(
                request, partial(_write_label, name=name, label=sent.get("text", ""), author=sent.get("author", ""))
            )
            return see_other(feature_url(of, index))
        if said == "list":
            await serving.store.answer(request, lambda: _put_in_list(serving.client, name, sent))
        else:
            await serving.store.answer(request, lambda: _write(serving.client.features.get(name), said, sent))
        return see_other(f"{feature_url(of, index)}#notes-{index}")

    pages.routes.add_api_route("/{model}/{source}/{index}/notes", write_note, methods=["POST"], include_in_schema=False)


def _write_label(knows: Knows, name: str, label: str, author: str) -> None:
    knows.client.features.get(name).write_label(label, author)


def _put_in_list(client: Client, name: str, sent: dict[str, str]) -> None:
    """Into the new list that the form names, else into the one that it chose."""
    feature = client.features.get(name)
    new, chosen = sent.get("name", "").strip(), sent.get("list", "")
    (client.lists.get(chosen) if chosen and not new else client.lists.new(new)).add(feature, sent.get("note", ""))


def _write(feature: Feature, said: str, sent: dict[str, str]) -> None:
    author = sent.get("author", "")
    if said == "star":
        feature.star()
    elif said == "unstar":
        feature.unstar()
    elif said == "comment":
        feature.comment(sent.get("text", ""), author)
    elif said in _VOTES:
        feature.vote(_VOTES[said], author, sent.get("explanation"))
    else:
        raise HTTPException(400, "the form says nothing that can be done: send it from the feature's page")
