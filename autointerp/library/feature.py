"""A feature as results show it, and groups of them.

Two features are equal where source and index are, wherever they came from; a feature or a group that is compared with a
number makes a condition (`library.conditions`).
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from autointerp.errors import FilterError, SearchError
from autointerp.library.backend import Backend
from autointerp.library.conditions import Comparable, Condition, FeatureName
from autointerp.library.feature_facts import FeatureFacts, told_score
from autointerp.library.html import features_html
from autointerp.library.noted import NotedFeature
from autointerp.library.percentiles import above_percentile
from autointerp.library.trials import EVERY_TRIAL, LabelTrials, TrialChoice
from autointerp.records import Context
from autointerp.store.known import shown
from autointerp.text_table import number, percent, shorten, table

if TYPE_CHECKING:
    import pandas as pd

    from autointerp.export.neuronpedia import FeatureLines
    from autointerp.library.feature_view import FeatureView

_SHOWN = 20
_CONTEXTS = 2


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Feature(FeatureFacts, Comparable, NotedFeature):
    """A feature with its best label, that label's scores, and how sure they are; its run tells more.

    Attributes:
        backend: The run; None where the feature was read from JSON.

    Example:
        >>> feature = client.features.get(1)
        >>> feature.id, feature.label
        ('planted@0-res-12:1', 'river')
        >>> feature.scores["detection"] > 0.9
        True
        >>> feature == client.features.search("river")[0]
        True
    """

    backend: Backend | None = None

    def view(self) -> "FeatureView":
        """All that the run knows of it: statistics, labels, scores, neighbors, failures.

        Example:
            >>> client.features.get(1).view().feature.status
            'ok'
        """
        return self._asked().feature(self.index, self.source_id)

    def contexts(self, n: int | None = None) -> list[Context]:
        """Contexts in which it fires, or was tried on, strongest first; see `Run.contexts`.

        Args:
            n: At most so many; all where None.

        Example:
            >>> strongest = client.features.get(1).contexts(1)[0]
            >>> strongest.tokens[strongest.peak]
            ' river'
        """
        return self._asked().contexts(self.index, n, source_id=self.source_id)

    def neuronpedia_lines(self) -> "FeatureLines":
        """It as the lines of an export for Neuronpedia say it.

        Example:
            >>> client.features.get(1).neuronpedia_lines().explanations[0]["description"]
            'river'
        """
        return self._asked().neuronpedia_lines(self.index, self.source_id)

    def trials(self, choice: TrialChoice = EVERY_TRIAL) -> Sequence[LabelTrials]:
        """What its labels were tried on: asked, answered and true.

        Args:
            choice: Only of a scorer, or only errors.

        Example:
            >>> tried = client.features.get(1).trials()[0]
            >>> tried.score.scorer, tried.n_right == tried.score.n_trials
            ('detection', True)
        """
        return self._asked().trials(self.index, choice, self.source_id)

    def _asked(self) -> Backend:
        if self.backend is None:
            raise SearchError(f"{self.id} was read from JSON, and belongs to no run", "look it up with a client")
        return self.backend

    def _repr_html_(self) -> str:
        return FeatureGroup([self])._repr_html_()

    def __hash__(self) -> int:
        return hash((self.source_id, self.index))

    def names(self) -> tuple[FeatureName, ...]:
        """What a condition on it is about.

        Example:
            >>> client.features.get(1).names()
            (('planted@0-res-12', 1),)
        """
        return ((self.source_id, self.index),)

    def above_percentile(self, percentile: float) -> Condition:
        """Holds where it is more active than a share of its own firings in the corpus.

        Args:
            percentile: That share, times 100.

        Raises:
            FilterError: If it is no percentile, or the feature fires nowhere in the corpus.

        Example:
            >>> client.features.get(1).above_percentile(99).names()
            (('planted@0-res-12', 1),)
        """
        return above_percentile([(self._asked(), self.names()[0])], percentile)

    def is_same(self, other: object) -> bool:
        """Whether it is the same feature, wherever both came from; `==` asks it."""
        return isinstance(other, Feature) and self.names() == other.names()

    def __or__(self, other: "Feature | FeatureGroup") -> "FeatureGroup":
        return FeatureGroup([self]) | other


class FeatureGroup(Comparable, Sequence[Feature]):
    """Features in an order, each once. Printed, it is a table of labels with scores; in a notebook, with contexts.

    A group that is compared with a number makes a condition on the largest activation among its features.

    Args:
        features: Its features; one that comes again counts once, where it came first.

    Example:
        >>> group = client.features.lookup([1, 7])
        >>> [feature.label for feature in group]
        ['river', 'piano']
        >>> [feature.index for feature in group | client.features.get(0)]
        [1, 7, 0]
        >>> [feature.index for feature in group & client.features.lookup([7, 9])]
        [7]
        >>> group[[1]][0].label, len(group[:1])
        ('piano', 1)
    """

    def __init__(self, features: Iterable[Feature] = ()) -> None:
        self._features: dict[Feature, Feature] = {}
        for feature in features:
            self.add(feature)

    def add(self, features: "Feature | FeatureGroup") -> None:
        """Add a feature, or those of a group, behind the others; what is there already stays where it is.

        Example:
            >>> group = client.features.lookup([1])
            >>> group.add(client.features.get(7))
            >>> len(group)
            2
        """
        for feature in features if isinstance(features, Iterable) and not isinstance(features, str) else [features]:
            if not isinstance(feature, Feature):
                raise SearchError(f"{shown(feature)} is no feature", "look it up: client.features.get(…)")
            self._features.setdefault(feature, feature)

    def pop(self, index: int = -1) -> Feature:
        """Take out the feature at a place, and give it.

        Raises:
            IndexError: If there is none.

        Example:
            >>> group = client.features.lookup([1, 7])
            >>> group.pop(0).label, len(group)
            ('river', 1)
        """
        return self._features.pop(self._at(index))

    def pick(self, places: Iterable[int]) -> "FeatureGroup":
        """The features at some places, as a group of their own, in that order.

        Args:
            places: Counted from 0; or a mask, as of a data frame: True or False for each feature.

        Raises:
            IndexError: If there is no such place, or the mask is of another length.

        Example:
            >>> [feature.index for feature in client.features.lookup([0, 1, 7]).pick([2, 0])]
            [7, 0]
            >>> group = client.features.lookup([0, 1, 3])
            >>> len(group[group.to_pandas().detection > 0.5])
            2
        """
        some = list(places)
        if some and all(isinstance(place, bool | np.bool_) for place in some):
            if len(some) != len(self):
                raise IndexError(f"a mask of {len(some)} for a group of {len(self)} features")
            some = np.flatnonzero(some).tolist()
        return FeatureGroup(map(self._at, some))

    def _at(self, place: int) -> Feature:
        if not -len(self) <= place < len(self):
            raise IndexError(
                f"no place {place} in a group of {len(self)} features: a feature by its own index is"
                f" client.features.get({place})"
            )
        return list(self._features.values())[place]

    def union(self, other: "Feature | FeatureGroup") -> "FeatureGroup":
        """These, and behind them those of the other that are not among them; `|` does the same.

        Example:
            >>> len(client.features.lookup([0, 1]).union(client.features.lookup([1, 7])))
            3
        """
        return self | other

    def intersection(self, other: "Feature | FeatureGroup") -> "FeatureGroup":
        """These as far as they are among the other's; `&` does the same.

        Example:
            >>> len(client.features.lookup([0, 1]).intersection(client.features.lookup([1, 7])))
            1
        """
        return self & other

    def __or__(self, other: "Feature | FeatureGroup") -> "FeatureGroup":
        group = FeatureGroup(self)
        group.add(other)
        return group

    def __and__(self, other: "Feature | FeatureGroup") -> "FeatureGroup":
        among = FeatureGroup() | other
        return FeatureGroup(feature for feature in self if feature in among)

    @overload
    def __getitem__(self, place: int) -> Feature: ...
    @overload
    def __getitem__(self, place: slice | Iterable[int]) -> "FeatureGroup": ...
    def __getitem__(self, place: int | slice | Iterable[int]) -> "Feature | FeatureGroup":
        if isinstance(place, slice):
            return FeatureGroup(list(self._features.values())[place])
        return self._at(int(place)) if isinstance(place, int | np.integer) else self.pick(place)

    def __len__(self) -> int:
        return len(self._features)

    def __iter__(self) -> Iterator[Feature]:
        return iter(list(self._features.values()))

    def __contains__(self, feature: object) -> bool:
        return isinstance(feature, Feature) and feature in self._features

    def names(self) -> tuple[FeatureName, ...]:
        """What a condition on it is about: of its features' activations the largest.

        Example:
            >>> client.features.lookup([1]).names()
            (('planted@0-res-12', 1),)
        """
        return tuple((feature.source_id, feature.index) for feature in self)

    def above_percentile(self, percentile: float) -> Condition:
        """Holds where one of its features is more active than a share of that feature's own firings.

        Args:
            percentile: As of `Feature.above_percentile`.

        Raises:
            FilterError: As there, and if the group is empty.

        Example:
            >>> client.features.lookup([1, 7]).above_percentile(99).names()
            (('planted@0-res-12', 1), ('planted@0-res-12', 7))
        """
        if not self:
            raise FilterError("a condition on no feature holds nowhere", "name one")
        return above_percentile([(feature._asked(), feature.names()[0]) for feature in self], percentile)

    def is_same(self, other: object) -> bool:
        """Whether it has the same features in the same order; `==` asks it."""
        return isinstance(other, FeatureGroup) and self.names() == other.names()

    @property
    def scorers(self) -> list[str]:
        """The scorers by which any of its labels has a score, ascending.

        Example:
            >>> client.features.lookup([1]).scorers
            ['detection', 'embedding', 'fuzzing', 'recall']
        """
        return sorted({scorer for feature in self for scorer in feature.scores})

    def strongest(self, n_features: int, n_contexts: int) -> dict[Feature, list[Context]]:
        """Contexts in which the first features fire, strongest first; of those that were read from JSON none.

        Args:
            n_features: Of so many features.
            n_contexts: So many of each.

        Example:
            >>> group = client.features.lookup([1, 7])
            >>> len(group.strongest(2, 3)[group[0]])
            3
        """
        asked: dict[tuple[Backend, str], list[Feature]] = {}
        for feature in self[:n_features]:
            if feature.backend is not None:
                asked.setdefault((feature.backend, feature.source_id), []).append(feature)
        return {
            feature: found[feature.index]
            for (run, source), features in asked.items()
            for found in [run.strongest([feature.index for feature in features], source, n_contexts)]
            for feature in features
            if feature.index in found
        }

    def to_pandas(self) -> "pd.DataFrame":
        """A row a feature, with `NAME`, `NAME_ci_low` and `NAME_ci_high` for each scorer.

        Example:
            >>> client.features.lookup([1, 7]).to_pandas()[["index", "label"]].values.tolist()
            [[1, 'river'], [7, 'piano']]
        """
        import pandas as pd  # slow to import

        rows = []
        for feature in self:
            row = feature.as_plain()
            scores, intervals = row.pop("scores"), row.pop("intervals")
            for scorer in self.scorers:
                low, high = intervals.get(scorer, (None, None))
                row |= {scorer: scores.get(scorer), f"{scorer}_ci_low": low, f"{scorer}_ci_high": high}
            rows.append(row)
        return pd.DataFrame(rows)

    def to_json(self) -> str:
        """The features as a JSON array, labels and scores among it.

        Example:
            >>> group = client.features.lookup([1, 7])
            >>> autointerp.FeatureGroup.from_json(group.to_json()) == group
            True
        """
        return json.dumps([feature.as_plain() for feature in self], ensure_ascii=False)

    @staticmethod
    def from_json(text: str | Sequence[Any]) -> "FeatureGroup":
        """Read what `to_json` wrote. To look closer at a feature, look it up with a client.

        Args:
            text: That, or what JSON makes of it.

        Raises:
            SearchError: If it is no such text.
        """
        try:
            plains: Any = json.loads(text) if isinstance(text, str) else text
            return FeatureGroup(Feature.of_plain(plain) for plain in plains)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise SearchError(f"{shown(text)} is no group of features", "give what `to_json` wrote") from error

    def __repr__(self) -> str:
        if not self:
            return "<FeatureGroup of no feature>"
        several = len({feature.source_id for feature in self}) > 1
        found = any(feature.relevance is not None for feature in self)
        alike = any(feature.n_alike for feature in self)
        rows = []
        for feature in self[:_SHOWN]:
            row = [feature.id if several else str(feature.index), shorten(feature.told)]
            row += [number(feature.relevance)] if found else []
            row += [f"+{feature.n_alike}" if feature.n_alike else ""] if alike else []
            rows.append([*row, *(told_score(feature, name) for name in self.scorers), percent(feature.density)])
        header = ["feature", "label", *(["relevance"] if found else []), *(["alike"] if alike else [])]
        header += [*self.scorers, "density"]
        source = "" if several else f" of {self[0].source_id}"
        lines = [f"{len(self):,} feature{'s' * (len(self) > 1)}{source}", *table(header, rows, left=(0, 1))]
        return "\n".join([*lines, *([f"… and {len(self) - _SHOWN:,} more"] if len(self) > _SHOWN else [])])

    def _repr_html_(self) -> str:
        contexts = self.strongest(_SHOWN, _CONTEXTS)
        more = f"<p>… and {len(self) - _SHOWN:,} more</p>" if len(self) > _SHOWN else ""
        return features_html([(f, contexts.get(f, ())) for f in self[:_SHOWN]], self.scorers) + more
