"""The phrase that a word stands in where a feature fires on it: "random number generator" for generator.

1. A phrase is two to four words with nothing but spaces or hyphens between them, the parts of an identifier included,
   without a function word on which the feature is silent; "of" may stand inside. Where a script has no spaces it is
   two to four characters, on each of which the feature fires.
2. Its *share* is that of the word's mass that lies in it, where each context has the mass of its strongest firing on
   the word.
3. It is typical where its share is a half or more, in three documents or more, and far more than by chance: a hundred
   times the product of the base rates of the words beside.
4. Of several the one with the highest pointwise Kullback-Leibler divergence, `share x ln(share / chance)`, is the
   phrase: a longer one that is nearly as frequent wins. This is the *phraseness* of Tomokiyo and Hurst (2003), with the
   contexts of a word in place of a foreground corpus.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from autointerp.explain.word_rates import FiringWord
from autointerp.words import FUNCTION_WORDS, UNSPACED

_UNSPACED = re.compile(UNSPACED)

MOST_WORDS = 4
LEAST_SHARE = 0.5
LEAST_DOCUMENTS = 3
LEAST_LIFT = 100.0


@dataclass(frozen=True, slots=True)
class Firing:
    """The strongest firing on a word in one context.

    Attributes:
        words: Those of the context.
        place: Of the word among them.
        mass: Its activation over the context's peak.
        group_id: What the context's document belongs to.
    """

    words: Sequence[FiringWord]
    place: int
    mass: float
    group_id: str


def typical_phrase(firings: Sequence[Firing], rate: Callable[[str], float]) -> tuple[FiringWord, ...] | None:
    """The phrase in which a word mostly stands where the feature fires on it; None where there is none.

    Args:
        firings: On the word, one a context.
        rate: Share of the corpus's words that are a word.

    Returns:
        The words, as they stand in the strongest firing.
    """
    total = sum(firing.mass for firing in firings)
    mass: defaultdict[tuple[str, ...], float] = defaultdict(float)
    groups: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    example: dict[tuple[str, ...], tuple[FiringWord, ...]] = {}
    chance: dict[tuple[str, ...], float] = {}
    for firing in sorted(firings, key=lambda firing: -firing.mass):
        for place, words in _phrases_around(firing):
            key = tuple(of.word for of in words)
            mass[key] += firing.mass
            groups[key].add(firing.group_id)
            example.setdefault(key, words)
            beside = [of.word for at, of in enumerate(words) if at != place]
            chance[key] = max(chance.get(key, 0.0), math.prod(map(rate, beside)))
    best = max(
        (
            (share * math.log(share / chance[key]), key)
            for key, m in mass.items()
            if (share := m / total) >= LEAST_SHARE
            and len(groups[key]) >= LEAST_DOCUMENTS
            and share / chance[key] >= LEAST_LIFT
        ),
        default=None,
    )
    return None if best is None else example[best[1]]


def _phrases_around(firing: Firing) -> Iterator[tuple[int, tuple[FiringWord, ...]]]:
    """Each phrase that the word stands in, and its place there; marks are no words, and a mark stands in none."""
    before = [of for of in firing.words[: firing.place] if of.word[0].isalnum()]
    words = [*before, *(of for of in firing.words[firing.place :] if of.word[0].isalnum())]
    place = len(before)
    if not firing.words[firing.place].word[0].isalnum():
        return
    low = high = place
    while low > 0 and place - low < MOST_WORDS - 1 and words[low].joint is not None:
        low -= 1
    while high + 1 < len(words) and high - place < MOST_WORDS - 1 and words[high + 1].joint is not None:
        high += 1
    for start in range(low, place + 1):
        for end in range(max(place, start + 1), min(high, start + MOST_WORDS - 1) + 1):
            phrase = tuple(words[start : end + 1])
            inside = [of for of in phrase[1:-1] if of.word != "of"]
            if all(map(_says_something, (phrase[0], *inside, phrase[-1]))):
                yield place - start, phrase


def _says_something(of: FiringWord) -> bool:
    is_told_by_itself = of.word not in FUNCTION_WORDS and not _UNSPACED.match(of.word)
    return not of.is_cut and (of.activation > 0 or is_told_by_itself)
