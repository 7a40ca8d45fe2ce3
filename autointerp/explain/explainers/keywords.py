"""The explainer `keywords`: the words that set a feature's contexts apart from the corpus. Local, no language model.

1. Each active context of the explain split is cut into whole words, identifiers into their parts (`word_rates`). A
   word's mass is its activation over the context's peak, once per context: a feature that fires on pieces of a word is
   shown the word. What a context's end may have cut off counts if it is a word elsewhere, or there is nothing else.
2. Words of one stem are one (key, keys; central, centrally). The one with the most mass stands for all, in the spelling
   of the corpus (`corpus.spellings`).
3. A word's evidence is `mass x ln(share of the mass / base rate)`: how much more often than by chance the feature
   fires on it, weighted by how often it does (the pointwise Kullback-Leibler divergence that Tomokiyo and Hurst 2003
   rank phrases by). A base rate of one more than counted keeps rare words from winning on no evidence.
4. Words that fire in one context only are told after all others, and only where these have less than half of the mass.
5. A word that mostly stands in one phrase, far more than by chance, is told with it (`phrases`). A phrase around a word
   that was told already, and an identifier of such words, are left out.
6. Words are told, most evidence first, until they have `ENOUGH` of the mass or are `n_keywords`. More of them, and
   those of one context, are longer to read and worth little: of AUROC .002 (-.001 to .005) for eight of them, .001
   (.000 to .003) for those of one context, over 517 features (`benchmarks/labels.md`).
7. The label says what the contexts show. `the word "key"` or `the words "key", "lock"` have nearly all the mass; `words
   such as "Ann", "Bob"` have less; and `text about ships, sailors` is of a feature that fires on several words of a
   context, and on too many different ones to be listed.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from autointerp.config import ExplainConfig
from autointerp.explain.base import NO_CONTEXTS, NO_TELLING_WORDS, BaseExplainer, Tools
from autointerp.explain.phrases import Firing, typical_phrase
from autointerp.explain.word_rates import FiringWord, WordRates, firing_words
from autointerp.records import Context, Explanation, Failure, FeatureEvidence, Sibling
from autointerp.words import FUNCTION_WORDS, QUOTES, identifier_parts, plain_word, stem, words_of

ENOUGH = 0.9
NEARLY_ALL = 0.8
LEAST_REPEATED = 0.5
_POSSESSIVE = re.compile("['\u2019]s$")
_TOO_MANY = 0.5
_SEVERAL = 2.0


class KeywordsExplainer(BaseExplainer):
    """An explainer that lists words; see the module's steps.

    Args:
        tools: With the base rates of the source's corpus, counted on the explain split.
    """

    name = "keywords"
    version = 3
    tells_apart = True

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._base_rates = tools.base_rates()

    @classmethod
    def settings(cls, config: ExplainConfig) -> Sequence[Any]:
        """The number of words; base rates are those of a source's contexts, which have a fingerprint of their own."""
        return (config.n_keywords,)

    async def explain(self, evidence: FeatureEvidence) -> Explanation | Failure:
        """Write a label; `NoContexts` where no firing word was seen, `NoTellingWords` where none tells them apart."""
        found = find_keywords(evidence.active, self._base_rates, self.config.n_keywords)
        if not found.words:
            if found.n_at_once > 0:
                message = "no word stands more often where the feature fires than in the corpus"
                return self.failure(evidence, NO_TELLING_WORDS, message)
            message = "no context of the explain split holds a word on which the feature fires"
            return self.failure(evidence, NO_CONTEXTS, message)
        return self.explanation(evidence, write_label(found), detail={"share_of_mass": round(found.share, 3)})

    async def tell_apart(
        self, evidence: FeatureEvidence, first: Explanation, siblings: Sequence[Sibling]
    ) -> Explanation | Failure:
        """Write a label of the words that set its contexts apart from the corpus and from each of the siblings."""
        rates = RatesOfSiblings(self._base_rates, [sibling.active for sibling in siblings])
        found = find_keywords(evidence.active, rates, self.config.n_keywords)
        if not found.words:
            return self.failure(evidence, "NoDifference", "it fires on no word more than features of like labels do")
        return self.explanation(evidence, write_label(found), detail={"share_of_mass": round(found.share, 3)})


@dataclass(frozen=True, slots=True)
class Keywords:
    """What is to be said of a feature.

    Attributes:
        words: Words and phrases as people write them, most telling first.
        share: Of the feature's mass on them, in [0, 1].
        n_at_once: Different words that it fires on in a context, on average.
    """

    words: tuple[str, ...]
    share: float
    n_at_once: float


@dataclass(frozen=True, slots=True)
class _Family:
    """The words of one stem."""

    word: str
    mass: float
    firings: Sequence[Firing]


def find_keywords(
    active: Sequence[Context],
    base_rates: WordRates,
    n_words: int,
    *,
    enough: float = ENOUGH,
    least_repeated: float = LEAST_REPEATED,
) -> Keywords:
    """The words and phrases that tell a feature's contexts; see steps 1 to 6 of the module.

    Args:
        active: Contexts in which it fires.
        base_rates: How common words are, and how they are written.
        n_words: Words and phrases at most.
        enough: Share of the mass from which on no more are told.
        least_repeated: Share of the mass, of words that fire in several contexts, from which on no others are told.

    Returns:
        Ties in alphabetic order; none with evidence against it (rarer than by chance).
    """
    families, n_at_once = _families(active, base_rates)
    total = sum(family.mass for family in families)
    told: list[str] = []
    said: set[str] = set()
    share = 0.0
    for family in _ranked(families, total, least_repeated, base_rates):
        if len(told) == n_words or share >= enough:
            break
        share += family.mass / total
        own = stem(family.word)
        phrase = typical_phrase(family.firings, base_rates.rate) or (FiringWord(family.word, 1.0),)
        written = [_written(of.word, base_rates) for of in phrase]
        parts = {stem(plain_word(part)) for word in written for part in identifier_parts(word)}
        is_said = bool(said & parts) if len(phrase) > 1 else len(parts) > 1 and parts <= said
        if own not in said and not is_said:
            told.append(written[0] + "".join(f"{of.joint}{w}" for of, w in zip(phrase[1:], written[1:], strict=True)))
            said |= {own, *parts}
    return Keywords(tuple(told), min(share, 1.0), n_at_once)


