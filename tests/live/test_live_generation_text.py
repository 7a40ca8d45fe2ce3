"""An answer's text as its tokens come: whole characters, no special tokens, and nothing of a stop text."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.corpus.pieces import TokenPieces
from autointerp.live.generation.text import AnswerText
from tests.corpus.small_tokenizers import chatml_tokenizer

TOKENIZER: Any = chatml_tokenizer()
PIECES = TokenPieces(TOKENIZER)
END = TOKENIZER.convert_tokens_to_ids("<|im_end|>")


def read(tokens: Sequence[int], *stop: str) -> tuple[list[str], bool]:
    """What each token makes certain, and then the answer's end; and whether a stop text has come."""
    text, given = AnswerText(PIECES, frozenset({END}), stop), list[str]()
    for token in tokens:
        given.append(text.add(token))
        if text.is_stopped:
            break
    is_stopped = text.is_stopped
    given.append(text.end())
    assert "".join(given) == text.text
    assert text.end() == ""
    return given, is_stopped


def tokens_of(text: str) -> list[int]:
    tokens: list[int] = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    return tokens


def test_a_character_of_several_tokens_comes_with_its_last() -> None:
    assert len(tokens_of("é")) == 2
    given, _ = read(tokens_of("aéb"))
    assert given == ["a", "", "é", "b", ""]
    assert read(tokens_of("aé")[:2])[0] == ["a", "", "\ufffd"]


def test_a_special_token_has_no_text() -> None:
    assert read([*tokens_of("ab"), END, *tokens_of("c")])[0] == ["a", "b", "", "c", ""]


def test_what_may_begin_a_stop_text_is_held_back_until_it_is_certain() -> None:
    assert read(tokens_of("xaab!"), "aab?") == (["x", "", "", "", "aab!", ""], False)
    assert read(tokens_of("xaaab?"), "aab?") == (["x", "", "", "a", "", "", ""], True)
    assert read(tokens_of("xaa"), "aab?") == (["x", "", "", "aa"], False)


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="abé€", max_size=30), st.lists(st.text(alphabet="abé€", min_size=1, max_size=4), max_size=3))
def test_a_text_is_cut_before_the_stop_text_that_comes_first(text: str, stop: list[str]) -> None:
    given, is_stopped = read(tokens_of(text), *stop)
    ends = [(place + len(one), place) for one in stop if (place := text.find(one)) >= 0]
    assert is_stopped == bool(ends)
    if ends:
        first = min(end for end, _ in ends)
        assert "".join(given) == text[: min(place for end, place in ends if end == first)]
    else:
        assert "".join(given) == text


@pytest.mark.parametrize("text", ["", "naïve “quoted” 🐟", "日本語"])
def test_a_stream_of_pieces_is_the_pieces_of_the_whole(text: str) -> None:
    stream, tokens = PIECES.stream(), tokens_of(text)
    given = [stream.add(token) for token in tokens]
    assert "".join(given) + stream.end() == text
    assert PIECES.pieces(tokens) == given
