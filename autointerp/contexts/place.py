"""Where the windows of firing contexts begin, and where another feature fires in them.

What the explainer sees has the peak at a fixed place, so that what led to the peak is visible. In a context that grades
a fixed place would tell which token is marked, and that a window is one around a peak. So there:

1. A *decoy* is drawn for each context, by keyed hash: a token near the peak on which another feature peaks and this one
   is silent. The other feature comes from the uniform samples of all features, in which a frequent feature has no more
   rows than a rare one: so decoys stand on tokens like those on which features peak.
2. A large corpus has few sampled peaks a block, and often none nearby. Then the decoy is a token on which features fire
   elsewhere, if this one is silent on it here: drawn by how much of the features' firing in the pool is on that token,
   each feature counting alike, over how often the token occurs. So these too stand on tokens like those of peaks.
3. What has many candidates near it is a candidate of many: drawn evenly, decoys would stand closer to the middle of
   blocks than peaks do. So one with n of them near it has a weight of 1 / n (in step 2 n is the weight near it), and
   peaks and decoys are about as far from the middle (`benchmarks/label_free.md`).
4. The window is drawn uniformly, by keyed hash, among those that hold the peak and the decoy, neither of them near the
   edge. Peak and decoy have the same part in it, so the place tells nothing about which of them is which.

Without a decoy the window is drawn among those that hold the peak.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64, UInt64

from autointerp.collect.runs import expand
from autointerp.collect.windows import take_rows, window_starts
from autointerp.config import ContextsConfig
from autointerp.contexts.pool_blocks import APART, PoolBlocks
from autointerp.contexts.windows import Pieces, Windows
from autointerp.corpus.reader import Blocks
from autointerp.identity import hash_key, keyed_hash
from autointerp.records import Collected, SampledWindows

_NONE = -1
_MARGIN_PARTS = 8


def edge_margin(context_length: int) -> int:
    """Tokens at either edge of a drawn window on which neither peak nor decoy stands, unless the block ends there."""
    return context_length // _MARGIN_PARTS


def furthest(context_length: int) -> int:
    """Tokens from a peak to its decoy at most."""
    return context_length - 1 - 2 * edge_margin(context_length)


def drawn_starts(
    first_held: Int64[np.ndarray, " row"],
    last_held: Int64[np.ndarray, " row"],
    blocks: Blocks,
    context_length: int,
    hashes: UInt64[np.ndarray, " row"],
) -> Int32[np.ndarray, " row"]:
    """Draw where windows begin.

    Args:
        first_held: First position that each window must hold.
        last_held: Last one, less than `context_length - 2 * edge_margin` further.
        blocks: The block of each window.
        context_length: Tokens in a window.
        hashes: Keyed hash of each row, which decides.
    """
    margin = edge_margin(context_length)
    earliest = blocks.span_start.astype(np.int64)
    latest = np.maximum(earliest, blocks.span_end - context_length)
    low = np.clip(last_held - (context_length - 1 - margin), earliest, latest)
    high = np.clip(first_held - margin, earliest, latest)
    steps = (hashes % (high - low + 1).astype(np.uint64)).astype(np.int64)
    starts: Int32[np.ndarray, " row"] = (low + steps).astype(np.int32)
    return starts


class OtherPeaks:
    """Where features peak: in the uniform samples by block, and on which tokens.

    Args:
        fired: The uniform sample of every feature.
        is_alike: Of each feature, whether it fires in so many blocks as one that gets contexts.
        pool: Says on which tokens features fire.
        context_length: Tokens in a window.
    """

    def __init__(
        self, fired: SampledWindows, is_alike: Bool[np.ndarray, " feature"], pool: PoolBlocks, context_length: int
    ) -> None:
        kept = np.flatnonzero(is_alike[fired.feature])
        self.fired = fired
        self._is_alike = is_alike
        self._pool = pool
        line = fired.block_index[kept] * APART + fired.peak_position[kept]
        order = np.argsort(line, kind="stable")
        self._rows, line = kept[order], line[order]
        self._blocks = fired.block_index[self._rows]
        reach = furthest(context_length)
        near = np.searchsorted(line, line + reach, side="right") - np.searchsorted(line, line - reach, side="left")
        self._n_near = near.astype(np.float64)

    def in_blocks(
        self, block_index: Int64[np.ndarray, " window"]
    ) -> tuple[Int64[np.ndarray, " pair"], Int64[np.ndarray, " pair"], Float64[np.ndarray, " pair"]]:
        """Each block's rows of the samples: the place of the block among those given, the row, and rows near it."""
        first = np.searchsorted(self._blocks, block_index, side="left")
        last = np.searchsorted(self._blocks, block_index, side="right")
        own, place = expand(first.astype(np.int64), (last - first).astype(np.int64))
        return own, self._rows[place], self._n_near[place]

    @cached_property
    def token_weight(self) -> Float64[np.ndarray, " token"]:
        """How much more features fire on each token of the vocabulary than it occurs; 0 beyond the last one seen."""
        pool, blocks = self._pool, self._pool.blocks
        n_there = np.bincount(blocks.token_ids[blocks.counted])
        firing = np.flatnonzero(self._is_alike[pool.feature])
        feature, activation = pool.feature[firing], pool.activation[firing].astype(np.float64)
        row, at = np.divmod(pool.at[firing], APART)
        share = activation / np.maximum(np.bincount(feature, activation), np.finfo(np.float64).tiny)[feature]
        mass = np.bincount(blocks.token_ids[row, at], share, minlength=n_there.size)[: n_there.size]
        weight: Float64[np.ndarray, " token"] = mass / np.maximum(1, n_there)
        return weight


