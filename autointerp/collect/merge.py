"""The parts of all shards put together, in any order of arrival.

Parts are taken in the order of their shards, each shard once, so sums of floating-point numbers too are the same
however the parts arrived and however often a shard was done.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Int64, UInt32

from autointerp.collect.pool import join_pools
from autointerp.collect.settings import CollectSettings
from autointerp.collect.tokens import keep_frequent, keep_listed, sum_counts
from autointerp.collect.windows import (
    by_feature,
    by_rank,
    drop_outranked,
    join_rows,
    keep_first,
    rank_fired,
    rank_top,
)
from autointerp.errors import CollectError
from autointerp.records import Collected, FeatureStatistics, SampledWindows


@dataclass(frozen=True, slots=True)
class ShardPart:
    """What was collected over one shard.

    Attributes:
        shard_index: Position of the shard in the corpus.
        collected: Its part.
    """

    shard_index: int
    collected: Collected


# Shards joined at once. Fixed, because where sums are cut decides how they round, and which rare tokens are kept.
SHARDS_PER_FOLD = 4


def merge(parts: Iterable[ShardPart], settings: CollectSettings) -> Collected:
    """Put the parts of a corpus together.

    Exact: the result is that of one shard with all blocks, but for the rounding of `activation_sum`, which is added
    shard by shard, and for the rarer tokens of features that fire on many different ones (`TokenCounts.n_missed`). The
    order of `parts`, and a part that comes twice, change nothing. Parts that come in the order of their shards, from
    shard 0, are put together as they come: a few are in memory at once, however many there are.

    Args:
        parts: One or more of each shard; taken one at a time.
        settings: Those that the parts were collected with.

    Raises:
        CollectError: If there is no part.
    """
    folded: Collected | None = None
    waiting: list[Collected] = []
    for collected in _in_shard_order(parts):
        waiting.append(collected)
        if len(waiting) == SHARDS_PER_FOLD:
            folded, waiting = fold(folded, waiting, settings), []
    if waiting:
        folded = fold(folded, waiting, settings)
    if folded is None:
        raise CollectError("no shard was collected", "check that the corpus holds at least one block")
    return finish(folded, settings)


def fold(folded: Collected | None, parts: Sequence[Collected], settings: CollectSettings) -> Collected:
    """Join the parts of the next shards, in the order of shards, to what all shards before them came to.

    Windows stay by (feature, block), as those of parts are; `finish` orders them by rank.
    """
    joined = [*([] if folded is None else [folded]), *parts]
    blocks = np.concatenate([part.pool.block_index for part in joined])
    counts = sum_counts([part.token_counts for part in joined], len(joined[0].statistics.n_active))
    return Collected(
        statistics=_sum_statistics([part.statistics for part in joined]),
        token_counts=keep_frequent(counts, settings.n_token_candidates),
        top=_join_windows([part.top for part in joined], rank_top, settings.n_top),
        fired=_join_windows(
            [part.fired for part in joined], partial(rank_fired, key=settings.fired_key), settings.n_fired
        ),
        pool=join_pools([part.pool for part in joined], np.sort(blocks)),
    )


def finish(
    folded: Collected, settings: CollectSettings, occurrences: Int64[np.ndarray, " token"] | None = None
) -> Collected:
    """Bring what all shards came to into its final form.

    Windows are put in the order of (feature, rank), and of the tokens counted those that are listed are kept.
    `n_missed` stays as it was, so from here on it is about these.

    Args:
        folded: What they came to.
        settings: Those of the parts.
        occurrences: Counted tokens of each id in the corpus; None: only the most frequent tokens are listed.
    """
    return replace(
        folded,
        token_counts=keep_listed(folded.token_counts, settings.n_top_tokens, folded.statistics, occurrences),
        top=by_rank(folded.top, rank_top(folded.top)),
        fired=by_rank(folded.fired, rank_fired(folded.fired, settings.fired_key)),
    )


def _join_windows(
    parts: list[SampledWindows], rank: Callable[[SampledWindows], UInt32[np.ndarray, " row"]], n_kept: int
) -> SampledWindows:
    """Keep each feature's first windows of parts that each are by (feature, block), in the order of their blocks."""
    first, first_rank = parts[0], rank(parts[0])
    hopeful = [first, *(drop_outranked(part, rank(part), first, first_rank, n_kept) for part in parts[1:])]
    joined = by_feature(join_rows(hopeful))
    return keep_first(joined, rank(joined), n_kept)


def _in_shard_order(parts: Iterable[ShardPart]) -> Iterator[Collected]:
    """Yield the part of each shard once, by shard index; keeps only those whose turn has not come."""
    kept: dict[int, Collected] = {}
    next_index = 0
    for part in parts:
        if part.shard_index >= next_index:
            kept.setdefault(part.shard_index, part.collected)
        while next_index in kept:
            yield kept.pop(next_index)
            next_index += 1
    for shard_index in sorted(kept):
        yield kept.pop(shard_index)


def _sum_statistics(parts: list[FeatureStatistics]) -> FeatureStatistics:
    total = parts[0]
    for part in parts[1:]:
        total = FeatureStatistics(
            n_tokens=total.n_tokens + part.n_tokens,
            n_blocks=total.n_blocks + part.n_blocks,
            n_active=total.n_active + part.n_active,
            n_active_blocks=total.n_active_blocks + part.n_active_blocks,
            activation_sum=total.activation_sum + part.activation_sum,
            max_activation=np.maximum(total.max_activation, part.max_activation),
            histogram=total.histogram + part.histogram,
            bin_edges=total.bin_edges,
        )
    return total
