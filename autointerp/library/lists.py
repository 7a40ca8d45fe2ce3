"""Lists of features: `client.lists`."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from autointerp.errors import UnknownNoteError
from autointerp.identity import feature_id, parse_feature_id
from autointerp.library.backend import Backend
from autointerp.library.conditions import FeatureName
from autointerp.library.feature import FeatureGroup
from autointerp.library.names import AnyFeature, Names, SomeFeatures, by_source
from autointerp.records.notes import ListedFeature, ListFacts
from autointerp.store.known import shown
from autointerp.text_table import table

if TYPE_CHECKING:
    from datetime import datetime

    from autointerp.store.notes.notes import Notes

Lookup = Callable[[SomeFeatures], FeatureGroup]


class FeatureList:
    """A list of features with a name, a description and a text to try them on. It is kept beside a run.

    Args:
        facts: What was said of it when it was read.
        home: Where it is kept.
        runs: Whose features it may have.
        lookup: Finds them.

    Example:
        >>> water = client.lists.new("Water", "what is wet", test_text="a ship on the river")
        >>> water.add(client.features.lookup([0, 1]))
        >>> water
        <FeatureList 'Water' of 2 features>
        >>> [feature.label for feature in water.features]
        ['ship', 'river']
        >>> water.delete()
    """

    def __init__(self, facts: ListFacts, home: "Notes", runs: Sequence[Backend], lookup: Lookup) -> None:
        self._facts = facts
        self._home = home
        self._runs = runs
        self._names = Names(runs)
        self._lookup = lookup

    @property
    def id(self) -> str:
        """Its UUID."""
        return self._facts.list_id

    @property
    def name(self) -> str:
        """Its name."""
        return self._facts.name

    @property
    def description(self) -> str:
        """What it is of."""
        return self._facts.description

    @property
    def test_text(self) -> str:
        """A text to try its features on."""
        return self._facts.test_text

    @property
    def created_at(self) -> "datetime":
        """When it was begun, in UTC."""
        return self._facts.created_at

    @property
    def changed_at(self) -> "datetime":
        """When anything about it was changed, in UTC."""
        return self._facts.changed_at

    @property
    def items(self) -> list[ListedFeature]:
        """Its features by name, with why each is there, in its order; also those of sources that are not open here."""
        return self._home.listed(self.id)

    @property
    def features(self) -> FeatureGroup:
        """Its features, in its order, as far as their sources are open here."""
        return self.known(self.items)

    def known(self, items: Sequence[ListedFeature]) -> FeatureGroup:
        """Some of its items as features, as far as their sources are open here, and have so many features."""
        return known_features(self._runs, ((of.source_id, of.feature_index) for of in items), self._lookup)

    def add(self, features: AnyFeature | SomeFeatures, note: str = "", source: str | None = None) -> None:
        """Put features at its end; one that is in it already stays where it is.

        Args:
            features: One, or several.
            note: Why they are there.
            source: Their source, where they don't name it; the only one where None.

        Raises:
            UnknownFeatureError: If there is no such feature.
            NoteError: If the list would have too many, or the run's folder can't be written.
        """
        self._add([(of, note) for of in self._names.all(features, source)])

    def add_with_notes(self, features: Iterable[tuple[AnyFeature, str]]) -> None:
        """As `add`, each with a note of its own."""
        named, notes = zip(*features, strict=True)
        self._add(list(zip(self._names.all(list(named)), notes, strict=True)))

    def _add(self, features: Sequence[tuple[tuple[Backend, str, int], str]]) -> None:
        for run, of, indices in by_source(named for named, _ in features):
            run.describe(indices, of)  # tells of one that is not there
        items = [ListedFeature(of, index, note) for (_, of, index), note in features]
        self._facts = self._home.add_to_list(self.id, items)

    def remove(self, features: AnyFeature | SomeFeatures, source: str | None = None) -> None:
        """Take features out, if they are in it; arguments and errors are those of `add`."""
        self._facts = self._home.remove_from_list(self.id, self._listed_names(features, source))

    def order(self, features: SomeFeatures, source: str | None = None) -> None:
        """Put its features into another order.

        Args:
            features: All of them, each once.
            source: Their source, where they don't name it; the only one where None.

        Raises:
            NoteError: If they are others.
        """
        self._facts = self._home.order_list(self.id, self._listed_names(features, source))

    def move(self, feature: AnyFeature, by: int, source: str | None = None) -> None:
        """Move one feature up or down.

        Args:
            feature: Which.
            by: Places towards the end; negative towards the beginning. It stops at either.
            source: Its source, where nothing names it; the only one where None.

        Raises:
            UnknownNoteError: If it isn't in the list.
            NoteError: If the list is changed by others meanwhile.
        """
        (name,) = self._listed_names(feature, source)
        order = [(of.source_id, of.feature_index) for of in self.items]
        if name not in order:
            raise UnknownNoteError(f"the list has no feature {shown(feature_id(*name))}", "look at its items")
        place = order.index(name)
        order.insert(min(max(place + by, 0), len(order) - 1), order.pop(place))
        self._facts = self._home.order_list(self.id, order)

    def _listed_names(self, features: AnyFeature | SomeFeatures, source: str | None) -> list[FeatureName]:
        """Sources and indices; of what is named whole also where its source is not open here."""
        some = [features] if isinstance(features, str) or not isinstance(features, Iterable) else list(features)
        whole = [parse_feature_id(of.strip()) if isinstance(of, str) and source is None else None for of in some]
        listed = {(of.source_id, of.feature_index) for of in self.items}
        return [
            (known[0], known[1])
            if known is not None and known[0] is not None and known in listed
            else self._names.one(of, source)[1:]
            for of, known in zip(some, whole, strict=True)
        ]

    def change(self, name: str | None = None, description: str | None = None, test_text: str | None = None) -> None:
        """Change what is said of it; what is None stays.

        Raises:
            NoteError: If a text is empty where it may not be, too long, or has control characters.
        """
        self._facts = self._home.change_list(self.id, name, description, test_text)

    def delete(self) -> None:
        """Take the list away; its features stay."""
        self._home.delete_list(self.id)

    def __len__(self) -> int:
        return self._facts.n_features

    def __repr__(self) -> str:
        return f"<FeatureList {self.name!r} of {len(self):,} feature{'s' * (len(self) != 1)}>"


class Lists:
    """The lists beside some runs; a new one is kept beside the first.

    Args:
        runs: The runs.
        lookup: Finds features.

    Example:
        >>> client.lists
        <no lists>
    """

    def __init__(self, runs: Sequence[Backend], lookup: Lookup) -> None:
        self._runs = runs
        self._lookup = lookup

    def new(self, name: str, description: str = "", test_text: str = "") -> FeatureList:
        """Begin a list.

        Args:
            name: One line.
            description: What it is of.
            test_text: A text to try its features on.

        Raises:
            NoteError: If a text can't be kept, or the run's folder can't be written.

        Example:
            >>> client.lists.new("Water").delete()
        """
        home = self._runs[0].notes
        return self._of(home.new_list(name, description, test_text), home)

    def get(self, list_id: str) -> FeatureList:
        """A list by its id.

        Raises:
            UnknownNoteError: If there is none.

        Example:
            >>> water = client.lists.new("Water")
            >>> client.lists.get(water.id).name
            'Water'
            >>> water.delete()
        """
        for run in self._runs:
            try:
                return self._of(run.notes.list_facts(list_id), run.notes)
            except UnknownNoteError:
                continue
        raise UnknownNoteError(f"there is no list {shown(list_id)} here", "look at client.lists")

    def __iter__(self) -> Iterator[FeatureList]:
        found = [(facts, run.notes) for run in self._runs for facts in run.notes.lists()]
        return iter([self._of(*of) for of in sorted(found, key=lambda of: of[0].changed_at, reverse=True)])

    def __len__(self) -> int:
        return sum(len(run.notes.lists()) for run in self._runs)

    def __repr__(self) -> str:
        rows = [[of.id, of.name, f"{len(of):,}", f"{of.changed_at:%Y-%m-%d %H:%M}"] for of in self]
        return "\n".join(table(["id", "name", "features", "changed"], rows, left=(0, 1))) if rows else "<no lists>"

    def _of(self, facts: ListFacts, home: "Notes") -> FeatureList:
        return FeatureList(facts, home, self._runs, self._lookup)


def starred(runs: Sequence[Backend], lookup: Lookup) -> FeatureGroup:
    """Features with a star, the last one first; those that are not there any more are left out."""
    stars = sorted((star for run in runs for star in run.notes.stars()), key=lambda star: star.created_at, reverse=True)
    return known_features(runs, ((star.source_id, star.feature_index) for star in stars), lookup)


def known_features(runs: Sequence[Backend], named: Iterable[FeatureName], lookup: Lookup) -> FeatureGroup:
    """Features by source and index, as far as their sources are open here, and have so many."""
    n_features = {of.source_id: of.n_features for run in runs for of in run.sources()}
    return lookup([feature_id(*name) for name in named if name[1] < n_features.get(name[0], 0)])
