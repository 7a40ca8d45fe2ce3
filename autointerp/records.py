"""The frozen records that cross from one stage to the next.

Words: a *block* is a fixed-length token sequence of one document of the corpus; a *context* is a window of a block
with one feature's activation at each token. Activations are in the coder's own units. Shapes are written in jaxtyping's
form: a name in a shape is an axis, the same name in one record is the same length. Index dtypes are int32 where a
model or a coder bounds them, int64 where the corpus does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64

Split = Literal["explain", "score"]
ContextKind = Literal["top", "quantile", "silent_random", "silent_similar", "silent_neighbour", "silent_token", "pool"]
ACTIVE_KINDS: frozenset[ContextKind] = frozenset({"top", "quantile"})
SILENT_KINDS: frozenset[ContextKind] = frozenset(
    {"silent_random", "silent_similar", "silent_neighbour", "silent_token"}
)
FeatureStatus = Literal["ok", "dead", "dense", "few_contexts"]

# --- corpus ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Document:
    """One text of the corpus; the unit by which contexts are split.

    Attributes:
        document_id: Stable and readable, for example `notes/a.txt` or `json.decoder:JSONDecoder.decode`.
        text: The text, never empty.
    """

    document_id: str
    text: str


@dataclass(frozen=True, slots=True)
class BlockShard:
    """A run of consecutive blocks: the unit of work of `collect`, and of its resuming.

    Attributes:
        shard_index: Position of the shard in the corpus.
        first_block: `block_index` of row 0; row i is block `first_block + i`.
        token_ids: Token of each position, padded on the right.
        n_tokens: Tokens in each block with its special tokens; positions from there on are padding.
        counted: True where a token counts in statistics: neither padding nor special (unless asked for).
        document_index: For each block, the place of its document in `document_ids`.
        document_ids: The documents of this shard.
    """

    shard_index: int
    first_block: int
    token_ids: Int32[np.ndarray, "block position"]
    n_tokens: Int32[np.ndarray, " block"]
    counted: Bool[np.ndarray, "block position"]
    document_index: Int32[np.ndarray, " block"]
    document_ids: tuple[str, ...]


# --- collect --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FeatureStatistics:
    """Exact sums over every counted token of the corpus.

    Attributes:
        n_tokens: Counted tokens.
        n_blocks: Blocks seen.
        n_active: Counted tokens on which each feature is above zero.
        n_active_blocks: Blocks in which each feature is above zero on some counted token.
        activation_sum: Sum of each feature's activations, in float64, added shard by shard in corpus order.
        max_activation: Largest activation; 0 for a feature that never fires.
        histogram: Counts of the activations above zero, in the bins of `bin_edges`.
        bin_edges: Shared by all features, powers of two, ascending; the first and the last bin are open-ended.
    """

    n_tokens: int
    n_blocks: int
    n_active: Int64[np.ndarray, " feature"]
    n_active_blocks: Int64[np.ndarray, " feature"]
    activation_sum: Float64[np.ndarray, " feature"]
    max_activation: Float32[np.ndarray, " feature"]
    histogram: Int64[np.ndarray, "feature bin"]
    bin_edges: Float64[np.ndarray, " edge"]


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """How often each feature fires on each token of the vocabulary, sparse, sorted by (feature, token_id).

    Attributes:
        feature: Feature of each pair.
        token_id: Token of each pair.
        n_active: Counted tokens of that id on which the feature fires, at least 1.
        activation_sum: Sum of the feature's activations on them.
    """

    feature: Int32[np.ndarray, " pair"]
    token_id: Int32[np.ndarray, " pair"]
    n_active: Int64[np.ndarray, " pair"]
    activation_sum: Float64[np.ndarray, " pair"]


@dataclass(frozen=True, slots=True)
class SampledWindows:
    """Chosen blocks of each feature, with the window around the block's peak; sorted by (feature, rank).

    For the top set the rank is by descending peak, ties by block; for the uniform set by ascending keyed hash, ties
    by block.

    Attributes:
        feature: Feature of each row.
        block_index: Block of each row.
        peak_position: First position of the block at which the feature is largest.
        peak: The feature's activation there, above 0.
        rank_key: The keyed hash by which a row of the uniform set was chosen; 0 in the top set.
        window_start: First position of the window.
        activations: The feature's activation at each position of the window; 0 past the block's end.
    """

    feature: Int32[np.ndarray, " row"]
    block_index: Int64[np.ndarray, " row"]
    peak_position: Int32[np.ndarray, " row"]
    peak: Float32[np.ndarray, " row"]
    rank_key: np.ndarray[tuple[int], np.dtype[np.uint64]]
    window_start: Int32[np.ndarray, " row"]
    activations: Float32[np.ndarray, "row offset"]


@dataclass(frozen=True, slots=True)
class Pool:
    """Every firing of every feature on a uniform sample of blocks, sparse by block.

    Attributes:
        block_index: The sampled blocks, ascending.
        offsets: Firings of sampled block i are rows `offsets[i]` to `offsets[i + 1]`, by (position, feature).
        feature: Feature of each firing.
        position: Position in its block.
        activation: Activation, above 0.
    """

    block_index: Int64[np.ndarray, " pool_block"]
    offsets: Int64[np.ndarray, " pool_offset"]
    feature: Int32[np.ndarray, " firing"]
    position: Int32[np.ndarray, " firing"]
    activation: Float32[np.ndarray, " firing"]


@dataclass(frozen=True, slots=True)
class Collected:
    """What one pass over the corpus keeps of one source.

    Attributes:
        statistics: Exact statistics.
        token_counts: Tokens each feature fires on.
        top: Each feature's blocks with the highest peaks.
        fired: A uniform sample of the blocks in which each feature fires.
        pool: A uniform sample of all blocks, with every firing. A uniform sample of the blocks where a feature is
            silent is drawn from it.
    """

    statistics: FeatureStatistics
    token_counts: TokenCounts
    top: SampledWindows
    fired: SampledWindows
    pool: Pool


# --- contexts -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Context:
    """A window of one block, with one feature's activation at each token.

    Attributes:
        context_id: UUID from the feature, kind, split, block and window.
        source_id: `model@source`.
        feature_index: The feature.
        kind: How it was chosen: `top` and `quantile` are active, `silent_…` silent on every token, `pool` either.
        split: `explain` contexts may be shown to explainers and set thresholds; `score` contexts only grade.
        tokens: Text pieces; joined without a separator they are the context's text.
        token_ids: The model's token ids, one a piece.
        activations: The feature's activation at each token, >= 0.
        max_activation: Largest of `activations`.
        peak: Offset of the first largest activation; 0 where silent.
        quantile: Activation quantile of the block's peak among the feature's firing blocks, 0 lowest; None where
            silent.
        document_id: Document of the block.
        block_index: Block of the corpus.
        start: Position of the first token in its block.
    """

    context_id: str
    source_id: str
    feature_index: int
    kind: ContextKind
    split: Split
    tokens: tuple[str, ...]
    token_ids: tuple[int, ...]
    activations: tuple[float, ...]
    max_activation: float
    peak: int
    quantile: int | None
    document_id: str
    block_index: int
    start: int

    @property
    def text(self) -> str:
        """The context's text, without leading or trailing space."""
        return "".join(self.tokens).strip()

    @property
    def is_active(self) -> bool:
        """Whether the feature fires anywhere in the context."""
        return self.max_activation > 0.0


