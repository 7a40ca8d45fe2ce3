"""The pass over one shard of the corpus.

1. Blocks are cut into batches; the model runs once on each, and every source's coder on what it reads of it.
2. Of each source's activations at counted positions only firings, entries above zero, are kept, as (feature, block,
   position, activation).
3. When enough firings have gathered, always of whole blocks, they are sorted by (feature, block, position). In that
   order all that is wanted of one feature, or of one feature in one block, stands in one run:
   statistics are sums over runs, a block's peak is the maximum of its run, a window is a slice of it.
4. Of the blocks, those that may be in the top set or the uniform sample of a feature are kept.

Memory is O(features x samples) and what one batch and one sort need. No step loops over features.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64

from autointerp.collect.firings import Firings, Helpers, find_in_batches
from autointerp.collect.pool import join_pools
from autointerp.collect.runs import (
    as_unsigned,
    descending,
    expand,
    first_in_run,
    first_rows,
    run_lengths,
    run_starts,
    stable_order,
)
from autointerp.collect.settings import CollectSettings, SharedPass
from autointerp.collect.tokens import sum_counts
from autointerp.collect.windows import (
    by_block,
    counted_span,
    fired_rank,
    join_rows,
    keep_first,
    no_rows,
    rank_fired,
    rank_top,
    window_starts,
)
from autointerp.records import BlockShard, Collected, FeatureStatistics, Pool, SampledWindows, TokenCounts

# Windows of one set, and pairs of feature and token, that gather in a shard before the superfluous are given up.
_ROWS_GATHERED = 8_000_000

# Firings sorted at once: enough to spread the cost of arrays as long as the dictionary, few enough for the caches.
_FIRINGS_PER_SORT = 2_000_000


def collect_shard(
    sources: SharedPass, shard: BlockShard, settings: Sequence[CollectSettings], helpers: Helpers | None = None
) -> list[Collected]:
    """Collect statistics and samples over one shard, for all sources in one pass.

    Args:
        sources: The sources, which share its forward pass.
        shard: Blocks of the corpus.
        settings: What to keep, one for each source; all with the same `batch_size`.
        helpers: Threads that run the model; None for the calling one. The result does not depend on them.

    Returns:
        For each source the shard's part of the whole; `merge` makes the whole of the parts.

    Raises:
        ActivationRangeError: If an activation is not finite, or negative where the coder can't give one.
        CollectError: If one block does not fit into memory.
    """
    running = [_Running(source.n_features, shard, kept) for source, kept in zip(sources.sources, settings, strict=True)]
    (batch_size,) = {kept.batch_size for kept in settings}
    for batch in find_in_batches(sources, shard, batch_size, helpers):
        for number, firings in batch:
            running[number].gather(firings)
        for source in running:
            source.end_batch()
    return [source.collected() for source in running]


@dataclass(frozen=True, slots=True)
class _Groups:
    """The firings of one feature in one block, for every such pair; by (feature, row).

    Attributes:
        feature: Feature of each group.
        row: Block of each group, as a row of the shard.
        peak: Largest activation.
        peak_position: First position that has it.
        starts: First firing, in the order (feature, block, position).
        lengths: Number of firings.
    """

    feature: Int32[np.ndarray, " group"]
    row: Int64[np.ndarray, " group"]
    peak: Float32[np.ndarray, " group"]
    peak_position: Int32[np.ndarray, " group"]
    starts: Int64[np.ndarray, " group"]
    lengths: Int64[np.ndarray, " group"]


class _Gathered:
    """Windows of one set, cut from batch after batch; those that can't be kept are given up when many have gathered."""

    def __init__(self, context_length: int, keep: Callable[[SampledWindows], SampledWindows]) -> None:
        self._parts = [no_rows(context_length)]
        self._keep = keep

    def add(self, windows: SampledWindows) -> None:
        self._parts.append(windows)
        if sum(len(part.feature) for part in self._parts[1:]) > _ROWS_GATHERED:
            self._parts = [self.reduced()]

    def reduced(self) -> SampledWindows:
        # Batches are cut by length, so blocks did not come in order.
        return self._keep(by_block(join_rows(self._parts)))


