"""Rules and their sentences: each rule has one, and it is read back as the same rule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.rules.rule import (
    CLASSES,
    PLACES,
    SCRIPTS,
    Affixed,
    Beside,
    Class,
    Condition,
    Forms,
    Place,
    Root,
    Rule,
    Words,
)  # fmt: skip
from autointerp.rules.sentence import read_rule, write_rule
from tests.score.world import UNHURRIED

WORDS = st.sampled_from(
    [
        "key",
        "keys",
        "or",
        "except",
        "within",
        "right",
        "'",
        '"',
        ",",
        "-",
        "_",
        "(",
        "don't",
        "2d",
        "ß",
        "熱",
        "мир",
    ]
)
LISTS = st.lists(WORDS, min_size=1, max_size=4, unique=True).map(lambda words: tuple(sorted(words)))
PARTS = st.lists(st.text("abc-é熱", min_size=2, max_size=5).filter(lambda s: s.strip("-") == s), min_size=1, max_size=3)
words = LISTS.map(Words)
affixed = st.builds(
    Affixed, st.sampled_from(["ending", "beginning", "containing"]), PARTS.map(lambda of: tuple(sorted(set(of))))
)
classes = st.sampled_from([*CLASSES, *SCRIPTS]).map(Class)
forms = LISTS.map(Forms)
roots = st.one_of(words, forms, affixed, classes)
conditions: st.SearchStrategy[Condition] = st.one_of(
    st.sampled_from(list(PLACES)).map(Place),
    st.builds(Beside, st.sampled_from(["after", "before", "near"]), st.integers(1, 12), roots),
)
several: st.SearchStrategy[tuple[Root, ...]] = st.one_of(
    roots.map(lambda root: (root,)),
    st.tuples(words, affixed),
    st.tuples(words, forms),
    st.tuples(forms, affixed),
    st.tuples(words, classes),
    st.tuples(affixed, classes),
)
rules = st.builds(Rule, several, st.lists(conditions, max_size=2).map(tuple), st.none() | roots)


@UNHURRIED
@given(rules)
def test_a_rule_s_sentence_is_read_back_as_the_rule(rule: Rule) -> None:
    assert read_rule(write_rule(rule)) == rule


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (Rule((Words(("key", "keys")),)), '"key" or "keys"'),
        (Rule((Words(("a", "b", "c")),)), '"a", "b" or "c"'),
        (Rule((Words(("return",)),), (Place("at the start of a sentence"),)), '"return" at the start of a sentence'),
        (Rule((Affixed("ending", ("side",)),)), 'words ending in "-side"'),
        (Rule((Class("numbers"),), (Beside("after", 1, Words(("version",))),)), 'numbers right after "version"'),
        (
            Rule((Words(("model",)),), (Beside("near", 12, Words(("loss", "train"))),)),
            '"model" within 12 words of "loss" or "train"',
        ),
        (
            Rule((Affixed("beginning", ("un",)),), unless=Words(("under", "until"))),
            'words beginning with "un-", except "under" or "until"',
        ),
        (Rule((Words(('"',)),)), "'\"'"),
        (Rule((Forms(("key", "raise")),)), 'forms of "key" or "raise"'),
        (Rule((Words(("a", "b")), Forms(("key",)))), '"a" or "b" or forms of "key"'),
        (Rule((Class("Cyrillic"),)), "Cyrillic words"),
        (Rule((Words(("api",)),), (Place("in capitals"),)), '"api" in capitals'),
        (Rule((Class("anything"),)), "every word and mark"),
        (Rule((Class("anything"),), (Place("inside brackets"),)), "anything inside brackets"),
    ],
)
def test_sentences_read_as_people_write_them(rule: Rule, sentence: str) -> None:
    assert write_rule(rule) == sentence
    assert read_rule(sentence) == rule


@pytest.mark.parametrize(
    "label",
    [
        "",
        "cats, dogs",
        "words about cats",
        '"key" and "keys"',
        '"two words"',
        '"Key"',
        'words ending in "side"',
        'words ending in "-SIDE"',
        '"key" near "lock"',
        '"key", except',
        "numbers of years",
        '"key" or "keys" in a dictionary',
        "text about numbers",
        'words within 0 words of "a"',
        'words within 99999999999999999999 words of "a"',
    ],
)
def test_a_label_of_another_kind_is_no_rule(label: str) -> None:
    assert read_rule(label) is None
