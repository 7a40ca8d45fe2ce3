"""Records of what pushes one token: features, tokens and what remains unexplained."""

from dataclasses import dataclass
from typing import Literal, SupportsIndex

import numpy as np
from jaxtyping import Float64, Int32

Measure = Literal["log_prob", "logit", "difference"]


@dataclass(frozen=True, slots=True)
class AskedToken:
    """Which token of a text is asked about, and how.

    Attributes:
        index: Its place in the text, from the end where below 0; `last` for the last that is no special token and, in a
            conversation, of a message.
        instead_of: Another token, by its text or its id, that it is held against.
        measure: Where there is none: the token's log-probability, or its logit.
        n_removed: Firings, those with the largest gradient times activation, that are taken out one by one.
        n_steps: Of integrated gradients; 0 for none.
    """

    index: SupportsIndex | str = "last"
    instead_of: str | int | None = None
    measure: Literal["log_prob", "logit"] = "log_prob"
    n_removed: int = 0
    n_steps: int = 0


@dataclass(frozen=True, slots=True)
class Shares:
    """What of a measure comes from where, by one of the two ways of telling it.

    Attributes:
        features: All firings together.
        bias: What the coder writes where no feature fires, at the tokens that count.
        error: What is in the stream there and the coder does not write; of a transcoder its skip connection, too.
        special: All of the stream at tokens that don't count, on which no feature is read.
        rest: What does not go through the point where the coder writes; None where that can't be told.
    """

    features: float
    bias: float
    error: float
    special: float
    rest: float | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TokenAttribution:
    """What the features of one source do to one token's chance of being the next.

    Attributes:
        source_id: `model@source`.
        token_ids: The text's tokens before it, and the token itself, which is the last.
        tokens: Their pieces.
        roles: Whose words each is of; None of a plain text.
        instead_of: The token that it is held against, where the measure is `difference`; else None.
        instead_of_text: That token as it is shown; None likewise.
        measure: `log_prob`: of the token, in nats. `logit`: the token's less the mean of the vocabulary's.
            `difference`: the token's logit less that of `instead_of`: as their log-probabilities differ, too.
        value: Of the measure, plain.
        value_removed: Of the measure, where all features are taken out of the stream at all tokens at once.
        log_prob: The token's, plain, in nats.
        token: Place of each firing, ascending.
        feature: Feature of each firing, ascending within a token.
        activation: In the coder's own units.
        direct: What each does straight through the residual stream, to first order in the measure's logits and with the
            final norm's scale as it is; 0 at all tokens but the last before the one asked about.
        gradient: Gradient of the measure with respect to each activation, times the activation.
        integrated: Integrated gradient of each: along the way from no feature at all to all that there are, as much as
            each adds to the measure; nan where it was not asked for.
        removed: By how much the measure falls where this firing alone is taken out; nan where that was not tried.
        of_direct: Where the measure comes from by `direct`; None where `why_no_direct` is not.
        of_gradient: Where it comes from by `gradient`: without `rest`.
        n_steps: Of the integrated gradients; 0 where there are none.
        why_no_direct: Why there is no direct effect, and `direct` holds nan; None where there is.
    """

    source_id: str
    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]
    roles: tuple[str | None, ...] | None
    instead_of: int | None
    instead_of_text: str | None
    measure: Measure
    value: float
    value_removed: float
    log_prob: float
    token: Int32[np.ndarray, " firing"]
    feature: Int32[np.ndarray, " firing"]
    activation: Float64[np.ndarray, " firing"]
    direct: Float64[np.ndarray, " firing"]
    gradient: Float64[np.ndarray, " firing"]
    integrated: Float64[np.ndarray, " firing"]
    removed: Float64[np.ndarray, " firing"]
    of_direct: Shares | None
    of_gradient: Shares
    n_steps: int
    why_no_direct: str | None

    @property
    def completeness_gap(self) -> float | None:
        """What the measure falls by without any feature, less the sum of integrated gradients; None without these.

        With steps enough it is nought; what is left is what so few steps miss.
        """
        return self.value - self.value_removed - float(self.integrated.sum()) if self.n_steps else None

    @property
    def index(self) -> int:
        """The token's place in the text."""
        return len(self.token_ids) - 1
