"""Text from outside: what UTF-8 can't hold is replaced, all else stays as it is."""

from hypothesis import given
from hypothesis import strategies as st

from autointerp.valid_text import valid_text, visible


def test_half_a_surrogate_pair_becomes_one_replacement_character() -> None:
    assert valid_text("a\ud83d") == "a\ufffd"
    assert valid_text("\ude00b") == "\ufffdb"
    assert valid_text("a\ud83db\ude00c") == "a\ufffdb\ufffdc"


def test_two_halves_that_are_a_pair_become_its_character() -> None:
    assert valid_text("a\ud83d\ude00b") == "a\U0001f600b"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_that_utf8_can_hold_is_given_back_as_it_is(text: str) -> None:
    assert valid_text(text) is text


@given(st.text(st.characters()))
def test_any_text_can_be_encoded_afterwards(text: str) -> None:
    assert valid_text(valid_text(text).encode().decode()) == valid_text(text)


def test_what_a_terminal_would_obey_is_shown_and_text_of_any_script_stays() -> None:
    assert visible("a\x1b[2J\x00b\r\n\x85") == r"a\x1b[2J\x00b\r\n\x85"
    assert visible("price \u202e001") == r"price \u202e001"
    for text in ("日本語", "עברית 🙂", "क्‍ष", "a\tb", "👩\u200d💻", "\u00ad"):
        assert visible(text) == text
