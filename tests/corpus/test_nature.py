"""What a corpus is made of, told from its text."""

import pytest

from autointerp.corpus.nature import Nature, is_chat, is_code, language_of, nature_of

PROSE = "The treaty was signed in the spring, and the members of the council went home to their towns before the rain."
ABOUT_CODE = "Returns the number of items in the list. If the list is empty, this function will raise an error instead."
CODE = "for (int i = 0; i < n; ++i) { total += weights[i] * values[i]; } return total;"
WORDPIECES = "def read ( self , path : str ) - > none : self . _ lines = [ line for line in open ( path ) ]"
GERMAN = "Der Vertrag wurde im Frühling unterzeichnet, und die Mitglieder des Rates sind nicht nach Hause gegangen."
FRENCH = "Le traité est signé au printemps et les membres du conseil ne sont pas dans la ville avec des amis."
RUSSIAN = "Договор был подписан весной, и члены совета вернулись в свои города до дождя."
JAPANESE = "条約は春に調印され、評議会の議員たちは雨が降る前に町へ帰った。"
CHAT = "User: what is the capital of Peru?\nAssistant: Lima.\nUser: thank you"


@pytest.mark.parametrize(
    ("text", "told"),
    [(CODE, True), (WORDPIECES, True), (PROSE, False), (ABOUT_CODE, False), (RUSSIAN, False), ("1 2 3 4", False)],
)
def test_code_is_told_from_prose_about_code(text: str, told: bool) -> None:
    assert is_code(text) is told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (CHAT, True),
        ("<|im_start|>user\nhello<|im_end|>", True),
        ("< | im _ start | > user hello", False),
        ("< | user | > hello", True),
        ("[INST] say it [/INST]", True),
        ("Note: it rains.\nWarning: it pours.", False),
        ("Q: one line alone is no conversation", False),
        (PROSE, False),
    ],
)
def test_a_conversation_is_told_by_whose_turn_it_is(text: str, told: bool) -> None:
    assert is_chat(text) is told


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (PROSE, "English"),
        (GERMAN, "German"),
        (FRENCH, "French"),
        (RUSSIAN, "Cyrillic"),
        (JAPANESE, "CJK"),
        ("مرحبا بالعالم كيف حالك اليوم", "Arabic"),
        ("xylophone quartz jukebox vortex", None),
        ("ja", None),
        ("3.14 = 2 + 1.14", None),
    ],
)
def test_a_language_is_told_by_its_writing_system_and_commonest_words(text: str, language: str | None) -> None:
    assert language_of(text) == language


def test_texts_are_counted_each_once_and_blank_ones_not_at_all() -> None:
    texts = [PROSE, ABOUT_CODE, CODE, CHAT, GERMAN, JAPANESE, "   ", ""]
    assert nature_of(texts) == Nature(6, 1, 1, (("English", 2), ("CJK", 1), ("German", 1)))
    assert nature_of(reversed(texts)) == nature_of(texts)


def test_an_empty_corpus_has_no_nature() -> None:
    assert nature_of([]) == Nature(0, 0, 0, ())
