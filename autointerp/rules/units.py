"""Rows of text cut into units, the words and marks that rules speak of, with what is known of the place of each.

Units are words, not a tokenizer's pieces: a feature that fires on a piece of a word fires on the word.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from autointerp.contexts.render import shown_activations
from autointerp.records import Context
from autointerp.rules.vocabulary import Vocabulary
from autointerp.words import plain_word, words_in_window, words_on_tokens

Places = Int64[np.ndarray, " place"]
_SENTENCE_END = frozenset(".!?\u3002\uff01\uff1f")
_OPENING, _CLOSING = frozenset("([{\uff08\uff3b\uff5b"), frozenset(")]}\uff09\uff3d\uff5d")
_LINE_BREAK = re.compile(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")


@dataclass(frozen=True, eq=False)
class Units:
    """Rows cut into words and marks, one after the other.

    Attributes:
        vocabulary: The different units in lower case, perhaps among others.
        word: Place in the vocabulary of each unit.
        row: Row of each unit, ascending.
        n_rows: Rows; one without any unit counts too.
        first: Where each row begins, and in the end the number of all units.
        is_capitalized: Whether it begins with a capital letter.
        is_upper: Whether it has two letters or more, and all are capitals.
        opens_sentence: Whether an end of a sentence stands right before it.
        closes_sentence: Whether one stands right after it.
        opens_line: Whether a line break stands right before it.
        in_brackets: Whether a bracket is open.
    """

    vocabulary: Vocabulary
    word: Int64[np.ndarray, " unit"]
    row: Int64[np.ndarray, " unit"]
    n_rows: int
    first: Int64[np.ndarray, " row+1"]
    is_capitalized: Bool[np.ndarray, " unit"]
    is_upper: Bool[np.ndarray, " unit"]
    opens_sentence: Bool[np.ndarray, " unit"]
    closes_sentence: Bool[np.ndarray, " unit"]
    opens_line: Bool[np.ndarray, " unit"]
    in_brackets: Bool[np.ndarray, " unit"]

    @classmethod
    def cut(cls, texts: Iterable[str], base: Vocabulary | None = None) -> "Units":
        """Cut rows of text.

        Args:
            texts: The rows.
            base: Words that have their numbers already.
        """
        place = {} if base is None else dict(base.number)
        word: list[int] = []
        flags: list[tuple[bool, bool, bool, bool, bool, bool]] = []
        first = [0]
        for text in texts:
            of_row: list[list[bool]] = []
            depth, end = 0, 0
            after_sentence = False
            for match in words_in_window(text):
                own = match.group()
                lower = plain_word(own)
                between = text[end : match.start()]
                depth -= own in _CLOSING and depth > 0
                letters = sum(c.isalpha() for c in own)
                if of_row:
                    of_row[-1][3] = own in _SENTENCE_END
                of_row.append(
                    [
                        own[0].isupper(),
                        letters > 1 and own.isupper(),
                        after_sentence,
                        False,
                        bool(of_row) and _LINE_BREAK.search(between) is not None,
                        depth > 0,
                    ]
                )
                depth += own in _OPENING
                after_sentence, end = own in _SENTENCE_END, match.end()
                word.append(place.setdefault(lower, len(place)))
            flags += [(f[0], f[1], f[2], f[3], f[4], f[5]) for f in of_row]
            first.append(len(word))
        columns = np.array(flags, dtype=np.bool_).reshape(-1, 6)
        starts = np.array(first, dtype=np.int64)
        return cls(
            Vocabulary(place, base),
            np.array(word, dtype=np.int64),
            np.repeat(np.arange(starts.size - 1), np.diff(starts)),
            starts.size - 1,
            starts,
            *(columns[:, column] for column in range(6)),
        )

    @property
    def n_units(self) -> int:
        return self.word.size

    def by(
        self, mask: Bool[np.ndarray, " unit"], places: Places, *, before: int, after: int
    ) -> Bool[np.ndarray, " place"]:
        """Whether units have one of the mask, other than themselves, close by in their row.

        Args:
            mask: What is looked for.
            places: The units.
            before: How many units before each are looked at.
            after: How many after it.
        """
        low = np.maximum(places - before, self.first[self.row[places]])
        high = np.minimum(places + 1 + after, self.first[self.row[places] + 1])
        if places.size * (before + after) < self.n_units:
            reach = np.arange(-before, after + 1)
            at = places[:, None] + reach[reach != 0]
            inside = (at >= low[:, None]) & (at < high[:, None])
            near: Bool[np.ndarray, " place"] = (mask[np.where(inside, at, 0)] & inside).any(axis=1)
            return near
        counts = np.concatenate([[0], np.cumsum(mask)])
        found: Bool[np.ndarray, " place"] = counts[high] - counts[low] - mask[places] > 0
        return found

    def any_by_row(self, mask: Bool[np.ndarray, " unit"]) -> Bool[np.ndarray, " row"]:
        """Whether the mask has a unit in each row."""
        found = np.zeros(self.n_rows, dtype=np.bool_)
        found[self.row[mask]] = True
        return found


def unit_activations(context: Context) -> Float64[np.ndarray, " unit"]:
    """A feature's largest activation on each unit of a context, in the order in which `Units.cut` has them."""
    return on_units(shown_activations(context), context.tokens)


def on_units(activations: Sequence[float], tokens: Sequence[str]) -> Float64[np.ndarray, " unit"]:
    """The largest activation of the tokens that each unit of a row lies on."""
    values = np.array(activations, dtype=np.float64)
    return np.array([values[first : last + 1].max() for _, first, last in words_on_tokens(tokens)])
