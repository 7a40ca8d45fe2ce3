"""The parts of all shards put together, in any order of arrival.

Parts are taken in the order of their shards, each shard once, so sums of floating-point numbers too are the same
however the parts arrived and however often a shard was done.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from autointerp.collect.pool import join_pools
from autointerp.collect.settings import CollectSettings
from autointerp.collect.tokens import sum_counts
from autointerp.collect.windows import join_rows, keep_fired, keep_top
from autointerp.errors import CollectError
from autointerp.records import Collected, FeatureStatistics


@dataclass(frozen=True, slots=True)
class ShardPart:
    """What was collected over one shard.

    Attributes:
        shard_index: Position of the shard in the corpus.
        collected: Its part.
    """

    shard_index: int
    collected: Collected


# Parts joined at once: their windows are in memory together before the best are kept.
_PARTS_AT_ONCE = 8


def merge(parts: Iterable[ShardPart], settings: CollectSettings) -> Collected:
    """Put the parts of a corpus together.

    Exact: the result is that of one shard with all blocks, but for the rounding of `activation_sum`, which is added
    shard by shard. The order of `parts`, and a part that comes twice, change nothing. Parts that come in the order of
    their shards, from shard 0, are put together as they come: a few are in memory at once, however many there are.

    Args:
        parts: One or more of each shard; taken one at a time.
        settings: Those that the parts were collected with.

    Raises:
        CollectError: If there is no part.
    """
    waiting: list[Collected] = []
    for collected in _in_shard_order(parts):
        waiting.append(collected)
        if len(waiting) > _PARTS_AT_ONCE:
            waiting = [_join(waiting, settings)]
    if not waiting:
        raise CollectError("no shard was collected", "check that the corpus holds at least one block")
    return _join(waiting, settings)


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


def _join(parts: list[Collected], settings: CollectSettings) -> Collected:
    blocks = np.concatenate([part.pool.block_index for part in parts])
    return Collected(
        statistics=_sum_statistics([part.statistics for part in parts]),
        token_counts=sum_counts(*(part.token_counts for part in parts)),
        top=keep_top(join_rows([part.top for part in parts]), settings.n_top),
        fired=keep_fired(join_rows([part.fired for part in parts]), settings.n_fired),
        pool=join_pools([part.pool for part in parts], np.sort(blocks)),
    )


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
