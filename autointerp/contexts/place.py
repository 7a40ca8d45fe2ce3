"""Where the windows of firing contexts begin, and where another feature fires in them.

What the explainer sees has the peak at a fixed place, so that what led to the peak is visible. In a context that grades
a fixed place would tell which token is marked, and that a window is one around a peak. So there:

1. A *decoy* is drawn for each context, by keyed hash: a token near the peak on which another feature peaks and this one
   is silent. The other feature comes from the uniform samples of all features, in which a frequent feature has no more
   rows than a rare one: so decoys stand on tokens like those on which features peak.
2. The window is drawn uniformly, by keyed hash, among those that hold the peak and the decoy, neither of them near the
   edge. Peak and decoy have the same part in it, so the place tells nothing about which of them is which.

Without a decoy the window is drawn among those that hold the peak.
"""

import numpy as np
from jaxtyping import Bool, Int32, Int64, UInt64

from autointerp.collect.runs import expand
from autointerp.collect.windows import take_rows, window_starts
from autointerp.contexts.windows import Pieces, Windows
from autointerp.corpus.reader import Blocks
from autointerp.identity import keyed_hash
from autointerp.records import SampledWindows

_NO_ROW = -1
_MARGIN_PARTS = 8


def edge_margin(context_length: int) -> int:
    """Tokens at either edge of a drawn window on which neither peak nor decoy stands, unless the block ends there."""
    return context_length // _MARGIN_PARTS


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
    """The peaks of all features in the uniform samples, by block.

    Args:
        fired: The uniform sample of every feature.
        is_alike: Of each feature, whether it fires in so many blocks as one that gets contexts.
    """

    def __init__(self, fired: SampledWindows, is_alike: Bool[np.ndarray, " feature"]) -> None:
        kept = np.flatnonzero(is_alike[fired.feature])
        self.fired = fired
        self._rows = kept[np.argsort(fired.block_index[kept], kind="stable")]
        self._blocks = fired.block_index[self._rows]

    def in_blocks(
        self, block_index: Int64[np.ndarray, " window"]
    ) -> tuple[Int64[np.ndarray, " pair"], Int64[np.ndarray, " pair"]]:
        """Each block's rows of the samples: the place of the block among those given, and the row, for each pair."""
        first = np.searchsorted(self._blocks, block_index, side="left")
        last = np.searchsorted(self._blocks, block_index, side="right")
        own, place = expand(first.astype(np.int64), (last - first).astype(np.int64))
        return own, self._rows[place]


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

    def drawn(
        self, fired: SampledWindows, blocks: Blocks, grades: Bool[np.ndarray, " row"]
    ) -> tuple[Int64[np.ndarray, " row"], Int32[np.ndarray, " row"]]:
        """Draw decoys for windows of the uniform sample, and say where the windows begin.

        Args:
            fired: Some of the uniform sample, each reaching as far as any context around its peak.
            blocks: The block of each.
            grades: Which are of the score split, so that their place is drawn.

        Returns:
            The row of the whole uniform sample that gives each decoy, -1 where there is none; and the starts.
        """
        length = self._context_length
        fixed = window_starts(fired.peak_position, blocks.span_start, blocks.span_end, length, self._peak_fraction)
        peak = fired.peak_position.astype(np.int64)
        reach = length - 1 - 2 * edge_margin(length)
        first = np.where(grades, peak - reach, fixed)
        last = np.where(grades, peak + reach, self._last(fixed, blocks))
        decoys = self._draw(fired, first, last, blocks)
        other = np.where(grades & (decoys != _NO_ROW), self._others.fired.peak_position[decoys], peak)
        hashes = keyed_hash(self._key, fired.feature, fired.block_index)
        starts = drawn_starts(np.minimum(peak, other), np.maximum(peak, other), blocks, length, hashes)
        return decoys, np.where(grades, starts, fixed)

    def within(
        self, samples: SampledWindows, starts: Int32[np.ndarray, " row"], blocks: Blocks
    ) -> Int64[np.ndarray, " row"]:
        """Draw decoys that stand in windows whose place is given; -1 where there is none."""
        return self._draw(samples, starts.astype(np.int64), self._last(starts, blocks), blocks)

    def _last(self, starts: Int32[np.ndarray, " row"], blocks: Blocks) -> Int64[np.ndarray, " row"]:
        """The last position of windows."""
        last: Int64[np.ndarray, " row"] = (
            np.minimum(starts + self._context_length, blocks.span_end).astype(np.int64) - 1
        )
        return last

    def _draw(
        self,
        samples: SampledWindows,
        first: Int64[np.ndarray, " row"],
        last: Int64[np.ndarray, " row"],
        blocks: Blocks,
    ) -> Int64[np.ndarray, " row"]:
        """Draw a decoy for each window between two positions."""
        own, other = self._others.in_blocks(samples.block_index)
        fired = self._others.fired
        position = fired.peak_position[other].astype(np.int64)
        fits = (fired.feature[other] != samples.feature[own]) & (first[own] <= position) & (position <= last[own])
        own, other, position = own[fits], other[fits], position[fits]
        silent = samples.dense()[own, position - samples.window_start[own]] <= 0
        own, other, position = own[silent], other[silent], position[silent]
        shown = self._shows(blocks.token_ids[own, position])
        own, other = own[shown], other[shown]
        hashes = keyed_hash(self._key, samples.feature[own], samples.block_index[own], fired.feature[other])
        order = np.lexsort((hashes, own))
        with_one, first_of = np.unique(own[order], return_index=True)
        drawn = np.full(samples.feature.size, _NO_ROW, dtype=np.int64)
        drawn[with_one] = other[order][first_of]
        return drawn

    def offsets(self, decoys: Int64[np.ndarray, " row"], windows: Windows) -> list[tuple[int, ...]]:
        """Offsets in windows on which their decoys fire and the feature doesn't, strongest first.

        Args:
            decoys: The row of the uniform sample that gives each window's decoy; -1 where there is none.
            windows: The windows.
        """
        rows = np.flatnonzero(decoys != _NO_ROW)
        others = take_rows(self._others.fired, decoys[rows])
        entry = np.repeat(np.arange(rows.size), others.n_entries)
        row, activation = rows[entry], others.entry_activation
        offset = others.window_start[entry].astype(np.int64) + others.entry_offset - windows.start[row]
        inside = (offset >= 0) & (offset < windows.length[row])
        row, offset, activation = row[inside], offset[inside], activation[inside]
        fits = (windows.activations[row, offset] <= 0) & self._shows(windows.token_ids[row, offset])
        row, offset, activation = row[fits], offset[fits], activation[fits]
        order = np.lexsort((offset, -activation, row))
        ends = np.searchsorted(row[order], np.arange(1, decoys.size))
        return [tuple(of_row.tolist()) for of_row in np.split(offset[order], ends)]

    def _shows(self, token_ids: Int32[np.ndarray, " token"]) -> Bool[np.ndarray, " token"]:
        """Whether tokens are more than white space."""
        distinct, place = np.unique(token_ids, return_inverse=True)
        for token_id in distinct.tolist():
            if token_id not in self._shown:
                self._shown[token_id] = bool("".join(self._pieces.pieces([token_id])).strip())
        shown: Bool[np.ndarray, " token"] = np.array([self._shown[t] for t in distinct.tolist()], dtype=np.bool_)[place]
        return shown
