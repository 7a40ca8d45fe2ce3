"""Rules as sentences, and sentences as rules: `"key" or "keys" at the start of a sentence, except right after "the"`.

Every rule has one sentence, and that sentence is read back as the same rule, so a label of this kind is all that its
judge needs. A sentence that is none of a rule is read as none.
"""

import re
import unicodedata
from collections.abc import Sequence

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
    Words,
)
from autointerp.words import WORD, plain_word

_ITEM = r"""(?:"[^"]+"|'"')"""
_ITEMS = rf"{_ITEM}(?:, {_ITEM})*(?: or {_ITEM})?"
_AFFIXES: dict[Affix, str] = {
    "ending": "words ending in",
    "beginning": "words beginning with",
    "containing": "words that hold",
}
_HYPHENS: dict[Affix, tuple[str, str]] = {"ending": ("-", ""), "beginning": ("", "-"), "containing": ("-", "-")}
_KINDS = {words: kind for kind, words in _AFFIXES.items()}
_NAMES = [*CLASSES, *(f"{script} words" for script in SCRIPTS)]
_FORMS = "forms of"
_LISTS = f"(?:{'|'.join([*_KINDS, _FORMS])}) {_ITEMS}"
_ROOT = "|".join([_LISTS, _ITEMS, *map(re.escape, sorted(_NAMES, key=len, reverse=True))])
_SIDES = {
    ("after", 1): "right after",
    ("before", 1): "right before",
    ("near", 1): "right beside",
}
_REACH = "[1-9][0-9]{0,2}"
_BESIDE = rf"(?:right (?:after|before|beside)|within {_REACH} words (?:after|before|of)) (?:{_ROOT})"
_WITHIN = re.compile(
    rf"(?:right (?P<side>after|before|beside)|within (?P<within>{_REACH}) words (?P<far>after|before|of))"
    rf" (?P<root>{_ROOT})"
)
_CONDITION = "|".join([*map(re.escape, PLACES), _BESIDE])
_SENTENCE = re.compile(
    rf"(?P<roots>(?:{_ROOT})(?: or (?:{_ROOT}))?)(?P<where>(?: (?:{_CONDITION}))*)(?:, except (?P<unless>{_ROOT}))?"
)


_EVERYTHING = (Rule((Class("anything"),)), "every word and mark")


def write_rule(rule: Rule) -> str:
    """The rule's sentence."""
    if rule == _EVERYTHING[0]:
        return _EVERYTHING[1]
    parts = [" or ".join(map(_root, rule.roots)), *map(_condition, rule.where)]
    return " ".join(parts) + (f", except {_root(rule.unless)}" if rule.unless is not None else "")


def read_rule(sentence: str) -> Rule | None:
    """The rule that a sentence says; None of a sentence that says none."""
    if sentence == _EVERYTHING[1]:
        return _EVERYTHING[0]
    sentence = unicodedata.normalize("NFC", sentence)
    found = _SENTENCE.fullmatch(sentence)
    if found is None:
        return None
    roots = [_read_root(text) for text in _split_roots(found["roots"])]
    where = [_read_condition(text) for text in re.findall(f"(?:{_CONDITION})", found["where"])]
    unless = None if found["unless"] is None else _read_root(found["unless"])
    if any(root is None for root in roots) or any(of is None for of in where) or (found["unless"] and unless is None):
        return None
    return Rule(tuple(root for root in roots if root is not None), tuple(of for of in where if of is not None), unless)


def _root(root: Root) -> str:
    match root:
        case Words():
            return _items(root.words)
        case Forms():
            return f"{_FORMS} {_items(root.words)}"
        case Affixed():
            before, after = _HYPHENS[root.kind]
            return f"{_AFFIXES[root.kind]} {_items([f'{before}{part}{after}' for part in root.parts])}"
        case Class():
            return f"{root.name} words" if root.name in SCRIPTS else root.name


def _condition(condition: Condition) -> str:
    if isinstance(condition, Place):
        return condition.name
    side = _SIDES.get((condition.side, condition.within))
    if side is None:
        side = f"within {condition.within} words {'of' if condition.side == 'near' else condition.side}"
    return f"{side} {_root(condition.root)}"


def _items(words: Sequence[str]) -> str:
    quoted = ["'\"'" if word == '"' else f'"{word}"' for word in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def _split_roots(text: str) -> list[str]:
    whole = re.compile(rf"({_ROOT})(?: or ({_ROOT}))?")
    found = whole.fullmatch(text)
    assert found is not None, "the sentence matched"
    return [part for part in found.groups() if part is not None]


def _read_root(text: str) -> Root | None:
    kind = next((kind for words, kind in _KINDS.items() if text.startswith(f"{words} ")), None)
    items = [item[1:-1] for item in re.findall(_ITEM, text)]
    if kind is not None:
        before, after = _HYPHENS[kind]
        if not all(item.startswith(before) and item.endswith(after) for item in items):
            return None
        parts = tuple(item.removeprefix(before).removesuffix(after) for item in items)
        return Affixed(kind, parts) if all(parts) and list(parts) == [plain_word(part) for part in parts] else None
    if items:
        if not all(WORD.fullmatch(item) and item == plain_word(item) for item in items):
            return None
        return Forms(tuple(items)) if text.startswith(f"{_FORMS} ") else Words(tuple(items))
    return Class(text.removesuffix(" words") if text.removesuffix(" words") in SCRIPTS else text)


def _read_condition(text: str) -> Condition | None:
    if text in PLACES:
        return Place(text)
    found = _WITHIN.fullmatch(text)
    assert found is not None, "the sentence matched"
    root = _read_root(found["root"])
    if root is None:
        return None
    side = found["side"] or found["far"]
    within = int(found["within"] or 1)
    if side == "after":
        return Beside("after", within, root)
    return Beside("before", within, root) if side == "before" else Beside("near", within, root)
