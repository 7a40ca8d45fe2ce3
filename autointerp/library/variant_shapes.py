"""Parts of a variant in the shapes in which Ember's client sends them, and checks of its settings."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

from autointerp.errors import UnknownFeatureError, VariantError
from autointerp.identity import feature_id, parse_feature_id, stable_uuid
from autointerp.library.conditions import AllOf, AnyOf, Condition, Not, Threshold
from autointerp.library.feature_edits import FeatureEdits
from autointerp.records.live import EditScope, FeatureName, ScopeKind
from autointerp.store.known import check_name, shown

Lasting = Literal["rest", "token"]
_OPPOSITE = {">": "<=", ">=": "<", "<": ">=", "<=": ">", "==": "!=", "!=": "=="}
_MODES = {"add": "nudge", "pin": "pin"}


def model_of(name: str) -> str:
    """The model of a source, `model@source`, or of a model's own name."""
    return name.rpartition("@")[0] or name


def read_name(feature: object) -> tuple[str | None, int]:
    """The source, None where it is not named, and the index of a feature by its name.

    Raises:
        UnknownFeatureError: If it names none.
    """
    found = parse_feature_id(feature.strip() if isinstance(feature, str) else feature)
    if found is None or found[1] < 0:
        raise UnknownFeatureError(f"{shown(feature)} is not a feature", "give one, or its name model@source:650")
    return found


def checked_scope(scope: object) -> EditScope:
    """See that a scope makes sense.

    Raises:
        VariantError: If it does not.
    """
    if scope in ("all", "generated"):
        return EditScope("all" if scope == "all" else "generated")
    if not isinstance(scope, EditScope):
        raise VariantError(f"{shown(scope)} is no scope", 'give "all", "generated" or an EditScope')
    check_name(scope.kind, get_args(ScopeKind), "scope", VariantError)
    if isinstance(scope.position, bool) or not isinstance(scope.position, int) or scope.position < 0:
        raise VariantError(f"{shown(scope.position)} is no position", "count from the prompt's first token, which is 0")
    if scope.position and scope.kind != "from":
        raise VariantError(f"a position is given with the scope {scope.kind}", 'give it with the scope "from"')
    if not (scope.role is None or isinstance(scope.role, str)):
        raise VariantError(f"{shown(scope.role)} is no role", 'give one, such as "user"')
    if (scope.kind == "role") != (scope.role is not None) or scope.role == "":
        raise VariantError("whose tokens are edited is not clear", 'give a role with the scope role, such as "user"')
    return scope


def told_scope(scope: EditScope) -> str:
    """A scope in words."""
    match scope.kind:
        case "all":
            return "all tokens"
        case "generated":
            return "generated tokens"
        case "from":
            return f"tokens from position {scope.position} on"
        case "role":
            return f"the tokens of {scope.role}"


def checked_lasting(lasting: str) -> Lasting:
    """See that it is said how long edits last.

    Raises:
        VariantError: If it is not.
    """
    check_name(lasting, get_args(Lasting), "lasting", VariantError)
    return "rest" if lasting == "rest" else "token"


def ember_interventions(edits: FeatureEdits) -> list[dict[str, Any]]:
    """Edits as interventions."""
    return [
        {
            "mode": _MODES[edit.mode],
            "features": _group([edit.name], edit.label or ""),
            "value": edit.value,
            "unit": edit.unit,
        }
        for edit in edits
    ]


def ember_conditional(condition: Condition) -> dict[str, Any]:
    """A condition as a group of conditionals, with groups in it where it is nested; a negation is carried inwards."""
    shape = _conditional(condition, negated=False)
    return shape if "conditionals" in shape else {"conditionals": [shape], "operator": "AND"}


def _conditional(condition: Condition, *, negated: bool) -> dict[str, Any]:
    match condition:
        case Threshold():
            compared = _OPPOSITE[condition.compared] if negated else condition.compared
            return {"left_hand": _group(condition.features), "right_hand": condition.value, "operator": compared}
        case Not():
            return _conditional(condition.part, negated=not negated)
        case AllOf() | AnyOf():
            is_and = isinstance(condition, AllOf) != negated
            parts = [_conditional(part, negated=negated) for part in condition.parts]
            return {"conditionals": parts, "operator": "AND" if is_and else "OR"}
        case _:
            raise VariantError(f"{shown(condition)} is no condition", "compare a feature with a number")


def _group(names: Sequence[FeatureName], label: str = "") -> dict[str, Any]:
    return {
        "features": [
            {
                "uuid": stable_uuid(feature_id(*name)),
                "label": label,
                "index_in_sae": name[1],
                "max_activation_strength": 1,
                "feature": feature_id(*name),
            }
            for name in names
        ]
    }
