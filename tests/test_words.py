"""Texts of any script are cut into words, with what is written onto a letter left on it."""

import pytest

from autointerp.corpus.spellings import Spellings
from autointerp.explain.word_rates import firing_words
from autointerp.rules.units import Units
from autointerp.score.writers.local import put
from autointerp.words import WORD, label_meaning, label_words, words_of
from tests.rules.making import of_tokens


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's a KEY-value_x don't x'a", "it's a key - value _ x don't x ' a"),
        ("हिन्दी में किताब", "हिन्दी में किताब"),
        ("مَرْحَبًا بك", "مَرْحَبًا بك"),
        ("שָׁלוֹם", "שָׁלוֹם"),
        ("ที่นี่ 2024", "ที่ นี่ 2024"),
        ("ກິນ", "ກິ ນ"),
        ("កម្ពុជា", "ក ម្ ពុ ជា"),
        ("2024年に人々がiPhone", "2024 年 に 人 々 が iphone"),
        ("か\u3099", "が"),
        ("\U00020000\U00020001", "\U00020000 \U00020001"),
        ("नमस्ते।", "नमस्ते ।"),
        ("❤\ufe0f👍🏽!", "❤\ufe0f 👍🏽 !"),
        ("👩\u200d💻🇩🇪🇫🇷", "👩\u200d💻 🇩🇪 🇫🇷"),
        ("क्\u200dष co\u00adop", "क्\u200dष co\u00adop"),
        ("\u0301a", "\u0301 a"),
        ("İstanbul ISTANBUL I\u0307stanbul", "istanbul istanbul istanbul"),
    ],
)
def test_a_text_is_cut_into_words_with_their_marks(text: str, words: str) -> None:
    assert words_of(text) == tuple(words.split(" "))


def test_an_accent_is_the_same_in_one_code_point_or_in_two() -> None:
    assert words_of("cafe\u0301 Vie\u0323\u0302t") == words_of("caf\u00e9 Vi\u1ec7t") == ("caf\u00e9", "vi\u1ec7t")
    assert label_words('"cafe\u0301"') == ["caf\u00e9"]
    assert Units.cut(["cafe\u0301"]).vocabulary.words == ("caf\u00e9",)


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ('"value" or "values"', ["value", "values"]),
        ('"red", "green" or "or"', ["red", "green", "or"]),
        ('«oui» and "yes"; no', ["oui", "yes", "no"]),
        ('"a, b" or c', ["a", ",", "b", "c"]),
        ('"model" within 12 words of "loss"', ["model", "loss", "12"]),
        ("or", ["or"]),
        ('or, "and"', ["and", "or"]),
    ],
)
def test_what_joins_quoted_words_is_no_word_of_a_label(label: str, words: list[str]) -> None:
    assert label_words(label) == words


def test_words_on_which_a_feature_fires_are_those_of_the_corpus() -> None:
    context = of_tokens(("हिन", "्दी", " cafe", "\u0301", "ที", "่นี่"), (0.0, 2.0, 0.0, 1.0, 0.5, 0.0))
    assert [(of.word, of.activation) for of in firing_words(context, Spellings.counted([]))] == [
        ("हिन्दी", 2.0),
        ("caf\u00e9", 1.0),
        ("ที่", 0.5),
        ("นี่", 0.0),
    ]


def test_a_character_of_a_script_without_spaces_is_put_beside_its_neighbors() -> None:
    assert put("ที่นี่", "ดี", [3]) == "ที่ดีนี่"


def test_no_character_but_a_space_is_lost() -> None:
    text = "".join(map(chr, (*range(0x20, 0xD800), *range(0xE000, 0x20000))))
    assert "".join(WORD.findall(text)) == "".join(text.split())


@pytest.mark.parametrize(
    ("label", "meaning"),
    [
        ('the word "key"', "key"),
        ('words such as "key", "lock"', "key, lock"),
        ('forms of "value" or "number"', "value or number"),
        ('"number" right before "of"', "number right before of"),
        ("the mark '\"'", '"'),
        ("text about locks, doors", "locks, doors"),
        ("Python's syntax errors", "Python's syntax errors"),
        ("the words of a song", "the words of a song"),
    ],
)
def test_by_meaning_a_label_is_compared_without_its_head_and_quotes(label: str, meaning: str) -> None:
    assert label_meaning(label) == meaning
