"""Variants: what is said to be done to features, and how it is written down."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import autointerp
from autointerp import EditScope, FeatureEdit, FeatureEdits, Variant
from autointerp.errors import AutointerpError, FilterError, StoreError, UnknownFeatureError, VariantError
from autointerp.library.client import Client
from autointerp.library.conditions import Condition

SOURCE = "planted@0-res-12"
TALK = [{"role": "user", "content": "the river"}]
NO_ROLE: Any = 5


@pytest.fixture(scope="module")
def client(planted_runs: Path) -> Client:
    return autointerp.open(planted_runs / "runs/demo")


@pytest.fixture
def full(client: Client) -> Variant:
    ship, river, piano = client.features.lookup([0, 1, 7])
    variant = client.variant().set({river: 0.5, 7: -0.25}).set(ship, 2, mode="pin", unit="max")
    variant.set_when((ship > 0.5) & ((river > 1) | ~(piano < 0.25)), {river: 1.5}, unit="activation", lasting="token")
    variant.abort_when(river >= 3).handle_when(client.features.lookup([0, 1]) > 2, None, name="two")
    variant.scope = EditScope("role", role="user")
    return variant


def test_features_are_named_in_every_way_and_later_edits_take_the_place_of_earlier_ones(client: Client) -> None:
    river, piano = client.features.lookup([1, 7])
    variant = client.variant().set(river, 0.5).set(7, 0.5).set(f"{SOURCE}:0", 1).set(river | piano, -1, unit="max")
    told = [(edit.index, edit.label, edit.value, edit.unit) for edit in variant.edits]
    assert told == [(1, "river", -1.0, "max"), (7, "piano", -1.0, "max"), (0, "ship", 1.0, "dose")]
    assert [edit.index for edit in client.variant().set([7, river], 1).edits] == [7, 1]
    assert variant.clear(river | piano).edits.names == ((SOURCE, 0),)
    assert variant.set(0, None).edits.names == ()


def test_edits_are_taken_over_as_they_are(client: Client) -> None:
    edits = FeatureEdits([FeatureEdit(SOURCE, 1, 3.0, "pin", "activation")])
    assert client.variant().set(edits).edits == edits
    assert (edits * 2)[0].value == 6.0


def test_edits_that_add_are_rescaled_by_the_larger_side(client: Client) -> None:
    edits = client.variant().set({1: 3, 7: 1, 0: -2}).edits
    assert [edit.value for edit in edits.rescale(2)] == [1.5, 0.5, -1.0]
    assert len(FeatureEdits().rescale()) == 0
    with pytest.raises(VariantError, match="several units, or pins"):
        client.variant().set(1, 1).set(7, 1, unit="max").edits.rescale()


def test_a_variant_comes_back_from_json_as_it_was(full: Variant, client: Client) -> None:
    text = json.dumps(full.json())
    for known in (None, client):
        back = Variant.from_json(text, known)
        assert back.json() == full.json()
        assert back.whens == full.whens, "conditions keep their nesting"
        assert repr(back) == repr(full)
        assert back.scope == full.scope


def test_reset_takes_all_back(full: Variant) -> None:
    assert repr(full.reset()) == f"Variant of {SOURCE}, at all tokens\n  nothing is edited"


def test_ember_s_variants_are_read_by_their_features_places(client: Client) -> None:
    row = {"feature_id": "0", "feature_label": "river", "index_in_sae": 1, "value": 0.5}
    for base in ("planted", SOURCE):
        plain = {"base_model": base, "edits": [row], "scopes": []}
        assert Variant.from_json(plain, client).edits[0] == FeatureEdit(SOURCE, 1, 0.5, label="river")
        assert Variant.from_json(plain).edits[0].name == (base, 1)


def test_the_controller_is_as_ember_s_client_sends_it(full: Variant) -> None:
    controller = full.controller
    assert [(of["mode"], of["value"], of["unit"]) for of in controller["interventions"]] == [
        ("nudge", 0.5, "dose"),
        ("nudge", -0.25, "dose"),
        ("pin", 2.0, "max"),
    ]
    assert [f["index_in_sae"] for of in controller["interventions"] for f in of["features"]["features"]] == [1, 7, 0]
    edits, abort, event = controller["scopes"]
    assert (edits["event_name"], edits["controller"]["interventions"][0]["value"]) == (None, 1.5)
    assert event["event_name"] == "two"
    assert abort["conditionals"] == {
        "conditionals": [
            {"left_hand": abort["conditionals"]["conditionals"][0]["left_hand"], "right_hand": 3.0, "operator": ">="}
        ],
        "operator": "AND",
    }
    outer = edits["conditionals"]
    inner = outer["conditionals"][1]
    assert (outer["operator"], inner["operator"]) == ("AND", "OR")
    assert [of["operator"] for of in inner["conditionals"]] == [">", ">="], "the negation is carried inwards"
    json.dumps(controller)


@pytest.mark.parametrize(
    "scope",
    [
        *("role", "user", 3, None),
        *(EditScope("from", position=-1), EditScope("role"), EditScope("all", position=3)),
        *(EditScope("role", position=3, role="user"), EditScope("role", role=NO_ROLE)),
    ],
)
def test_a_scope_that_makes_no_sense_is_refused(client: Client, scope: Any) -> None:
    with pytest.raises(VariantError):
        client.variant().scope = scope


@pytest.mark.parametrize(
    ("value", "unit", "told"),
    [
        ("much", "dose", "'much' is no strength: give a number, such as 0.5"),
        (True, "dose", "True is no strength"),
        (math.nan, "dose", "a strength of nan dose is absurd: give one from -20 to 20 in this unit"),
        (math.inf, "activation", "a strength of inf activation is absurd"),
        (-(10**400), "dose", "a strength of -inf dose is absurd"),
        (20.5, "dose", "a strength of 20.5 dose is absurd"),
        (-101, "max", "a strength of -101 max is absurd: give one from -100 to 100 in this unit"),
        (0.5, "volts", "there is no unit 'volts': units are dose, max, activation"),
    ],
)
def test_a_strength_that_makes_no_sense_is_one_line(client: Client, value: Any, unit: Any, told: str) -> None:
    with pytest.raises(VariantError) as error:
        client.variant().set(1, value, unit=unit)
    assert str(error.value).startswith(told)
    assert "\n" not in str(error.value)


def test_features_that_are_not_there_or_of_another_model_are_told(client: Client) -> None:
    with pytest.raises(UnknownFeatureError, match="has no feature 99: its features are 0 to 11"):
        client.variant().set(99, 0.5)
    with pytest.raises(VariantError, match="a feature of gpt2@5-res is named, and the variant is of planted"):
        Variant("planted").set("gpt2@5-res:3", 0.5)
    river: Any = client.features.get(1)
    with pytest.raises(VariantError, match="and the variant is of gpt2@5-res"):
        Variant("gpt2@5-res").set_when(river > 1, {3: 1.0})
    with pytest.raises(VariantError, match="is no condition"):
        client.variant().abort_when(river)


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda client: client.variant().set(b"1", 1), "b'1' is not a feature"),
        (lambda client: client.variant().set([], 1), "no feature is named"),
        (lambda client: client.variant().set(client.variant().set(1, 1).edits, unit="max"), "modes and units"),
        (lambda client: client.variant().set(client.variant().set(1, 1).edits, mode="pin"), "modes and units"),
        (lambda client: client.variant().set(1, 1).edits * "a", "can't be multiplied by 'a'"),
        (lambda client: client.variant().set(1, 1).edits.rescale(True), "can't be rescaled to True"),
        (lambda _: Variant(NO_ROLE), "5 is neither a model's name nor a client"),
        (lambda client: client.chat.completions.create(TALK, stream="yes"), "stream can't be 'yes'"),
        (lambda client: client.chat.completions.create(TALK, stop={"a": 1}), "can't be stop texts"),
        (lambda client: client.chat.completions.create(TALK, logprobs=1), "logprobs can't be 1"),
        (lambda client: client.chat.completions.create(TALK, logit_bias={True: 1.0}), "True is no token"),
        (lambda client: client.chat.logits(TALK, filter_vocabulary=[]), "no word is given"),
        (lambda client: client.chat.completions.create(TALK, of_role(client, "usr")), "the tokens of 'usr'"),
        (lambda client: client.features.inspect(TALK, model=of_role(client, "User")), "the tokens of 'User'"),
        (lambda client: client.features.contrast(["a"] * 2, ["b"] * 2, paired="no"), "paired can't be 'no'"),
        (lambda client: client.features.contrast(["a"] * 2, ["b"] * 2, seed="a"), "'a' is no seed"),
        (lambda client: client.features.AutoSteer("river", seed="a"), "'a' is no seed"),
        (lambda client: client.features.AutoSteer("river", seed=True), "True is no seed"),
        (lambda client: client.features.AutoConditional("river", seed=1.5), "1.5 is no seed"),
        (lambda client: client.features.AutoConditional("river", ["a"] * 8, 5), "5 can't be negative examples"),
    ],
)
def test_what_was_taken_without_a_word_is_told_in_one_line(
    client: Client, ask: Callable[[Any], object], told: str
) -> None:
    with pytest.raises(AutointerpError, match=re.escape(told)) as raised:
        ask(client)
    assert "\n" not in str(raised.value)


def of_role(client: Client, role: str) -> Variant:
    variant = client.variant().set(7, 1, unit="max")
    variant.scope = EditScope("role", role=role)
    return variant


def test_roles_that_a_conversation_might_have_may_be_edited_and_strange_ones_are_noted(client: Client) -> None:
    reply = client.chat.completions.create(TALK, of_role(client, "system"), max_completion_tokens=1)
    assert (reply.edited.n_prompt, reply.notes) == (0, ())
    strange = [{"role": "usr", "content": "the river"}]
    reply = client.chat.completions.create(strange, of_role(client, "usr"), max_completion_tokens=1)
    assert reply.edited.n_prompt > 0
    assert "'usr' is none of system, user" in reply.notes[0]


@pytest.mark.parametrize(
    "change",
    [
        {"scopess": []},
        {"base_model": 5},
        {"edits": [{"feature": f"{SOURCE}:1", "value": 0.5, "units": "max"}]},
        {"edits": [{"index_in_sae": 1.7, "value": 0.5}]},
        {"edits": [{"index_in_sae": True, "value": 0.5}]},
        {"scope": {"kind": "role", "role": 5}},
        {"scope": {"kind": "everywhere"}},
    ],
)
def test_json_that_nobody_would_read_is_no_variant(client: Client, change: dict[str, Any]) -> None:
    plain = client.variant().set(1, 0.5).json()
    assert Variant.from_json(plain).edits[0].value == 0.5
    with pytest.raises(VariantError):
        Variant.from_json({**plain, **change})


def test_what_is_no_variant_is_told(client: Client) -> None:
    shout: Any = "shout"
    texts: Any = (
        '{"base_model": "m", "edits": [{"index_in_sae": 1e999, "value": 1}]}',
        "{",
        "[]",
        {"base_model": "m"},
        {"base_model": "m", "edits": [{"index_in_sae": -1, "value": 1}]},
    )
    for text in texts:
        with pytest.raises(VariantError, match="is no variant"):
            Variant.from_json(text)
    with pytest.raises(StoreError, match="names no model"):
        Variant(" ")
    with pytest.raises(StoreError, match="no source 'gpt2@1' here"):
        client.variant("gpt2@1")
    with pytest.raises(VariantError, match="strengths are given twice"):
        client.variant().set({1: 0.5}, 0.5)
    with pytest.raises(VariantError, match="and no edit"):
        client.variant().set_when(client.features.get(1) > 1, {})
    with pytest.raises(VariantError, match="can't be called"):
        client.variant().handle_when(client.features.get(1) > 1, shout)
    nameless: Any = 5
    with pytest.raises(VariantError, match="5 is no name of an event"):
        client.variant().abort_when(client.features.get(1) > 1, name=nameless)


def test_conditions_have_a_depth_that_every_use_of_them_can_go_through(client: Client) -> None:
    condition = client.features.get(1) > -1
    for _ in range(127):
        condition = ~condition
    variant = client.variant().set_when(condition, {7: 1.0}, unit="max")
    assert repr(Variant.from_json(json.dumps(variant.json()), client)) == repr(variant)
    with pytest.raises(FilterError, match="nested more than 128 deep"):
        _ = ~condition
    with pytest.raises(FilterError, match="nested more than 128 deep"):
        Condition.from_json('{"not": ' * 200 + (client.features.get(1) > 1).to_json() + "}" * 200)


def test_edits_beside_an_event_are_made_too_and_its_name_is_a_text(client: Client) -> None:
    plain = client.variant().handle_when(client.features.get(1) > 0.1, None, name="river").json()
    (scope,) = plain["scopes"]
    scope["nested_variant"]["edits"] = client.variant().set(7, 4.0, unit="max").json()["edits"]
    event, edit = Variant.from_json(plain, client).whens
    assert (event.event_name, len(event.edits)) == ("river", 0)
    assert (edit.event_name, edit.edits.names) == (None, ((edit.condition.names()[0][0], 7),))
    scope["event_name"] = 5
    with pytest.raises(VariantError, match="is no variant"):
        Variant.from_json(plain)


def test_thresholds_are_finite_so_that_json_holds_them_and_they_come_back(client: Client) -> None:
    for value in (math.nan, -math.inf, 10**400):
        with pytest.raises(FilterError, match="activations can't be held against"):
            _ = client.features.get(1) > value
    text = (client.features.get(1) > 0.5).to_json()
    for written in ("NaN", "1" + "0" * 400):
        with pytest.raises(FilterError):
            Condition.from_json(text.replace("0.5", written))