@dataclass(frozen=True, slots=True)
class FeatureContexts:
    """All contexts of one feature.

    Attributes:
        source_id: `model@source`.
        feature_index: The feature.
        contexts: Active and silent contexts of both splits.
    """

    source_id: str
    feature_index: int
    contexts: tuple[Context, ...]

    def of(self, split: Split, *, active: bool) -> tuple[Context, ...]:
        """The contexts of one split in which the feature fires, or in which it is silent."""
        return tuple(c for c in self.contexts if c.split == split and c.is_active == active)


# --- explain and score ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TokenCount:
    """A token that a feature fires on: its text, on how many of them it fires, and how strongly on average."""

    token: str
    n_active: int
    mean_activation: float


@dataclass(frozen=True, slots=True)
class FeatureEvidence:
    """What an explainer may see of one feature: nothing of the score split.

    Attributes:
        source_id: `model@source`.
        feature_index: The feature.
        density: Share of counted tokens on which it fires.
        max_activation: Largest activation in the corpus.
        active: Explain contexts in which it fires.
        silent: Explain contexts in which it is silent.
        top_tokens: The tokens it fires on most, most often first.
    """

    source_id: str
    feature_index: int
    density: float
    max_activation: float
    active: tuple[Context, ...]
    silent: tuple[Context, ...]
    top_tokens: tuple[TokenCount, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """One label of one feature.

    Attributes:
        explanation_id: UUID from the feature and `fingerprint`.
        source_id: `model@source`.
        feature_index: The feature the label is about.
        label: The text.
        explainer: Name of the explainer, for example `keywords`; `shuffled` for the baseline.
        model: The language model's name, or `local`.
        prompt_sha256: Hash of the prompt's text; None for an explainer without a prompt.
        cost_usd: What it cost; None where the price is unknown; 0.0 where local.
        created_at: UTC.
        fingerprint: Of everything that decides the label.
        label_from: For the baseline, the feature whose label this is; None for a true label.
    """

    explanation_id: str
    source_id: str
    feature_index: int
    label: str
    explainer: str
    model: str
    prompt_sha256: str | None
    cost_usd: float | None
    created_at: datetime
    fingerprint: str
    label_from: int | None = None

    @property
    def is_baseline(self) -> bool:
        """Whether this is another feature's label, given to this one to see what chance scores."""
        return self.label_from is not None


@dataclass(frozen=True, slots=True)
class Trial:
    """One context put to a judge, and what came back.

    Attributes:
        explanation_id: The explanation on trial.
        scorer: `detection`, `fuzzing`, `embedding` or `recall`.
        judge: Name of the judge.
        context_id: The context.
        truth: What a perfect judge of a perfect label would say.
        verdict: What the judge said; None where it failed to answer, or only gives a probability or similarity.
        probability: The judge's probability, or the similarity, that the label describes the context; None where it
            gives none.
        marked: Offsets of the marked tokens (fuzzing); empty elsewhere.
        weight: 1 / probability with which the context was drawn (recall); 1 elsewhere.
        unanswered: Why there is no answer; None where there is one.
    """

    explanation_id: str
    scorer: str
    judge: str
    context_id: str
    truth: bool
    verdict: bool | None
    probability: float | None
    marked: tuple[int, ...] = ()
    weight: float = 1.0
    unanswered: str | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """One scorer's grade of one explanation.

    Attributes:
        explanation_id: The explanation.
        scorer: Name of the scorer.
        judge: Name of the judge.
        value: Headline in [0, 1]; what it is stands in `detail["metric"]`.
        ci_low: Lower end of the 95 % interval.
        ci_high: Upper end.
        n_trials: Contexts put to the judge.
        n_unanswered: Trials without an answer, part of `n_trials`, in no rate.
        detail: Further measures by name: numbers, or mappings of names to numbers; None for one that is undefined.
        fingerprint: Of everything that decides the score.
    """

    explanation_id: str
    scorer: str
    judge: str
    value: float
    ci_low: float
    ci_high: float
    n_trials: int
    n_unanswered: int
    detail: Mapping[str, Any]
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Graded:
    """What a scorer returns: the score, its trials, and contexts it drew itself (from the pool)."""

    score: Score
    trials: tuple[Trial, ...]
    contexts: tuple[Context, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """One feature for which one stage has no result.

    Attributes:
        stage: `contexts`, `explain`, `score:detection`, …
        source_id: `model@source`.
        feature_index: The feature.
        error_type: Short name in CamelCase, for example `TooFewContexts`, `Refusal`, `ParseFailure`.
        message: One line.
        raw: The judge's or the explainer's answer, where there was one.
        retry: Whether another run may fare better (a refusal, a timeout); False where it would only repeat itself.
        created_at: UTC.
        fingerprint: Of what was tried.
        explanation_id: The explanation, for a failure of `score`.
    """

    stage: str
    source_id: str
    feature_index: int
    error_type: str
    message: str
    raw: str | None
    retry: bool
    created_at: datetime
    fingerprint: str
    explanation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What one language-model call, or a sum of calls, used.

    Attributes:
        n_calls: Calls that were paid for.
        input_tokens: All input tokens, cached ones included.
        cached_input_tokens: Input tokens read from the provider's cache.
        output_tokens: Output tokens.
        cost_usd: None where a price is unknown.
    """

    n_calls: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        unknown = self.cost_usd is None or other.cost_usd is None
        return Usage(
            n_calls=self.n_calls + other.n_calls,
            input_tokens=self.input_tokens + other.input_tokens,
            cached_input_tokens=self.cached_input_tokens + other.cached_input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost_usd=None if unknown else (self.cost_usd or 0.0) + (other.cost_usd or 0.0),
        )


# --- store and search -----------------------------------------------------------------------------------------------


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
