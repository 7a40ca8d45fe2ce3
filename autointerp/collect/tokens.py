"""On which tokens of the vocabulary a feature fires, and how often."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int32, Int64

from autointerp.collect.runs import as_unsigned, descending, first_rows, rank_in_run, run_starts, stable_order
from autointerp.records import BlockShard, FeatureStatistics, TokenCounts
from autointerp.records.tokens import shrunk_ratios


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


def sum_counts(parts: Sequence[TokenCounts], n_features: int) -> TokenCounts:
    """Add token counts up; activation sums are added in the order of the parts, and of the rows in each."""
    empty = TokenCounts(
        feature=np.zeros(0, np.int32),
        token_id=np.zeros(0, np.int32),
        n_active=np.zeros(0, np.int64),
        activation_sum=np.zeros(0, np.float64),
        n_missed=sum((part.n_missed for part in parts), start=np.zeros(n_features, np.int64)),
    )
    feature = np.concatenate([part.feature for part in (empty, *parts)])
    token_id = np.concatenate([part.token_id for part in (empty, *parts)])
    if len(feature) == 0:
        return empty
    pair = feature.astype(np.int64) * (int(token_id.max()) + 1) + token_id
    # Parts are sorted: NumPy's stable sort finds their runs and merges them.
    order = (
        np.argsort(pair, kind="stable") if len(parts) > 1 else stable_order(as_unsigned(token_id), as_unsigned(feature))
    )
    starts = run_starts(pair[order])
    return TokenCounts(
        feature=feature[order[starts]],
        token_id=token_id[order[starts]],
        n_active=np.add.reduceat(np.concatenate([part.n_active for part in parts])[order], starts),
        activation_sum=np.add.reduceat(np.concatenate([part.activation_sum for part in parts])[order], starts),
        n_missed=empty.n_missed,
    )


def keep_frequent(counts: TokenCounts, n_kept: int) -> TokenCounts:
    """Keep each feature's most frequent tokens, so that memory does not grow with the corpus.

    A token that is dropped here counts from 0 when it comes again. So `n_missed` grows by the largest count dropped:
    the sum over all calls bounds what is missing of any one token, as in the Misra-Gries summary (1982).

    Args:
        counts: What there is so far.
        n_kept: Tokens kept per feature; ties by activation sum, then to the lower token id.
    """
    kept = _most_frequent(counts, n_kept)
    if len(kept) == len(counts.feature):
        return counts
    dropped = _others(kept, len(counts.feature))
    starts = run_starts(counts.feature[dropped])
    n_missed = counts.n_missed.copy()
    n_missed[counts.feature[dropped[starts]]] += np.maximum.reduceat(counts.n_active[dropped], starts)
    return replace(_rows_of(counts, kept), n_missed=n_missed)


def keep_listed(
    counts: TokenCounts,
    n_kept: int,
    statistics: FeatureStatistics,
    occurrences: Int64[np.ndarray, " token"] | None,
) -> TokenCounts:
    """Keep the tokens that are listed in the end: one half the most frequent, the other the most telling of the rest.

    The most frequent of a feature that fires here and there on common words are these words, whatever else it fires on.
    The rest is therefore chosen by mutual information (`records.tokens`). `n_missed` stays: it is of those listed now.

    Args:
        counts: Of the whole corpus.
        n_kept: Tokens kept per feature; of an odd number the larger half are the most frequent.
        statistics: Of the same.
        occurrences: Counted tokens of each id in the corpus; None: all that are kept are the most frequent.
    """
    n_telling = 0 if occurrences is None else n_kept // 2
    kept = _most_frequent(counts, n_kept - n_telling)
    if occurrences is not None and n_telling > 0:
        rest = _others(kept, len(counts.feature))
        density = (statistics.n_active / max(statistics.n_tokens, 1)).astype(np.float32)
        expected = density[counts.feature[rest]] * occurrences.astype(np.float32)[counts.token_id[rest]]
        ratios = shrunk_ratios(counts.n_active[rest].astype(np.float32), expected)
        kept = np.sort(np.concatenate([kept, rest[first_rows(counts.feature[rest], descending(ratios), n_telling)]]))
    return _rows_of(counts, kept)


def add_occurrences(counts: Int64[np.ndarray, " token"], shard: BlockShard) -> Int64[np.ndarray, " longer"]:
    """Counted tokens of each id, with those of one more shard."""
    more = np.bincount(shard.token_ids[shard.counted])
    total = np.zeros(max(len(counts), len(more)), dtype=np.int64)
    total[: len(counts)] += counts
    total[: len(more)] += more
    return total


def _most_frequent(counts: TokenCounts, n_kept: int) -> Int64[np.ndarray, " kept"]:
    rank = np.uint32(0xFFFFFFFF) - np.minimum(counts.n_active, 0xFFFFFFFF).astype(np.uint32)
    # The bits of floats above zero are ordered as they are.
    return first_rows(counts.feature, rank, n_kept, tie_rank=~counts.activation_sum.view(np.uint64))


def _others(rows: Int64[np.ndarray, " row"], n_rows: int) -> Int64[np.ndarray, " other_row"]:
    is_other = np.ones(n_rows, bool)
    is_other[rows] = False
    return np.flatnonzero(is_other)


def _rows_of(counts: TokenCounts, rows: Int64[np.ndarray, " row"]) -> TokenCounts:
    return TokenCounts(
        feature=counts.feature[rows],
        token_id=counts.token_id[rows],
        n_active=counts.n_active[rows],
        activation_sum=counts.activation_sum[rows],
        n_missed=counts.n_missed,
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
