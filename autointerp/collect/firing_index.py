"""Where each feature of a source fires on some blocks, looked up by feature and by token, to count what fires nearby.

For a feature and any other, of the same source or of another that was collected on the same blocks, it is counted on
how many of the feature's firings the other one fires on the same token (`with`), or somewhere among the `reach` tokens
`before` or `after` it in the block.

Each firing of the feature is counted once, however often the other fires nearby. No sorting is needed for that: of the
other's firings before a token, the nearest is the one whose next firing is at least as far away as the token itself.

1. `build` lays the blocks end to end with `reach` empty cells between them, so that nothing reaches into another block,
   and tells for each firing how far away the same feature's next and last one are.
2. `count` looks up what fires at each distance from the feature's firings, drops what is not nearest, and counts it by
   feature.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32, Int64, UInt16

from autointerp.collect.runs import as_unsigned, expand, run_starts, stable_order
from autointerp.records import FiringPlace

# Firings of one feature that are looked up at once; each brings as many others as fire on a token.
_CHUNK = 8192


@dataclass(frozen=True, slots=True)
class Spans:
    """The counted tokens of the blocks that are looked at: the same for all sources.

    Attributes:
        start: First counted position of each block.
        end: One past the last.
        n_positions: Positions of a block.
    """

    start: Int32[np.ndarray, " block"]
    end: Int32[np.ndarray, " block"]
    n_positions: int

    @property
    def n_tokens(self) -> int:
        """Tokens of all blocks."""
        return int((self.end - self.start).sum(dtype=np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class FiringIndex:
    """Every firing of a source on some blocks. Make one with `build`.

    Attributes:
        n_features: Features of the source.
        n_tokens: Counted tokens of the blocks.
        reach: Tokens before or after one that count as near.
        n_near: For each place, the tokens that have a firing of each feature there.
    """

    n_features: int
    n_tokens: int
    reach: int
    n_near: dict[FiringPlace, Int64[np.ndarray, " feature"]]
    _stride: int
    _feature: Int32[np.ndarray, " firing"]  # by cell
    _starts: Int64[np.ndarray, " cell_and_one"]  # rows of `_feature` of each cell
    _to_next: UInt16[np.ndarray, " firing"]  # by cell
    _to_last: UInt16[np.ndarray, " firing"]  # by cell
    _cell: Int64[np.ndarray, " firing"]  # by feature, ascending for each
    _ends: Int64[np.ndarray, " feature_and_one"]  # rows of `_cell` of each feature

    @classmethod
    def build(
        cls,
        block: Int64[np.ndarray, " firing"],
        position: Int64[np.ndarray, " firing"],
        feature: Int32[np.ndarray, " firing"],
        spans: Spans,
        *,
        n_features: int,
        reach: int,
    ) -> "FiringIndex":
        """Sort firings.

        Args:
            block: Number of each firing's block among the blocks of `spans`.
            position: Position in its block, inside of its span.
            feature: Feature of each firing.
            spans: The blocks.
            n_features: Features of the source.
            reach: Tokens before or after one that count as near, at least 1, below 65,535.
        """
        stride = spans.n_positions + reach
        cell = reach + block * stride + position
        by_feature = stable_order(as_unsigned(cell), as_unsigned(feature))
        of_feature, ordered = feature[by_feature], cell[by_feature]
        starts = run_starts(of_feature)
        apart = np.minimum(np.diff(ordered), reach + 1)
        to_next = np.append(apart, reach + 1) if len(ordered) else apart
        to_last = np.append(reach + 1, apart) if len(ordered) else apart
        to_last[starts] = reach + 1
        to_next[starts[1:] - 1] = reach + 1
        to_next[-1:] = reach + 1
        # What lies between a firing and the next one, as far as it reaches and the block's tokens go, has it nearest.
        left, right = spans.start[block[by_feature]], spans.end[block[by_feature]]
        at = position[by_feature]
        reached: dict[FiringPlace, np.ndarray] = {
            "before": np.minimum(np.minimum(to_next, reach), right - 1 - at),
            "after": np.minimum(np.minimum(to_last, reach), at - left),
            "with": np.ones(len(at)),
        }
        n_fired = np.bincount(of_feature, minlength=n_features)
        by_cell = stable_order(as_unsigned(ordered))
        n_cells = reach + len(spans.start) * stride + reach
        return cls(
            n_features=n_features,
            n_tokens=spans.n_tokens,
            reach=reach,
            n_near={
                place: np.bincount(of_feature, tokens, minlength=n_features).astype(np.int64)
                for place, tokens in reached.items()
            },
            _stride=stride,
            _feature=of_feature[by_cell],
            _starts=np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(ordered, minlength=n_cells))]),
            _to_next=to_next[by_cell].astype(np.uint16),
            _to_last=to_last[by_cell].astype(np.uint16),
            _cell=ordered,
            _ends=np.concatenate([np.zeros(1, np.int64), np.cumsum(n_fired)]),
        )

    @property
    def n_bytes(self) -> int:
        """What it holds in memory."""
        arrays = (self._feature, self._starts, self._to_next, self._to_last, self._cell, self._ends)
        return sum(array.nbytes for array in (*arrays, *self.n_near.values()))

    def firings(self) -> tuple[Int64[np.ndarray, " firing"], Int32[np.ndarray, " firing"], int]:
        """The cell and the feature of every firing, and how many cells there are."""
        n_cells = len(self._starts) - 1
        return np.repeat(np.arange(n_cells), np.diff(self._starts)), self._feature, n_cells

    def n_fired(self, feature: int) -> int:
        """Tokens on which a feature fires."""
        return int(self._ends[feature + 1] - self._ends[feature])

    def _cells_of(self, feature: int) -> Int64[np.ndarray, " firing"]:
        """Where a feature fires, ascending."""
        return self._cell[self._ends[feature] : self._ends[feature + 1]]

    def count(self, feature: int, other: "FiringIndex", place: FiringPlace) -> Int64[np.ndarray, " other_feature"]:
        """On how many of a feature's firings each feature of `other` fires at a place.

        Args:
            feature: Of this source.
            other: A source on the same blocks; may be this one.
            place: Where the other ones fire.
        """
        counts = np.zeros(other.n_features, np.int64)
        for _, found in self._nearby(feature, other, place):
            counts += np.bincount(found, minlength=other.n_features)
        return counts

    def count_blocks(
        self, feature: int, other: "FiringIndex", place: FiringPlace, among: Int64[np.ndarray, " some"]
    ) -> Int64[np.ndarray, " some"]:
        """In how many blocks some of the counts of `count` were made.

        Of a few features their own firings are looked up, which costs less than going through all nearby ones again.

        Args:
            feature: Of this source.
            other: A source on the same blocks; may be this one.
            place: Where the other ones fire.
            among: Features of `other`.
        """
        cells = self._cells_of(feature)
        block = (cells - self.reach) // self._stride
        low, high = {"with": (0, 0), "before": (-self.reach, -1), "after": (1, self.reach)}[place]
        blocks = np.zeros(len(among), np.int64)
        for number, one in enumerate(among.tolist()):
            theirs = other._cells_of(one)
            fires = np.searchsorted(theirs, cells + low) < np.searchsorted(theirs, cells + high, side="right")
            blocks[number] = np.count_nonzero(np.diff(block[fires], prepend=-1))
        return blocks

    def _nearby(
        self, feature: int, other: "FiringIndex", place: FiringPlace
    ) -> Iterator[tuple[Int64[np.ndarray, " pair"], Int32[np.ndarray, " pair"]]]:
        """Firings of a feature, by their cell, with each feature of `other` that fires at a place; each pair once."""
        assert (self._stride, len(self._starts)) == (other._stride, len(other._starts)), "indices of other blocks"
        cells = self._cells_of(feature)
        distances = range(1) if place == "with" else range(1, self.reach + 1)
        apart = other._to_next if place == "before" else other._to_last
        for first in range(0, len(cells), _CHUNK):
            chunk = cells[first : first + _CHUNK]
            found: list[tuple[np.ndarray, np.ndarray]] = []
            for distance in distances:
                at = chunk - distance if place == "before" else chunk + distance
                starts = other._starts[at]
                which, rows = expand(starts, other._starts[at + 1] - starts)
                if distance:
                    nearest = apart[rows] >= distance
                    which, rows = which[nearest], rows[nearest]
                found.append((chunk[which], other._feature[rows]))
            yield np.concatenate([cell for cell, _ in found]), np.concatenate([feature for _, feature in found])
