"""On which tokens of the vocabulary a feature fires, and how often."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int32, Int64

from autointerp.collect.runs import as_unsigned, rank_in_run, run_starts, stable_order
from autointerp.records import TokenCounts


@dataclass(frozen=True, slots=True)
class TopTokens:
    """The tokens that each feature fires on most.

    Attributes:
        offsets: Tokens of feature i are rows `offsets[i]` to `offsets[i + 1]`, most often first; ties by activation
            sum, then by the lower token id.
        token_id: Token of each row.
        n_active: Counted tokens of that id on which the feature fires.
        mean_activation: The feature's mean activation on them.
    """

    offsets: Int64[np.ndarray, " feature_and_one"]
    token_id: Int32[np.ndarray, " row"]
    n_active: Int64[np.ndarray, " row"]
    mean_activation: Float64[np.ndarray, " row"]


def sum_counts(*parts: TokenCounts) -> TokenCounts:
    """Add token counts up; activation sums are added in the order of the parts, and of the rows in each."""
    if not parts:
        return TokenCounts(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.float64))
    feature = np.concatenate([part.feature for part in parts])
    token_id = np.concatenate([part.token_id for part in parts])
    if len(feature) == 0:
        return parts[0]
    order = stable_order(as_unsigned(token_id), as_unsigned(feature))
    starts = run_starts((feature.astype(np.int64) * (int(token_id.max()) + 1) + token_id)[order])
    return TokenCounts(
        feature=feature[order[starts]],
        token_id=token_id[order[starts]],
        n_active=np.add.reduceat(np.concatenate([part.n_active for part in parts])[order], starts),
        activation_sum=np.add.reduceat(np.concatenate([part.activation_sum for part in parts])[order], starts),
    )


def top_tokens(counts: TokenCounts, n_features: int, n_tokens: int) -> TopTokens:
    """Pick each feature's most frequent tokens.

    Args:
        counts: Of the whole corpus.
        n_features: Features of the source; a feature that never fires has no token.
        n_tokens: Tokens per feature at most.
    """
    order = np.lexsort((counts.token_id, -counts.activation_sum, -counts.n_active, counts.feature))
    order = order[rank_in_run(counts.feature[order]) < n_tokens]
    n_kept = np.bincount(counts.feature[order], minlength=n_features)
    return TopTokens(
        offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(n_kept)]),
        token_id=counts.token_id[order],
        n_active=counts.n_active[order],
        mean_activation=counts.activation_sum[order] / counts.n_active[order],
    )
