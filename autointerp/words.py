"""Words: how texts and labels are cut into them, which say nothing, and what of a word is its inflection.

A label is read as a list, its items apart by commas, semicolons or middle dots. What stands in quotes and an item of
one word count as they are; of longer items, which are prose, function words and punctuation are left out.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

# A character of a script that is written without spaces, also right beside a number or a word of another; a word,
# perhaps contracted or possessive; a punctuation mark. Other apostrophes stand between words: pieces of a tokenizer
# that loses spaces read "either'a'or'b".
_UNSPACED_RANGES = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
UNSPACED = f"[{_UNSPACED_RANGES}]"
_OF_WORDS = rf"[^\W_{_UNSPACED_RANGES}]"
WORD = re.compile(
    rf"{UNSPACED}"
    rf"|{_OF_WORDS}+(?:['\u2019](?:s|t|d|m|re|ve|ll)(?!{_OF_WORDS}))?"
    r"|[^\w\s]|_",
    re.IGNORECASE,
)
# What the parts of a character read as that a window's ends have cut off.
_CUT_OFF = "\ufffd"
QUOTES = frozenset('"“”«»')
_QUOTED = re.compile(r"'([\"“”«»])'|[\"“”«»]([^\"“”«»]+)[\"“”«»]")
_ITEM_END = re.compile(r"[,;·|\n]")

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


def plain_label(label: str) -> str:
    """A label as it is compared with others: without regard to case and spacing."""
    return " ".join(label.casefold().split())


# A context is compared with many labels, and cut once; kept, the words of one take two or three kilobytes.
@lru_cache(maxsize=16_384)
def words_of(text: str) -> tuple[str, ...]:
    """The words and punctuation marks of a text, in order, in lower case."""
    return tuple(match.group().lower() for match in WORD.finditer(text))


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


def label_words(label: str) -> list[str]:
    """The words of a label that say something, each once, in order; see step 1 of the module."""
    words = [word for quoted in _QUOTED.finditer(label) for word in words_of(quoted[1] or quoted[2])]
    for item in _ITEM_END.split(_QUOTED.sub(",", label)):
        of_item = words_of(item)
        if len(of_item) == 1:
            words.extend(of_item)
        else:
            words.extend(w for w in of_item if w not in _SAY_NOTHING_IN_A_LABEL and any(c.isalnum() for c in w))
    return list(dict.fromkeys(words)) or list(dict.fromkeys(words_of(label))) or [label]


# In the order in which they are tried; what is put in their place makes copies and copied copy.
_SUFFIXES = (
    ("'s", ""), ("\u2019s", ""), ("ies", "y"), ("ied", "y"), ("sses", "ss"), ("ss", "ss"), ("ing", ""), ("ed", ""),
    ("es", ""), ("s", ""), ("e", ""),
)  # fmt: skip
_MIN_STEM = 4


def stem(word: str) -> str:
    """A word without its English inflection, as a key for merging: raise, raises, raised and raising give rais.

    Only for words that keep at least four letters: the ends of short ones are often no inflections (thing, red, yes).
    """
    for suffix, replacement in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) + len(replacement) >= _MIN_STEM:
            stripped = word.removesuffix(suffix)
            doubled = suffix in {"ing", "ed"} and stripped[-1] == stripped[-2] and stripped[-1] not in "ls"
            return (stripped[:-1] if doubled else stripped) + replacement
    return word
