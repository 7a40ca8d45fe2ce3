"""A variant of a model: edits of its features, everywhere or where a condition holds.

Names are those of Goodfire's Ember. What differs is said in docs/steer.md: strengths have a unit, what is added and
what is pinned have names of their own, and conditions keep their nesting.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Protocol, Self

from autointerp.errors import StoreError, VariantError, in_one_line
from autointerp.identity import feature_id
from autointerp.library.backend import Backend
from autointerp.library.conditions import Condition
from autointerp.library.edit_reader import EditReader
from autointerp.library.feature_edits import FeatureEdits, StrengthUnit, known_keys
from autointerp.library.names import AnyFeature, Names, SomeFeatures
from autointerp.library.variant_shapes import Lasting, checked_lasting, checked_scope, ember_interventions, told_scope
from autointerp.library.when import Handler, When
from autointerp.records.live import EVERY_TOKEN, EditMode, EditScope
from autointerp.store.known import shown

_KEYS = frozenset({"base_model", "edits", "scopes", "scope"})
Strengths = Mapping[Any, float] | FeatureEdits


class Base(Protocol):
    """What has runs: a client."""

    @property
    def runs(self) -> Sequence[Backend]: ...


class Variant:
    """A variant of a model.

    Attributes:
        edits: What is done to features at the tokens of its scope.
        whens: What is done where conditions hold.

    Args:
        base: A client, whose only source is meant; or the name of a source or a model.
        source: The client's source, where it has several.

    Raises:
        StoreError: If there is no such source, or several and none is named.

    Example:
        >>> variant = autointerp.Variant(client)
        >>> variant.set(client.features.get(1), 0.5)
        Variant of planted@0-res-12, at all tokens
          planted@0-res-12:1 'river' + 0.5 dose
    """

    def __init__(self, base: Base | str, source: str | None = None) -> None:
        if isinstance(base, str):
            if not base.strip() or source is not None:
                raise StoreError(f"{shown(base)} names no model", "name a source as model@source, or give a client")
            self._reader = EditReader(base, None)
        elif not hasattr(base, "runs"):
            raise StoreError(f"{shown(base)} is neither a model's name nor a client", "give autointerp.open(run)")
        else:
            names = Names(base.runs)
            self._reader = EditReader(names.one("0", source)[1], names)
        self.edits = FeatureEdits()
        self.whens: list[When] = []
        self._scope = EVERY_TOKEN

    @property
    def base_model(self) -> str:
        """The source whose model it is, `model@source`; or the model alone.

        Example:
            >>> client.variant().base_model
            'planted@0-res-12'
        """
        return self._reader.base_model

    @property
    def scope(self) -> EditScope:
        """The tokens that are edited: `all` of them, those `generated`, those `from` a position on, or one `role`'s.

        It is set to an `EditScope`, or to `"all"` or `"generated"`.

        Raises:
            VariantError: If it is set to something else.

        Example:
            >>> variant = client.variant()
            >>> variant.scope = "generated"
            >>> variant.scope = autointerp.EditScope("role", role="user")
            >>> variant
            Variant of planted@0-res-12, at the tokens of user
              nothing is edited
        """
        return self._scope

    @scope.setter
    def scope(self, scope: EditScope | str) -> None:
        self._scope = checked_scope(scope)

    def set(
        self,
        feature: AnyFeature | SomeFeatures | Mapping[Any, float] | FeatureEdits,
        value: float | None = None,
        *,
        mode: EditMode = "add",
        unit: StrengthUnit = "dose",
    ) -> Self:
        """Say what is done to a feature, to each of a group, or to those of a mapping; what was said of it before goes.

        Args:
            feature: A feature, a group, `{feature: strength}`, or edits as `AutoSteer` gives them.
            value: The strength; of edits and mappings none. None clears.
            mode: `add` to the activation, or `pin` it.
            unit: What a strength of 1 is; `library.feature_edits` has the table.

        Returns:
            The variant itself.

        Raises:
            UnknownFeatureError: If there is no such feature.
            VariantError: If a feature is of another model, or a strength is no number, or absurd.

        Example:
            >>> variant = client.variant()
            >>> variant.set(client.features.get(1), 2.0, unit="max").set({7: -0.5}).set(0, 3, mode="pin", unit="max")
            Variant of planted@0-res-12, at all tokens
              planted@0-res-12:1 'river' + 2 max
              planted@0-res-12:7 'piano' - 0.5 dose
              planted@0-res-12:0 'ship' = 3 max
        """
        for edit in self._reader.edits(feature, value, mode, unit):
            self.edits.set(edit)
        if value is None and not isinstance(feature, Mapping | FeatureEdits):
            self.clear(feature)
        return self

    def clear(self, feature: AnyFeature | SomeFeatures) -> Self:
        """Take back what is done to a feature, or to those of a group, everywhere; conditions stay.

        Returns:
            The variant itself.

        Example:
            >>> client.variant().set({1: 0.5, 7: 0.5}).clear(7).edits
            <FeatureEdits planted@0-res-12:1 'river' + 0.5 dose>
        """
        for of in self._reader.named(feature):
            self.edits.remove((of.source_id, of.index))
        return self

    def reset(self) -> Self:
        """Take back all: edits, conditions and the scope.

        Returns:
            The variant itself.

        Example:
            >>> client.variant().set(1, 0.5).reset()
            Variant of planted@0-res-12, at all tokens
              nothing is edited
        """
        self.edits.reset()
        self.whens.clear()
        self._scope = EVERY_TOKEN
        return self

    def set_when(
        self,
        condition: Condition,
        values: "Strengths | AnyFeature | SomeFeatures | Variant",
        value: float | None = None,
        *,
        mode: EditMode = "add",
        unit: StrengthUnit = "dose",
        lasting: Lasting = "rest",
    ) -> Self:
        """Edit features where a condition holds, whatever the scope.

        A condition is held against what features do at each token, the prompt's included, before that token is edited.

        Args:
            condition: Such as `feature > 0.5`; joined by `&`, `|` and `~`.
            values: Edits, `{feature: strength}`, or a feature or group whose strength is `value`; or a variant, whose
                edits are made and whose own conditions are held from there on.
            value: That strength.
            mode: As of `set`.
            unit: As of `set`.
            lasting: From the first token where it holds to the end (`rest`), or only where it holds (`token`).

        Returns:
            The variant itself.

        Raises:
            VariantError: If the condition is none, nothing is edited, or as of `set`.

        Example:
            >>> river, piano = client.features.get(1), client.features.get(7)
            >>> client.variant().set_when(river > 0.5, {piano: 2.0}, unit="max")
            Variant of planted@0-res-12, at all tokens
              nothing is edited
              when planted@0-res-12:1 > 0.5, to the end: planted@0-res-12:7 'piano' + 2 max
            >>> then = client.variant().set_when(piano > 1, {0: 1.0})
            >>> client.variant().set_when(river > 0.5, then).whens[0].inner
            (when planted@0-res-12:7 > 1, to the end: planted@0-res-12:0 'ship' + 1 dose,)
        """
        inner: tuple[When, ...] = ()
        if isinstance(values, Variant):
            inner, values = self._nested(values), values.edits
        edits = FeatureEdits(self._reader.edits(values, value, mode, unit))
        if not edits and not inner:
            raise VariantError("a condition is given, and no edit", "give {feature: strength}")
        return self._when(When(self._checked(condition), edits, checked_lasting(lasting), inner=inner))

    def abort_when(self, condition: Condition, *, name: str | None = None) -> Self:
        """End the answer where a condition holds: `create` raises `AbortError`, and a stream ends.

        Args:
            condition: As of `set_when`.
            name: What the event is called in a stream.

        Returns:
            The variant itself.

        Example:
            >>> client.variant().abort_when(client.features.get(1) > 0.5)
            Variant of planted@0-res-12, at all tokens
              nothing is edited
              when planted@0-res-12:1 > 0.5, abort
        """
        return self._when(When(self._checked(condition), event_name=_event(name), aborts=True))

    def handle_when(
        self,
        condition: Condition,
        handler: Handler | None,
        *,
        name: str | None = None,
        lasting: Lasting = "rest",
    ) -> Self:
        """Call something where a condition holds, and go on.

        Args:
            condition: As of `set_when`.
            handler: Gets a `ChatEvent`; the edits that it gives are made from there on. What it raises ends the answer,
                and is raised by `create`. None where the reply only tells of the event.
            name: What the event is called in the reply.
            lasting: Whether it is called once (`rest`), or wherever the condition holds, for edits there (`token`).

        Returns:
            The variant itself.

        Example:
            >>> client.variant().handle_when(client.features.get(1) > 0.5, print, name="river")
            Variant of planted@0-res-12, at all tokens
              nothing is edited
              when planted@0-res-12:1 > 0.5, event 'river'
        """
        if not (handler is None or callable(handler)):
            raise VariantError(f"{shown(handler)} can't be called", "give a function of one event")
        return self._when(
            When(self._checked(condition), lasting=checked_lasting(lasting), event_name=_event(name), handler=handler)
        )

    def json(self) -> dict[str, Any]:
        """The variant as JSON can hold it, by the names of Ember's client; handlers can't be in it, their events are.

        Example:
            >>> variant = client.variant().set(1, 0.5).abort_when(client.features.get(7) > 1)
            >>> autointerp.Variant.from_json(variant.json()).json() == variant.json()
            True
        """
        return {
            "base_model": self.base_model,
            "edits": self.edits.as_plain(),
            "scopes": [when.as_plain(self.base_model) for when in self.whens],
            "scope": asdict(self._scope),
        }

    @classmethod
    def from_json(cls, text: str | Mapping[str, Any], client: Base | None = None) -> Self:
        """Read what `json` gave, or its text.

        Args:
            text: That.
            client: Sees that its features are there; without one that is seen when it is used.

        Raises:
            VariantError: If it is something else.

        Example:
            >>> text = client.variant().set(1, 0.5).json()
            >>> autointerp.Variant.from_json(text, client).edits[0].label
            'river'
        """
        try:
            plain: Any = json.loads(text) if isinstance(text, str) else text
            known_keys(plain, _KEYS)
            if not isinstance(plain["base_model"], str):
                raise TypeError("a base model is a text")
            variant = cls(plain["base_model"])
            variant.edits = FeatureEdits.of_plain(plain["edits"], variant.base_model)
            for row in plain.get("scopes", ()):
                variant.whens += When.of_plain(row, variant.base_model).apart()
            variant._scope = checked_scope(EditScope(**plain.get("scope", {})))
        except VariantError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise VariantError(
                f"{shown(text)} is no variant ({in_one_line(error)})", "give what `json` gave"
            ) from error
        if client is not None:
            variant._reader = EditReader(variant.base_model, Names(client.runs))
        variant.edits = variant._seen(variant.edits)
        variant.whens = [variant._seen_when(when) for when in variant.whens]
        return variant

    @property
    def controller(self) -> dict[str, Any]:
        """The variant as Ember's client sends it with a request: interventions, and scopes with their conditions.

        A mode `nudge` is our `add`. Whatever that protocol has no word for stands beside, by names that its client does
        not read: `unit`, `condition` with its nesting, `lasting`, `aborts`, `edit_scope`.

        Example:
            >>> of = client.variant().set(client.features.get(1), 0.5).controller["interventions"][0]
            >>> of["mode"], of["value"], of["features"]["features"][0]["label"]
            ('nudge', 0.5, 'river')
        """
        return {
            "interventions": ember_interventions(self.edits),
            "scopes": [when.as_ember() for when in self.whens],
            "name": "variant",
            "nonzero_strength_threshold": None,
            "min_nudge_entropy": None,
            "max_nudge_entropy": None,
            "edit_scope": asdict(self._scope),
        }

    def _nested(self, variant: "Variant") -> tuple[When, ...]:
        """What another variant does where conditions hold."""
        if variant._scope != EVERY_TOKEN:
            raise VariantError(
                "a variant that is edited where a condition holds has a scope of its own", "let its scope be all tokens"
            )
        for when in (of for top in variant.whens for of in top.all()):
            self._checked(when.condition)
        return tuple(variant.whens)

    def _when(self, when: When) -> Self:
        self.whens.append(when)
        return self

    def _seen(self, edits: FeatureEdits) -> FeatureEdits:
        """Edits whose features are there, with their labels."""
        found = self._reader.named([feature_id(*name) for name in edits.names])
        return FeatureEdits(
            replace(edit, source_id=of.source_id, label=of.label or edit.label)
            for edit, of in zip(edits, found, strict=True)
        )

    def _seen_when(self, when: When) -> When:
        inner = tuple(map(self._seen_when, when.inner))
        return replace(when, condition=self._checked(when.condition), edits=self._seen(when.edits), inner=inner)

    def _checked(self, condition: Condition) -> Condition:
        if not isinstance(condition, Condition):
            raise VariantError(f"{shown(condition)} is no condition", "compare a feature with a number: feature > 0.5")
        self._reader.check(condition.names())
        return condition

    def __repr__(self) -> str:
        lines = [f"Variant of {self.base_model}, at {told_scope(self._scope)}"]
        lines += [repr(edit) for edit in self.edits] or ["nothing is edited"]
        lines += map(repr, self.whens)
        return "\n  ".join(lines)


def _event(name: str | None) -> str:
    if not (name is None or (isinstance(name, str) and name)):
        raise VariantError(f"{shown(name)} is no name of an event", "give a text, or none")
    return str(uuid.uuid4()) if name is None else name
