"""A rule: which words of a text are meant, as data that is executed.

A rule has roots (any of which is enough), conditions on the place of a unit and on what stands by (all of which must
hold), and may have an exception. It sees a row of text and nothing else.
"""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool

from autointerp.rules.units import Places, Units
from autointerp.rules.vocabulary import Vocabulary
from autointerp.words import MARKS, script_of, stem

Affix = Literal["ending", "beginning", "containing"]
Side = Literal["after", "before", "near"]

_LETTER = r"[^\W\d_]"
# What a unit may be, in the words of a label; the first that fits is no better than another.
CLASSES = {
    "words": rf"{_LETTER}(?:{_LETTER}|[{MARKS}])*(?:['\u2019]\w+)?",
    "numbers": r"\d+",
    "numbers of one digit": r"\d",
    "numbers of four digits": r"\d{4}",
    "words with digits in them": rf"(?=.*\d)(?=.*{_LETTER})[\w{MARKS}]+",
    "single letters": rf"{_LETTER}[{MARKS}]*",
    "marks": r"[^\w\s].*|_",
    "brackets": r"[()\[\]{}\uff08\uff09\uff3b\uff3d\uff5b\uff5d]",
    "opening brackets": r"[(\[{\uff08\uff3b\uff5b]",
    "closing brackets": r"[)\]}\uff09\uff3d\uff5d]",
    "quotation marks": r"[\"'`\u201c\u201d\u2018\u2019\u00ab\u00bb\u201e\u201a]",
    "marks that end a sentence": r"[.!?\u3002\uff01\uff1f]",
    "operators": r"[=+\-*/<>%^&|~]",
    "anything": r".+",
}
SCRIPTS = (
    "Latin",
    "Cyrillic",
    "Greek",
    "Arabic",
    "Hebrew",
    "Devanagari",
    "Armenian",
    "Georgian",
    "Bengali",
    "Gujarati",
    "Gurmukhi",
    "Kannada",
    "Malayalam",
    "Sinhala",
    "Tamil",
    "Telugu",
    "Ethiopic",
    "Tibetan",
    "Hangul",
    "Hiragana",
    "Katakana",
    "CJK",
    "Thai",
    "Lao",
    "Khmer",
    "Myanmar",
)
PLACES = {
    "with a capital letter": "is_capitalized",
    "in capitals": "is_upper",
    "at the start of a sentence": "opens_sentence",
    "at the end of a sentence": "closes_sentence",
    "at the start of a line": "opens_line",
    "inside brackets": "in_brackets",
}


@dataclass(frozen=True, slots=True)
class Words:
    """These words or marks, in lower case."""

    words: tuple[str, ...]

    def entries(self) -> tuple["Words", ...]:
        """Each word alone."""
        return tuple(Words((word,)) for word in self.words)

    def meant(self, vocabulary: Vocabulary) -> Bool[np.ndarray, " word"]:
        """Whether each word is meant."""
        return vocabulary.are(self.words)

    def holds(self, units: Units) -> Bool[np.ndarray, " unit"]:
        """Whether each unit is meant."""
        mask: Bool[np.ndarray, " unit"] = self.meant(units.vocabulary)[units.word]
        return mask


@dataclass(frozen=True, slots=True)
class Forms:
    """These words and what shares a stem with one of them (`words.stem`): inflections, and for some words more."""

    words: tuple[str, ...]

    def entries(self) -> tuple["Forms", ...]:
        """Each word alone."""
        return tuple(Forms((word,)) for word in self.words)

    def meant(self, vocabulary: Vocabulary) -> Bool[np.ndarray, " word"]:
        """Whether each word is meant."""
        stems = {stem(word) for word in self.words}
        of_any: Bool[np.ndarray, " word"] = np.logical_or.reduce([vocabulary.of_stem(of) for of in sorted(stems)])
        return of_any

    def holds(self, units: Units) -> Bool[np.ndarray, " unit"]:
        """Whether each unit is meant."""
        mask: Bool[np.ndarray, " unit"] = self.meant(units.vocabulary)[units.word]
        return mask


