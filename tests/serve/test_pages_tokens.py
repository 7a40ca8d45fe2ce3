"""Tokens as pages show them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.serve.pages.tokens import as_chat, has_turns, shaded, step, token_text

CHAT = ["so", ".", "<|im_end|>", "\n", "<|im_start|>", "ass", "istant", "\n", "Ask", " a", "<|im_end|>", "\n"]


def plain(markup: str) -> str:
    return re.sub("<[^>]*>", "", markup)


@pytest.mark.parametrize(
    ("activation", "expected"), [(0.0, 0), (-1.0, 0), (0.01, 1), (1.0, 1), (1.01, 2), (8.9, 9), (9.0, 9), (12.0, 9)]
)
def test_a_step_is_a_ninth_of_the_largest(activation: float, expected: int) -> None:
    assert step(activation, 9.0) == expected


def test_nothing_is_shaded_of_a_feature_that_never_fires() -> None:
    assert step(1.0, 0.0) == 0
    assert shaded(["a", " b"], [0.0, 0.0], 0.0) == "a b"


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_no_token_becomes_markup(tokens: list[str]) -> None:
    for values in ([0.0] * len(tokens), [1.0] * len(tokens)):
        html = str(shaded(tokens, values, 1.0, 0, [0]))
        tags = set(re.findall("<[^>]*>", html))
        assert all(re.fullmatch(r'</?mark>|</span>|<span class="a9( peak)?" title="1">', tag) for tag in tags)
        assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", html)


def test_the_space_before_a_word_is_not_shaded_and_a_space_alone_is() -> None:
    assert str(shaded([" a", " "], [1.0, 1.0], 1.0)) == (
        ' <span class="a9" title="1">a</span><span class="a9" title="1"> </span>'
    )
    assert token_text("a\nb\x1b") == "a↵b\\x1b"


def test_a_conversation_is_read_as_messages_behind_their_roles() -> None:
    assert has_turns(CHAT)
    silent = as_chat(CHAT, [0.0] * len(CHAT), 1.0)
    assert str(silent) == 'so.<b class="role">assistant</b>Ask a'


def test_a_mark_on_which_the_feature_fires_stays() -> None:
    for place in range(len(CHAT)):
        values = [float(at == place) for at in range(len(CHAT))]
        html = str(as_chat(CHAT, values, 1.0, place))
        assert html.count('class="a9') == 1, CHAT[place]


@given(st.lists(st.sampled_from([*CHAT, "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "x<"]), max_size=12))
def test_what_is_no_mark_is_all_shown_in_its_order(tokens: list[str]) -> None:
    shown = plain(str(as_chat(tokens, [0.0] * len(tokens), 1.0)))
    words = [token for token in tokens if token in ("so", ".", "Ask", " a")]
    place = 0
    for word in words:
        place = shown.find(word.strip(), place) + 1
        assert place > 0, word
