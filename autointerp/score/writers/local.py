"""Texts without a language model: held-out text in which a word of the label stands, or another word instead.

1. Base texts are windows of the pool, of the score split, in which the feature is silent, from as many groups of
   documents as there are. Which, says a keyed hash of the feature.
2. The label's words take turns: the first base gets the first word, and so on round, from a keyed place on.
3. Every word of the label has a *twin*: a word of the pool that stands in about as many of its windows, of the same
   sort (letters, digits, signs), and shares no stem with the label. Which of the nearest, says a keyed hash.
4. Of each base there are two texts: in the one the word is put, at keyed places, in the other at the same places its
   twin. So the two differ in the word alone, and both sorts of texts repeat their words alike.

A label is taken for a list of words (`words.label_words`), unless it is a rule (`rules.sentence`): the words are then
those that it lists, and of what it describes, such as an ending or a script, the commonest of the pool. No twin is then
a word that the rule may hold of; where every word of the pool is one, there are no texts. What else a label says, that
a word must stand in a certain place, beside another or in a certain sense, these texts don't try.
"""

import math
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from autointerp.contexts.pool import PoolTiles
from autointerp.identity import fingerprint, hash_key, in_keyed_order, keyed_hash
from autointerp.records import Explanation
from autointerp.rules.rule import Forms, Rule, Words
from autointerp.rules.sentence import read_rule
from autointerp.rules.vocabulary import Vocabulary
from autointerp.score.trials import NO_SILENT_CONTEXTS, ScoreContexts, Undefined
from autointerp.score.writers.writer import FEWEST_TEXTS, MadeText, Written
from autointerp.words import UNSPACED, WORD, label_words, stem, words_of

_PLACES = 2
"""In a text, at which its word stands: by one alone a feature may well pass over."""
_NEAREST = 40
"""Words alike in rarity, of which one becomes the twin."""
_MOST_DESCRIBED = 8
"""Words that stand for what a rule describes and doesn't list."""
_UNSPACED = re.compile(UNSPACED)


class LocalWriter:
    """A `Writer` without a language model; see the module's steps.

    Args:
        n_texts: Of each sort.
    """

    name = "local"
    is_free = True

    def __init__(self, n_texts: int) -> None:
        self._n_texts = n_texts
        self._counts: tuple[PoolTiles, WordCounts] | None = None

    def fingerprint(self) -> str:
        """Of its rules and the number of texts."""
        return fingerprint("local writer", 3, self._n_texts)

    async def write(self, explanation: Explanation, contexts: ScoreContexts, key: int) -> Written | Undefined:
        """Texts of both sorts, two of each base."""
        tiles = choose_bases(contexts, key, self._n_texts)
        if len(tiles) < FEWEST_TEXTS:
            return too_few_bases(contexts, len(tiles))
        pool = contexts.pool
        counts, rule = self._words(pool), read_rule(explanation.label)
        words, meant = (label_words(explanation.label), frozenset[str]()) if rule is None else counts.meant_by(rule)
        if not words or meant.issuperset(counts.count):
            kind = "another word than those" if words else "a word"
            return Undefined("NoWords", f"the pool has not {kind} that the label describes", retry=False)
        twins = counts.twins(words, key, meant)
        first = key % len(words)
        made: list[MadeText] = []
        for turn, tile in enumerate(tiles):
            base, chosen = pool.texts[tile], (first + turn) % len(words)
            places = choose_places(base, hash_key(key, str(tile)))
            made += [
                MadeText(put(base, word, places), fits, pool.document_ids[tile], pool.group_ids[tile])
                for word, fits in ((words[chosen], True), (twins[chosen], False))
            ]
        return Written(made)

    def _words(self, pool: PoolTiles) -> "WordCounts":
        if self._counts is None or self._counts[0] is not pool:
            self._counts = (pool, WordCounts.of(pool.texts))
        return self._counts[1]


def choose_bases(contexts: ScoreContexts, key: int, n: int) -> list[int]:
    """Silent tiles of the score split by keyed hash, those of groups that have one already after all others."""
    silent: Int64[np.ndarray, " tile"] = contexts.silent_tiles.eligible
    order = in_keyed_order(key, silent)
    return contexts.pool.spread_over_groups(order)[:n]


def too_few_bases(contexts: ScoreContexts, n: int) -> Undefined:
    """Why there are no texts, where fewer silent tiles than are needed can be made into some."""
    return contexts.no_silence or Undefined(
        NO_SILENT_CONTEXTS,
        f"of the pool's windows of the score split it is silent in {n}, and {FEWEST_TEXTS} are needed: a larger pool "
        "(collect.n_pool_blocks, contexts.n_pool_tiles) may have more",
        retry=False,
    )


