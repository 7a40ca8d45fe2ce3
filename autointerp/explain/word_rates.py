"""Whole words instead of word pieces: which words of a context a feature fires on, and how common words are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from autointerp.contexts.render import shown_activations
from autointerp.records import Context
from autointerp.words import WORD, words_of

_CUT_OFF = "\ufffd"


class FiringWord(NamedTuple):
    """A word of a context."""

    word: str  # in lower case
    activation: float  # the largest of its tokens


class BaseRates:
    """How often each word stands in the corpus at large."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Count the words of texts: a uniform sample of the corpus, of the explain split only."""
        self._counts = Counter(word for text in texts for word in words_of(text))
        self._n_words = self._counts.total()

    def rate(self, word: str) -> float:
        """Share of the corpus's words that are this one, in (0, 1]; each word counted once more (Laplace)."""
        return (self._counts[word] + 1) / (self._n_words + len(self._counts) + 1)


def firing_words(context: Context) -> list[FiringWord]:
    """Cut a context into words and punctuation marks, each with the feature's activation on it."""
    ends = np.cumsum([len(token) for token in context.tokens])
    activations = shown_activations(context)
    words = []
    text = "".join(context.tokens)
    # Parts of characters that the window's ends have cut off are no words.
    start, end = len(text) - len(text.lstrip(_CUT_OFF)), len(text.rstrip(_CUT_OFF))
    for match in WORD.finditer(text, start, end):
        first, last = np.searchsorted(ends, [match.start(), match.end() - 1], side="right")
        words.append(FiringWord(match.group().lower(), max(activations[first : last + 1])))
    return words
