"""Records of the subject answering now: what it does on a text, and what is done to it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64

EditMode = Literal["add", "pin"]
ScopeKind = Literal["all", "generated", "from", "role"]
FeatureName = tuple[str, int]
"""A feature's source and its index there."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TextFirings:
    """What the features of one source do on one text that the subject was run on, sparse.

    Attributes:
        source_id: `model@source`.
        n_features: Of the source.
        token_ids: The text's tokens, without the special tokens that stood around what was read at once; may be none.
        tokens: Their pieces; joined without a separator they are the text as the subject read it.
        counted: Where a token counts: nothing is read at special tokens that the text itself holds.
        windows: Where each piece of the text begins that was read at once; from 0, ascending. The first tokens of a
            later one see nothing of what stands before it.
        token: Place of each firing in the text, ascending.
        feature: Feature of each firing, ascending within a token.
        activation: In the coder's own units, not 0. Not finite where the subject's or the coder's numbers overflow.
        roles: Whose words each token is of, where the text was a conversation; None for what the template adds, and as
            a whole for a plain text.
    """

    source_id: str
    n_features: int
    token_ids: Int32[np.ndarray, " token"]
    tokens: tuple[str, ...]
    counted: Bool[np.ndarray, " token"]
    windows: tuple[int, ...]
    token: Int32[np.ndarray, " firing"]
    feature: Int32[np.ndarray, " firing"]
    activation: Float32[np.ndarray, " firing"]
    roles: tuple[str | None, ...] | None = None

    @property
    def n_counted(self) -> int:
        """Tokens that count."""
        return int(self.counted.sum())

    def __repr__(self) -> str:
        n_counted = self.n_counted
        apart = "" if n_counted == len(self.tokens) else f", {len(self.tokens) - n_counted} of them special"
        windows = "" if len(self.windows) < 2 else f", read in {len(self.windows)} windows that don't see each other"
        return (
            f"<TextFirings of {self.source_id}: {len(self.activation):,} firings of {len(np.unique(self.feature)):,} "
            f"features on {len(self.tokens):,} tokens{apart}{windows}>"
        )


@dataclass(frozen=True, slots=True, eq=False)
class ActivationHistograms:
    """How active some features of one source are over its corpus, each in bins.

    Attributes:
        n_tokens: Counted tokens of the corpus.
        feature_index: The features, ascending.
        n_active: Tokens on which each fires.
        max_activation: Its largest activation; 0 of one that never fires.
        counts: Its activations above 0 in each bin.
        edges: Of the bins, shared by all; the first and the last bin are open-ended.
    """

    n_tokens: int
    feature_index: Int64[np.ndarray, " feature"]
    n_active: Int64[np.ndarray, " feature"]
    max_activation: Float64[np.ndarray, " feature"]
    counts: Int64[np.ndarray, "feature bin"]
    edges: Float64[np.ndarray, " edge"]


@dataclass(frozen=True, slots=True)
class TokenActivations:
    """One feature on one text that the subject was run on.

    Attributes:
        token_ids: The text's tokens, without the special tokens that stood around it.
        tokens: Their pieces; joined without a separator they are the text as the subject read it.
        activations: The feature's activation at each token, >= 0; 0 where a token does not count.
    """

    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]
    activations: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Edit:
    """What is done to one feature at every token that is edited.

    Attributes:
        feature_index: The feature.
        mode: `add` raises its activation by `value`, `pin` sets it to `value`, whatever the subject gives it.
        value: In the coder's own units; may be below zero.
    """

    feature_index: int
    mode: EditMode
    value: float


@dataclass(frozen=True, slots=True, eq=False)
class Push:
    """What is added at every token that is edited, along a direction that need be no feature's: a control.

    Attributes:
        vector: Added where the coder writes, times `value`; scaled as the features are of a coder that normalises what
            it reads.
        value: In lengths of the vector.
    """

    vector: Float32[np.ndarray, " d_out"]
    value: float = 1.0


@dataclass(frozen=True, slots=True)
class SourceEdits:
    """Edits where one source writes.

    Attributes:
        source_id: `model@source`.
        edits: Those of one feature add up, except that of several pins the last counts.
    """

    source_id: str
    edits: tuple[Edit | Push, ...]


@dataclass(frozen=True, slots=True)
class EditScope:
    """Which tokens are edited; special tokens are, as others, where they lie in it.

    Attributes:
        kind: `all` tokens, those that are `generated`, those `from` a position on, or those of messages of one `role`.
        position: The first that is edited, counted from the prompt's first token; of `from`.
        role: Whose words are edited, of `role`; what is generated is of the role `assistant`.

    Example:
        >>> variant = client.variant().set(1, 0.5)
        >>> variant.scope = autointerp.EditScope("role", role="user")
        >>> variant.scope = autointerp.EditScope("from", position=3)
        >>> variant
        Variant of planted@0-res-12, at tokens from position 3 on
          planted@0-res-12:1 'river' + 0.5 dose
    """

    kind: ScopeKind = "all"
    position: int = 0
    role: str | None = None


EVERY_TOKEN = EditScope()


@dataclass(frozen=True, slots=True)
class TokenChange:
    """A token, and by how many nats an edit raises its log-probability as the next one."""

    token_id: int
    token: str
    change: float


@dataclass(frozen=True, slots=True)
class Effect:
    """What an edit does to the next token, on the mean of some prompts.

    Attributes:
        promoted: The tokens whose log-probability it raises most, most first.
        suppressed: Those whose it lowers most, most first.
        kl: KL(edited || plain), in nats.
    """

    promoted: tuple[TokenChange, ...]
    suppressed: tuple[TokenChange, ...]
    kl: float
