"""Records of the store and of search: sources, features, neighbors, hits."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from autointerp.records.labels import FollowingToken, TokenCount, TokenLogit

FeatureStatus = Literal["ok", "dead", "dense", "few_contexts"]


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A row of `sources`.

    Attributes:
        source_id: `model@source`.
        model: The subject, as the pipeline names it.
        hook: The hook point.
        coder: The coder's folder, or `release/sae_id`.
        n_features: Features of the coder.
        corpus: Kind and place of the text, with its digest.
        n_tokens: Counted tokens.
        no_logits: Why no feature of the source has logits; None where they have, and in a store of before.
    """

    source_id: str
    model: str
    hook: str
    coder: str
    n_features: int
    corpus: str
    n_tokens: int
    no_logits: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
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
        top_tokens: The tokens it fires on most, and the most telling of the others (`collect.tokens.keep_listed`), most
            often first.
        top_tokens_n_missed: The most by which the count of one of them can be too low; 0 where they are exact.
        following_tokens: The tokens that follow its sampled peaks, most often first.
        n_sampled_peaks: Its peaks in the uniform sample of blocks where it fires, one a block.
        n_followed_peaks: Of these, the peaks that a counted token follows.
        top_logits: The tokens whose logits it raises most, highest first; empty where the source has no logits.
        bottom_logits: The tokens whose logits it lowers most, lowest first.
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
    top_tokens_n_missed: int = 0
    following_tokens: tuple[FollowingToken, ...] = ()
    n_sampled_peaks: int = 0
    n_followed_peaks: int = 0
    top_logits: tuple[TokenLogit, ...] = ()
    bottom_logits: tuple[TokenLogit, ...] = ()

    def __repr__(self) -> str:
        return (
            f"<FeatureRecord {self.source_id}:{self.feature_index} ({self.status}), density {self.density:.3g}, "
            f"mean {self.mean_activation:.3g}, max {self.max_activation:.3g}>"
        )


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A feature close to another, in one named space (`label`, `decoder` or `coactivation`)."""

    feature_index: int
    space: str
    similarity: float


def fires_on(tokens: Sequence[str]) -> str:
    """What is told of a feature in place of a label."""
    told = ", ".join(json.dumps(token, ensure_ascii=False) for token in tokens)
    return f"(fires on {told})" if told else "(no label)"


@dataclass(frozen=True, slots=True, repr=False)
class SearchHit:
    """A labelled feature found by search, neighbors or reranking.

    Attributes:
        source_id: `model@source`.
        feature_index: The feature.
        label: Its label.
        explanation_id: The explanation the label is from.
        relevance: Of the query, larger is closer; what it measures stands in the function's docstring.
        density: Share of counted tokens on which the feature fires.
        scores: Value of each scorer on this explanation, by name.
        explainer: The explainer that the label is of; empty where there is no label.
        intervals: Ends of the 95 % interval of each score, by the scorer's name.
        n_alike: Other features that a search compared and whose labels say the same or nearly the same; of a very large
            run those among the labels close to the query. None where they were not counted.
        tokens: Of a feature without a label, the tokens on which it fires most above chance.
    """

    source_id: str
    feature_index: int
    label: str
    explanation_id: str
    relevance: float
    density: float
    scores: Mapping[str, float] = field(default_factory=dict)
    explainer: str = ""
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    n_alike: int | None = None
    tokens: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """Its label; where it has none, in brackets on what it fires."""
        return self.label or fires_on(self.tokens)

    def __repr__(self) -> str:
        scores = "".join(f", {name} {value:.2f}" for name, value in self.scores.items())
        scores += f", {self.n_alike} alike" if self.n_alike else ""
        return (
            f"<SearchHit {self.source_id}:{self.feature_index} {self.label!r}, relevance {self.relevance:.2f}, "
            f"density {self.density:.3g}{scores}>"
        )
