"""The pass over one shard of the corpus.

1. Blocks are cut into batches; the source gives each batch's activations at counted positions.
2. Only firings, entries above zero, are kept of them, as (feature, block, position, activation).
3. When enough firings have gathered, always of whole blocks, they are sorted by (feature, block, position). In that
   order all that is wanted of one feature, or of one feature in one block, stands in one run:
   statistics are sums over runs, a block's peak is the maximum of its run, a window is a slice of it.
4. Of the blocks, only the running top set and uniform sample of each feature are kept.

Memory is O(features x samples) and what one batch and one sort need. No step loops over features.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64

from autointerp.collect.firings import Firings, cut_batches, find_firings
from autointerp.collect.pool import join_pools
from autointerp.collect.runs import as_unsigned, descending, expand, first_in_run, run_lengths, run_starts, stable_order
from autointerp.collect.settings import CollectSettings, Encodes
from autointerp.collect.tokens import sum_counts
from autointerp.collect.windows import (
    counted_span,
    first_per_feature,
    join_rows,
    keep_fired,
    keep_top,
    no_rows,
    window_starts,
)
from autointerp.identity import keyed_hash
from autointerp.records import BlockShard, Collected, FeatureStatistics, Pool, SampledWindows, TokenCounts

# Firings sorted at once: enough to spread the cost of arrays as long as the dictionary, few enough for the caches.
_FIRINGS_PER_SORT = 2_000_000


def collect_shard(source: Encodes, shard: BlockShard, settings: CollectSettings) -> Collected:
    """Collect statistics and samples over one shard.

    Args:
        source: Model and coder.
        shard: Blocks of the corpus.
        settings: What to keep.

    Returns:
        The shard's part of the whole; `merge` makes the whole of the parts.

    Raises:
        ActivationRangeError: If an activation is not finite, or negative where the coder can't give one.
    """
    running = _Running(source.n_features, shard, settings)
    gathered: list[Firings] = []
    for rows in cut_batches(shard, settings.batch_size):
        gathered.extend(find_firings(source, shard, rows))
        if sum(len(firings.cell) for firings in gathered) >= _FIRINGS_PER_SORT:
            running.add(gathered)
            gathered = []
    running.add(gathered)
    return running.collected()


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
        self._top = no_rows(settings.context_length)
        self._fired = no_rows(settings.context_length)
        self._first, self._end = counted_span(shard.counted)
        blocks = shard.first_block + np.arange(len(shard.token_ids))
        self._in_pool: Bool[np.ndarray, " block"] = np.isin(blocks, settings.pool_blocks())
        self._pools: list[Pool] = []

    def add(self, gathered: list[Firings]) -> None:
        """Take in the firings of whole blocks that were not seen before."""
        if not gathered:
            return
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
        return sum_counts(
            TokenCounts(
                feature=feature.astype(np.int32),
                token_id=self._shard.token_ids.reshape(-1)[cell],
                n_active=np.ones(len(cell), np.int64),
                activation_sum=activation.astype(np.float64),
            )
        )

    def _sample(
        self, groups: "_Groups", position: Int32[np.ndarray, " firing"], activation: Float32[np.ndarray, " firing"]
    ) -> None:
        settings = self._settings
        block = self._shard.first_block + groups.row
        rank_key = keyed_hash(settings.fired_key, groups.feature, block)
        top = first_per_feature(
            groups.feature, stable_order(descending(groups.peak), as_unsigned(groups.feature)), settings.n_top
        )
        fired = first_per_feature(groups.feature, stable_order(rank_key, as_unsigned(groups.feature)), settings.n_fired)
        no_key = np.zeros(len(rank_key), np.uint64)
        cut_top = self._cut(groups, top, no_key, position, activation)
        cut_fired = self._cut(groups, fired, rank_key, position, activation)
        self._top = keep_top(join_rows([self._top, cut_top]), settings.n_top)
        self._fired = keep_fired(join_rows([self._fired, cut_fired]), settings.n_fired)

    def _cut(
        self,
        groups: "_Groups",
        chosen: Int64[np.ndarray, " row"],
        rank_key: np.ndarray[tuple[int], np.dtype[np.uint64]],
        position: Int32[np.ndarray, " firing"],
        activation: Float32[np.ndarray, " firing"],
    ) -> SampledWindows:
        length = self._settings.context_length
        row = groups.row[chosen]
        peak_position = groups.peak_position[chosen]
        start = window_starts(peak_position, self._first[row], self._end[row], length, self._settings.peak_fraction)
        activations = np.zeros((len(chosen), length), np.float32)
        window, firing = expand(groups.starts[chosen], groups.lengths[chosen])
        offset = position[firing] - start[window]
        is_inside = (offset >= 0) & (offset < length)
        activations[window[is_inside], offset[is_inside]] = activation[firing[is_inside]]
        return SampledWindows(
            feature=groups.feature[chosen],
            block_index=self._shard.first_block + row,
            peak_position=peak_position,
            peak=groups.peak[chosen],
            rank_key=rank_key[chosen],
            window_start=start,
            activations=activations,
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
        """What there is when all batches have been added."""
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
            token_counts=sum_counts(*self._token_counts),
            top=self._top,
            fired=self._fired,
            pool=join_pools(self._pools, self._shard.first_block + np.flatnonzero(self._in_pool)),
        )
