"""Records of the subject answering now: what it does on a text, and what is done to it."""

from dataclasses import dataclass
from typing import Literal

EditMode = Literal["add", "pin"]


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
