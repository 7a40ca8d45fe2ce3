"""The different words of texts, and which of them rules speak of: asked once a word, not once a unit."""

from collections.abc import Callable, Iterable
from functools import cached_property

import numpy as np
from jaxtyping import Bool

from autointerp.words import stem

AFFIX_LENGTHS = range(2, 7)


class Vocabulary:
    """Words by number, perhaps beyond those of another vocabulary, whose answers are used again.

    Args:
        words: All of them, in the order of their numbers; they begin with those of `base`.
        base: A vocabulary that is a part of this one.
    """

    def __init__(self, words: Iterable[str], base: "Vocabulary | None" = None) -> None:
        self.words = tuple(words)
        self._base = base
        self._n_base = 0 if base is None else len(base.words)
        self._known: dict[str, Bool[np.ndarray, " word"]] = {}

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def number(self) -> dict[str, int]:
        """The number of each word."""
        return {word: number for number, word in enumerate(self.words)}

    def are(self, wanted: Iterable[str]) -> Bool[np.ndarray, " word"]:
        """Which words are some of these."""
        mask = np.zeros(len(self), dtype=np.bool_)
        mask[[self.number[word] for word in wanted if word in self.number]] = True
        return mask

    def of_class(self, name: str, is_meant: Callable[[str], bool]) -> Bool[np.ndarray, " word"]:
        """Which words are of a class, remembered by its name."""
        if name not in self._known:
            new = self.words[self._n_base :]
            own = np.fromiter(map(is_meant, new), dtype=np.bool_, count=len(new))
            known = [] if self._base is None else [self._base.of_class(name, is_meant)]
            self._known[name] = np.concatenate([*known, own])
        return self._known[name]

    def of_stem(self, wanted: str) -> Bool[np.ndarray, " word"]:
        """Which words have a stem."""
        mask = np.zeros(len(self), dtype=np.bool_)
        at: Vocabulary | None = self
        while at is not None:
            mask[at._by_stem.get(wanted, [])] = True
            at = at._base
        return mask

    def affixed(self, kind: str, part: str) -> Bool[np.ndarray, " word"]:
        """Which words end in, begin with or hold some letters, and are longer."""
        mask = np.zeros(len(self), dtype=np.bool_)
        if len(part) in AFFIX_LENGTHS:
            at: Vocabulary | None = self
            while at is not None:
                mask[at._by_affix[kind].get(part, [])] = True
                at = at._base
        else:
            has = _HAS[kind]
            mask[[n for n, word in enumerate(self.words) if len(word) > len(part) and has(word, part)]] = True
        return mask

    @cached_property
    def _by_stem(self) -> dict[str, list[int]]:
        """The words that are not of the base, by their stems."""
        found: dict[str, list[int]] = {}
        for number, word in enumerate(self.words[self._n_base :], start=self._n_base):
            found.setdefault(stem(word), []).append(number)
        return found

    @cached_property
    def _by_affix(self) -> dict[str, dict[str, list[int]]]:
        """The words that are not of the base, by their beginnings, endings and insides."""
        found: dict[str, dict[str, list[int]]] = {"ending": {}, "beginning": {}, "containing": {}}
        for number, word in enumerate(self.words[self._n_base :], start=self._n_base):
            for kind, part in affixes(word):
                found[kind].setdefault(part, []).append(number)
        return found


_HAS: dict[str, Callable[[str, str], bool]] = {
    "ending": str.endswith,
    "beginning": str.startswith,
    "containing": str.__contains__,
}


def affixes(word: str) -> set[tuple[str, str]]:
    """The endings, beginnings and insides of a word, of a few letters each and shorter than it."""
    found: set[tuple[str, str]] = set()
    for n in AFFIX_LENGTHS:
        if len(word) > n:
            found |= {("ending", word[-n:]), ("beginning", word[:n])}
            found |= {("containing", word[i : i + n]) for i in range(len(word) - n + 1)}
    return found
