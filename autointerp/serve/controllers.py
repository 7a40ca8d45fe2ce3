"""A controller, as Ember's client sends a variant with a request, to a `Variant`.

| in a controller | here |
|---|---|
| intervention `nudge` | added; several of one feature add up |
| intervention `pin` | pinned; of several the last counts |
| `value` | in doses, or in the `unit` that stands beside it |
| scope with conditionals and interventions | `set_when`; to the end from where it holds, or as its `lasting` says |
| scope in a scope | held from where the outer one holds on |
| scope with an `event_name` | `handle_when`: the answer tells of it, and goes on; `aborts` ends it |
| `edit_scope` | which tokens are edited |

Conditionals are groups, joined by AND or OR, of comparisons and groups. Where a scope has a `condition`, as ours do,
that is read: it keeps negations as well.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from autointerp.errors import VariantError
from autointerp.identity import feature_id
from autointerp.library.conditions import AllOf, AnyOf, Condition, Threshold
from autointerp.library.feature_edits import FeatureEdit, FeatureEdits
from autointerp.library.variant import Variant
from autointerp.records.live import EditScope
from autointerp.serve.knows import Knows
from autointerp.serve.shapes import Shape, Text

_MOST = 1_024
_MOST_SCOPES = 64  # each has its conditions looked at at every token
_DEEPEST = 32


class Known(Shape):
    """A shape all of whose keys are read: one that nobody knows may be a misspelt one."""

    model_config = ConfigDict(extra="forbid")


class ControlledFeature(Shape):
    """A feature, by its UUID."""

    uuid: Text


class ControlledGroup(Shape):
    """Features."""

    features: Annotated[list[ControlledFeature], Field(min_length=1, max_length=_MOST)]


class Intervention(Known):
    """What is done to features."""

    mode: Literal["nudge", "pin", "mul"]
    features: ControlledGroup
    value: float
    unit: Literal["dose", "max", "activation"] = "dose"


class Conditional(Known):
    """A feature, or the largest of several, held against a number."""

    left_hand: ControlledGroup
    right_hand: float
    operator: Literal[">", ">=", "<", "<=", "==", "!="]


class ConditionalGroup(Known):
    """Conditions that are joined."""

    conditionals: Annotated[list["Conditional | ConditionalGroup"], Field(min_length=1, max_length=_MOST)]
    operator: Literal["AND", "OR"] = "AND"


class ScopedController(Known):
    """What is done where a condition holds."""

    interventions: Annotated[list[Intervention], Field(default_factory=list, max_length=_MOST)]
    scopes: Annotated[list["ControllerScope"], Field(default_factory=list, max_length=_MOST)]
    name: Text | None = None
    nonzero_strength_threshold: None = None
    min_nudge_entropy: None = None
    max_nudge_entropy: None = None


class ControllerScope(Known):
    """A condition, and what is done where it holds."""

    conditionals: ConditionalGroup
    condition: dict[str, Any] | None = None
    controller: ScopedController = Field(default_factory=lambda: ScopedController(interventions=[], scopes=[]))
    event_name: Text | None = None
    is_active: bool | None = None
    lasting: Literal["rest", "token"] = "rest"
    aborts: bool = False


class TokenScope(Known):
    """Which tokens are edited."""

    kind: Literal["all", "generated", "from", "role"] = "all"
    position: Annotated[int, Field(ge=0)] = 0
    role: Text | None = None


class Controller(Known):
    """What is done to a model."""

    interventions: Annotated[list[Intervention], Field(default_factory=list, max_length=_MOST)]
    scopes: Annotated[list[ControllerScope], Field(default_factory=list, max_length=_MOST)]
    edit_scope: TokenScope = TokenScope()
    name: Text | None = None
    nonzero_strength_threshold: None = None
    min_nudge_entropy: None = None
    max_nudge_entropy: None = None


def variant_of(knows: Knows, source: str, controller: Controller | None) -> Variant | str:
    """What a request's model and controller mean: a variant, or the model as it is.

    Args:
        knows: Whose features are named.
        source: The model's source.
        controller: What is done to it.

    Raises:
        UnknownFeatureError: If there is no such feature.
        VariantError: If it asks for what is not done here, or makes no sense.
        FilterError: If a condition is none.
    """
    if controller is None or not (controller.interventions or controller.scopes):
        return source
    if sum(1 for _ in _scopes(controller)) > _MOST_SCOPES:
        raise VariantError(f"there are more than {_MOST_SCOPES} scopes", "join their conditions by OR")
    variant = _filled(knows, source, controller, _DEEPEST)
    of = controller.edit_scope
    variant.scope = EditScope(of.kind, of.position, of.role)
    return variant


def _scopes(controller: Controller | ScopedController) -> Iterator[ControllerScope]:
    """Those of a controller, and those in them."""
    left = list(controller.scopes)
    while left:
        yield (scope := left.pop())
        left += scope.controller.scopes


def _filled(knows: Knows, source: str, controller: Controller | ScopedController, room: int) -> Variant:
    """A variant with what a controller says of it."""
    if not room:
        raise VariantError(f"scopes are nested more than {_DEEPEST} deep", "join their conditions")
    variant = Variant(knows.client, source)
    variant.set(_edits(knows, controller.interventions))
    for scope in controller.scopes:
        condition = _condition(knows, scope)
        if scope.aborts:
            variant.abort_when(condition, name=scope.event_name or None)
        elif scope.event_name is not None:
            variant.handle_when(condition, None, name=scope.event_name or None, lasting=scope.lasting)
        inner = _filled(knows, source, scope.controller, room - 1)
        if inner.edits or inner.whens:
            variant.set_when(condition, inner, lasting=scope.lasting)
    return variant


def _edits(knows: Knows, interventions: Sequence[Intervention]) -> FeatureEdits:
    edits: dict[tuple[str, int], FeatureEdit] = {}
    for intervention in interventions:
        if intervention.mode == "mul":
            raise VariantError("multiplying an activation is not offered", "add to it, or pin it")
        mode: Literal["add", "pin"] = "add" if intervention.mode == "nudge" else "pin"
        for name in _names(knows, intervention.features):
            before, value = edits.get(name), intervention.value
            if before is not None and (before.mode, before.unit) != (mode, intervention.unit):
                raise VariantError(
                    f"{feature_id(*name)} is edited in two modes or units", "edit each feature in one of them"
                )
            if before is not None and mode == "add":
                value += before.value
            edits[name] = FeatureEdit(*name, value, mode, intervention.unit)
    return FeatureEdits(edits.values())


def _condition(knows: Knows, scope: ControllerScope) -> Condition:
    if scope.condition is not None:
        return Condition.from_json(json.dumps(scope.condition))
    return _joined(knows, scope.conditionals, _DEEPEST)


def _joined(knows: Knows, given: Conditional | ConditionalGroup, room: int) -> Condition:
    if isinstance(given, Conditional):
        return Threshold(tuple(_names(knows, given.left_hand)), given.operator, given.right_hand)
    if not room:
        raise VariantError(f"a condition is nested more than {_DEEPEST} deep", "join its parts in fewer groups")
    parts = tuple(_joined(knows, part, room - 1) for part in given.conditionals)
    if len(parts) == 1:
        return parts[0]
    return AllOf(parts) if given.operator == "AND" else AnyOf(parts)


def _names(knows: Knows, group: ControlledGroup) -> Iterator[tuple[str, int]]:
    return iter(dict.fromkeys(knows.names.features(feature.uuid for feature in group.features)))
