"""What is done to features: how strongly, in which unit, and whether it is added or set.

| mode | what it does to a feature's activation at a token |
|---|---|
| `add` | raises it by the strength, whatever it is; below zero it lowers it |
| `pin` | sets it to the strength, whatever the model gives it |

| unit | what a strength of 1 is |
|---|---|
| `dose` | what moves the next token by one nat of KL at the 95th percentile of tokens (`records.dose`) |
| `max` | the feature's largest activation in the corpus |
| `activation` | one, in the coder's own units |
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Literal, Self, get_args

from autointerp.errors import VariantError
from autointerp.identity import feature_id, parse_feature_id, stable_uuid
from autointerp.records.live import EditMode, FeatureName
from autointerp.store.known import as_float, check_name, shown

StrengthUnit = Literal["dose", "max", "activation"]
_KEYS = frozenset({"feature_id", "feature_label", "index_in_sae", "value", "mode", "unit", "feature"})
LARGEST: Mapping[str, float] = {"dose": 20.0, "max": 100.0, "activation": 1e6}
"""The largest strength in each unit, on either side of zero: beyond it nothing of the model is left."""


@dataclass(frozen=True, slots=True, repr=False)
class FeatureEdit:
    """What is done to one feature.

    Attributes:
        source_id: The feature's source; its model alone, where that has one source only.
        index: The feature's index there.
        value: The strength.
        mode: `add` or `pin`.
        unit: What a strength of 1 is.
        label: The feature's, as far as it is known.

    Example:
        >>> autointerp.FeatureEdit("planted@0-res-12", 1, 3.0, "pin", "max")
        planted@0-res-12:1 = 3 max
    """

    source_id: str
    index: int
    value: float
    mode: EditMode = "add"
    unit: StrengthUnit = "dose"
    label: str | None = None

    @property
    def name(self) -> FeatureName:
        """The feature's source and index."""
        return self.source_id, self.index

    def as_plain(self) -> dict[str, Any]:
        """What JSON can hold of it, by the names of Ember's client and with ours besides."""
        name = feature_id(*self.name)
        return {
            "feature_id": stable_uuid(name),
            "feature_label": self.label or "",
            "index_in_sae": self.index,
            "value": self.value,
            "mode": self.mode,
            "unit": self.unit,
            "feature": name,
        }

    def __repr__(self) -> str:
        sign = "+" if self.mode == "add" and self.value >= 0 else "-" if self.mode == "add" else "="
        value = abs(self.value) if self.mode == "add" else self.value
        label = "" if self.label is None else f" {self.label!r}"
        return f"{feature_id(*self.name)}{label} {sign} {value:g} {self.unit}"


