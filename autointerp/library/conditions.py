"""Conditions on what features do at a token: `feature > 0.5`, and their alternatives, conjunctions and negations.

A condition keeps how it was put together, also through JSON: `(a > 1) & ((b > 2) | ~(c < 1))` comes back as that.
"""

import json
import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from numbers import Real
from typing import Any, NoReturn, TypeGuard

import numpy as np
from jaxtyping import Bool, Float32

from autointerp.errors import FilterError
from autointerp.identity import feature_id, parse_feature_id
from autointerp.store.known import as_float, shown

_MOST_LEVELS = 128
Compare = Callable[[Any, Any], Any]
OPERATORS: Mapping[str, Compare] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
FeatureName = tuple[str, int]
"""A feature's source and its index there."""
Activations = Mapping[FeatureName, Float32[np.ndarray, " token"]]
"""What features do on a text, by their names."""


class Comparable(ABC):
    """What has an activation: compared with a number it is a condition, with its like it is the same or not."""

    __slots__ = ()

    @abstractmethod
    def names(self) -> tuple[FeatureName, ...]:
        """The features whose activation, of several the largest, is compared."""

    @abstractmethod
    def is_same(self, other: object) -> bool:
        """Whether it is the same as something that is no number."""

    def __eq__(self, other: object) -> Any:
        return Threshold(self.names(), "==", as_float(other)) if _is_number(other) else self.is_same(other)

    def __ne__(self, other: object) -> Any:
        return Threshold(self.names(), "!=", as_float(other)) if _is_number(other) else not self.is_same(other)

    def __gt__(self, other: float) -> "Condition":
        return self._threshold(">", other)

    def __ge__(self, other: float) -> "Condition":
        return self._threshold(">=", other)

    def __lt__(self, other: float) -> "Condition":
        return self._threshold("<", other)

    def __le__(self, other: float) -> "Condition":
        return self._threshold("<=", other)

    def _threshold(self, compared: str, value: float) -> "Condition":
        if not _is_number(value):
            raise TypeError(f"a feature's activation is compared with a number, which {shown(value)} is not")
        return Threshold(self.names(), compared, as_float(value))