@dataclass(frozen=True, slots=True)
class WordCounts:
    """In how many of some texts each word stands.

    Attributes:
        by_sort: For each sort of words, pairs of count and word, ascending.
        count: Of each word.
        vocabulary: Of the same words.
    """

    by_sort: dict[str, list[tuple[int, str]]]
    count: Counter[str]
    vocabulary: Vocabulary

    @classmethod
    def of(cls, texts: Sequence[str]) -> "WordCounts":
        """Count the words of some texts."""
        count: Counter[str] = Counter()
        for text in texts:
            count.update(set(words_of(text)))
        by_sort: dict[str, list[tuple[int, str]]] = {}
        for word, n in count.items():
            by_sort.setdefault(_sort(word), []).append((n, word))
        return cls({sort: sorted(pairs) for sort, pairs in by_sort.items()}, count, Vocabulary(count))

    def meant_by(self, rule: Rule) -> tuple[list[str], frozenset[str]]:
        """The words that stand for a rule, each once, and all words of the texts that it may hold of."""
        said: list[str] = []
        for root in rule.roots:
            if isinstance(root, Words | Forms):
                said += root.words
            else:
                described = _held(Rule((root,), unless=rule.unless), self.vocabulary)
                said += sorted(described, key=lambda word: (-self.count[word], word))[:_MOST_DESCRIBED]
        distinct = Vocabulary(dict.fromkeys(said))
        return _held(rule, distinct), frozenset(_held(rule, self.vocabulary))

    def twins(self, words: Sequence[str], key: int, meant: Collection[str] = ()) -> list[str]:
        """For each word another, alike in rarity and sort, none with a stem of these words; none twice, if it can be.

        Args:
            words: Of a label.
            key: Of the choice among the nearest.
            meant: Words that are no twin; some word of the texts is none of these. Where all of a sort are, another
                sort's are taken.
        """
        taken = {stem(part) for word in words for part in words_of(word)}
        twins: list[str] = []
        for place, word in enumerate(words):
            of_sorts = (self.by_sort.get(_sort(word), []), *self.by_sort.values())
            pairs = next(left for of in of_sorts if (left := [pair for pair in of if pair[1] not in meant]))
            rarity = math.log(max(1, self.count[word]))
            at = bisect_left(pairs, (self.count[word], ""))
            window = range(max(0, at - 2 * _NEAREST), min(len(pairs), at + 2 * _NEAREST))
            around = sorted(window, key=lambda i: (abs(math.log(pairs[i][0]) - rarity), abs(i - at), i))
            free = [pairs[i][1] for i in around if stem(pairs[i][1]) not in taken] or [pairs[i][1] for i in around]
            nearest = free[:_NEAREST]
            hashes = keyed_hash(hash_key(key, "twin", str(place)), np.arange(len(nearest)))
            twins.append(nearest[int(np.argmin(hashes))])
            taken.add(stem(twins[-1]))
        return twins


def _held(rule: Rule, vocabulary: Vocabulary) -> list[str]:
    """The words that a rule may hold of."""
    return [vocabulary.words[number] for number in np.flatnonzero(rule.meant(vocabulary))]


def _sort(word: str) -> str:
    """What kind of word it is: a script without spaces, letters, digits or signs."""
    if _UNSPACED.match(word):
        return "unspaced"
    if any(c.isalpha() for c in word):
        return "letters"
    return "digits" if any(c.isdigit() for c in word) else "signs"


def choose_places(text: str, key: int) -> list[int]:
    """Two places where a word may be put into a text: before a word that follows a space, or at the end; ascending."""
    starts = [
        match.start()
        for match in WORD.finditer(text)
        if match.start() == 0 or text[match.start() - 1].isspace() or _UNSPACED.match(match.group())
    ]
    starts.append(len(text))
    hashes = keyed_hash(key, np.arange(len(starts)))
    return sorted(starts[i] for i in np.argsort(hashes, kind="stable")[:_PLACES])


def put(text: str, word: str, places: Sequence[int]) -> str:
    """A text with a word at some places, apart from its neighbors by a space where its script has any."""
    gap = "" if _UNSPACED.match(word) else " "
    for place in sorted(places, reverse=True):
        before, after = text[:place], text[place:]
        left = gap if before and not before[-1].isspace() else ""
        text = f"{before}{left}{word}{gap if after else ''}{after}"
    return text
