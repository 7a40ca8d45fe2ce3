"""Words: how texts and labels are cut into them, which say nothing, and what of a word is its inflection.

A label is read as a list, its items apart by commas, semicolons or middle dots. What stands in quotes and an item of
one word count as they are; of other items, which are prose, and of what stands beside quotes, function words and
punctuation are left out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nltk.stem.snowball import EnglishStemmer

# Scripts that are written without spaces: Chinese, Japanese, Bopomofo; Thai, Lao, Myanmar, Khmer and their kin.
_UNSPACED_RANGES = (
    r"\u3005-\u3007\u3031-\u3035\u303b\u3040-\u3098\u309b-\u30ff\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff"
    r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
    r"\u0e01-\u0e30\u0e32-\u0e33\u0e40-\u0e46\u0e81-\u0eb0\u0eb2-\u0eb3\u0ebd-\u0ec6\u0edc-\u0edf"
    r"\u1000-\u102a\u103f\u1050-\u1055\u105a-\u105d\u1061\u1065-\u1066\u106e-\u1070\u1075-\u1081\u108e"
    r"\u1780-\u17b3\u17d7\u17dc\u1950-\u19ab\u1a20-\u1a54\ua9e0-\ua9e4\ua9e6-\ua9ef\uaa60-\uaa76\uaa7a"
)
UNSPACED = f"[{_UNSPACED_RANGES}]"
UNSPACED_MARKS = (
    r"\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u102b-\u103e\u17b4-\u17d3\u3099\u309a"
)
"""For a class of a pattern: vowel signs and tone marks of Thai, Lao, Burmese and Khmer, and sound marks of kana."""


def _marks() -> str:
    """Accents, vowel signs, tone marks, joiners and variation selectors: what belongs to the character before it."""
    marks = [c for c in range(0x300, 0x1F000) if unicodedata.category(chr(c))[0] == "M"]
    starts, ends = (sorted({*marks} - {c + step for c in marks}) for step in (1, -1))
    ranges = "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True))
    return rf"{ranges}\u00ad\u200c\u200d\U000e0100-\U000e01ef"


MARKS = _marks()
"""For a class of a pattern; not in `re`, which takes them for no part of a word."""
_OF_WORDS = rf"[^\W_{_UNSPACED_RANGES}]"
# A character of a script without spaces, also right beside a number or a word of another; a word, perhaps contracted or
# possessive; a flag; a sign, of several code points where an emoji is; each with its marks. Other apostrophes stand
# between words: pieces of a tokenizer that loses spaces read "either'a'or'b".
WORD = re.compile(
    rf"{_OF_WORDS}+(?:[{MARKS}]+{_OF_WORDS}*)*(?:['\u2019](?:[stdmSTDM]|[rR][eE]|[vV][eE]|[lL][lL])(?!{_OF_WORDS}))?"
    rf"|{UNSPACED}[{MARKS}]*"
    r"|[\U0001f1e6-\U0001f1ff]{2}"
    rf"|[^\w\s](?:\u200d[^\w\s]|[{MARKS}\U0001f3fb-\U0001f3ff])*|_"
)
# The one letter that Python's lower case spells in two characters.
_DOTTED_I = ("\u0130", "i")
# What the parts of a character read as that a window's ends have cut off.
_CUT_OFF = "\ufffd"
QUOTES = frozenset('"“”«»')
_QUOTED = re.compile(r"'([\"“”«»])'|[\"“”«»]([^\"“”«»]+)[\"“”«»]")
_ITEM_END = re.compile(r"[,;·|\n]")
_ALTERNATIVE_END = re.compile(rf"(?:{_ITEM_END.pattern}|\bor\b)+\s*(?:or\b)?")
# Stands in an item for what is quoted.
_PIECE = "\0"
# How a label begins that `keywords` or `rules` writes; it is of what follows, and says nothing by itself.
_HEAD = re.compile(
    r"^(?:(?:(?:the )?(?:word|mark|number|phrase)s? (?:such as )?|forms of )(?=[\"'“«])|text about )", re.IGNORECASE
)

# What texts of any subject share. Whoever tells prose from other text, and whoever reads a label, adds a few.
_SHARED_WORDS = """
a all an and any are as at be been but by can do does each for from has have how if in into is it its may more no not of
on one only or other over so some such than that the their them then there these they this to up used was we were what
when where which while will with would you your
"""
# The last two lines are what people who write labels say about any feature.
_WORDS_OF_LABELS = """
about after also before being i most nor own s t those uses using who within
activates context contexts feature features fires mention mentions phrase phrases related term terms text texts token
tokens word words
"""
FUNCTION_WORDS = frozenset([*_SHARED_WORDS.split(), "could", "must", "should", "two", "use", "whether"])
"""By whose share flowing prose is told from tables, code and lists of names."""
_SAY_NOTHING_IN_A_LABEL = frozenset([*_SHARED_WORDS.split(), *_WORDS_OF_LABELS.split()])


def says_something(word: str) -> bool:
    """Whether a word, in lower case, says something in a label or a query: none of any text, nor of any label."""
    return word not in _SAY_NOTHING_IN_A_LABEL


def plain_label(label: str) -> str:
    """A label as it is compared with others: without regard to case and spacing."""
    return " ".join(label.casefold().split())


def plain_word(word: str) -> str:
    """A word as it is compared with others: in lower case, and an accent is the same in one code point or in two."""
    if word.isascii():
        return word.lower()
    # Composed first, too: the letter of `_DOTTED_I` may be written as I and a dot.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", word).replace(*_DOTTED_I).lower())


@lru_cache(maxsize=65_536)
def script_of(character: str) -> str | None:
    """The script of a letter, as its Unicode name begins (Latin, Hiragana, CJK); None of what is no letter."""
    if not character.isalpha():
        return None
    name = unicodedata.name(character, "unknown").partition(" ")[0].capitalize()
    return "CJK" if name == "Cjk" else name


# A context is compared with many labels, and cut once; kept, the words of one take two or three kilobytes.
@lru_cache(maxsize=16_384)
def words_of(text: str) -> tuple[str, ...]:
    """The words and punctuation marks of a text, in order, in lower case."""
    return tuple(plain_word(match.group()) for match in WORD.finditer(text))


def words_in_window(text: str) -> Iterator[re.Match[str]]:
    """The words and punctuation marks of a window's text; parts of characters that its ends have cut off are none."""
    start, end = len(text) - len(text.lstrip(_CUT_OFF)), len(text.rstrip(_CUT_OFF))
    return WORD.finditer(text, start, end)


