"""Records of the store and of search: sources, features, neighbours, hits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from autointerp.records.labels import TokenCount

FeatureStatus = Literal["ok", "dead", "dense", "few_contexts"]


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A row of `sources`."""

    source_id: str
    model: str
    hook: str
    coder: str
    n_features: int
    corpus: str
    n_tokens: int


@dataclass(frozen=True, slots=True)
class FeatureRecord:
    """A row of `features`.

    Attributes:
        source_id: `model@source`.
        feature_index: The feature.
        n_active: Counted tokens on which it fires.
        density: `n_active` over the counted tokens of the corpus.
        max_activation: Largest activation.
        mean_activation: Mean over the tokens on which it fires; 0 for a dead feature.
        histogram: Counts of activations above zero by power-of-two bin.
        status: `ok`; `dead`, it never fires; `dense`, it fires nearly always; `few_contexts`, too few to score.
        top_tokens: The tokens it fires on most.
    """

    source_id: str
    feature_index: int
    n_active: int
    density: float
    max_activation: float
    mean_activation: float
    histogram: tuple[int, ...]
    status: FeatureStatus
    top_tokens: tuple[TokenCount, ...] = ()


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A feature close to another, in one named space (`label`, `decoder` or `coactivation`)."""

    feature_index: int
    space: str
    similarity: float


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A labelled feature found by search, neighbours or reranking.

    Attributes:
        source_id: `model@source`.
        feature_index: The feature.
        label: Its label.
        explanation_id: The explanation the label is from.
        relevance: Of the query, larger is closer; what it measures stands in the function's docstring.
        density: Share of counted tokens on which the feature fires.
        scores: Value of each scorer on this explanation, by name.
    """

    source_id: str
    feature_index: int
    label: str
    explanation_id: str
    relevance: float
    density: float
    scores: Mapping[str, float] = field(default_factory=dict)
