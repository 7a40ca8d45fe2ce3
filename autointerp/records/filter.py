"""Which features and which of their labels are meant: one filter for search, export and the command line.

Whoever takes a filter applies it before any limit, so that as many results come as were asked for, if so many pass.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Real

from autointerp.errors import FilterError
from autointerp.identity import read_index
from autointerp.records.labels import Explanation, Score
from autointerp.records.store import FeatureRecord


@dataclass(frozen=True, slots=True)
class KnownNames:
    """The names that a filter can ask for.

    Attributes:
        n_features: Features of each source, by its id.
        scorers: Scorers by which labels have scores.
        explainers: Explainers that labels are of.
    """

    n_features: Mapping[str, int]
    scorers: Collection[str]
    explainers: Collection[str]


@dataclass(frozen=True, slots=True)
class FeatureFilter:
    """What features and labels must have; all of it at once, and by default nothing.

    Attributes:
        sources: Only features of these sources, each `model@source`; None for all.
        features: Only features of these indices, in any source; None for all.
        min_score: Least value by scorer, for example `{"detection": 0.8}`; labels without this score don't pass.
        min_density: Least share of tokens on which the feature fires.
        max_density: Largest share.
        explainer: Only labels of this explainer; None for all.
        labelled: True for features with a label only, False for those without one only; None for both.

    Raises:
        FilterError: If a number is no share, or if two wishes exclude each other.

    Example:
        >>> good = autointerp.FeatureFilter(min_score={"detection": 0.8}, max_density=0.05)
        >>> [hit.label for hit in client.run.search("river", 1, good)]
        ['river']
    """

    sources: Collection[str] | None = None
    features: Collection[int] | None = None
    min_score: Mapping[str, float] = field(default_factory=dict)
    min_density: float = 0.0
    max_density: float = 1.0
    explainer: str | None = None
    labelled: bool | None = None

    def __post_init__(self) -> None:
        if isinstance(self.sources, str):
            raise FilterError(f"sources = {self.sources!r} is one text, not several", "put it into a list")
        if self.sources is not None:
            object.__setattr__(self, "sources", frozenset(self.sources))
        if self.features is not None:
            object.__setattr__(self, "features", frozenset(map(_index, self.features)))
        if not isinstance(self.min_score, Mapping):
            raise FilterError(f"min_score = {self.min_score!r} names no scorer", "write it as {'detection': 0.8}")
        for scorer, least in self.min_score.items():
            if not _is_share(least):
                raise FilterError(f"no score of {scorer!r} can be {least!r}", "give a number from 0 to 1")
        for name, share in (("min_density", self.min_density), ("max_density", self.max_density)):
            if not _is_share(share):
                raise FilterError(f"{name} = {share!r} is no share of tokens", "give a number from 0 to 1")
        if self.min_density > self.max_density:
            raise FilterError("min_density is above max_density", "exchange them")
        if self.labelled is False and self.asks_for_label:
            raise FilterError("features without a label have no score and no explainer", "leave one of them out")

    @property
    def asks_for_label(self) -> bool:
        """Whether only features with a label can pass."""
        return bool(self.labelled or self.min_score or self.explainer is not None)

    def check(self, known: KnownNames) -> None:
        """Make sure that the names it asks for exist, since a misspelt one would let nothing pass.

        Args:
            known: The names that there are.

        Raises:
            FilterError: If a source, feature, scorer or explainer is asked for that there is none of.
        """
        for source in sorted(map(str, (self.sources or set()) - known.n_features.keys())):
            raise FilterError(f"there is no source {source!r}", f"sources are {_listed(known.n_features)}")
        widths = [n for source, n in known.n_features.items() if self.sources is None or source in self.sources]
        for feature in sorted(self.features or ()):
            if widths and not 0 <= feature < max(widths):
                raise FilterError(f"there is no feature {feature}", f"features are 0 to {max(widths) - 1}")
        for scorer in sorted(set(self.min_score) - set(known.scorers)):
            raise FilterError(f"no label has a score of {scorer!r}", f"scorers are {_listed(known.scorers)}")
        if self.explainer is not None and self.explainer not in known.explainers:
            raise FilterError(
                f"no label is of the explainer {self.explainer!r}", f"explainers are {_listed(known.explainers)}"
            )

    def admits(self, feature: FeatureRecord, explanation: Explanation | None, scores: Iterable[Score]) -> bool:
        """Whether one label of a feature passes; or the feature itself, where it has none.

        Args:
            feature: The feature.
            explanation: The label; None for a feature without any.
            scores: Current scores of this label.
        """
        if self.sources is not None and feature.source_id not in self.sources:
            return False
        if self.features is not None and feature.feature_index not in self.features:
            return False
        if not self.min_density <= feature.density <= self.max_density:
            return False
        if explanation is None:
            return not self.asks_for_label
        if self.labelled is False or self.explainer not in (None, explanation.explainer):
            return False
        value_of = {score.scorer: score.value for score in scores}
        return all(scorer in value_of and value_of[scorer] >= least for scorer, least in self.min_score.items())


def _is_share(value: object) -> bool:
    return isinstance(value, Real) and 0 <= float(value) <= 1


def _index(value: object) -> int:
    index = read_index(value)
    if index is None:
        raise FilterError(f"{value!r} is no index of a feature", "give whole numbers; `sources` says of which source")
    return index


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "none yet"


EVERY_FEATURE = FeatureFilter()
"""The filter that all pass."""
