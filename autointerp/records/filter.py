"""Which features and which of their labels are meant: one filter for search, export and the command line.

Whoever takes a filter applies it before any limit, so that as many results come as were asked for, if so many pass.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from autointerp.errors import FilterError
from autointerp.records.labels import Explanation, Score
from autointerp.records.store import FeatureRecord


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
            object.__setattr__(self, "features", frozenset(map(int, self.features)))
        for scorer, least in self.min_score.items():
            if not 0 <= least <= 1:
                raise FilterError(f"no score of {scorer!r} can be {least:g}", "give a number from 0 to 1")
        for name, share in (("min_density", self.min_density), ("max_density", self.max_density)):
            if not 0 <= share <= 1:
                raise FilterError(f"{name} = {share:g} is no share of tokens", "give a number from 0 to 1")
        if self.min_density > self.max_density:
            raise FilterError("min_density is above max_density", "exchange them")
        if self.labelled is False and self.asks_for_label:
            raise FilterError("features without a label have no score and no explainer", "leave one of them out")

    @property
    def asks_for_label(self) -> bool:
        """Whether only features with a label can pass."""
        return bool(self.labelled or self.min_score or self.explainer is not None)

    def check_scorers(self, known: Collection[str]) -> None:
        """Make sure that some label can pass.

        Args:
            known: Scorers by which labels have scores.

        Raises:
            FilterError: If a score is asked for that no label has.
        """
        unknown = sorted(set(self.min_score) - set(known))
        if unknown:
            scorers = ", ".join(known) or "none yet"
            raise FilterError(f"no label has a score of {unknown[0]!r}", f"scorers are {scorers}")

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


EVERY_FEATURE = FeatureFilter()
"""The filter that all pass."""