def _written(word: str, base_rates: WordRates) -> str:
    """As people write it, without the ending of a possessive; that of it's and such is a verb."""
    bare = _POSSESSIVE.sub("", word)
    return base_rates.spellings.of(bare if bare not in FUNCTION_WORDS and base_rates.is_whole(bare) else word)


def _families(active: Sequence[Context], base_rates: WordRates) -> tuple[list[_Family], float]:
    """The words on which the feature fires, by stem, and how many it fires on in a context."""
    cut = [(context, firing_words(context, base_rates.spellings)) for context in active]
    whole = [(context, words, _strongest(words, base_rates.is_whole)) for context, words in cut]
    if not any(strongest for _, _, strongest in whole):
        whole = [(context, words, _strongest(words, lambda word: True)) for context, words in cut]
    mass: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    firings: defaultdict[str, list[Firing]] = defaultdict(list)
    for context, words, strongest in whole:
        for of_stem, place in strongest.items():
            share = words[place].activation / context.max_activation
            mass[of_stem][words[place].word] += share
            firings[of_stem].append(Firing(words, place, share, context.group_id))
    families = [
        _Family(min(of, key=lambda word: (-of[word], word)), sum(of.values()), firings[of_stem])
        for of_stem, of in mass.items()
    ]
    return families, sum(len(strongest) for _, _, strongest in whole) / max(1, len(active))


def _strongest(words: Sequence[FiringWord], is_whole: Callable[[str], bool]) -> dict[str, int]:
    """Of each stem the place of the strongest firing, among words that are whole."""
    strongest: dict[str, int] = {}
    for place, of in enumerate(words):
        # A mark that turns the direction of writing, say, would do so in the label.
        if of.activation > 0 and of.word.isprintable() and (not of.is_cut or is_whole(of.word)):
            of_stem = stem(of.word)
            if of_stem not in strongest or of.activation > words[strongest[of_stem]].activation:
                strongest[of_stem] = place
    return strongest


def _ranked(
    families: Sequence[_Family], total: float, least_repeated: float, base_rates: WordRates
) -> Iterator[_Family]:
    evidence = {of.word: of.mass * math.log(of.mass / (total + 1.0) / base_rates.stem_rate(of.word)) for of in families}
    telling = sorted((of for of in families if evidence[of.word] > 0), key=lambda of: (-evidence[of.word], of.word))
    repeated = [of for of in telling if len(of.firings) > 1]
    yield from repeated
    if sum(of.mass for of in repeated) < least_repeated * total:
        yield from (of for of in telling if len(of.firings) == 1)


def write_label(found: Keywords) -> str:
    """The label; see step 7 of the module."""
    of_content = [word for word in found.words if word[0].isalnum() and plain_word(word) not in FUNCTION_WORDS]
    if found.share < _TOO_MANY and found.n_at_once >= _SEVERAL and 2 * len(of_content) > len(found.words):
        return f"text about {render_label(of_content)}"
    kind = _kind(found.words) + ("s" if len(found.words) > 1 else "")
    listed = ", ".join(map(_quoted, found.words))
    if found.share < NEARLY_ALL:
        return f"{kind.removesuffix('s')}s such as {listed}"
    return f"the {kind} {listed}"


def _kind(words: Sequence[str]) -> str:
    if not any(word[0].isalnum() for word in words):
        return "mark"
    if all(word.isdigit() for word in words):
        return "number"
    return "phrase" if all(len(words_of(word)) > 1 and " " in word for word in words) else "word"


class RatesOfSiblings:
    """How often a word is to be expected: its share of the corpus, or of what a sibling fires on, where that is more.

    Args:
        base_rates: Of the corpus.
        of_siblings: Contexts in which each sibling fires.

    Attributes:
        spellings: Of the corpus.
    """

    def __init__(self, base_rates: WordRates, of_siblings: Sequence[Sequence[Context]]) -> None:
        self.spellings = base_rates.spellings
        self._base_rates = base_rates
        self._shares: dict[str, float] = {}
        for active in of_siblings:
            families, _ = _families(active, base_rates)
            total = sum(family.mass for family in families) + 1.0
            for family in families:
                key = stem(family.word)
                self._shares[key] = max(family.mass / total, self._shares.get(key, 0.0))

    def rate(self, word: str) -> float:
        """As in the corpus."""
        return self._base_rates.rate(word)

    def stem_rate(self, word: str) -> float:
        """In (0, 1]; of a word and its inflections."""
        return max(self._base_rates.stem_rate(word), self._shares.get(stem(word), 0.0))

    def is_whole(self, word: str) -> bool:
        """As in the corpus."""
        return self._base_rates.is_whole(word)


def render_label(words: Sequence[str]) -> str:
    """Words apart by commas; punctuation marks in quotes, so that `words.label_words` reads the same words back."""
    return ", ".join(word if word[0].isalnum() else _quoted(word) for word in words)


def _quoted(word: str) -> str:
    return f"'{word}'" if word in QUOTES else f'"{word}"'
