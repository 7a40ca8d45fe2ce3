"""Chats by Ember's protocol as they go over the wire, and places in the line of answers."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import Request

import autointerp
from autointerp.library.client import Client
from autointerp.library.feature_edits import FeatureEdit, FeatureEdits
from autointerp.library.variant import Variant
from autointerp.library.when import When
from autointerp.serve.answers import event, streamed
from autointerp.serve.app import make_app
from autointerp.serve.controllers import Controller, variant_of
from autointerp.serve.limits import Limits
from autointerp.serve.serving import Serving
from tests.serve.asking import EMBER, SOURCE, ask, told
from tests.serve.serving import answering

RIVER = [{"role": "user", "content": "the river"}]
CHAT = EMBER + "/chat/completions"
LOGITS = EMBER + "/chat-attribution/compute-logits"


@pytest.fixture(scope="module")
def client(serving: Serving) -> Client:
    return serving.client


def reply(address: str, path: str, **body: Any) -> Any:
    response = ask(address, path, {"messages": RIVER, "model": "planted", **body})
    assert response.status_code == 200, response.text
    return response.json()


def test_every_piece_is_an_event_of_its_own_in_ascii_with_all_that_the_client_needs(
    address: str, client: Client
) -> None:
    controller = client.variant().set(7, 4.0, unit="max").controller
    body = {"messages": RIVER, "stream": True, "max_completion_tokens": 4, "controller": controller, "stop": ["<|x|>"]}
    with httpx.stream("POST", address + CHAT, json=body) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        *events, done = list(response.iter_raw())
    assert done == b"data: [DONE]\n\n"
    assert all(of.isascii() and of.startswith(b"data: {") and of.endswith(b"}\n\n") for of in events)
    pieces = [json.loads(of.removeprefix(b"data: ")) for of in events]
    choices = [choice for piece in pieces for choice in piece["choices"]]
    assert "".join(choice["delta"]["content"] for choice in choices) == " piano" * 4
    indices = [choice["gf_token_index"] for choice in choices]
    assert indices == sorted(set(indices))
    assert [choice["finish_reason"] for choice in choices] == [*[None] * (len(choices) - 1), "length"]
    for piece in pieces:
        assert piece["choices"][0]["delta"]["role"] == "assistant"
        assert isinstance(piece["system_fingerprint"], str)
        assert piece["gf_event_names"] is None


def test_text_that_looks_like_an_event_does_not_stand_in_one_as_it_is() -> None:
    said = 'data: [DONE]\n\n"data: {}" é 😀 \u2028'
    line = event({"content": said})
    assert line.isascii()
    assert line.count(b"data: ") == 1
    assert line.count(b"\n") == 2
    assert json.loads(line.removeprefix(b"data: "))["content"] == said


def test_what_is_seldom_sent_is_taken_too(address: str) -> None:
    whole = reply(address, CHAT, stop=None, seed=None, temperature=0, top_p=1, max_completion_tokens=3, user="me")
    assert whole["object"] == "chat.completion"
    assert whole["choices"][0]["message"]["role"] == "assistant"
    assert whole["usage"]["completion_tokens"] == 3
    assert whole["gf_event_names"] is None
    negative, usual = (reply(address, CHAT, seed=seed, max_completion_tokens=3) for seed in (-1, 2**63 - 1))
    assert negative["choices"] == usual["choices"]


def test_events_are_named_and_the_answer_goes_on_where_nothing_aborts_it(address: str, client: Client) -> None:
    piano = client.features.get(7)
    steered = client.variant().set(7, 4.0, unit="max")
    steered.handle_when(piano > 0.1, None, name="a piano")
    whole = reply(address, CHAT, controller=steered.controller, max_completion_tokens=4, temperature=0)
    assert whole["gf_event_names"] == ["a piano"]
    assert whole["choices"][0]["message"]["content"] == " piano" * 4
    steered.abort_when(piano > 0.1)
    ended = reply(address, CHAT, controller=steered.controller, max_completion_tokens=4, temperature=0)
    assert ended["choices"][0]["finish_reason"] == "abort"
    assert len(ended["choices"][0]["message"]["content"]) < len(" piano" * 4)


def test_a_condition_edits_from_where_it_holds(address: str, client: Client) -> None:
    piano, river = client.features.lookup([7, 1])
    plain = reply(address, CHAT, max_completion_tokens=4, temperature=0)
    for condition, holds in ((river > 0.1, True), (river > 1e6, False)):
        variant = client.variant().set_when(condition, {piano: 4.0}, unit="max")
        said = reply(address, CHAT, controller=variant.controller, max_completion_tokens=4, temperature=0)
        assert (said["choices"][0]["message"]["content"] == " piano" * 4) == holds
        assert (said["choices"] == plain["choices"]) != holds


def test_logits_are_those_of_the_library_also_of_a_variant(address: str, client: Client) -> None:
    variant = client.variant().set(7, 4.0, unit="max")
    plain = reply(address, LOGITS, top_k=3)["logits"]
    assert plain == dict(client.chat.logits(RIVER, top_k=3).logits)
    steered = reply(address, LOGITS, filter_vocabulary=[" piano"], controller=variant.controller)["logits"]
    before = reply(address, LOGITS, filter_vocabulary=[" piano"])["logits"]
    assert steered[" piano"] > before[" piano"]
    assert "tokens of this model" in told(ask(address, LOGITS, {"messages": RIVER, "filter_vocabulary": ["abc"]}), 400)


def test_edits_and_conditions_are_found_for_a_specification_or_declined(address: str, serving: Serving) -> None:
    path = EMBER + "/features/auto-"
    declined = reply(address, path + "edits", specification="flumbric zantle", n_prompts=12, max_tokens=4)
    assert (declined["edits"], declined["steers"]) == ([], False)
    assert declined["receipt"]["reasons"]
    found = reply(address, path + "conditional", specification="river", false_alarms=0.2)
    shape = found["conditional"]
    assert shape["conditionals"][0]["left_hand"]["features"][0]["index_in_sae"] == 1
    assert found["receipt"]["allowed"] == 0.2
    scope = {"conditionals": shape, "event_name": "a river"}
    variant = variant_of(serving, SOURCE, Controller.model_validate({"scopes": [scope]}))
    assert isinstance(variant, Variant)
    assert variant.whens[0].condition.names() == ((SOURCE, 1),)
    assert reply(address, CHAT, controller={"scopes": [scope]}, max_completion_tokens=2)["usage"]
    assert "no feature here tells it" in told(ask(address, path + "conditional", {"specification": "zzgrk"}), 400)
    assert "specification: " in told(ask(address, path + "edits", {"specification": ""}), 422)


def test_a_variant_is_inspected_as_it_is_edited_where_conditions_hold_too(address: str, client: Client) -> None:
    path, variant = EMBER + "/chat-attribution/compute-features", client.variant()
    plain = reply(address, path, include_feature_indexes=[7])
    assert reply(address, path, include_feature_indexes=[7], controller=variant.controller) == plain
    variant.set(7, 3.0, mode="pin", unit="activation")
    pinned = reply(address, path, include_feature_indexes=[7], controller=variant.controller)
    for token, before in zip(pinned["tokens"], plain["tokens"], strict=True):
        assert before["attributions"][0]["activation_strength"] == 0
        assert token["attributions"][0]["activation_strength"] > 2.5
    conditional = client.variant().set_when(client.features.get(1) > 0.1, {7: 3.0}, mode="pin", unit="activation")
    conditional.abort_when(client.features.get(1) > 0.1)
    held = reply(address, path, include_feature_indexes=[7, 1], controller=conditional.controller)["tokens"]
    found = [{of["index_in_sae"]: of["activation_strength"] for of in token["attributions"]} for token in held]
    n = next(n for n, of in enumerate(found) if of[1] > 0.1)
    assert [of[7] > 2.5 for of in found] == [place >= n for place in range(len(found))]
    assert 0 < n < len(found)


def as_said(when: When) -> tuple[object, ...]:
    inner = list(map(as_said, when.inner))
    return when.condition, without_labels(when.edits), when.lasting, when.event_name, when.aborts, inner


def without_labels(edits: FeatureEdits) -> list[FeatureEdit]:
    return [replace(edit, label=None) for edit in edits]


@pytest.mark.parametrize(
    "make",
    [
        lambda variant, a, b: variant.set(a, 0.5, unit="max").set(b, -2, mode="pin", unit="activation"),
        lambda variant, a, b: variant.set_when((a > 1) & ((b > 2) | ~((a | b) < 1)), {b: 0.5}, unit="max"),
        lambda variant, a, b: variant.set_when(a > 0, {a: 1.0, b: 2.0}, unit="max", lasting="token"),
        lambda variant, a, b: variant.set_when(
            a > 1, Variant(SOURCE).set(7, 1.0).set_when(b > 1, {1: 0.5}).abort_when(b > 2, name="b"), lasting="token"
        ),
        lambda variant, a, b: variant.abort_when(a == 1).handle_when((b != 0) | (a <= 3), None, name="b"),
    ],
)
def test_a_variant_comes_back_from_its_controller(serving: Serving, make: Callable[..., Variant]) -> None:
    variant = make(serving.client.variant(), *serving.client.features.lookup([7, 1]))
    variant.scope = "generated"
    controller = Controller.model_validate_json(json.dumps(variant.controller))
    again = variant_of(serving, SOURCE, controller)
    assert isinstance(again, Variant)
    assert without_labels(again.edits) == without_labels(variant.edits)
    assert list(map(as_said, again.whens)) == list(map(as_said, variant.whens))
    assert again.scope == variant.scope


def test_conditionals_of_embers_client_keep_their_nesting(serving: Serving) -> None:
    client = serving.client
    a, b = client.features.lookup([7, 1])
    variant = client.variant().set_when((a > 1) & ((b > 2) | (a < 0.5)), {b: 0.5}, unit="max")
    shape = variant.controller
    for scope in shape["scopes"]:
        del scope["condition"]  # which that client does not know
    again = variant_of(serving, SOURCE, Controller.model_validate(shape))
    assert isinstance(again, Variant)
    assert again.whens[0].condition == variant.whens[0].condition


def test_conditions_that_are_nested_too_deep_are_refused(address: str, client: Client) -> None:
    controller = client.variant().set_when(client.features.get(7) > 1, {1: 0.5}, unit="max").controller
    (scope,) = controller["scopes"]
    del scope["condition"]
    for n, status in ((40, 400), (400, 422), (3_000, 400)):
        deep = json.dumps(scope["conditionals"]["conditionals"][0])
        deep = '{"operator": "OR", "conditionals": [' * n + deep + "]}" * n
        whole = json.dumps({"messages": RIVER, "controller": {"scopes": [{**scope, "conditionals": "DEEP"}]}})
        content = whole.replace('"DEEP"', deep).encode()
        response = ask(address, CHAT, content=content, headers={"Content-Type": "application/json"})
        assert response.status_code in (status, 422), n
        assert told(response, response.status_code)


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages": [{"role": "user", "content": "a"}], "temperature": NaN}',
        b'{"messages": [{"role": "user", "content": "a"}], "top_p": -Infinity}',
        b'{"messages": [{"role": "user", "content": "a"}], "seed": 1.5}',
        b'{"messages": {"role": "user"}}',
        b'{"messages": [{"role": "user", "content": "a"}], "stream": "yes"}',
        b'{"messages": [{"role": "user", "content": "a"}], "controller": []}',
        b'{"messages": ' + b"[" * 10_000,
        b"\xff",
    ],
    ids=lambda body: repr(body[-24:]),
)
def test_bodies_that_are_no_requests_are_refused(address: str, body: bytes) -> None:
    for path in (CHAT, "/v1/chat/completions"):
        response = ask(address, path, content=body, headers={"Content-Type": "application/json"})
        assert response.status_code in (400, 422)
        assert told(response, response.status_code)


@contextmanager
def held_up(serving: Serving, limits: Limits) -> Iterator[tuple[str, Serving, threading.Event]]:
    """A server whose answers at `/api/slow` say one word, and go on when they are let."""
    other, go_on = Serving(serving.client, limits), threading.Event()
    app = make_app(other)
    piano = serving.client.features.get(7)
    variant = (
        serving.client.variant().set(7, 4.0, unit="max").handle_when(piano > 0.1, lambda _: go_on.wait(60) and None)
    )

    def begin(_: Any) -> Any:
        return serving.client.chat.completions.create(RIVER, variant, stream=True, max_completion_tokens=8)

    @app.get("/api/slow")
    async def stream(request: Request) -> Any:
        return await streamed(other, request, [begin], lambda piece: [piece.chunk.as_plain()])

    @app.get("/api/slow/whole")
    async def whole(request: Request) -> Any:
        (answer,) = await other.chats.whole(request, [begin])
        return answer.as_plain()

    with answering(app) as at:
        try:
            yield at, other, go_on
        finally:
            go_on.set()


def wait_until(holds: Callable[[], bool]) -> None:
    tick = threading.Event()
    for _ in range(3_000):
        if holds():
            return
        tick.wait(0.01)
    raise AssertionError("it did not happen in 30 seconds")


def test_a_client_that_goes_away_in_the_middle_frees_its_place_at_once(serving: Serving) -> None:
    with held_up(serving, Limits()) as (at, other, go_on):
        with httpx.stream("GET", at + "/api/slow", timeout=60) as response:
            pieces = response.iter_raw()  # let go of, it would close the connection
            assert b"piano" in next(pieces)
            assert other.chats.n_taken == 1
        wait_until(lambda: other.chats.n_taken == 0)
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(at + "/api/slow/whole", timeout=0.5)
        wait_until(lambda: other.chats.n_taken == 0)
        assert not go_on.is_set()
        go_on.set()
        assert httpx.get(at + "/api/slow/whole", timeout=60).json()["choices"][0]["delta"]["content"] == " piano" * 8


def test_answers_that_take_too_long_end_with_an_error_before_and_amid_a_stream(serving: Serving) -> None:
    with held_up(serving, Limits(seconds=1.0)) as (at, other, _):
        assert "no whole answer in 1 s" in told(httpx.get(at + "/api/slow/whole", timeout=60), 504)
        *_, last = httpx.get(at + "/api/slow", timeout=60).text.strip().split("\n\n")
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == 504
        wait_until(lambda: other.chats.n_taken == 0)


def test_more_chats_than_places_wait_and_more_than_may_wait_are_refused(serving: Serving) -> None:
    with held_up(serving, Limits(n_chats=1, n_waiting=1)) as (at, other, go_on):
        replies: list[httpx.Response] = []
        askers = [
            threading.Thread(target=lambda: replies.append(httpx.get(at + "/api/slow/whole", timeout=60)))
            for _ in range(2)
        ]
        for asker in askers:
            asker.start()
        wait_until(lambda: other.chats.n_taken == 2)
        assert "requests wait for the chat" in told(ask(at, CHAT, {"messages": RIVER}), 429)
        go_on.set()
        for asker in askers:
            asker.join(60)
        assert [of.status_code for of in replies] == [200, 200]


def test_a_prompt_that_is_longer_than_the_server_takes_is_refused(planted_runs: Path) -> None:
    client = autointerp.open(planted_runs / "runs/demo")
    with answering(make_app(Serving(client, Limits(longest_prompt=6)))) as at:
        assert reply(at, CHAT, max_completion_tokens=1)["usage"]["prompt_tokens"] == 6
        longer = [{"role": "user", "content": "the river the river"}]
        assert "6" in told(ask(at, CHAT, {"messages": longer}), 400)


def test_answers_are_no_longer_than_the_server_lets_them_be(serving: Serving) -> None:
    limits = Limits(longest_answer=2)
    with answering(make_app(Serving(serving.client, limits))) as at:
        for asked in (None, 2, 100):
            assert reply(at, CHAT, max_completion_tokens=asked)["usage"]["completion_tokens"] == 2
        assert reply(at, CHAT, max_completion_tokens=1)["usage"]["completion_tokens"] == 1
