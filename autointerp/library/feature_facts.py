"""What is known of a feature, without anything that could ask for more: what travels, and what tables show."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from autointerp.identity import feature_id, stable_uuid
from autointerp.records.store import fires_on
from autointerp.text_table import number, percent


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class FeatureFacts:
    """A feature with its best label, that label's scores, and how sure they are.

    Attributes:
        source_id: Its source, `model@source`.
        index: Its index there.
        label: Its best label; None where it has none.
        explanation_id: Of that label.
        explainer: Who wrote it.
        scores: The label's value by each scorer, in [0, 1].
        intervals: The 95 % interval of each.
        density: Share of the corpus's tokens on which it fires.
        relevance: To the query, or similarity to the feature, that found it; None where it was looked up.
        n_alike: Other features whose label is the same, or nearly; None where nobody counted.
        run: The run that says so, as it was opened.
        tokens: Where it has no label, the tokens on which it fires most above chance.
    """

    source_id: str
    index: int
    label: str | None
    explanation_id: str | None
    explainer: str | None
    scores: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    density: float
    relevance: float | None
    n_alike: int | None
    run: str
    tokens: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Its name, `model@source:index`, as on Neuronpedia."""
        return feature_id(self.source_id, self.index)

    @property
    def uuid(self) -> str:
        """The UUID of its name, the same on every machine."""
        return stable_uuid(self.id)

    @property
    def index_in_sae(self) -> int:
        """Its index, by the name that Ember's client has for it."""
        return self.index

    @property
    def told(self) -> str:
        """Its label; where it has none, in brackets on what it fires.

        Example:
            >>> client.features.get(1).told
            'river'
            >>> client.features.get(3).told
            '(no label)'
        """
        return fires_on(self.tokens) if self.label is None else self.label

    def as_plain(self) -> dict[str, Any]:
        """What JSON can hold of it.

        Example:
            >>> client.features.get(1).as_plain()["label"]
            'river'
        """
        return {
            "id": self.id,
            "uuid": self.uuid,
            "source_id": self.source_id,
            "index": self.index,
            "label": self.label,
            "explanation_id": self.explanation_id,
            "explainer": self.explainer,
            "scores": dict(self.scores),
            "intervals": {name: list(interval) for name, interval in self.intervals.items()},
            "density": None if np.isnan(self.density) else self.density,
            "relevance": self.relevance,
            "n_alike": self.n_alike,
            "tokens": list(self.tokens),
            "run": self.run,
        }

    def __repr__(self) -> str:
        label = self.told if self.label is None else repr(self.label)
        scores = "".join(f", {name} {told_score(self, name)}" for name in self.scores)
        relevance = "" if self.relevance is None else f", relevance {number(self.relevance)}"
        return f"<Feature {self.id} {label}{scores}{relevance}, density {percent(self.density)}>"

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Read what `as_plain` gave.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: If it is something else.
        """
        said = {name: plain[name] for name in ("label", "explanation_id", "explainer", "relevance", "n_alike", "run")}
        return cls(
            source_id=str(plain["source_id"]),
            index=int(plain["index"]),
            scores={name: float(value) for name, value in plain["scores"].items()},
            intervals={name: (float(low), float(high)) for name, (low, high) in plain["intervals"].items()},
            density=float("nan") if plain["density"] is None else float(plain["density"]),
            tokens=tuple(map(str, plain["tokens"])),
            **said,
        )


def told_score(feature: FeatureFacts, scorer: str) -> str:
    """A label's score with its interval, as tables show it."""
    if scorer not in feature.scores:
        return "-"
    interval = feature.intervals.get(scorer)
    return number(feature.scores[scorer]) + (f" [{number(interval[0])} {number(interval[1])}]" if interval else "")
