"""A variant in the generator's terms: edits in the coder's own units, and rules."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

from autointerp.errors import UnknownFeatureError, UnknownSourceError, VariantError
from autointerp.identity import feature_id
from autointerp.library.backend import Backend
from autointerp.library.edit_reader import EditReader
from autointerp.library.feature_edits import FeatureEdits
from autointerp.library.names import Names
from autointerp.library.variant import Variant
from autointerp.library.variant_shapes import model_of
from autointerp.library.when import ChatEvent, When
from autointerp.live.generation.request import Abort, Event, Happening, Rule
from autointerp.records import SourceRecord
from autointerp.records.live import EVERY_TOKEN, Edit, EditScope, FeatureName, SourceEdits
from autointerp.store.known import shown

Model = Variant | str | None
Tell = Callable[[When, Happening], ChatEvent]
"""Makes what a handler is told of a condition that held."""


@dataclass(frozen=True)
class Ruled:
    """What is done where a condition holds, in the generator's terms.

    Attributes:
        when: That.
        edits: What edits are made there.
        inner: What is done from there on, where other conditions hold.
    """

    when: When
    edits: tuple[SourceEdits, ...]
    inner: "tuple[Ruled, ...]" = ()

    def all(self) -> "Iterator[Ruled]":
        """It, and those in it."""
        yield self
        for of in self.inner:
            yield from of.all()


@dataclass(frozen=True)
class Steering:
    """Which model answers, and what is done to it.

    Attributes:
        run: Whose model it is.
        source: One of its sources: the one that is meant where features are named by index.
        edits: At the tokens of the scope.
        scope: Those tokens.
        ruled: What is done where conditions hold.
        n_features: Features that are edited at the tokens of the scope.
    """

    run: Backend
    source: SourceRecord
    edits: tuple[SourceEdits, ...] = ()
    scope: EditScope = EVERY_TOKEN
    ruled: tuple[Ruled, ...] = ()
    n_features: int = 0

    @property
    def flat(self) -> list[Ruled]:
        """What is done where conditions hold, each before those in it: by their places rules are named."""
        return [of for top in self.ruled for of in top.all()]

    def check_text(self, source: str) -> None:
        """See that a text can be read so.

        Args:
            source: Whose features are read.

        Raises:
            VariantError: If that is of another model.
        """
        if model_of(source) != model_of(self.source.source_id):
            raise VariantError(
                f"features of {source} are read, and the variant is of {self.source.source_id}",
                "give a variant of the model that is read",
            )


class Steerer:
    """Reads models and variants for some runs.

    Args:
        runs: The runs.
    """

    def __init__(self, runs: Sequence[Backend]) -> None:
        self._runs = runs
        # Read once, and again for a name that is not among them: requests come by the second.
        self._known: Mapping[str, tuple[Backend, SourceRecord]] = {}
        self._units: dict[tuple[FeatureName, str], float] = {}

    def read(self, model: Model, *, tells_events: bool = True) -> Steering:
        """What a caller means by a model.

        Args:
            model: A variant; or the name of a source or of a model; None for the only one.
            tells_events: Whether conditions that end an answer, or are told of, are read.

        Raises:
            StoreError: If there is no such model, or several and none is named.
            UnknownFeatureError: If a feature of the variant is not there.
            VariantError: If the variant is of another model, or a strength can't be read in its unit.
        """
        if not isinstance(model, Variant):
            return Steering(*self._home(model))
        run, source = self._home(model.base_model)
        edits = self._checked(source.source_id, model.edits)
        tops = [of for when in model.whens for of in when.sequential()]
        if not tells_events:
            tops = [of for top in tops if (of := top.without_events()) is not None]
        flat = [of for top in tops for of in top.all()]
        for when in flat:
            for name in when.condition.names():
                self._check(source.source_id, name)
        of_whens = [self._checked(source.source_id, when.edits) for when in flat]
        activations = self._in_activations([edits, *of_whens])
        made = iter([_by_source(of, activations) for of in of_whens])

        def ruled(when: When) -> Ruled:
            return Ruled(when, next(made), tuple(map(ruled, when.inner)))

        return Steering(run, source, _by_source(edits, activations), model.scope, tuple(map(ruled, tops)), len(edits))

    def given(self, source: SourceRecord, edits: object) -> tuple[SourceEdits, ...] | None:
        """What a handler gave, in the generator's terms.

        Raises:
            As `read`.
        """
        if not isinstance(edits, Mapping | FeatureEdits):
            return None
        reader = EditReader(source.source_id, Names(self._runs))
        found = self._checked(source.source_id, FeatureEdits(reader.edits(edits, None, "add", "dose")))
        return _by_source(found, self._in_activations([found]))

    def _home(self, name: str | None) -> tuple[Backend, SourceRecord]:
        """The run and the source that a name means."""
        source = self._source(name)
        if source is None:
            self._known = _sources(self._runs)
            source = self._source(name)
        if source is None:
            told = "no model is named" if name is None else f"there is no model {shown(name)} here"
            models = dict.fromkeys(map(model_of, self._known))
            raise UnknownSourceError(told, f"models are {', '.join([*models, *self._known]) or 'none yet'}")
        return self._known[source]

    def _source(self, name: str | None) -> str | None:
        models = {model_of(source): source for source in reversed(list(self._known))}
        if name is None:
            return next(iter(self._known)) if len(models) == 1 else None
        return name if name in self._known else models.get(name)

    def _checked(self, base: str, edits: FeatureEdits) -> FeatureEdits:
        """Edits of features that are there, each with its source."""
        found = [replace(edit, source_id=edit.source_id if "@" in edit.source_id else base) for edit in edits]
        for edit in found:
            self._check(base, edit.name)
        return FeatureEdits(found)

    def _check(self, base: str, name: FeatureName) -> None:
        """See that a feature is there, and of the same model as a source."""
        source, index = name
        if model_of(source) != model_of(base):
            raise VariantError(
                f"a feature of {source} is named, and the variant is of {base}",
                "edit features of the variant's own model",
            )
        _, record = self._home(source)
        if not 0 <= index < record.n_features:
            raise UnknownFeatureError(
                f"{record.source_id} has no feature {index}", f"its features are 0 to {record.n_features - 1}"
            )

    def _in_activations(self, of_all: Iterable[FeatureEdits]) -> Mapping[tuple[FeatureName, str], float]:
        """What one unit of strength is in the coder's own units, by feature and unit."""
        wanted = {(edit.name, edit.unit) for edits in of_all for edit in edits}
        for unit, scale in (("max", _largest), ("dose", _doses)):
            missing: dict[str, list[int]] = {}
            for (source, index), of in sorted(wanted):
                if of == unit and ((source, index), unit) not in self._units:
                    missing.setdefault(source, []).append(index)
            for source, indices in missing.items():
                found = scale(self._home(source)[0], source, indices)
                self._units |= {((source, index), unit): value for index, value in found.items()}
        return self._units | {(name, unit): 1.0 for name, unit in wanted if unit == "activation"}