class Condition(ABC):
    """Something that holds at a token, or does not.

    Example:
        >>> river, ship = client.features.get(1), client.features.get(0)
        >>> (river > 0.5) & ~(ship > 0)
        planted@0-res-12:1 > 0.5 and not planted@0-res-12:0 > 0
    """

    n_levels: int = 1

    @abstractmethod
    def holds(self, activations: Activations) -> Bool[np.ndarray, " token"]:
        """At which tokens it holds.

        Args:
            activations: Of each feature that it is about, in the coder's own units.

        Raises:
            FilterError: If one of these features is not there.
        """

    @abstractmethod
    def names(self) -> tuple[FeatureName, ...]:
        """The features that it is about, each once, in the order in which they stand."""

    @abstractmethod
    def as_plain(self) -> dict[str, Any]:
        """What JSON can hold of it."""

    def to_json(self) -> str:
        """It as JSON."""
        return json.dumps(self.as_plain(), ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> "Condition":
        """Read what `to_json` wrote.

        Raises:
            FilterError: If it is no condition.
        """
        try:
            return _read(json.loads(text))
        except (ValueError, RecursionError) as error:
            raise FilterError(f"{shown(text)} is no condition", "give what `to_json` wrote") from error

    def __and__(self, other: "Condition") -> "Condition":
        return AllOf((self, other)) if isinstance(other, Condition) else NotImplemented

    def __or__(self, other: "Condition") -> "Condition":
        return AnyOf((self, other)) if isinstance(other, Condition) else NotImplemented

    def __invert__(self) -> "Condition":
        return Not(self)

    def __bool__(self) -> NoReturn:
        raise TypeError("a condition holds at some tokens and not at others: join conditions by &, | and ~")


@dataclass(frozen=True, slots=True, repr=False)
class Threshold(Condition):
    """The activation of one feature, or the largest of a group's, held against a number.

    Attributes:
        features: The features.
        compared: One of `OPERATORS`.
        value: In the coder's own units.
    """

    features: tuple[FeatureName, ...]
    compared: str
    value: float

    def __post_init__(self) -> None:
        if not self.features:
            raise FilterError("a condition on no feature holds nowhere", "name one")
        if not math.isfinite(self.value):
            raise FilterError(f"activations can't be held against {self.value:g}", "give a finite number")

    def __repr__(self) -> str:
        names = [feature_id(*name) for name in self.features]
        told = names[0] if len(names) == 1 else f"max({', '.join(names)})"
        return f"{told} {self.compared} {self.value:g}"

    def holds(self, activations: Activations) -> Bool[np.ndarray, " token"]:
        missing = [name for name in self.features if name not in activations]
        if missing:
            raise FilterError(f"nothing is known of what {feature_id(*missing[0])} does here", "inspect it too")
        largest = reduce(np.maximum, (activations[name] for name in self.features))
        with np.errstate(over="ignore"):  # what is beyond float32 is beyond every activation
            value = np.float32(self.value)
        found: Bool[np.ndarray, " token"] = OPERATORS[self.compared](largest, value)
        return found

    def names(self) -> tuple[FeatureName, ...]:
        return self.features

    def as_plain(self) -> dict[str, Any]:
        return {"features": [feature_id(*name) for name in self.features], "is": self.compared, "value": self.value}


@dataclass(frozen=True, slots=True, repr=False)
class AllOf(Condition):
    """Holds where each of its parts does."""

    parts: tuple[Condition, ...]
    n_levels: int = field(init=False, compare=False, default=1)

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_levels", _n_levels(self.parts))

    def __repr__(self) -> str:
        return " and ".join(map(_bracketed, self.parts))

    def holds(self, activations: Activations) -> Bool[np.ndarray, " token"]:
        found: Bool[np.ndarray, " token"] = np.logical_and.reduce([part.holds(activations) for part in self.parts])
        return found

    def names(self) -> tuple[FeatureName, ...]:
        return _names(self.parts)

    def as_plain(self) -> dict[str, Any]:
        return {"all": [part.as_plain() for part in self.parts]}


@dataclass(frozen=True, slots=True, repr=False)
class AnyOf(Condition):
    """Holds where one of its parts does."""

    parts: tuple[Condition, ...]
    n_levels: int = field(init=False, compare=False, default=1)

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_levels", _n_levels(self.parts))

    def __repr__(self) -> str:
        return " or ".join(map(_bracketed, self.parts))

    def holds(self, activations: Activations) -> Bool[np.ndarray, " token"]:
        found: Bool[np.ndarray, " token"] = np.logical_or.reduce([part.holds(activations) for part in self.parts])
        return found

    def names(self) -> tuple[FeatureName, ...]:
        return _names(self.parts)

    def as_plain(self) -> dict[str, Any]:
        return {"any": [part.as_plain() for part in self.parts]}


@dataclass(frozen=True, slots=True, repr=False)
class Not(Condition):
    """Holds where its part does not."""

    part: Condition
    n_levels: int = field(init=False, compare=False, default=1)

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_levels", _n_levels((self.part,)))

    def __repr__(self) -> str:
        return f"not {_bracketed(self.part)}"

    def holds(self, activations: Activations) -> Bool[np.ndarray, " token"]:
        return ~self.part.holds(activations)

    def names(self) -> tuple[FeatureName, ...]:
        return self.part.names()

    def as_plain(self) -> dict[str, Any]:
        return {"not": self.part.as_plain()}


def _n_levels(parts: tuple[Condition, ...]) -> int:
    """Levels of a condition that is put together of parts: it is gone through by functions that call themselves."""
    n = 1 + max((part.n_levels for part in parts), default=0)
    if n > _MOST_LEVELS:
        raise FilterError(
            f"a condition is nested more than {_MOST_LEVELS} deep", "join its parts in fewer groups, or compare a group"
        )
    return n


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool)


def _bracketed(part: Condition) -> str:
    return f"({part!r})" if isinstance(part, AllOf | AnyOf) else repr(part)


def _names(parts: tuple[Condition, ...]) -> tuple[FeatureName, ...]:
    return tuple(dict.fromkeys(name for part in parts for name in part.names()))


def _read(plain: Any) -> Condition:
    match plain:
        case {"all": [_, *_] as parts, **rest} if not rest:
            return AllOf(tuple(map(_read, parts)))
        case {"any": [_, *_] as parts, **rest} if not rest:
            return AnyOf(tuple(map(_read, parts)))
        case {"not": part, **rest} if not rest:
            return Not(_read(part))
        case {"features": [_, *_] as names, "is": str(compared), "value": int() | float() as value, **rest} if (
            not rest and compared in OPERATORS and not isinstance(value, bool)
        ):
            return Threshold(tuple(map(_name, names)), compared, as_float(value))
        case _:
            raise FilterError(f"{shown(plain)} is no condition", "give what `to_json` wrote")


def _name(text: Any) -> FeatureName:
    found = parse_feature_id(text)
    if found is None or found[0] is None:
        raise FilterError(f"{shown(text)} names no feature", "write it as model@source:index")
    return found[0], found[1]