@dataclass(frozen=True, slots=True)
class Decoys:
    """A decoy for each of some windows.

    Attributes:
        position: In the block; -1 where there is none.
        row: Row of the uniform sample whose peak it is; -1 where it is a token on which features fire elsewhere.
    """

    position: Int64[np.ndarray, " row"]
    row: Int64[np.ndarray, " row"]

    @classmethod
    def none(cls, n: int) -> "Decoys":
        """No decoy for any of n windows."""
        return cls(np.full(n, _NONE, dtype=np.int64), np.full(n, _NONE, dtype=np.int64))

    def joined(self, others: "Decoys") -> "Decoys":
        """These, then others."""
        return Decoys(np.concatenate([self.position, others.position]), np.concatenate([self.row, others.row]))


class Places:
    """Draws the windows and decoys of a source's features; see the module's steps.

    Args:
        others: Where other features peak.
        pieces: Turn token ids into text: white space alone can't be a decoy.
        context_length: Tokens in a window.
        peak_fraction: Where the peak stands in what the explainer sees.
        key: Of all draws.
    """

    def __init__(self, others: OtherPeaks, pieces: Pieces, context_length: int, peak_fraction: float, key: int) -> None:
        self._others = others
        self._pieces = pieces
        self._context_length = context_length
        self._peak_fraction = peak_fraction
        self._key = key
        self._shown: dict[int, bool] = {}

    @classmethod
    def of_source(
        cls,
        collected: Collected,
        pool: PoolBlocks,
        pieces: Pieces,
        config: ContextsConfig,
        peak_fraction: float,
        *,
        seed: int,
        source_id: str,
    ) -> "Places":
        """Those of a run: contexts that grade, and all else that has to look like them, are placed by these."""
        length = collected.top.context_length
        is_alike = collected.statistics.n_active_blocks >= config.min_explain + config.min_score
        others = OtherPeaks(collected.fired, is_alike, pool, length)
        return cls(others, pieces, length, peak_fraction, hash_key(seed, "places", source_id))

    def drawn(
        self, fired: SampledWindows, blocks: Blocks, grades: Bool[np.ndarray, " row"]
    ) -> tuple[Decoys, Int32[np.ndarray, " row"]]:
        """Draw decoys for windows of the uniform sample that grade, and say where the windows begin.

        Args:
            fired: Some of the uniform sample, each reaching as far as any context around its peak.
            blocks: The block of each.
            grades: Which are of the score split, so that their place is drawn.
        """
        length = self._context_length
        fixed = window_starts(fired.peak_position, blocks.span_start, blocks.span_end, length, self._peak_fraction)
        graded = np.flatnonzero(grades)
        decoys = Decoys.none(grades.size)
        of_graded = self._draw(take_rows(fired, graded), blocks.take(graded))
        decoys.position[graded], decoys.row[graded] = of_graded.position, of_graded.row
        peak = fired.peak_position.astype(np.int64)
        other = np.where(decoys.position != _NONE, decoys.position, peak)
        hashes = keyed_hash(self._key, fired.feature, fired.block_index)
        starts = drawn_starts(np.minimum(peak, other), np.maximum(peak, other), blocks, length, hashes)
        return decoys, np.where(grades, starts, fixed)

    def _draw(self, samples: SampledWindows, blocks: Blocks) -> Decoys:
        """Draw a decoy for each window."""
        reach = furthest(self._context_length)
        peak = samples.peak_position.astype(np.int64)
        drawn = self._peaks_near(samples, peak - reach, peak + reach, blocks)
        lacking = np.flatnonzero(drawn.position == _NONE)
        if lacking.size:
            drawn.position[lacking] = self._tokens_near(
                take_rows(samples, lacking), peak[lacking] - reach, peak[lacking] + reach, blocks.take(lacking)
            )
        return drawn

    def _peaks_near(
        self,
        samples: SampledWindows,
        first: Int64[np.ndarray, " row"],
        last: Int64[np.ndarray, " row"],
        blocks: Blocks,
    ) -> Decoys:
        """Draw a sampled peak of another feature between two positions."""
        own, other, n_near = self._others.in_blocks(samples.block_index)
        fired = self._others.fired
        position = fired.peak_position[other].astype(np.int64)
        fits = (fired.feature[other] != samples.feature[own]) & (first[own] <= position) & (position <= last[own])
        own, other, position, n_near = own[fits], other[fits], position[fits], n_near[fits]
        fits = samples.dense()[own, position - samples.window_start[own]] <= 0
        own, other, position, n_near = own[fits], other[fits], position[fits], n_near[fits]
        shown = self._shows(blocks.token_ids[own, position])
        own, other, position, n_near = own[shown], other[shown], position[shown], n_near[shown]
        turns = _turns(keyed_hash(self._key, samples.feature[own], samples.block_index[own], fired.feature[other]))
        order = np.lexsort((other, turns * n_near, own))
        with_one, first_of = np.unique(own[order], return_index=True)
        drawn = Decoys.none(samples.feature.size)
        drawn.position[with_one] = position[order][first_of]
        drawn.row[with_one] = other[order][first_of]
        return drawn

    def _tokens_near(
        self,
        samples: SampledWindows,
        first: Int64[np.ndarray, " row"],
        last: Int64[np.ndarray, " row"],
        blocks: Blocks,
    ) -> Int64[np.ndarray, " row"]:
        """Draw a token on which features fire elsewhere between two positions; -1 where there is none."""
        weights, reach = self._others.token_weight, furthest(self._context_length)
        position = np.arange(blocks.token_ids.shape[1])
        known = blocks.counted & (blocks.token_ids < weights.size)
        weight = np.where(known, weights[np.where(known, blocks.token_ids, 0)], 0.0)
        weight[known] *= self._shows(blocks.token_ids[known])
        sums = np.pad(np.cumsum(weight, axis=1), ((0, 0), (1, 0)))
        near = sums[:, np.minimum(position + reach + 1, position.size)] - sums[:, np.maximum(position - reach, 0)]
        fits = (weight > 0) & (first[:, None] <= position) & (position <= last[:, None])
        own, at = np.nonzero(fits)
        silent = samples.dense()[own, at - samples.window_start[own]] <= 0
        own, at = own[silent], at[silent]
        turns = _turns(keyed_hash(self._key, samples.feature[own], samples.block_index[own], at))
        order = np.lexsort((at, turns * near[own, at] / weight[own, at], own))
        with_one, first_of = np.unique(own[order], return_index=True)
        drawn = np.full(samples.feature.size, _NONE, dtype=np.int64)
        drawn[with_one] = at[order][first_of]
        return drawn

    def offsets(self, decoys: Decoys, windows: Windows) -> list[tuple[int, ...]]:
        """Offsets in windows on which their decoys fire and the feature doesn't, strongest first.

        Args:
            decoys: One a window.
            windows: The windows.
        """
        rows = np.flatnonzero(decoys.row != _NONE)
        others = take_rows(self._others.fired, decoys.row[rows])
        entry = np.repeat(np.arange(rows.size), others.n_entries)
        row, activation = rows[entry], others.entry_activation
        offset = others.window_start[entry].astype(np.int64) + others.entry_offset - windows.start[row]
        inside = (offset >= 0) & (offset < windows.length[row])
        row, offset, activation = row[inside], offset[inside], activation[inside]
        fits = (windows.activations[row, offset] <= 0) & self._shows(windows.token_ids[row, offset])
        row, offset, activation = row[fits], offset[fits], activation[fits]
        alone = np.flatnonzero((decoys.row == _NONE) & (decoys.position != _NONE))
        row = np.concatenate([row, alone])
        offset = np.concatenate([offset, decoys.position[alone] - windows.start[alone]])
        activation = np.concatenate([activation, np.ones(alone.size, dtype=activation.dtype)])
        order = np.lexsort((offset, -activation, row))
        ends = np.searchsorted(row[order], np.arange(1, decoys.row.size))
        return [tuple(of_row.tolist()) for of_row in np.split(offset[order], ends)]

    def _shows(self, token_ids: Int32[np.ndarray, " token"]) -> Bool[np.ndarray, " token"]:
        """Whether tokens are more than white space."""
        distinct, place = np.unique(token_ids, return_inverse=True)
        for token_id in distinct.tolist():
            if token_id not in self._shown:
                self._shown[token_id] = bool("".join(self._pieces.pieces([token_id])).strip())
        shown: Bool[np.ndarray, " token"] = np.array([self._shown[t] for t in distinct.tolist()], dtype=np.bool_)[place]
        return shown


def _turns(hashes: UInt64[np.ndarray, " candidate"]) -> Float64[np.ndarray, " candidate"]:
    """Times of an exponential race: of candidates whose times are divided by w, one is first with a chance of w."""
    turns: Float64[np.ndarray, " candidate"] = -np.log((hashes.astype(np.float64) + 0.5) / 2.0**64)
    return turns
