"""The unit in which steering is dosed."""

from dataclasses import dataclass
from typing import Literal

DoseTexts = Literal["corpus", "mixed"]
"""On which texts doses are found: of the run's corpus, or half of it and half of prompts of a chat."""


@dataclass(frozen=True, slots=True)
class Dose:
    """What strength 1 is for one feature: how much of it moves the model's next-token distributions by one nat.

    Strength -0.3 is -0.3 times the unit: the unit is found for the feature turned up, and counts for both directions.

    Attributes:
        source_id: `model@source`.
        feature_index: The feature.
        unit: Activation, in the coder's own units, that when added at every token makes KL(steered || plain) of the
            next token's distribution one nat at the 95th percentile over tokens; None where no activation does.
        kl_p95: That percentile at `unit`, on the texts on which it was found, in nats; where there is no unit, at the
            largest dose that was tried, NaN where nothing could be.
        of_max_activation: `unit` over the feature's largest activation in the corpus; None where there is no unit, and
            of a feature that never fires.
        of_stream_norm: Length of what `unit` adds to the stream over the stream's own median length at the tokens of
            those texts; where there is no unit, of the largest dose that was tried.
        n_tokens: Tokens at which the divergence was read.
        why: Where there is no unit, why not: a clause without its period.
        found_on: The kind of texts on which it was found.
    """

    source_id: str
    feature_index: int
    unit: float | None
    kl_p95: float
    of_max_activation: float | None
    of_stream_norm: float
    n_tokens: int
    why: str | None = None
    found_on: DoseTexts = "corpus"
