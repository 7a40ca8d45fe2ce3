"""Text is cut into words and marks, and what is known of each one's place is right."""

import numpy as np
import pytest

from autointerp.rules.rule import Affixed, Beside, Class, Forms, Place, Rule, Words
from autointerp.rules.sentence import read_rule, write_rule
from autointerp.rules.units import Units, unit_activations
from tests.rules.making import of_tokens


def held(label: str, *texts: str) -> list[list[str]]:
    """The words of each row of which a rule holds."""
    rule, units = read_rule(label), Units.cut(texts)
    assert rule is not None
    of = rule.holds(units)
    return [
        [units.vocabulary.words[units.word[u]] for u in range(units.first[row], units.first[row + 1]) if of[u]]
        for row in range(units.n_rows)
    ]


@pytest.mark.parametrize(
    ("label", "text", "words"),
    [
        ('"key"', "The key, a Key; keys", ["key", "key"]),
        ('words ending in "-ing"', "ing king sing-along SINGING", ["king", "sing", "singing"]),
        ('words beginning with "un-"', "un under Undo sun", ["under", "undo"]),
        ('words that hold "-ue-"', "ue value queue blue", ["value", "queue", "blue"]),
        ('forms of "raise"', "raise raises RAISED raising praise rise", ["raise", "raises", "raised", "raising"]),
        ('forms of "ключ"', "ключ ключи", ["ключ"]),
        ('words right after forms of "return"', "returns it, returned value", ["it", "value"]),
        ("numbers", "in 2024 a 3d x1 7", ["2024", "7"]),
        ("numbers of four digits", "2024 024 12345", ["2024"]),
        ("words with digits in them", "3d x1 7 abc", ["3d", "x1"]),
        ("brackets", "a (b) [c] {d}", ["(", ")", "[", "]", "{", "}"]),
        ("marks", 'say "x", _y_', ['"', '"', ",", "_", "_"]),
        ("Cyrillic words", "мир and world", ["мир"]),
        ("CJK words", "the 熱 of", ["熱"]),
        ("CJK words", "2024年 iPhone手", ["年", "手"]),
        ("numbers of four digits", "2024年3月", ["2024"]),
        ("words at the start of a sentence", "One. Two three! Four", ["two", "four"]),
        ("words at the end of a sentence", "One two. Three four? five", ["two", "four"]),
        ("words at the start of a line", "one two\nthree\n\n four", ["three", "four"]),
        ("words inside brackets", "a (b [c] d) e", ["b", "c", "d"]),
        ("words with a capital letter", "One two Three", ["one", "three"]),
        ("words in capitals", "ONE Two I THREE", ["one", "three"]),
        ('words right after "the"', "the cat of the dog", ["cat", "dog"]),
        ('words right before "of"', "a list of the end of", ["list", "end"]),
        ('words within 2 words after "the"', "the big cat sat", ["big", "cat"]),
        ('"model" within 3 words of "loss"', "model the loss. a model here", ["model", "model"]),
        ('words ending in "-s", except "is" or "its"', "is its cats", ["cats"]),
        ('"a" or words ending in "-s"', "a cats b", ["a", "cats"]),
        ("anything", "a, b", ["a", ",", "b"]),
        ("words", "हिन्दी cafe\u0301 3d ที่", ["हिन्दी", "caf\u00e9", "ที่"]),
        ("single letters", "ที่ ab x", ["ที่", "x"]),
        ("marks", "❤\ufe0f, नमस्ते।", ["❤\ufe0f", ",", "।"]),
        ("Thai words", "ที่ and มัน", ["ที่", "มั", "น"]),
        ("Khmer words", "ក a", ["ក"]),
        ('words ending in "-ते"', "नमस्ते करते ते", ["नमस्ते", "करते"]),
        ('"cafe\u0301"', "CAF\u00c9 Cafe\u0301 cafe", ["caf\u00e9", "caf\u00e9"]),
        ('"don\'t"', "I don't", ["don't"]),
    ],
)
def test_a_rule_holds_of_the_words_that_its_sentence_names(label: str, text: str, words: list[str]) -> None:
    assert held(label, text) == [words]


def test_every_unit_in_lower_case_can_be_named_in_a_label() -> None:
    letters = map(chr, (*range(0x20, 0xD800), *range(0xE000, 0x20000)))
    for word in Units.cut(" ".join([*letters, "\u0130stanbul"]).split("\n")).vocabulary.words:
        rule = Rule((Words((word,)),))
        assert read_rule(write_rule(rule)) == rule
    assert held('"istanbul"', "to \u0130stanbul, not ISTANBUL?") == [["istanbul", "istanbul"]]


def test_nothing_reaches_over_the_end_of_a_row() -> None:
    assert held('words right after "the"', "end the", "cat", "") == [[], [], []]
    assert held("words at the start of a sentence", "end.", "Cat") == [[], []]
    assert held("words inside brackets", "(a", "b") == [["a"], []]
    assert held('words within 12 words of "x"', "a x", "b") == [["a"], []]


def test_a_word_has_the_activation_of_its_strongest_piece() -> None:
    context = of_tokens((" val", "ue", "s", ", ", "x"), (0.0, 2.0, 0.5, 0.0, 1.0))
    assert unit_activations(context).tolist() == [2.0, 0.0, 1.0]


def test_parts_of_characters_that_a_window_s_ends_have_cut_off_are_no_units() -> None:
    context = of_tokens(("\ufffd", " a", "\ufffd", " b", " \ufffd\ufffd"), (1.0, 0.0, 2.0, 0.0, 3.0))
    assert held("anything", context.text) == [["a", "\ufffd", "b"]]
    assert unit_activations(context).tolist() == [0.0, 2.0, 0.0]
    nothing = of_tokens(("\ufffd",), (1.0,))
    assert held("anything", nothing.text) == [[]]
    assert unit_activations(nothing).size == 0


def test_words_that_are_numbered_already_keep_their_numbers() -> None:
    first = Units.cut(["the cat sat"])
    second = Units.cut(["the dog singing"], first.vocabulary)
    assert second.vocabulary.words == ("the", "cat", "sat", "dog", "singing")
    for rule in (
        Rule((Words(("dog", "cat")),)),
        Rule((Affixed("ending", ("ing",)),)),
        Rule((Forms(("sing", "cats")),)),
        Rule((Affixed("containing", ("o",)),)),
        Rule((Class("words"),), (Beside("after", 1, Words(("the",))),)),
        Rule((Class("words"),), (Place("at the start of a line"),)),
    ):
        alone = rule.holds(Units.cut(["the dog singing"]))
        assert np.array_equal(rule.holds(second), alone), rule
