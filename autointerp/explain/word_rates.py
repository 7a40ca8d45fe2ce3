"""Whole words instead of word pieces: which words of a context a feature fires on, and how common words are.

An identifier (`LocalEntryNotFoundError`) is no word but several: the feature fires on those of its parts that it fires
on, and each counts as the same word does elsewhere. So does a number in a word (`fp16`) that it fires on alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np

from autointerp.contexts.render import shown_activations
from autointerp.corpus.spellings import Spellings
from autointerp.records import Context
from autointerp.words import UNSPACED, WORD, plain_word, stem, words_of, words_on_tokens

_UNSPACED = re.compile(UNSPACED)
_OF_DIGITS = re.compile(r"\d+|\D+")
_JOINTS = {"_": " ", "-": "-"}


class FiringWord(NamedTuple):
    """A word of a context.

    Attributes:
        word: In lower case.
        activation: The largest of its tokens.
        joint: What people write between it and the word before: a space, also for the parts of an identifier, a
            hyphen, or nothing, as in a script without spaces; None where something else stands there.
        is_cut: Whether it touches an end of the context, where a part of it may be cut off.
    """

    word: str
    activation: float
    joint: str | None = None
    is_cut: bool = False


class WordRates(Protocol):
    """How often each word is to be expected, and how words are written."""

    @property
    def spellings(self) -> Spellings:
        """How words are written, and which are identifiers."""
        ...

    def rate(self, word: str) -> float:
        """In (0, 1], of one word."""
        ...

    def stem_rate(self, word: str) -> float:
        """In (0, 1], of a word and its inflections."""
        ...

    def is_whole(self, word: str) -> bool:
        """Whether the word stands in a text elsewhere than at its ends."""
        ...


class BaseRates:
    """How often each word stands in the corpus at large.

    Attributes:
        spellings: How words are written, and which are identifiers.
    """

    def __init__(self, texts: Iterable[str], spellings: Spellings | None = None) -> None:
        """Count the words of texts: a uniform sample of the corpus, of the explain split only.

        Args:
            texts: Windows of the corpus, whose first and last word may be cut.
            spellings: Of the corpus; counted in the texts where nothing is known.
        """
        texts = list(texts)
        self.spellings = Spellings.counted(texts) if spellings is None else spellings
        self._counts: Counter[str] = Counter()
        self._whole: set[str] = set()
        for text in texts:
            words = [match.group() for match in WORD.finditer(text)]
            self._counts.update(plain_word(part) for word in words for part in self.spellings.parts(word))
            self._whole.update(plain_word(part) for word in words[1:-1] for part in self.spellings.parts(word))
        self._n_words = self._counts.total()

    @cached_property
    def _by_stem(self) -> Counter[str]:
        counts: Counter[str] = Counter()
        for word, n in self._counts.items():
            counts[stem(word)] += n
        return counts

    def rate(self, word: str) -> float:
        """Share of the corpus's words that are this one, in (0, 1]; each word counted once more (Laplace).

        Of several characters of a script without spaces, which are a word each: that of the rarest, which is the most
        that the share of all of them together can be.
        """
        return self._rate(min(self._counts[part] for part in words_of(word) or (word,)))

    def stem_rate(self, word: str) -> float:
        """Share of the corpus's words that have the stem of this one, likewise."""
        parts = words_of(word)
        return self._rate(self._by_stem[stem(word)]) if len(parts) < 2 else self.rate(word)

    def is_whole(self, word: str) -> bool:
        """Whether the word stands in a text elsewhere than at its ends."""
        return word in self._whole

    def _rate(self, count: int) -> float:
        return (count + 1) / (self._n_words + len(self._counts) + 1)


def firing_words(context: Context, spellings: Spellings) -> list[FiringWord]:
    """Cut a context into words and punctuation marks, each with the feature's activation on it.

    Of a script that is written without spaces a word is a character, or as many as one token holds.
    """
    activations = shown_activations(context)
    text = "".join(context.tokens)
    words: list[FiringWord] = []
    before: tuple[int, int | None] = 0, None  # where the last word ended, and which token held it
    end_of_word = 0  # the same of words that are no marks
    for match, first, last in words_on_tokens(context.tokens):
        word = match.group()
        token = first if first == last and _UNSPACED.match(word) else None
        is_mark = not word[0].isalnum()
        touches = match.start() == 0 or match.end() == len(text)
        is_cut = touches and not is_mark and not _UNSPACED.match(word)
        if token is not None and before == (match.start(), token):
            words[-1] = words[-1]._replace(word=words[-1].word + word)
        else:
            between = text[end_of_word : match.start()]
            joint = " " if between and not between.strip() else _JOINTS.get(between)
            if _UNSPACED.match(word):
                joint = "" if not between and words and _UNSPACED.match(words[-1].word) else None
            joint = joint if words and not is_mark else None
            parts, strongest, inside = spellings.parts(word), [max(activations[first : last + 1])], " "
            if len(parts) > 1:
                strongest = _on_parts(context.tokens, activations, match.start(), parts)
            elif strongest[0] > 0 and len(mixed := _OF_DIGITS.findall(word)) > 1:
                on_mixed = _on_parts(context.tokens, activations, match.start(), mixed)
                if all(part.isdigit() for part, a in zip(mixed, on_mixed, strict=True) if a > 0) and any(on_mixed):
                    parts, strongest, inside = tuple(mixed), on_mixed, ""
            for number, (part, activation) in enumerate(zip(parts, strongest, strict=True)):
                words.append(FiringWord(plain_word(part), activation, joint if number == 0 else inside, is_cut))
        before = match.end(), token
        if not is_mark:
            end_of_word = match.end()
    return words


def _on_parts(tokens: Sequence[str], activations: Sequence[float], start: int, parts: Sequence[str]) -> list[float]:
    """The largest activation of the tokens that lie on each part, half of their letters at least."""
    edges = start + np.cumsum([0, *map(len, parts)])
    ends = np.cumsum([len(token) for token in tokens])
    starts = ends - [len(token.lstrip()) for token in tokens]
    found = []
    for low, high in pairwise(edges):
        overlap = np.minimum(ends, high) - np.maximum(starts, low)
        on = (overlap > 0) & (2 * overlap >= ends - starts)
        found.append(max((a for a, is_on in zip(activations, on, strict=True) if is_on), default=0.0))
    return found
