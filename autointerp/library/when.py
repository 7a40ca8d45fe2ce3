"""What a variant does where a condition holds: edits, an end, or an event."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from autointerp.errors import VariantError
from autointerp.library.conditions import Condition
from autointerp.library.feature_edits import FeatureEdits, known_keys
from autointerp.library.variant_shapes import (
    Lasting,
    checked_lasting,
    ember_conditional,
    ember_interventions,
)


@dataclass(frozen=True, slots=True)
class ChatEvent:
    """A condition that held while an answer was generated, as its handler is told of it.

    Attributes:
        name: Of the event.
        condition: What held.
        position: Of the token at which it held, counted from the prompt's first.
        activations: Of the condition's features at that token, before it was edited, by `model@source:index`.
        prompt: The messages.
        response_so_far: What was generated up to there.
    """

    name: str
    condition: str
    position: int
    activations: Mapping[str, float]
    prompt: Sequence[Mapping[str, Any]]
    response_so_far: str


_MOST_LEVELS = 32
_NESTED_KEYS = frozenset({"base_model", "edits", "scopes", "scope"})
_KEYS = frozenset({"condition", "nested_variant", "lasting", "event_name", "aborts"})
Handler = Callable[[ChatEvent], Any]
"""Is told of an event; gives edits to be made from there on (`FeatureEdits`, or strengths by features), or None."""


@dataclass(frozen=True, slots=True, repr=False)
class When:
    """What a variant does where a condition holds.

    Attributes:
        condition: The condition.
        edits: Made where it holds.
        lasting: From the first token where it holds to the end (`rest`), or where it holds only (`token`).
        event_name: What the event is called; None where only edits are made.
        aborts: Whether it ends the answer.
        handler: Is told of the event; None where nobody is.
        inner: Done from the first token where the condition holds on, where conditions of their own hold; where
            `lasting` is `token`, at such tokens where both do.
    """

    condition: Condition
    edits: FeatureEdits = field(default_factory=FeatureEdits)
    lasting: Lasting = "rest"
    event_name: str | None = None
    aborts: bool = False
    handler: Handler | None = field(default=None, compare=False)
    inner: "tuple[When, ...]" = ()

    def __post_init__(self) -> None:
        if self.n_levels > _MOST_LEVELS:
            raise VariantError(f"scopes are nested more than {_MOST_LEVELS} deep", "join their conditions by &")

    @property
    def n_levels(self) -> int:
        """Levels of scopes in scopes."""
        return 1 + max((when.n_levels for when in self.inner), default=0)

    def all(self) -> "Iterator[When]":
        """It, and those in it."""
        yield self
        for when in self.inner:
            yield from when.all()

    def sequential(self) -> "Iterator[When]":
        """The same, where only what lasts to the end has others in it.

        What holds at single tokens, with something else in it, holds where both conditions do.
        """
        if self.lasting == "rest":
            yield replace(self, inner=tuple(each for when in self.inner for each in when.sequential()))
            return
        if self.edits or self.event_name is not None:
            yield replace(self, inner=())
        for when in self.inner:
            yield from replace(when, condition=self.condition & when.condition).sequential()

    def without_events(self) -> "When | None":
        """It, without what only tells of an event; None where nothing remains."""
        if self.event_name is not None:
            return None
        kept = tuple(of for when in self.inner if (of := when.without_events()) is not None)
        return replace(self, inner=kept) if self.edits or kept else None

    def as_plain(self, base: str) -> dict[str, Any]:
        """What JSON can hold of it.

        Args:
            base: The variant's base model.
        """
        return {
            "condition": self.condition.as_plain(),
            "nested_variant": {
                "base_model": base,
                "edits": self.edits.as_plain(),
                "scopes": [when.as_plain(base) for when in self.inner],
            },
            "lasting": self.lasting,
            "event_name": self.event_name,
            "aborts": self.aborts,
        }

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any], base: str) -> Self:
        """Read what `as_plain` gave.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: If it is something else.
            FilterError: If its condition is none.
            VariantError: If an edit makes no sense.
        """
        name = plain.get("event_name")
        if not (name is None or isinstance(name, str)):
            raise TypeError("an event's name is a text")
        aborts = plain.get("aborts", False)
        if not isinstance(aborts, bool):
            raise TypeError("whether it aborts is true or false")
        known_keys(plain, _KEYS)
        return cls(
            Condition.from_json(json.dumps(plain["condition"])),
            FeatureEdits.of_plain(plain["nested_variant"]["edits"], base),
            checked_lasting(plain.get("lasting", "rest")),
            name,
            aborts,
            inner=cls._nested(plain["nested_variant"], base),
        )

    @classmethod
    def _nested(cls, plain: Mapping[str, Any], base: str) -> "tuple[Self, ...]":
        known_keys(plain, _NESTED_KEYS)
        if plain.get("scope", {}).get("kind", "all") != "all":
            raise ValueError("what is done where a condition holds has no other scope")
        return tuple(each for row in plain.get("scopes", ()) for each in cls.of_plain(row, base).apart())

    def apart(self) -> "list[Self]":
        """It, its edits apart from its event: in Ember's shape one scope can have both."""
        if not (self.edits or self.inner) or self.event_name is None:
            return [self]
        return [replace(self, edits=FeatureEdits(), inner=()), replace(self, event_name=None, aborts=False)]

    def as_ember(self) -> dict[str, Any]:
        """It as a scope of Ember's controller."""
        return {
            "conditionals": ember_conditional(self.condition),
            "condition": self.condition.as_plain(),
            "controller": {
                "interventions": ember_interventions(self.edits),
                "scopes": [when.as_ember() for when in self.inner],
            },
            "is_active": False,
            "event_name": self.event_name,
            "lasting": self.lasting,
            "aborts": self.aborts,
        }

    def __repr__(self) -> str:
        if self.aborts:
            return f"when {self.condition}, abort"
        if self.event_name is not None:
            return f"when {self.condition}, event {self.event_name!r}"
        lasting = "to the end" if self.lasting == "rest" else "there"
        inner = [f"({when!r})" for when in self.inner]
        return f"when {self.condition}, {lasting}: {'; '.join([*map(repr, self.edits), *inner])}"
