"""Records of the pass over the corpus: statistics, samples, the pool."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64, UInt16


@dataclass(frozen=True, slots=True)
class FeatureStatistics:
    """Exact sums over every counted token of the corpus.

    Attributes:
        n_tokens: Counted tokens.
        n_blocks: Blocks seen.
        n_active: Counted tokens on which each feature is above zero.
        n_active_blocks: Blocks in which each feature is above zero on some counted token.
        activation_sum: Sum of each feature's activations, in float64, added shard by shard in corpus order.
        max_activation: Largest activation; 0 for a feature that never fires.
        histogram: Counts of the activations above zero, in the bins of `bin_edges`.
        bin_edges: Shared by all features, powers of two, ascending; the first and the last bin are open-ended.
    """

    n_tokens: int
    n_blocks: int
    n_active: Int64[np.ndarray, " feature"]
    n_active_blocks: Int64[np.ndarray, " feature"]
    activation_sum: Float64[np.ndarray, " feature"]
    max_activation: Float32[np.ndarray, " feature"]
    histogram: Int64[np.ndarray, "feature bin"]
    bin_edges: Float64[np.ndarray, " edge"]


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """How often each feature fires on each token of the vocabulary, sparse, sorted by (feature, token_id).

    While shards are joined, a feature's counts are exact as long as it fires on few different tokens; of the others
    only the most frequent are kept, and in the end of all features only these.

    Attributes:
        feature: Feature of each pair.
        token_id: Token of each pair.
        n_active: Counted tokens of that id on which the feature fires, at least 1.
        activation_sum: Sum of the feature's activations on them.
        n_missed: For each feature, the most by which the count of a listed token can be too low; 0 where the counts
            are exact.
    """

    feature: Int32[np.ndarray, " pair"]
    token_id: Int32[np.ndarray, " pair"]
    n_active: Int64[np.ndarray, " pair"]
    activation_sum: Float64[np.ndarray, " pair"]
    n_missed: Int64[np.ndarray, " feature"]


@dataclass(frozen=True, slots=True)
class SampledWindows:
    """Chosen blocks of each feature, with the window around the block's peak; sorted by (feature, rank).

    For the top set the rank is by descending peak, ties by block; for the uniform set by ascending keyed hash, ties
    by block. In the part of one shard, and until all parts are together, they are sorted by (feature, block). A
    feature fires on few tokens of a window, so only the tokens on which it does are kept: the entries of all rows, one
    row after the other.

    Attributes:
        context_length: Tokens in a window; in the uniform set it holds every context around the peak.
        feature: Feature of each row.
        block_index: Block of each row.
        peak_position: First position of the block at which the feature is largest.
        peak: The feature's activation there, above 0.
        window_start: First position of the window.
        n_entries: Entries of each row, at least 1.
        entry_offset: Offset in its window of each entry, ascending within a row.
        entry_activation: The feature's activation there, above 0; it is 0 at all other offsets.
    """

    context_length: int
    feature: Int32[np.ndarray, " row"]
    block_index: Int64[np.ndarray, " row"]
    peak_position: Int32[np.ndarray, " row"]
    peak: Float32[np.ndarray, " row"]
    window_start: Int32[np.ndarray, " row"]
    n_entries: Int32[np.ndarray, " row"]
    entry_offset: UInt16[np.ndarray, " entry"]
    entry_activation: Float32[np.ndarray, " entry"]

    def dense(self) -> Float32[np.ndarray, "row offset"]:
        """The activation at each offset of each window."""
        activations = np.zeros((len(self.feature), self.context_length), np.float32)
        activations[np.repeat(np.arange(len(self.feature)), self.n_entries), self.entry_offset] = self.entry_activation
        return activations


@dataclass(frozen=True, slots=True)
class Pool:
    """Every firing of every feature on a uniform sample of blocks, sparse by block.

    Attributes:
        block_index: The sampled blocks, ascending.
        offsets: Firings of sampled block i are rows `offsets[i]` to `offsets[i + 1]`, by (position, feature).
        feature: Feature of each firing.
        position: Position in its block.
        activation: Activation, above 0.
    """

    block_index: Int64[np.ndarray, " pool_block"]
    offsets: Int64[np.ndarray, " pool_offset"]
    feature: Int32[np.ndarray, " firing"]
    position: Int32[np.ndarray, " firing"]
    activation: Float32[np.ndarray, " firing"]


@dataclass(frozen=True, slots=True)
class RowFirings:
    """What a coder says of some rows of activations, sparse: its entries that are not zero, in the order of rows.

    Attributes:
        row: Row of each entry.
        feature: Feature of each entry, ascending within a row.
        activation: In the coder's own units; not checked, so it may be negative or not finite.
    """

    row: Int64[np.ndarray, " firing"]
    feature: Int64[np.ndarray, " firing"]
    activation: Float32[np.ndarray, " firing"]


@dataclass(frozen=True, slots=True)
class Collected:
    """What one pass over the corpus keeps of one source.

    Attributes:
        statistics: Exact statistics.
        token_counts: Tokens each feature fires on.
        top: Each feature's blocks with the highest peaks.
        fired: A uniform sample of the blocks in which each feature fires.
        pool: A uniform sample of all blocks, with every firing. A uniform sample of the blocks where a feature is
            silent is drawn from it.
    """

    statistics: FeatureStatistics
    token_counts: TokenCounts
    top: SampledWindows
    fired: SampledWindows
    pool: Pool
