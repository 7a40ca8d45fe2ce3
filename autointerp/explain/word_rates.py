"""Whole words instead of word pieces: which words of a context a feature fires on, and how common words are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from autointerp.contexts.render import shown_activations
from autointerp.records import Context
from autointerp.words import UNSPACED, words_of, words_on_tokens

_UNSPACED = re.compile(UNSPACED)


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
        """Share of the corpus's words that are this one, in (0, 1]; each word counted once more (Laplace).

        Of several characters of a script without spaces, which are a word each: that of the rarest, which is the most
        that the share of all of them together can be.
        """
        least = min(self._counts[part] for part in words_of(word) or (word,))
        return (least + 1) / (self._n_words + len(self._counts) + 1)


def firing_words(context: Context) -> list[FiringWord]:
    """Cut a context into words and punctuation marks, each with the feature's activation on it.

    Of a script that is written without spaces a word is a character, or as many as one token holds.
    """
    activations = shown_activations(context)
    words: list[FiringWord] = []
    before: tuple[int, int | None] = 0, None  # where the last word ended, and which token held it
    for match, first, last in words_on_tokens(context.tokens):
        word = match.group().lower()
        token = first if first == last and _UNSPACED.match(word) else None
        if token is not None and before == (match.start(), token):
            words[-1] = words[-1]._replace(word=words[-1].word + word)
        else:
            words.append(FiringWord(word, max(activations[first : last + 1])))
        before = match.end(), token
    return words
