"""Finding the rule that says where a feature fires: minimum description length over a beam.

A rule is worth the bits that it saves in telling, unit by unit, on which ones the feature fires (n times mutual
information, at natural rates), less the bits that it takes to write it down. So a word is listed, a condition set or an
exception made only where that explains more than it costs, and the simpler of two rules that fit alike is taken.

1. Roots: words on which the feature fires, alone or with all their forms; beginnings, endings and insides of them that
   several share; classes and scripts. All but classes and scripts are joined into lists, best precision first, as long
   as a further one pays. Forms are meant where they cost less than the words that fire, and do not where one is silent.
2. Each of the best roots is narrowed: by places, and by lists of what stands right beside, within a few units, or near
   by, and tells the firing units that the root holds of from the silent ones. Twice, within `MOST_PARTS`.
3. Exceptions: words of which a class or affix holds without a firing.
4. Two roots of different kinds are joined where that pays.

Of the kind of automatic description that N2G began (2304.12918): that builds a graph of tokens for each example,
prunes it by asking the model again, and reads as a graph. Here nothing is asked of the model, negatives are counted at
natural rates, and the result is a sentence.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Bool, Float64, Int64

from autointerp.rules.bits import REACHES, bits_saved, root_bits, rule_bits
from autointerp.rules.evidence import Agreement, FeatureText
from autointerp.rules.rule import (
    CLASSES,
    PLACES,
    SCRIPTS,
    Affix,
    Affixed,
    Beside,
    Class,
    Condition,
    Forms,
    Place,
    Root,
    Rule,
    Side,
    Words,
)
from autointerp.rules.units import Places, Units
from autointerp.rules.vocabulary import affixes
from autointerp.words import MARKS, script_of, stem

MOST_PARTS = 3
_BEAM = 4
_MOST_WORDS, _MOST_AFFIXES, _MOST_BESIDE, _MOST_EXCEPT = 12, 4, 10, 4
_AFFIXES: tuple[Affix, ...] = ("ending", "beginning", "containing")
# Nothing is left to narrow.
_PRECISE = 0.995
# Alarms that are taken to be there besides those that were seen: what is rare is seldom seen in a sample.
_UNSEEN = 0.1
_LEAST_FIRING = 2
# Share of a rule's worth that one which does not look ahead has to have, where what is ahead is not known.
_LOOKS_BACK = 0.95
# Rules of which is asked what is expected of them, where little is of the best.
_MOST_FITTING = 10
# F1 of `anything` from which on a feature fires on nearly everything: on nine units of ten.
_NEARLY_ALL = 0.95
# Of letters, digits and their marks alone.
_IS_PLAIN = re.compile(rf"[^\W_](?:[^\W_]|[{MARKS}])*").fullmatch
# An affix that fewer words share is better told as these words.
_LEAST_SHARING = 5
_MOST_CANDIDATES = 150
_MOST_SILENT = 1500


@dataclass(frozen=True, slots=True)
class Found:
    """A rule with what it is worth.

    Attributes:
        rule: The rule.
        agreement: With the feature, at natural rates, on the explain split.
        bits: What it saves, less what it costs.
    """

    rule: Rule
    agreement: Agreement
    bits: float


def find_rule(text: FeatureText, *, is_causal: bool = False, least_f1: float = 0.0) -> Found | None:
    """The rule that is worth most; None where none is worth anything.

    A feature that fires on nearly everything gets the rule that says so, unless another errs less than half as often.

    Args:
        text: The feature's contexts, and silent text.
        is_causal: Whether what comes after a unit can't make the feature fire on it: then of two rules that are worth
            nearly the same the one is taken that does not look ahead.
        least_f1: What is to be expected of a rule. Where that can't be of the one that saves most, which may be broad
            and wrong nine times of ten, another is taken of which clearly more is, if there is one.
    """
    if text.n_fires == 0:
        return None
    search = _Search(text)
    roots = search.roots()
    found = list(roots)
    beam = roots[:_BEAM]
    for _ in range(MOST_PARTS - 1):
        narrowed = [more for of in beam for more in search.narrowed(of)]
        found += narrowed
        beam = _best(narrowed)[:_BEAM]
    found += [more for of in _best(found)[:_BEAM] for more in search.with_exceptions(of)]
    found += search.joined(roots)
    distinct = _best(found)
    best = max(distinct, key=lambda of: of.bits * (_LOOKS_BACK if is_causal and of.rule.looks_ahead else 1.0))
    everything = search.everything()
    if everything.agreement.f1 >= _NEARLY_ALL and 1 - best.agreement.f1 >= (1 - everything.agreement.f1) / 2:
        return everything
    if best.bits <= 0:
        return None
    if text.expected_f1(best.rule) < least_f1:
        fitting = sorted((of for of in distinct if of.bits > 0), key=lambda of: -of.agreement.f1)[:_MOST_FITTING]
        other = max(fitting, key=lambda of: text.expected_f1(of.rule))
        # The best of several by what is expected is expected too much of.
        best = other if text.expected_f1(other.rule) >= (1 + least_f1) / 2 else best
    return best


def _best(found: Iterable[Found]) -> list[Found]:
    """The best first; of equal ones the one of fewer parts, then in the order in which they were found."""
    distinct = {of.rule: of for of in found}
    return sorted(distinct.values(), key=lambda of: (-of.bits, of.rule.n_parts))


@dataclass(frozen=True, slots=True)
class _Held:
    """The units of which a rule holds.

    Attributes:
        hits: Of the feature's contexts, on which it fires.
        near: Of the feature's contexts, on which it is silent.
        far: Of silent text.
    """

    hits: Places
    near: Places
    far: Places

    def under(self, condition: Condition, text: FeatureText) -> tuple[float, float]:
        """Units on which the feature fires, and on which it is silent, where a condition holds besides."""
        hits, near = (condition.holds(text.own, places) for places in (self.hits, self.near))
        far = condition.holds(text.natural, self.far)
        return float(hits.sum()), float(near.sum() + text.weight[self.far[far]].sum())

    def some_silent(self, text: FeatureText) -> tuple[tuple[Places, Places], Float64[np.ndarray, " silent"]]:
        """Not too many of the silent ones, evenly drawn, with what each then stands for."""
        steps = [max(1, -(-places.size // _MOST_SILENT)) for places in (self.near, self.far)]
        near, far = (places[::step] for places, step in zip((self.near, self.far), steps, strict=True))
        return (near, far), np.concatenate([np.full(near.size, float(steps[0])), text.weight[far] * steps[1]])


class _Search:
    """One search.

    Args:
        text: What rules are held against.
    """

    def __init__(self, text: FeatureText) -> None:
        self._text = text
        self._vocabulary = text.own.vocabulary
        self._n_words = len(self._vocabulary)
        # A unit that is unseen stands for as much as a seen one does.
        self._unseen = _UNSEEN * float(text.weight.max(initial=0.0))

    def roots(self) -> list[Found]:
        """Single roots, the best first."""
        firing = [self._vocabulary.words[number] for number in np.flatnonzero(self._text.both_by_word).tolist()]
        repeated = self._repeated(firing)
        found = self._lists(Words, repeated, _MOST_WORDS)
        found += self._lists(Forms, self._families(repeated), _MOST_WORDS)
        for kind in _AFFIXES:
            shared = Counter(part for word in firing for of, part in affixes(word) if of == kind and _IS_PLAIN(word))
            parts = [part for part, n in shared.items() if n >= _LEAST_SHARING]
            found += self._lists(partial(Affixed, kind), parts, _MOST_AFFIXES)
        found += [Class(name) for name in CLASSES]
        scripts = {script_of(word[0]) for word in firing} - {"Latin"}
        found += [Class(name) for name in SCRIPTS if name in scripts]
        return _best(self._judged(Rule((root,))) for root in found)

    def everything(self) -> Found:
        """The rule that holds of every unit."""
        return self._judged(Rule((Class("anything"),)))

    def _repeated(self, firing: Sequence[str]) -> list[str]:
        """The words that fire in two contexts, they or an inflection of theirs; all, where none does.

        What fires once is seldom met again: a list of such words fits the contexts that it is made of, and no others.
        """
        text = self._text
        pairs = np.unique(text.own.word[text.fires] * text.own.n_rows + text.own.row[text.fires])
        n_contexts = np.bincount(pairs // text.own.n_rows, minlength=self._n_words)
        of_stem: Counter[str] = Counter()
        for word in firing:
            of_stem[stem(word)] += int(n_contexts[self._vocabulary.number[word]])
        return [word for word in firing if of_stem[stem(word)] > 1] or list(firing)

    def _families(self, words: Sequence[str]) -> list[str]:
        """For each of their stems the shortest word that has it, whether that fires or not."""
        names = []
        for shared in dict.fromkeys(map(stem, words)):
            forms = [self._vocabulary.words[n] for n in np.flatnonzero(self._vocabulary.of_stem(shared)).tolist()]
            names.append(min(forms, key=lambda word: (len(word), word)))
        return names

    def narrowed(self, of: Found) -> list[Found]:
        """The rule with one more condition of each sort."""
        if of.rule.n_parts >= MOST_PARTS or of.agreement.precision > _PRECISE:
            return []
        more: list[Condition] = [Place(name) for name in PLACES]
        held = self._held(of.rule)
        for side, within in REACHES:
            more += self._beside(held, side, within)
        known = set(of.rule.where)
        return [
            self._found(replace(of.rule, where=(*of.rule.where, condition)), *held.under(condition, self._text))
            for condition in dict.fromkeys(more)
            if condition not in known
        ]

    def with_exceptions(self, of: Found) -> list[Found]:
        """The rule without the words of which it holds and the feature does not fire."""
        if of.rule.n_parts >= MOST_PARTS or all(isinstance(root, Words) for root in of.rule.roots):
            return []
        only_wrong = np.where(self._text.both_by_word == 0, self._text.alarms_by_word, 0.0)
        only_wrong = only_wrong * of.rule.meant(self._vocabulary)
        most = [n for n in np.argsort(-only_wrong, kind="stable")[:_MOST_EXCEPT].tolist() if only_wrong[n] > 0]
        words = [self._vocabulary.words[number] for number in most]
        return [
            self._judged(replace(of.rule, unless=Words(tuple(sorted(words[:n]))))) for n in range(1, len(words) + 1)
        ]

    def joined(self, roots: Sequence[Found]) -> list[Found]:
        """Two roots of different kinds."""
        order = {Words: 0, Forms: 1, Affixed: 2, Class: 3}
        pairs = [
            tuple(sorted((a.rule.roots[0], b.rule.roots[0]), key=lambda root: order[type(root)]))
            for place, a in enumerate(roots[:_BEAM])
            for b in roots[:place]
            if type(a.rule.roots[0]) is not type(b.rule.roots[0])
        ]
        return [self._judged(Rule(pair)) for pair in pairs]

    def _judged(self, rule: Rule) -> Found:
        seen = self._text.agreement(rule)
        return self._found(rule, seen.n_both, seen.n_alarms)

    def _found(self, rule: Rule, both: float, alarms: float) -> Found:
        taken = alarms + self._unseen
        saved = float(bits_saved(both, taken, self._text.n_fires, max(self._text.n_silent, taken)))
        return Found(rule, self._text.counted(both, alarms), saved - rule_bits(rule, self._n_words))

    def _lists(self, make: Callable[[tuple[str, ...]], Root], parts: Sequence[str], most: int) -> list[Root]:
        """Roots of the best single parts, and of the best of them together, as long as a further one pays."""
        text = self._text
        meant = {part: make((part,)).meant(self._vocabulary) for part in parts}
        counts = {part: (text.both_by_word[of].sum(), text.alarms_by_word[of].sum()) for part, of in meant.items()}
        ranked = sorted(parts, key=lambda p: (-(counts[p][0] ** 1.5) / (sum(counts[p]) + self._unseen), p))
        chosen: list[str] = []
        covered, best = np.zeros(self._n_words, dtype=np.bool_), -math.inf
        for part in ranked[: 4 * most]:
            together = covered | meant[part]
            both, alarms = text.both_by_word[together].sum(), text.alarms_by_word[together].sum() + self._unseen
            bits = float(bits_saved(both, alarms, text.n_fires, max(text.n_silent, alarms)))
            bits -= root_bits(make((*chosen, part)), self._n_words)
            if bits > best and len(chosen) < most:
                chosen, covered, best = [*chosen, part], together, bits
        lists = [make((part,)) for part in ranked[:_BEAM]]
        return [*lists, make(tuple(sorted(chosen)))] if len(chosen) > 1 else lists

    def _held(self, rule: Rule) -> "_Held":
        text = self._text
        own, natural = rule.holds(text.own), rule.holds(text.natural)
        return _Held(
            np.flatnonzero(own & text.fires),
            np.flatnonzero(own & ~text.fires),
            np.flatnonzero(natural & (text.weight > 0)),
        )

    def _beside(self, held: "_Held", side: Side, within: int) -> list[Condition]:
        """Lists of words that stand by where the rule holds and the feature fires, rather than where it is silent."""
        hits, silent, weights = held.hits, *held.some_silent(self._text)
        text, n = self._text, self._n_words
        by_hits = _words_by(text.own, hits, side, within)
        counts = np.bincount(by_hits[1], minlength=n)
        candidates = np.flatnonzero(counts >= min(_LEAST_FIRING, max(1, hits.size)))
        if candidates.size == 0:
            return []
        by_near, by_far = _words_by(text.own, silent[0], side, within), _words_by(text.natural, silent[1], side, within)
        rows = np.concatenate([by_near[0], by_far[0] + silent[0].size])
        words = np.concatenate([by_near[1], by_far[1]])
        alarms = np.bincount(words, weights[rows], minlength=n)[candidates] + self._unseen
        held_silent = np.maximum(float(weights.sum()) + self._unseen, alarms)
        worth = bits_saved(counts[candidates].astype(np.float64), alarms, float(hits.size), held_silent)
        # What lifts precision most comes first; what is frequent everywhere is no candidate.
        candidates = candidates[np.argsort(-worth, kind="stable")[:_MOST_CANDIDATES]]
        in_hits, in_silent = (
            _presence(by_hits, hits.size, candidates, n),
            _presence((rows, words), weights.size, candidates, n),
        )
        chosen = self._greedy(in_hits, in_silent, weights)
        names = [self._vocabulary.words[number] for number in candidates[chosen].tolist()]
        found: list[Condition] = [
            Beside(side, within, Words(tuple(sorted(names[:n_listed])))) for n_listed in sorted({1, len(names)} - {0})
        ]
        if within == 1 and side != "near":
            found += [Beside(side, within, Class(name)) for name in CLASSES if name != "anything"]
        return found

    def _greedy(
        self,
        in_hits: Bool[np.ndarray, "hit candidate"],
        in_silent: Bool[np.ndarray, "silent candidate"],
        weights: Float64[np.ndarray, " silent"],
    ) -> list[int]:
        """Candidates one by one, each the one that pays most besides those chosen, as long as it pays.

        They are to tell the firing units of which the rule holds so far from the silent ones of which it does. Counted
        against the whole text, words that stand everywhere would pay: they keep what the rule holds of.
        """
        n_hits, n_silent = float(in_hits.shape[0]), float(weights.sum()) + self._unseen
        got, false, best = 0.0, self._unseen, -math.inf
        chosen: list[int] = []
        while len(chosen) < _MOST_BESIDE:
            both = in_hits.sum(axis=0) + got
            alarms = weights @ in_silent + false
            bits = bits_saved(both, alarms, n_hits, np.maximum(n_silent, alarms)) - (len(chosen) + 1) * math.log2(
                self._n_words
            )
            column = int(np.argmax(bits))
            if bits[column] <= best:
                break
            best, got, false = float(bits[column]), float(both[column]), float(alarms[column])
            chosen.append(column)
            in_hits = in_hits[~in_hits[:, column]]
            left = ~in_silent[:, column]
            in_silent, weights = in_silent[left], weights[left]
        return chosen


def _words_by(
    units: Units, places: Places, side: Side, within: int
) -> tuple[Int64[np.ndarray, " pair"], Int64[np.ndarray, " pair"]]:
    """The different words within reach of each place in its row: pairs of the place's number and a word's."""
    reach = np.arange(-within if side != "before" else 1, within + 1 if side != "after" else 0)
    at = places[:, None] + reach[reach != 0]
    row = units.row[places][:, None]
    inside = (at >= units.first[row]) & (at < units.first[row + 1])
    number = np.broadcast_to(np.arange(places.size)[:, None], at.shape)[inside]
    n = len(units.vocabulary)
    pairs = np.sort(number * n + units.word[at[inside]])
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]  # `np.unique`, which hashes, takes four times as long
    return pairs // n, pairs % n


def _presence(
    pairs: tuple[Int64[np.ndarray, " pair"], Int64[np.ndarray, " pair"]],
    n_places: int,
    candidates: Int64[np.ndarray, " candidate"],
    n_words: int,
) -> Bool[np.ndarray, "place candidate"]:
    column = np.full(n_words, -1)
    column[candidates] = np.arange(candidates.size)
    of_pairs = column[pairs[1]]
    present = np.zeros((n_places, candidates.size), dtype=np.bool_)
    present[pairs[0][of_pairs >= 0], of_pairs[of_pairs >= 0]] = True
    return present