def _sources(runs: Sequence[Backend]) -> dict[str, tuple[Backend, SourceRecord]]:
    """The sources whose model can be run, with the run that tells of each: of several the first."""
    found: dict[str, tuple[Backend, SourceRecord]] = {}
    for run in (run for run in runs if run.can_run):
        for source in run.sources():
            found.setdefault(source.source_id, (run, source))
    return found


def rules(steerer: Steerer, steering: Steering, tell: Tell) -> tuple[Rule, ...]:
    """A variant's conditions as rules, each named by its place.

    Args:
        steerer: Reads what handlers give.
        steering: What is done.
        tell: Makes what handlers are told.
    """
    places = count()

    def rule(of: Ruled) -> Rule:
        condition, then = of.when.condition, _then(steerer, steering, of, str(next(places)), tell)
        return Rule(condition.names(), condition.holds, then, of.when.lasting, tuple(map(rule, of.inner)))

    return tuple(map(rule, steering.ruled))


def _then(
    steerer: Steerer, steering: Steering, of: Ruled, name: str, tell: Tell
) -> tuple[SourceEdits, ...] | Abort | Event:
    when, edits = of.when, of.edits
    if when.aborts:
        return Abort(name)
    if when.event_name is None:
        return edits
    handler = when.handler
    if handler is None:
        return Event(name)

    def ask(happening: Happening) -> tuple[SourceEdits, ...] | None:
        return steerer.given(steering.source, handler(tell(when, happening)))

    return Event(name, ask)


def _by_source(edits: FeatureEdits, units: Mapping[tuple[FeatureName, str], float]) -> tuple[SourceEdits, ...]:
    of_source: dict[str, list[Edit]] = {}
    for edit in edits:
        value = edit.value * units[edit.name, edit.unit]
        of_source.setdefault(edit.source_id, []).append(Edit(edit.index, edit.mode, value))
    return tuple(SourceEdits(source, tuple(of)) for source, of in of_source.items())


def _largest(run: Backend, source: str, indices: Sequence[int]) -> dict[int, float]:
    """Largest activation of features in the corpus."""
    found = run.activation_histograms(indices, source)
    largest = dict(zip(found.feature_index.tolist(), found.max_activation.tolist(), strict=True))
    if silent := [index for index in indices if not largest[index] > 0]:
        raise VariantError(
            f"{feature_id(source, silent[0])} fires nowhere in the corpus, so it has no largest activation",
            'give its strength in the unit "activation"',
        )
    return largest


def _doses(run: Backend, source: str, indices: Sequence[int]) -> dict[int, float]:
    """Activation that is added at a strength of 1, of features; found where nobody asked for it yet."""
    doses = run.doses(indices, source)
    for dose in doses:
        if dose.unit is None:
            raise VariantError(
                f"{feature_id(source, dose.feature_index)} has no dose ({dose.why})",
                'give its strength in the unit "max" or "activation"',
            )
    return {dose.feature_index: dose.unit for dose in doses if dose.unit is not None}