def words_on_tokens(tokens: Sequence[str]) -> list[tuple[re.Match[str], int, int]]:
    """The words of a window's tokens, each with the first and the last token that it lies on."""
    words = list(words_in_window("".join(tokens)))
    ends = np.cumsum([len(token) for token in tokens])
    first = np.searchsorted(ends, [word.start() for word in words], side="right")
    last = np.searchsorted(ends, [word.end() - 1 for word in words], side="right")
    return list(zip(words, first.tolist(), last.tolist(), strict=True))


def label_meaning(label: str) -> str:
    """A label as it is compared with a query by meaning: without its head, and without the quotes that words stand in.

    A sentence embedding takes `the word "…"` for a subject, by which unlike labels come near to each other.
    """
    return _QUOTED.sub(lambda quoted: quoted[1] or quoted[2], _HEAD.sub("", label))


def label_alternatives(label: str) -> list[str]:
    """The things that a label lists, in order: words and phrases in quotes; where fewer than two are, items apart."""
    label = _HEAD.sub("", label)
    quoted = [found.group() for found in _QUOTED.finditer(label)]
    if len(quoted) > 1:
        return quoted
    return [item for item in map(str.strip, _ALTERNATIVE_END.split(label)) if item]


def label_words(label: str) -> list[str]:
    """The words of a label that say something, each once, in order; see step 1 of the module."""
    label = _HEAD.sub("", label)
    words = [word for quoted in _QUOTED.finditer(label) for word in words_of(quoted[1] or quoted[2])]
    for item in _ITEM_END.split(_QUOTED.sub(_PIECE, label)):
        of_item = words_of(item.replace(_PIECE, " "))
        if len(of_item) == 1 and _PIECE not in item:
            words.extend(of_item)
        else:
            words.extend(w for w in of_item if w not in _SAY_NOTHING_IN_A_LABEL and any(c.isalnum() for c in w))
    return list(dict.fromkeys(words)) or list(dict.fromkeys(words_of(label))) or [label]


# After a small letter or a digit a capital begins a part, and so does the last of several capitals before a small one.
_HUMP = re.compile(r"(?<=[^\W_])(?=[^\W\d_])")
_LEAST_PART = 2


def identifier_parts(word: str) -> tuple[str, ...]:
    """The words that a word with capitals inside is glued from; the word itself where it is glued from none.

    PythonRandomInterface has three, HTTPServer two. A single letter belongs to what stands before it (Conv2D), and two
    parts of which one is that short are a name (NumPy, LaTeX, IPv4), as is the plural of an acronym (GPUs).
    """
    parts: list[str] = []
    start = 0
    for hump in _HUMP.finditer(word):
        at = hump.start()
        before, here, after = word[at - 1], word[at], word[at + 1 : at + 2]
        is_start = here.isupper() and (not before.isupper() or (after.islower() and word[at + 1 :] != "s"))
        if is_start and at - start >= _LEAST_PART:
            parts.append(word[start:at])
            start = at
    if parts and len(word) - start < _LEAST_PART:
        start -= len(parts[-1])
        parts.pop()
    parts.append(word[start:])
    is_name = len(parts) == 1 or (len(parts) == 2 and min(map(len, parts)) <= _LEAST_PART)
    return (word,) if is_name else tuple(parts)


_PLURAL_OF_ACRONYM = re.compile(r"^([b-df-hj-np-tv-xz0-9]{2,4}[b-df-hj-np-rt-xz0-9])s$")


@lru_cache(maxsize=1)
def _stemmer() -> EnglishStemmer:
    # Only who merges words waits for it: it takes a second to import.
    from nltk.stem.snowball import EnglishStemmer

    return EnglishStemmer()


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """What the forms of an English word share, as a key for merging: central and centrally give central.

    By the Snowball stemmer (Porter 2001), which leaves words of other scripts as they are, and the plural of acronyms,
    so that is taken off before.
    """
    return str(_stemmer().stem(_PLURAL_OF_ACRONYM.sub(r"\1", word)))
