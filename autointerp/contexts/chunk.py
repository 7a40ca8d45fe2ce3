"""The sampled windows of some features together: what is cut and spelled out once, however often it is chosen from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int64

from autointerp.contexts.choose import Candidates
from autointerp.contexts.windows import Pieces, Windows
from autointerp.records import Split


@dataclass(frozen=True, slots=True)
class Chunk:
    """The windows of some features, and where each feature's stand among them.

    Attributes:
        windows: Of all the features.
        decoys: Offsets in each window on which its decoy fires, strongest first; none where it has no decoy, as where
            the window doesn't grade.
        trigrams: Of each window.
        splits: Of each window's document, as if none were set apart to select.
        top_rows: Each feature's rows of the top set.
        fired_rows: Each feature's rows of the uniform sample.
        pieces: Of the subject's vocabulary.
    """

    windows: Windows
    decoys: list[tuple[int, ...]]
    trigrams: list[frozenset[int]]
    splits: list[Split]
    top_rows: Mapping[int, Int64[np.ndarray, " row"]]
    fired_rows: Mapping[int, Int64[np.ndarray, " row"]]
    pieces: Pieces
    _tokens: dict[int, list[str]] = field(default_factory=dict)

    def tokens(self, row: int) -> list[str]:
        """The pieces of a window's text; windows are chosen twice where a select split is set apart, and cut once."""
        if row not in self._tokens:
            self._tokens[row] = self.pieces.pieces(self.windows.tokens_of(row))
        return self._tokens[row]

    def text(self, row: int) -> str:
        """A window's text, without leading or trailing space."""
        return "".join(self.tokens(row)).strip()

    def of(self, feature: int, splits: Sequence[Split]) -> Candidates:
        """One feature's windows, with the split of each of the chunk's."""
        return Candidates(self.windows, self.trigrams, splits, self.top_rows[feature], self.fired_rows[feature])
