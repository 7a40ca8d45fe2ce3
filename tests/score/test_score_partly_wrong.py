"""Labels made too broad and too narrow, of rules, of lists of words, and of prose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.rules.rule import Affixed, Beside, Class, Condition, Forms, Place, Root, Rule, Words
from autointerp.rules.sentence import read_rule, write_rule
from autointerp.rules.units import Units
from autointerp.score.partly_wrong import too_broad, too_narrow
from autointerp.words import label_words
from tests.score.world import UNHURRIED


@pytest.mark.parametrize(
    ("label", "broad", "narrow"),
    [
        ('"key" or "keys"', '"key", "keys", "lock" or "door"', '"key"'),
        ('forms of "value"', '"lock" or "door" or forms of "value"', '"value"'),
        ('forms of "value" or "price"', '"lock" or "door" or forms of "value" or "price"', 'forms of "value"'),
        ('"number" right before "of"', '"number", "lock" or "door"', None),
        ('"a" or "b" right before "of"', '"a", "b", "lock" or "door"', '"a" right before "of"'),
        ('words ending in "-ing", except "thing"', '"lock" or "door" or words ending in "-ing"', None),
        ("numbers", '"lock" or "door" or numbers', None),
        ('"two" or numbers', '"two", "lock" or "door" or numbers', '"two"'),
        ('words such as "Jacobian", "Bernoulli"', None, '"Jacobian"'),
        ('words such as "jacket", "coat"', None, 'the word "jacket"'),
        ('marks such as ":", ";"', None, 'the word ":"'),
        ("text about rivers, lakes", None, "rivers"),
        ("names of rivers; or of lakes in the north", None, "names of rivers"),
        ("errors or warnings", None, "errors"),
        ("an error that is raised", None, None),
    ],
)
def test_a_label_is_made_too_broad_and_too_narrow(label: str, broad: str | None, narrow: str | None) -> None:
    made = too_broad(label, ['the word "lock"', label, '"door"'])
    assert made is not None
    if broad is not None:
        assert made == broad
    assert set(label_words(made)) >= {"lock", "door"}
    assert too_narrow(label) == narrow
    # What is a rule is carried out, and what is none is compared by words: a label made of one stays of its sort.
    for of in (made, narrow):
        assert of is None or (read_rule(of) is None) == (read_rule(label) is None)


def test_of_siblings_that_say_no_more_no_label_is_made_too_broad() -> None:
    assert too_broad('"key" or "keys"', []) is None
    assert too_broad('"key" or "keys"', ['"Key" or  "keys"', '"keys"']) is None
    assert too_broad("text about rivers", ["rivers"]) is None


def test_four_siblings_are_taken() -> None:
    assert too_broad('"a"', [f'"{word}"' for word in "bcdef"]) == '"a", "b", "c", "d" or "e"'


WORDS = st.lists(
    st.sampled_from(["key", "keys", "running", "of", "7", "(", "north"]), min_size=1, max_size=3, unique=True
)
ROOTS: st.SearchStrategy[Root] = st.one_of(
    WORDS.map(lambda words: Words(tuple(words))),
    WORDS.map(lambda words: Forms(tuple(words))),
    st.just(Affixed("ending", ("ing", "th"))),
    st.just(Class("numbers")),
)
CONDITIONS: list[Condition] = [Place("with a capital letter"), Beside("after", 1, Words(("the",)))]
WHERE = st.lists(st.sampled_from(CONDITIONS), max_size=2, unique=True)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    roots = draw(st.lists(ROOTS, min_size=1, max_size=2, unique_by=type))
    return Rule(tuple(roots), tuple(draw(WHERE)), draw(st.none() | st.just(Words(("north",)))))


@UNHURRIED
@given(rules(), st.lists(rules().map(write_rule), min_size=1, max_size=4))
def test_a_rule_made_broad_or_narrow_is_a_rule_that_holds_of_more_or_less(rule: Rule, siblings: list[str]) -> None:
    texts = ["The key of 7 (keys)", "running North of the 9", "7 keys", "( a path north )", "nothing"]
    units = Units.cut(texts)
    held = rule.in_rows(units)
    label = write_rule(rule)
    if (broad := too_broad(label, siblings)) is not None and len(rule.roots) == 1:
        read = read_rule(broad)
        assert read is not None
        assert not (held & ~read.in_rows(units)).any()
    if (narrow := too_narrow(label)) is not None:
        read = read_rule(narrow)
        assert read is not None
        assert not (read.in_rows(units) & ~held).any()