@dataclass(frozen=True, slots=True)
class Affixed:
    """Words that begin with, end in or hold one of these letters, and are longer."""

    kind: Affix
    parts: tuple[str, ...]

    def entries(self) -> tuple["Affixed", ...]:
        """Each part alone."""
        return tuple(Affixed(self.kind, (part,)) for part in self.parts)

    def meant(self, vocabulary: Vocabulary) -> Bool[np.ndarray, " word"]:
        """Whether each word is meant."""
        of_any: Bool[np.ndarray, " word"] = np.logical_or.reduce(
            [vocabulary.affixed(self.kind, part) for part in self.parts]
        )
        return of_any

    def holds(self, units: Units) -> Bool[np.ndarray, " unit"]:
        """Whether each unit is meant."""
        mask: Bool[np.ndarray, " unit"] = self.meant(units.vocabulary)[units.word]
        return mask


@dataclass(frozen=True, slots=True)
class Class:
    """Units of one of `CLASSES`, or words of one of `SCRIPTS`."""

    name: str

    def entries(self) -> tuple[()]:
        """None: a class is no list."""
        return ()

    def meant(self, vocabulary: Vocabulary) -> Bool[np.ndarray, " word"]:
        """Whether each word is meant."""
        if self.name in CLASSES:
            pattern = CLASSES[self.name]
            return vocabulary.of_class(self.name, lambda word: re.fullmatch(pattern, word) is not None)
        return vocabulary.of_class(self.name, lambda word: script_of(word[0]) == self.name)

    def holds(self, units: Units) -> Bool[np.ndarray, " unit"]:
        """Whether each unit is meant."""
        mask: Bool[np.ndarray, " unit"] = self.meant(units.vocabulary)[units.word]
        return mask


Root = Words | Forms | Affixed | Class


@dataclass(frozen=True, slots=True)
class Place:
    """A place, or the letters' case: one of `PLACES`."""

    name: str

    def holds(self, units: Units, places: Places) -> Bool[np.ndarray, " place"]:
        """Whether units stand there, or are written so."""
        flags: Bool[np.ndarray, " unit"] = getattr(units, PLACES[self.name])
        at_places: Bool[np.ndarray, " place"] = flags[places]
        return at_places


@dataclass(frozen=True, slots=True)
class Beside:
    """What stands by: one of the root's units within so many units after, before or on either side.

    `after` says that the unit that is meant comes after such a one.
    """

    side: Side
    within: int
    root: Root

    def holds(self, units: Units, places: Places) -> Bool[np.ndarray, " place"]:
        """Whether units have it by."""
        reach = self.within
        before, after = {"after": (reach, 0), "before": (0, reach), "near": (reach, reach)}[self.side]
        return units.by(self.root.holds(units), places, before=before, after=after)


Condition = Place | Beside


@dataclass(frozen=True, slots=True)
class Rule:
    """See the module.

    Attributes:
        roots: One or two, of different kinds.
        where: All of which must hold.
        unless: What is not meant nevertheless.
    """

    roots: tuple[Root, ...]
    where: tuple[Condition, ...] = ()
    unless: Root | None = None

    @property
    def n_parts(self) -> int:
        """Roots, conditions and exceptions."""
        return len(self.roots) + len(self.where) + (self.unless is not None)

    @property
    def looks_ahead(self) -> bool:
        """Whether what comes after a unit decides, which a causal model has not read yet when it stands there."""
        return any(
            (isinstance(of, Beside) and of.side != "after")
            or (isinstance(of, Place) and of.name == "at the end of a sentence")
            for of in self.where
        )

    def meant(self, vocabulary: Vocabulary) -> Bool[np.ndarray, " word"]:
        """The words that it may hold of, whatever stands by."""
        mask: Bool[np.ndarray, " word"] = np.logical_or.reduce([root.meant(vocabulary) for root in self.roots])
        return mask if self.unless is None else mask & ~self.unless.meant(vocabulary)

    def holds(self, units: Units) -> Bool[np.ndarray, " unit"]:
        """Whether each unit is meant."""
        mask: Bool[np.ndarray, " unit"] = self.meant(units.vocabulary)[units.word]
        for condition in self.where:
            places = np.flatnonzero(mask)
            mask[places] = condition.holds(units, places)
        return mask

    def in_rows(self, units: Units) -> Bool[np.ndarray, " row"]:
        """Whether it holds of a unit of each row."""
        return units.any_by_row(self.holds(units))