class FeatureEdits:
    """Edits of features, each feature's once: the later edit takes the place of the one before.

    Args:
        edits: In order.

    Example:
        >>> edits = client.variant().set(client.features.get(1), 2.0, unit="max").edits
        >>> edits
        <FeatureEdits planted@0-res-12:1 'river' + 2 max>
        >>> len(edits), (edits * 0.5)[0].value
        (1, 1.0)
    """

    def __init__(self, edits: Iterable[FeatureEdit] = ()) -> None:
        self._edits: dict[FeatureName, FeatureEdit] = {}
        for edit in edits:
            self.set(edit)

    def set(self, edit: FeatureEdit) -> None:
        """Take an edit in; one of the same feature goes.

        Raises:
            VariantError: If its strength is no number, or absurd, or its mode or unit is unknown.

        Example:
            >>> edits = autointerp.FeatureEdits()
            >>> edits.set(autointerp.FeatureEdit("planted@0-res-12", 1, 0.5))
            >>> edits
            <FeatureEdits planted@0-res-12:1 + 0.5 dose>
        """
        if not isinstance(edit, FeatureEdit):
            raise VariantError(f"{shown(edit)} is no edit of a feature", "use variant.set(feature, value)")
        self._edits[edit.name] = replace(edit, value=check_strength(edit.value, edit.mode, edit.unit))

    def remove(self, feature: Any) -> None:
        """Take out what is done to a feature, or to those of a group; nothing happens where nothing is.

        Args:
            feature: A `Feature`, a group, or the source and index of one.

        Example:
            >>> edits = client.variant().set(1, 0.5, unit="max").edits
            >>> edits.remove(client.features.get(1))
            >>> len(edits)
            0
        """
        for name in feature.names() if hasattr(feature, "names") else [feature]:
            self._edits.pop(name, None)

    def reset(self) -> None:
        """Take out all.

        Example:
            >>> edits = client.variant().set(1, 0.5, unit="max").edits
            >>> edits.reset()
            >>> edits
            <FeatureEdits of no feature>
        """
        self._edits.clear()

    def rescale(self, total: float = 1.0) -> Self:
        """The same edits, scaled so that the larger of what is added and what is taken away is `total` together.

        Raises:
            VariantError: If they are of several units, or one is a pin: a sum of these means nothing; or `total` is no
                number.

        Example:
            >>> edits = client.variant().set({1: 3.0, 7: 1.0}, unit="max").edits
            >>> [edit.value for edit in edits.rescale()]
            [0.75, 0.25]
        """
        if not isinstance(total, Real) or isinstance(total, bool):
            raise VariantError(f"edits can't be rescaled to {shown(total)}", "give a number, such as 0.5")
        if len({edit.unit for edit in self}) > 1 or any(edit.mode == "pin" for edit in self):
            raise VariantError("edits of several units, or pins, have no sum", "rescale those of one unit that add")
        largest = max((abs(sum(v for v in self._values() if v * sign > 0)) for sign in (1, -1)), default=0.0)
        return self * (total / largest) if largest else self

    def _values(self) -> list[float]:
        return [edit.value for edit in self]

    @property
    def names(self) -> tuple[FeatureName, ...]:
        """Source and index of each feature."""
        return tuple(self._edits)

    def as_plain(self) -> list[dict[str, Any]]:
        """What JSON can hold of them.

        Example:
            >>> client.variant().set(1, 0.5).edits.as_plain()[0]["feature"]
            'planted@0-res-12:1'
        """
        return [edit.as_plain() for edit in self]

    @classmethod
    def of_plain(cls, plain: Iterable[Mapping[str, Any]], base: str) -> Self:
        """Read what `as_plain` gave, or what Ember's client writes.

        Args:
            plain: A row an edit.
            base: Whose features they are, where they do not say.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: If it is something else.
            VariantError: If a strength, mode or unit makes no sense.

        Example:
            >>> edits = client.variant().set(1, 0.5).edits
            >>> autointerp.FeatureEdits.of_plain(edits.as_plain(), "planted") == edits
            True
        """
        edits = []
        for row in plain:
            known_keys(row, _KEYS)
            source, index = parse_feature_id(row["feature"] if "feature" in row else row["index_in_sae"]) or ("", -1)
            if index < 0:
                raise ValueError(f"{shown(row)} names no feature")
            edits.append(
                FeatureEdit(
                    source or base,
                    index,
                    row["value"],
                    row.get("mode", "add"),
                    row.get("unit", "dose"),
                    row.get("feature_label") or None,
                )
            )
        return cls(edits)

    def __mul__(self, factor: float) -> Self:
        if not isinstance(factor, Real) or isinstance(factor, bool):
            raise VariantError(f"edits can't be multiplied by {shown(factor)}", "give a number, such as 0.5")
        return type(self)(replace(edit, value=edit.value * factor) for edit in self)

    __rmul__ = __mul__

    def __getitem__(self, place: int) -> FeatureEdit:
        return list(self)[place]

    def __iter__(self) -> Iterator[FeatureEdit]:
        return iter(list(self._edits.values()))

    def __len__(self) -> int:
        return len(self._edits)

    def __contains__(self, feature: Any) -> bool:
        return feature.names()[0] in self._edits if hasattr(feature, "names") else feature in self._edits

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FeatureEdits) and list(self) == list(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"<FeatureEdits {'; '.join(map(repr, self)) or 'of no feature'}>"


def known_keys(row: Mapping[str, Any], known: frozenset[str]) -> None:
    """See that a row of JSON has no key that nobody reads: it may be a misspelt one.

    Raises:
        ValueError: If it has.
    """
    if unknown := [key for key in row if key not in known]:
        raise ValueError(f"nobody knows {shown(unknown[0])}")


def check_strength(value: object, mode: object, unit: object) -> float:
    """See that a strength is a number that leaves something of the model.

    Raises:
        VariantError: If it is none, or the mode or unit is unknown.
    """
    check_name(str(mode), get_args(EditMode), "mode", VariantError)
    check_name(str(unit), tuple(LARGEST), "unit", VariantError)
    if not isinstance(value, Real) or isinstance(value, bool):
        raise VariantError(f"{shown(value)} is no strength", "give a number, such as 0.5")
    number = as_float(value)
    largest = LARGEST[str(unit)]
    if not math.isfinite(number) or abs(number) > largest:
        raise VariantError(
            f"a strength of {number:g} {unit} is absurd", f"give one from {-largest:g} to {largest:g} in this unit"
        )
    return number
