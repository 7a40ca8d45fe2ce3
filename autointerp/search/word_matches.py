"""How far labels have the very words of a query.

A word is a run of letters and digits, as `words.plain_word` has it. Labels and query are vectors over the words of all
labels:

    weight = (1 + ln occurrences) (1 + ln((1 + labels) / (1 + labels with the word)))

as in scikit-learn's `TfidfVectorizer(sublinear_tf=True)`, which gives the same numbers, but takes longer to import than
a whole search may take.
"""

import math
import re
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache, reduce

import numpy as np
from jaxtyping import Float64, Int64

from autointerp.words import plain_word, says_something

_WORD = re.compile(r"\w+")


def words_of_label(text: str) -> list[str]:
    """The words of a label or a query, in order, as they are compared."""
    return _WORD.findall(plain_word(text))


def words_of_query(query: str) -> list[str]:
    """The words of a query that say something, in order; all of them where none does.

    A whole question would otherwise be closest to the labels of features that fire on its "the" and "of".
    """
    words = words_of_label(query)
    return [word for word in words if says_something(word)] or words


def match_words(
    query: str, labels: Sequence[str], n_labels: int, n_with: Callable[[str], int]
) -> Float64[np.ndarray, " label"]:
    """What `WordMatches.of` says of some of many labels, from their own texts.

    Args:
        query: Any text.
        labels: Those to compare.
        n_labels: Labels in all.
        n_with: In how many of all a word is.
    """
    rarity = lru_cache(maxsize=None)(lambda word: 1 + math.log((1 + n_labels) / (1 + n_with(word))))

    def weights(words: Sequence[str]) -> dict[str, float]:
        return {word: (1 + math.log(n)) * rarity(word) for word, n in Counter(words).items()}

    phrase = plain_word(query.strip())
    asked = {word: weight for word, weight in weights(words_of_query(phrase)).items() if n_with(word)}
    length = math.hypot(*asked.values())
    as_a_whole = re.compile(rf"(?<!\w){re.escape(phrase)}(?!\w)")
    found = np.zeros(len(labels))
    for place, label in enumerate(labels):
        plain = plain_word(label)
        has = weights(_WORD.findall(plain))
        common = sum(weight * has.get(word, 0.0) for word, weight in asked.items())
        if common:
            found[place] = common / (length * math.hypot(*has.values()))
        if as_a_whole.search(plain):
            found[place] = 1.0
    return found


class WordMatches:
    """Compares queries with labels by their words.

    Args:
        labels: One a row.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self._lowered = [plain_word(label) for label in labels]
        self._number: dict[str, int] = {}
        words, rows = array("q"), array("q")
        for row, label in enumerate(self._lowered):
            for word in _WORD.findall(label):
                words.append(self._number.setdefault(word, len(self._number)))
                rows.append(row)
        # By word, then by row: the rows that have a word, with its weight in each, lie side by side.
        n_rows = len(self._lowered)
        cells, n_times = np.unique(np.asarray(words) * n_rows + np.asarray(rows), return_counts=True)
        word_of, self._rows = np.divmod(cells, n_rows)
        self._first = np.searchsorted(word_of, np.arange(len(self._number) + 1))
        self._rarity = 1 + np.log((1 + n_rows) / (1 + np.diff(self._first)))
        weights = (1 + np.log(n_times)) * self._rarity[word_of]
        lengths = np.sqrt(np.bincount(self._rows, weights**2, minlength=n_rows))
        self._weights = weights / lengths[self._rows]

    def of(self, query: str) -> Float64[np.ndarray, " row"]:
        """Cosine of TF-IDF vectors, in which rare words weigh more; 1 where a label has the whole query as a phrase."""
        matches = np.zeros(len(self._lowered))
        phrase = plain_word(query.strip())
        n_times = Counter(words_of_query(phrase))
        asked = [(self._number[word], n) for word, n in n_times.items() if word in self._number]
        if asked:
            weights = np.array([(1 + np.log(n)) * self._rarity[number] for number, n in asked])
            for (number, _), weight in zip(asked, weights / np.linalg.norm(weights), strict=True):
                matches[self._rows_with(number)] += weight * self._weights[self._places(number)]
        # A label that has the phrase has each of its words.
        candidates: Sequence[int] = range(len(self._lowered))
        if n_times:
            known = [self._rows_with(number) for number, _ in asked] if len(asked) == len(n_times) else []
            candidates = reduce(np.intersect1d, known).tolist() if known else []
        as_a_whole = re.compile(rf"(?<!\w){re.escape(phrase)}(?!\w)")
        matches[[row for row in candidates if as_a_whole.search(self._lowered[row])]] = 1.0
        return matches

    def _rows_with(self, number: int) -> Int64[np.ndarray, " some"]:
        return self._rows[self._places(number)]

    def _places(self, number: int) -> slice:
        return slice(self._first[number], self._first[number + 1])
