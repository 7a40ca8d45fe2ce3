"""Rows of pieces as one text, on which a predicate is executed at once.

The rows (blocks, or windows) are joined with a character between them that is neither a letter nor white space, so a
word never spans two rows and a pattern does so only where it asks for any character at all.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int64

_BETWEEN = "\x00"
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, eq=False)
class RowText:
    """Rows of pieces, joined.

    Attributes:
        text: All pieces in lower case, with a separator after each row.
        start: Where each piece begins in `text`.
        row: Row of each piece, ascending.
        n_rows: Number of rows; one of no pieces counts too.
    """

    text: str
    start: Int64[np.ndarray, " piece"]
    row: Int64[np.ndarray, " piece"]
    n_rows: int

    @classmethod
    def join(cls, rows: Sequence[Sequence[str]]) -> "RowText":
        """Join rows of pieces; joined without a separator, those of one row are its text."""
        # Letter by letter, as a few letters are longer in lower case, which would shift all that follows.
        lower = [["".join(c.lower() if len(c.lower()) == 1 else c for c in piece) for piece in row] for row in rows]
        lengths = [length for row in lower for length in [*map(len, row), len(_BETWEEN)]]
        is_piece = np.array([flag for row in lower for flag in [*[True] * len(row), False]], dtype=np.bool_)
        start = np.cumsum([0, *lengths], dtype=np.int64)[:-1]
        return cls(
            text="".join("".join(row) + _BETWEEN for row in lower),
            start=start[is_piece],
            row=np.repeat(np.arange(len(rows)), [len(row) for row in rows]),
            n_rows=len(rows),
        )

    @property
    def n_pieces(self) -> int:
        return self.start.size

    def find(self, pattern: re.Pattern[str]) -> Bool[np.ndarray, " piece"]:
        """The pieces that matches of a pattern lie on; of the group `at` alone, where the pattern has one."""
        group = "at" if "at" in pattern.groupindex else 0
        spans = [match.span(group) for match in pattern.finditer(self.text)]
        return self._pieces_of(np.array([s for s in spans if s[0] < s[1]], dtype=np.int64).reshape(-1, 2))

    def find_words(self, words: frozenset[str]) -> Bool[np.ndarray, " piece"]:
        """The pieces that whole words lie on."""
        spans, index, vocabulary = self._words
        wanted = np.array([word in words for word in vocabulary], dtype=np.bool_)
        return self._pieces_of(spans[wanted[index]])

    def nearby(self, mask: Bool[np.ndarray, " piece"], *, before: int, after: int) -> Bool[np.ndarray, " piece"]:
        """The pieces that have a piece of the mask, other than themselves, close by in their row.

        Args:
            mask: What is looked for.
            before: How many pieces before each piece are looked at.
            after: How many after it.
        """
        near = np.zeros_like(mask)
        for distance in range(1, min(max(before, after), self.n_pieces - 1) + 1):
            same = self.row[distance:] == self.row[:-distance]
            if distance <= before:
                near[distance:] |= mask[:-distance] & same
            if distance <= after:
                near[:-distance] |= mask[distance:] & same
        return near

    def any_by_row(self, mask: Bool[np.ndarray, " piece"]) -> Bool[np.ndarray, " row"]:
        """Whether the mask has a piece in each row."""
        found = np.zeros(self.n_rows, dtype=np.bool_)
        found[self.row[mask]] = True
        return found

    @cached_property
    def _words(self) -> tuple[Int64[np.ndarray, "word end"], Int64[np.ndarray, " word"], list[str]]:
        """Where each word lies, its place in the vocabulary, and the vocabulary."""
        matches = list(_WORD.finditer(self.text))
        place: dict[str, int] = {}
        index = np.array([place.setdefault(match[0], len(place)) for match in matches], dtype=np.int64)
        return np.array([match.span() for match in matches], dtype=np.int64).reshape(-1, 2), index, list(place)

    def _pieces_of(self, spans: Int64[np.ndarray, "span end"]) -> Bool[np.ndarray, " piece"]:
        """The pieces that spans of characters lie on, white space at the head of a piece left aside."""
        mask = np.zeros(self.n_pieces, dtype=np.bool_)
        if not (spans.size and self.n_pieces):
            return mask
        first = np.maximum(np.searchsorted(self.start, spans[:, 0], side="right") - 1, 0)
        last = np.searchsorted(self.start, spans[:, 1], side="left") - 1
        for piece, end in zip(first.tolist(), last.tolist(), strict=True):
            mask[piece : end + 1] = True
        return mask