class _Running:
    """What is kept of a shard between batches."""

    def __init__(self, n_features: int, shard: BlockShard, settings: CollectSettings) -> None:
        self._shard = shard
        self._settings = settings
        self._n_features = n_features
        self._n_active = np.zeros(n_features, np.int64)
        self._n_active_blocks = np.zeros(n_features, np.int64)
        self._activation_sum = np.zeros(n_features, np.float64)
        self._max_activation = np.zeros(n_features, np.float32)
        self._histogram = np.zeros(n_features * settings.n_bins, np.int64)
        self._token_counts: list[TokenCounts] = []
        self._top = _Gathered(settings.context_length, partial(_keep_top, settings))
        self._fired = _Gathered(settings.reach_length, partial(_keep_fired, settings))
        self._first, self._end = counted_span(shard.counted)
        blocks = shard.first_block + np.arange(len(shard.token_ids))
        self._in_pool: Bool[np.ndarray, " block"] = np.isin(blocks, settings.pool_blocks())
        self._pools: list[Pool] = []
        self._gathered: list[Firings] = []
        self._n_gathered = 0

    def gather(self, firings: Firings) -> None:
        """Take in some firings of a batch of blocks that were not seen before."""
        self._gathered.append(firings)
        self._n_gathered += len(firings.cell)

    def end_batch(self) -> None:
        """Take notice that all firings of the batch have been gathered."""
        if self._n_gathered >= _FIRINGS_PER_SORT:
            self._add_gathered()

    def _add_gathered(self) -> None:
        if not self._gathered:
            return
        gathered, self._gathered, self._n_gathered = self._gathered, [], 0
        cell = np.concatenate([firings.cell for firings in gathered])
        feature = np.concatenate([firings.feature for firings in gathered])
        activation = np.concatenate([firings.activation for firings in gathered])
        self._add_pool(cell, feature, activation)
        # Firings of one block already stand by (position, feature).
        row = cell // self._shard.token_ids.shape[1]
        order = stable_order(as_unsigned(row), as_unsigned(feature))
        self._add_sorted(cell[order], feature[order], activation[order])

    def _add_sorted(
        self,
        cell: Int64[np.ndarray, " firing"],
        feature: Int64[np.ndarray, " firing"],
        activation: Float32[np.ndarray, " firing"],
    ) -> None:
        if len(cell) == 0:
            return
        n_positions = self._shard.token_ids.shape[1]
        row = cell // n_positions
        starts = run_starts(feature * len(self._shard.token_ids) + row)
        lengths = run_lengths(starts, len(cell))
        peak = np.maximum.reduceat(activation, starts)
        run = np.repeat(np.arange(len(starts)), lengths)
        peak_cell = cell[first_in_run(activation == peak[run], run)]
        self._add_statistics(feature, activation, feature[starts], peak)
        self._token_counts.append(self._count_tokens(cell, feature, activation))
        if sum(len(counts.feature) for counts in self._token_counts[1:]) > _ROWS_GATHERED:
            self._token_counts = [sum_counts(self._token_counts, self._n_features)]
        groups = _Groups(
            feature=feature[starts].astype(np.int32),
            row=row[starts],
            peak=peak,
            peak_position=(peak_cell % n_positions).astype(np.int32),
            starts=starts,
            lengths=lengths,
        )
        self._sample(groups, (cell % n_positions).astype(np.int32), activation)

    def _add_statistics(
        self,
        feature: Int64[np.ndarray, " firing"],
        activation: Float32[np.ndarray, " firing"],
        group_feature: Int64[np.ndarray, " group"],
        peak: Float32[np.ndarray, " group"],
    ) -> None:
        n, n_bins = self._n_features, self._settings.n_bins
        self._n_active += np.bincount(feature, minlength=n)
        self._activation_sum += np.bincount(feature, weights=activation, minlength=n)
        self._n_active_blocks += np.bincount(group_feature, minlength=n)
        starts = run_starts(group_feature)
        active = group_feature[starts]
        self._max_activation[active] = np.maximum(self._max_activation[active], np.maximum.reduceat(peak, starts))
        # frexp gives v = m * 2**e with m in [1/2, 1), so e - 1 is the exponent of the bin's lower edge.
        _, exponent = np.frexp(activation)
        bins = np.clip(exponent - 1 - self._settings.histogram_low, 0, n_bins - 1)
        self._histogram += np.bincount(feature * n_bins + bins, minlength=n * n_bins)

    def _count_tokens(
        self,
        cell: Int64[np.ndarray, " firing"],
        feature: Int64[np.ndarray, " firing"],
        activation: Float32[np.ndarray, " firing"],
    ) -> TokenCounts:
        one_each = TokenCounts(
            feature=feature.astype(np.int32),
            token_id=self._shard.token_ids.reshape(-1)[cell],
            n_active=np.ones(len(cell), np.int64),
            activation_sum=activation.astype(np.float64),
            n_missed=np.zeros(self._n_features, np.int64),
        )
        return sum_counts([one_each], self._n_features)

    def _sample(
        self, groups: "_Groups", position: Int32[np.ndarray, " firing"], activation: Float32[np.ndarray, " firing"]
    ) -> None:
        settings = self._settings
        top = first_rows(groups.feature, descending(groups.peak), settings.n_top)
        rank = fired_rank(settings.fired_key, groups.feature, self._shard.first_block + groups.row)
        fired = first_rows(groups.feature, rank, settings.n_fired)
        self._top.add(self._cut(groups, top, position, activation, settings.context_length, settings.peak_fraction))
        self._fired.add(self._cut(groups, fired, position, activation, settings.reach_length, 0.5))

    def _cut(
        self,
        groups: "_Groups",
        chosen: Int64[np.ndarray, " row"],
        position: Int32[np.ndarray, " firing"],
        activation: Float32[np.ndarray, " firing"],
        length: int,
        peak_fraction: float,
    ) -> SampledWindows:
        row = groups.row[chosen]
        peak_position = groups.peak_position[chosen]
        start = window_starts(peak_position, self._first[row], self._end[row], length, peak_fraction)
        window, firing = expand(groups.starts[chosen], groups.lengths[chosen])
        offset = position[firing] - start[window]
        inside = np.flatnonzero((offset >= 0) & (offset < length))
        return SampledWindows(
            context_length=length,
            feature=groups.feature[chosen],
            block_index=self._shard.first_block + row,
            peak_position=peak_position,
            peak=groups.peak[chosen],
            window_start=start,
            n_entries=np.bincount(window[inside], minlength=len(chosen)).astype(np.int32),
            entry_offset=offset[inside].astype(np.uint16),
            entry_activation=activation[firing[inside]],
        )

    def _add_pool(
        self,
        cell: Int64[np.ndarray, " firing"],
        feature: Int64[np.ndarray, " firing"],
        activation: Float32[np.ndarray, " firing"],
    ) -> None:
        n_positions = self._shard.token_ids.shape[1]
        kept = np.flatnonzero(self._in_pool[cell // n_positions])
        row = cell[kept] // n_positions
        rows = row[run_starts(row)]
        self._pools.append(
            Pool(
                block_index=self._shard.first_block + rows,
                offsets=np.append(run_starts(row), len(row)),
                feature=feature[kept].astype(np.int32),
                position=(cell[kept] % n_positions).astype(np.int32),
                activation=activation[kept],
            )
        )

    def collected(self) -> Collected:
        """What there is when all batches have ended."""
        self._add_gathered()
        settings = self._settings
        return Collected(
            statistics=FeatureStatistics(
                n_tokens=int(self._shard.counted.sum()),
                n_blocks=len(self._shard.token_ids),
                n_active=self._n_active,
                n_active_blocks=self._n_active_blocks,
                activation_sum=self._activation_sum,
                max_activation=self._max_activation,
                histogram=self._histogram.reshape(self._n_features, settings.n_bins),
                bin_edges=settings.bin_edges,
            ),
            token_counts=sum_counts(self._token_counts, self._n_features),
            top=self._top.reduced(),
            fired=self._fired.reduced(),
            pool=join_pools(self._pools, self._shard.first_block + np.flatnonzero(self._in_pool)),
        )


def _keep_top(settings: CollectSettings, windows: SampledWindows) -> SampledWindows:
    return keep_first(windows, rank_top(windows), settings.n_top)


def _keep_fired(settings: CollectSettings, windows: SampledWindows) -> SampledWindows:
    return keep_first(windows, rank_fired(windows, settings.fired_key), settings.n_fired)
