"""Whether a run's activations are still what its model and coder give: stored contexts, computed anew.

1. Of a feature's contexts some are taken, evenly from the strongest to those in which it is silent.
2. The block of each is read from the run's corpus and run again, special tokens and all, in other batches than when it
   was collected.
3. Activations are compared token by token. Another batch, machine or device changes them by rounding; what differs by
   more than `tolerance` is told. So is a feature that fires in one of the two only, by more than that, as may happen by
   rounding too where the coder cuts off at a threshold or keeps the largest k.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32

from autointerp.identity import FeatureKey, feature_id
from autointerp.records import Context
from autointerp.store.known import check_count

if TYPE_CHECKING:
    from autointerp.library.run import Run

# Of the feature's largest activation. Rounding in float32, summed over some layers, is some 1e-5 of it.
_TOLERANCE = 1e-3
_TOLERANCE_OF_HALF = 5e-2


@dataclass(frozen=True, slots=True)
class VerifiedContext:
    """One context, stored and computed anew.

    Attributes:
        context: As it is stored.
        activations: Computed anew, one a token.
    """

    context: Context
    activations: tuple[float, ...]

    @property
    def largest_difference(self) -> float:
        """Between the two at any token."""
        return max((abs(a - b) for a, b in zip(self.context.activations, self.activations, strict=True)), default=0.0)

    @property
    def n_equal(self) -> int:
        """Tokens at which both are the same to the bit."""
        return sum(a == b for a, b in zip(self.context.activations, self.activations, strict=True))


@dataclass(frozen=True, slots=True, repr=False)
class Verification:
    """Contexts of one feature, stored and computed anew.

    Attributes:
        source_id: `model@source`.
        feature_index: The feature.
        contexts: Each of them.
        tolerance: By how much rounding may change an activation.
    """

    source_id: str
    feature_index: int
    contexts: tuple[VerifiedContext, ...]
    tolerance: float

    @property
    def largest_difference(self) -> float:
        """Between a stored activation and the same computed anew."""
        return max((of.largest_difference for of in self.contexts), default=0.0)

    @property
    def is_equal(self) -> bool:
        """Whether none differs by more than `tolerance`."""
        return self.largest_difference <= self.tolerance

    def __repr__(self) -> str:
        n_tokens = sum(len(of.activations) for of in self.contexts)
        n_equal = sum(of.n_equal for of in self.contexts)
        said = "equal" if self.is_equal else "NOT equal"
        return (
            f"<Verification of {feature_id(self.source_id, self.feature_index)}: {said}; largest difference "
            f"{self.largest_difference:.3g} (tolerance {self.tolerance:.3g}) over {n_tokens:,} tokens of "
            f"{len(self.contexts)} contexts, {n_equal:,} the same to the bit>"
        )


def verify_contexts(run: "Run", feature: FeatureKey, n: int = 10, source_id: str | None = None) -> Verification:
    """Compute stored contexts of a feature anew, and compare.

    Args:
        run: The run, with its model, coder and corpus where they were.
        feature: Its index, or `model@source:index`.
        n: Contexts, at most.
        source_id: Its source; the run's only one where nothing names it.

    Raises:
        SearchError: If `n` is no whole number above 0.
        UnknownFeatureError: If there is no such feature.
        RunError: If the run's folder is not whole.
        ShardError: If its corpus is not there any more.
        SubjectError: If its model or coder can't be loaded any more.

    Example:
        >>> from autointerp.library.verify import verify_contexts
        >>> verify_contexts(client.run, 1, n=4).is_equal
        True
    """
    check_count("n", n)
    record = run.reader.feature(feature, source_id)
    source = run.reader.source(record.source_id)
    contexts = run.contexts(record.feature_index, source_id=source.source_id)
    places = np.unique(np.linspace(0, len(contexts) - 1, min(n, len(contexts))).round().astype(np.int64))
    chosen = [contexts[place] for place in places.tolist()]
    blocks = np.array([context.block_index for context in chosen], dtype=np.int64)
    verified = []
    for context, firings in zip(chosen, run.live.run_blocks(source, blocks) if chosen else [], strict=True):
        ours = firings.feature == record.feature_index
        dense: Float32[np.ndarray, " position"] = np.zeros(context.start + len(context.tokens), dtype=np.float32)
        inside = ours & (firings.position < len(dense))
        dense[firings.position[inside]] = firings.activation[inside]
        verified.append(VerifiedContext(context, tuple(dense[context.start :].tolist())))
    is_exact = all(dtype == "float32" for dtype in run.live.dtypes)
    tolerance = (_TOLERANCE if is_exact else _TOLERANCE_OF_HALF) * record.max_activation
    return Verification(source.source_id, record.feature_index, tuple(verified), tolerance)
