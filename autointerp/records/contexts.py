"""Records of contexts: windows of blocks with one feature's activations."""

from dataclasses import dataclass
from typing import Literal

Split = Literal["explain", "select", "score"]
ContextKind = Literal[
    "top",
    "quantile",
    "silent_peak",
    "silent_random",
    "silent_similar",
    "silent_neighbor",
    "silent_token",
    "silent_window",
    "pool",
    "generated",
    "effect",
]
ACTIVE_KINDS: frozenset[ContextKind] = frozenset({"top", "quantile"})
SILENT_KINDS: frozenset[ContextKind] = frozenset(
    {"silent_peak", "silent_random", "silent_similar", "silent_neighbor", "silent_token", "silent_window"}
)
MADE_KINDS: frozenset[ContextKind] = frozenset({"generated", "effect"})
"""Those that a scorer makes: they are windows of no block."""
SCORER_KINDS: frozenset[ContextKind] = MADE_KINDS | {"pool"}
"""Those that a scorer draws or makes; a feature's others are its own, whoever scores."""


@dataclass(frozen=True, slots=True, repr=False)
class Context:
    """A window of one block, with one feature's activation at each token.

    Attributes:
        context_id: UUID from the feature, kind, split, block and window.
        source_id: `model@source`.
        feature_index: The feature.
        kind: How it was chosen: `top` and `quantile` are active, `silent_…` silent on every token, `pool` either. Where
            a context is silent its whole block is, but for `silent_window`. `generated` is no window but a text that
            was made, with what the feature did on it; `effect` no text but the tokens that an edit promoted, and in
            place of activations by how many nats.
        split: `explain` contexts may be shown to explainers; `select` contexts only choose among
            labels; `score` contexts only grade. None for what the pass kept and no stage took.
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
        group_id: What its document belongs to (source file, package, conversation); itself where nothing is known.
        decoy: Offsets of tokens on which another feature fires and this one doesn't, alike in how they may be marked;
            empty where none was looked for or found.
    """

    context_id: str
    source_id: str
    feature_index: int
    kind: ContextKind
    split: Split | None
    tokens: tuple[str, ...]
    token_ids: tuple[int, ...]
    activations: tuple[float, ...]
    max_activation: float
    peak: int
    quantile: int | None
    document_id: str
    block_index: int
    start: int
    group_id: str = ""
    decoy: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.group_id:
            object.__setattr__(self, "group_id", self.document_id)

    def __repr__(self) -> str:
        split = f", {self.split}" if self.split else ""
        return (
            f"<Context of {self.source_id}:{self.feature_index} ({self.kind}{split}), "
            f"max {self.max_activation:.3g} at token {self.peak} of {len(self.tokens)}: {self.text!r}>"
        )

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
        contexts: Active and silent contexts of every split.
    """

    source_id: str
    feature_index: int
    contexts: tuple[Context, ...]

    def of(self, split: Split, *, active: bool) -> tuple[Context, ...]:
        """The contexts of one split in which the feature fires, or in which it is silent."""
        return tuple(c for c in self.contexts if c.split == split and c.is_active == active)
