"""Variants' conditions at work in chats, what comes next, strengths in doses, and texts read under a variant."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autointerp
from autointerp import EditScope, Variant
from autointerp.errors import AbortError, FilterError, GenerationError, SearchError, SubjectError, VariantError
from autointerp.library.chat.replies import ChatCompletion
from autointerp.library.client import Client
from autointerp.library.when import ChatEvent

SOURCE = "planted@0-res-12"
MESSAGES = [{"role": "user", "content": "the river"}]
SHIP, RIVER, PIANO = 0, 1, 7
Ask = Callable[..., ChatCompletion]


@pytest.fixture(scope="module")
def client(planted_runs: Path) -> Client:
    return autointerp.open(planted_runs / "runs/demo")


@pytest.fixture(scope="module")
def ask(client: Client) -> Ask:
    def create(model: Any = None, messages: Any = MESSAGES, **settings: Any) -> ChatCompletion:
        reply = client.chat.completions.create(
            messages, model, **{"max_completion_tokens": 4, "temperature": 0, **settings}
        )
        assert isinstance(reply, ChatCompletion)
        return reply

    return create


def test_edits_are_made_from_where_a_condition_holds(ask: Ask, client: Client) -> None:
    river = client.features.get(RIVER)
    variant = client.variant().set_when(river > 0.1, {PIANO: 4.0}, unit="max")
    assert str(ask(variant)) == " piano" * 4
    reply = ask(variant, [{"role": "user", "content": "the ship"}])
    assert "piano" not in str(reply), "it never holds"
    assert (reply.edited.n_prompt, reply.edited.n_generated, reply.events) == (0, 0, ())
    there = client.variant().set_when(river > 0.1, {PIANO: 4.0}, unit="max", lasting="token")
    assert ask(there).edited.n_prompt == 1


def test_a_condition_in_a_condition_is_held_from_where_the_outer_one_holds(ask: Ask, client: Client) -> None:
    river, ship = client.features.lookup([RIVER, SHIP])
    inner = client.variant().set_when(ship > 0.1, {PIANO: 4.0}, unit="max")
    after, before = ([{"role": "user", "content": text}] for text in ("the river the ship", "the ship the river"))
    alone, nested = ask(inner, after), ask(client.variant().set_when(river > 0.1, inner), after)
    assert str(nested) == str(alone) == " piano" * 4
    assert nested.edited == alone.edited
    plain = ask(None, before)
    assert str(ask(inner, before)) != str(plain)
    assert str(ask(client.variant().set_when(river > 0.1, inner), before)) == str(plain)
    assert str(ask(client.variant().set_when(river > 0.1, inner, lasting="token"), after)) == str(ask(None, after))
    both = client.variant().set_when(ship > 0.1, inner, lasting="token")
    assert ask(both, after).edited == alone.edited
    events = client.variant().handle_when(ship > 0.1, None, name="a ship")
    told = ask(client.variant().handle_when(ship > 0, None, name="first").set_when(river > 0.1, events), after).events
    assert [of.name for of in told] == ["first", "a ship"]
    assert ask(client.variant().set_when(river > 0.1, events), before).events == ()
    again = Variant.from_json(client.variant().set_when(river > 0.1, inner).json(), client)
    assert str(ask(again, after)) == " piano" * 4
    deep = inner
    for _ in range(31):
        deep = client.variant().set_when(river > 0.1, deep)
    with pytest.raises(VariantError, match="more than 32 deep"):
        client.variant().set_when(river > 0.1, deep)
    inner.scope = "generated"
    with pytest.raises(VariantError, match="a scope of its own"):
        client.variant().set_when(river > 0.1, inner)


def test_a_text_is_read_under_edits_where_conditions_hold_as_it_is_in_a_chat(client: Client) -> None:
    river = client.features.get(RIVER)
    text = "a ship on the river with a piano"
    plain = client.features.inspect(text, [PIANO]).matrix().toarray()[:, 0]
    for lasting, at in (("rest", range(4, 8)), ("token", range(4, 5))):
        pins = client.variant().set_when(
            river > 0.1, {PIANO: 3.0}, mode="pin", unit="activation", lasting="rest" if lasting == "rest" else "token"
        )
        found = client.features.inspect(text, [PIANO], model=pins).matrix().toarray()[:, 0]
        assert np.flatnonzero(found > 2).tolist() == list(at)
        assert found[:4].tolist() == pytest.approx(plain[:4].tolist(), abs=1e-5)
    never = client.variant().set_when(river > 1e6, {PIANO: 3.0}, mode="pin", unit="activation")
    assert client.features.inspect(text, [PIANO], model=never).matrix().toarray()[:, 0] == pytest.approx(
        plain, abs=1e-5
    )
    with pytest.raises(SubjectError, match="in several pieces or has no token"):
        client.features.inspect("ship " * 5_000, model=never)


@pytest.mark.parametrize(
    ("scope", "edited"),
    [
        ("all", (6, 3)),
        ("generated", (0, 3)),
        (EditScope("from", position=4), (2, 3)),
        (EditScope("role", role="user"), (2, 0)),
        (EditScope("role", role="assistant"), (0, 3)),
        (EditScope("role", role="system"), (0, 0)),
    ],
)
def test_only_the_tokens_of_the_scope_are_edited(ask: Ask, client: Client, scope: Any, edited: tuple[int, int]) -> None:
    variant = client.variant().set(PIANO, 4.0, unit="max")
    variant.scope = scope
    reply = ask(variant)
    assert (reply.edited.n_prompt, reply.edited.n_generated) == edited
    assert reply.edited.scope == variant.scope


def test_an_answer_is_ended_where_a_condition_holds(ask: Ask, client: Client) -> None:
    piano = client.features.get(PIANO)
    variant = client.variant().set(PIANO, 4.0, unit="max").abort_when(piano.above_percentile(0) & (piano > 1e-3))
    variant.scope = "generated"
    with pytest.raises(AbortError) as aborted:
        ask(variant.set_when(client.features.get(RIVER) > 0.1, {PIANO: 4.0}, unit="max"), max_completion_tokens=8)
    assert aborted.value.text.startswith(" piano")
    assert f"{SOURCE}:7 > " in aborted.value.condition
    assert aborted.value.position is not None
    pieces = list(client.chat.completions.create(MESSAGES, variant, stream=True, max_completion_tokens=8))
    assert pieces[-1].choices[0].finish_reason == "abort"
    assert [event.aborted for piece in pieces for event in piece.events] == [True]
    assert "".join(piece.choices[0].delta.content for piece in pieces) == aborted.value.text


def test_a_handler_is_told_of_the_event_and_its_edits_are_made(ask: Ask, client: Client) -> None:
    told: list[ChatEvent] = []

    def handle(event: ChatEvent) -> autointerp.FeatureEdits:
        told.append(event)
        return autointerp.FeatureEdits([autointerp.FeatureEdit(SOURCE, PIANO, 4.0, unit="max")])

    river = client.features.get(RIVER)
    reply = ask(client.variant().handle_when(river > 0.1, handle, name="river"))
    assert str(reply) == " piano" * 4
    (event,) = told
    assert (event.name, event.prompt, event.position) == ("river", MESSAGES, 3)
    assert event.response_so_far == ""
    assert event.activations[f"{SOURCE}:1"] > 0.1
    assert [(of.name, of.position, of.aborted) for of in reply.events] == [("river", 3, False)]
    assert reply.gf_event_names == ["river"]


def test_an_event_without_a_handler_is_only_told_of(ask: Ask, client: Client) -> None:
    reply = ask(client.variant().handle_when(client.features.get(RIVER) > 0.1, None, name="river"))
    assert (str(reply), reply.gf_event_names[:1]) == (str(ask()), ["river"])


def test_what_a_handler_raises_is_raised(ask: Ask, client: Client) -> None:
    class ShyError(Exception):
        pass

    def fail(event: ChatEvent) -> None:
        raise ShyError(event.name)

    with pytest.raises(ShyError, match="river"):
        ask(client.variant().handle_when(client.features.get(RIVER) > 0.1, fail, name="river"))
    absurd = client.variant().handle_when(client.features.get(RIVER) > 0.1, lambda event: {PIANO: 1e9})
    with pytest.raises(VariantError, match="a strength of 1e\\+09 dose is absurd"):
        ask(absurd)
    assert str(ask()), "the next answer is not disturbed"


def test_a_strength_of_one_is_the_feature_s_dose(ask: Ask, client: Client) -> None:
    (dose,) = client.features.doses(PIANO)
    assert dose.unit is not None
    by_dose = client.chat.logits(MESSAGES, client.variant().set(PIANO, 0.5), top_k=3)
    by_activation = client.variant().set(PIANO, 0.5 * dose.unit, unit="activation")
    assert by_dose.logits == client.chat.logits(MESSAGES, by_activation, top_k=3).logits


def test_logits_are_those_of_the_answer_s_first_token(ask: Ask, client: Client) -> None:
    steered = client.variant().set(PIANO, 4.0, unit="max").abort_when(client.features.get(RIVER) > 0.1)
    every = client.chat.logits(MESSAGES, steered, top_k=None)
    assert list(every.logits)[:1] == [" piano"]
    assert sum(every.probabilities.values()) == pytest.approx(1.0)
    values = list(every.logits.values())
    assert values == sorted(values, reverse=True)
    some = client.chat.logits(MESSAGES, filter_vocabulary=["piano", "river", "piano"])
    assert sorted(some.logits) == ["piano", "river"]
    assert some.probabilities["piano"] < every.probabilities[" piano"]
    with pytest.raises(GenerationError, match=r"'grand piano' is [0-9]+ tokens of this model"):
        client.chat.logits(MESSAGES, filter_vocabulary=["grand piano"])
    with pytest.raises(GenerationError, match="no list of words"):
        client.chat.logits(MESSAGES, filter_vocabulary="piano")
    with pytest.raises(SearchError, match="top_k can't be 0"):
        client.chat.logits(MESSAGES, top_k=0)


def test_a_text_is_read_as_a_variant_edits_it(client: Client) -> None:
    variant = client.variant().set(PIANO, 2.0, unit="activation")

    def read(model: Variant | None, **more: Any) -> Any:
        return client.features.inspect(MESSAGES, [RIVER, PIANO], model=model, **more).matrix().toarray()

    plain, steered = read(None), read(variant)
    assert (plain[:, 1] == 0).all()
    assert (steered[:, 1] > 1).all()
    variant.scope = EditScope("role", role="user")
    roles = client.features.inspect(MESSAGES).firings.roles
    assert roles is not None
    assert ((read(variant)[:, 1] > 1) == [role == "user" for role in roles]).all()
    variant.scope = "generated"
    assert np.array_equal(read(variant), plain)
    variant.scope = EditScope("role", role="user")
    with pytest.raises(SubjectError, match="is no conversation"):
        client.features.inspect("the river", model=variant)


def test_a_percentile_that_is_none_is_told(client: Client) -> None:
    with pytest.raises(FilterError, match="120 is no percentile: give a number from 0 to 100"):
        client.features.get(RIVER).above_percentile(120)
    with pytest.raises(FilterError, match="fires nowhere in the corpus, so it has no percentiles"):
        client.features.get(3).above_percentile(50)


def test_answers_asked_for_at_once_are_those_asked_for_alone(ask: Ask, client: Client) -> None:
    variants = [None, *(client.variant().set(index, 3.0, unit="max") for index in (SHIP, PIANO))]
    streams = [client.chat.completions.create(MESSAGES, of, stream=True, max_completion_tokens=4) for of in variants]
    together = ["".join(piece.choices[0].delta.content for piece in stream) for stream in streams]
    assert together == [str(ask(of, temperature=0.6)) for of in variants]
