import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.contexts.render import (
    activation_values,
    active_offsets,
    active_tokens,
    marked_text,
    plain_text,
    shown_activations,
)
from autointerp.contexts.windows import make_context
from autointerp.records import Context


def context_of(tokens: list[str], activations: list[float] | None = None) -> Context:
    return make_context(
        [0] * len(tokens),
        activations or [0.0] * len(tokens),
        source_id="m@s",
        feature_index=0,
        kind="pool",
        split="explain",
        quantile=None,
        document_id="d",
        block_index=0,
        start=0,
        tokens=tokens,
    )


def rendered(*tokens: str, marked: tuple[int, ...] = ()) -> str:
    return marked_text(context_of(list(tokens)), marked)


def test_active_tokens_stand_between_marks() -> None:
    context = context_of(["The", " black", " cat", " sat", "."], [0.0, 0.0, 2.5, 0.0, 0.0])
    assert marked_text(context, active_offsets(context)) == "The black <<cat>> sat."
    assert plain_text(context) == "The black cat sat."


def test_neighboring_marked_tokens_share_one_pair_of_marks() -> None:
    assert rendered("un", "believ", "able", " luck", marked=(0, 1, 3)) == "<<unbeliev>>able <<luck>>"
    assert rendered("a", " black", " cat", marked=(1, 2)) == "a <<black cat>>"


def test_marks_may_cover_everything_or_nothing() -> None:
    assert rendered("one", " two", marked=(0, 1)) == "<<one two>>"
    assert rendered(" one", " two") == "one two"


@pytest.mark.parametrize(
    ("tokens", "marked", "expected"),
    [
        (["a", " <<b>>"], (), "a < <b> >"),
        (["cout", " <<", " x"], (), "cout < < x"),
        (["cout", " <", "<", " x"], (), "cout < < x"),
        (["<<<"], (), "< < <"),
        (["x", " <", "y"], (2,), "x < <<y>>"),
        (["y", ">", "z"], (0,), "<<y>> >z"),
        (["<", "p", ">"], (0, 1, 2), "<< <p> >>"),
        (["f", "<<", "x"], (1,), "f<< < <>>x"),
        (["a", ">", ">"], (1,), "a<<> >> >"),
        (["<<feature>>", " fires"], (1,), "< <feature> > <<fires>>"),
    ],
)
def test_text_from_the_corpus_cannot_pose_as_marks(tokens: list[str], marked: tuple[int, ...], expected: str) -> None:
    assert rendered(*tokens, marked=marked) == expected


def test_line_breaks_become_one_space() -> None:
    assert rendered("one", "\n\n  ", "two", " \r\n", "three\u2028four") == "one two three four"


def test_a_marked_line_break_can_be_seen() -> None:
    assert rendered("end", ".", "\n\n", "Next", marked=(2,)) == r"end.<<\n>>Next"


def test_a_marked_space_keeps_its_mark() -> None:
    assert rendered("a", "  ", "b", marked=(1,)) == "a<<  >>b"


def test_a_mark_on_part_of_a_character_goes_to_the_token_that_completes_it() -> None:
    assert rendered("a", "", "", "é", " b", marked=(1,)) == "a<<é>> b"
    assert rendered("a", "", "", "é", " b", marked=(2, 3)) == "a<<é>> b"
    assert rendered("a", "é", "", marked=(2,)) == "a<<é>>"
    assert rendered("a", "", "b", marked=(0, 2)) == "<<ab>>"


def test_scripts_without_spaces_and_right_to_left_ones_are_left_as_they_are() -> None:
    assert rendered("東", "京", "タワー", marked=(1,)) == "東<<京>>タワー"
    assert rendered("שלום", " עולם", marked=(1,)) == "שלום <<עולם>>"
    assert rendered("Привет", ",", " мир", marked=(2,)) == "Привет, <<мир>>"


def test_an_offset_outside_the_context_is_an_error() -> None:
    with pytest.raises(IndexError):
        rendered("a", marked=(1,))


def test_activations_are_integers_relative_to_the_features_maximum() -> None:
    context = context_of(["a"] * 7, [0.0, 0.001, 0.4, 1.0, 2.2, 3.8, 4.0])
    assert activation_values(context, 4.0) == (0, 1, 1, 3, 6, 10, 10)


def test_an_activation_above_the_maximum_by_rounding_is_ten() -> None:
    assert activation_values(context_of(["a"], [4.001]), 4.0) == (10,)


def test_active_tokens_are_listed_in_order_with_their_values() -> None:
    context = context_of(["The", " cat", "\n", "", "é"], [0.0, 4.0, 2.0, 1.0, 0.0])
    assert active_tokens(context, 4.0) == (("cat", 10), ("\\n", 5), ("é", 3))


def test_rendering_ignores_what_is_not_text() -> None:
    context = context_of(["a", " b"], [0.0, 1.0])
    silent = dataclasses.replace(context, activations=(0.0, 0.0), max_activation=0.0)
    assert plain_text(context) == plain_text(silent)


pieces = st.lists(st.text(alphabet="<>ab \n", max_size=4), min_size=1, max_size=8)


@given(pieces, st.sets(st.integers(0, 7)))
@settings(deadline=None)
def test_every_mark_is_ours_and_none_is_lost(tokens: list[str], offsets: set[int]) -> None:
    line = rendered(*tokens, marked=tuple(offset for offset in offsets if offset < len(tokens)))
    n_marks = line.count("<<")
    assert line.count(">>") == n_marks
    assert "<<<" not in line
    assert ">>>" not in line
    assert "\n" not in line
    outside = line
    for _ in range(n_marks):
        before, _, rest = outside.partition("<<")
        inside, _, after = rest.partition(">>")
        assert inside
        assert "<<" not in inside
        outside = f"{before}|{after}"
    kept = [character for character in "".join(tokens) if character in "<>ab"]
    stripped = line.replace("<<", "|").replace(">>", "|").replace("\\n", "|")
    assert [character for character in stripped if character in "<>ab"] == kept


def test_a_part_of_a_character_gives_its_activation_to_the_token_that_completes_it() -> None:
    context = context_of(["a", "", "", "🚀", "b", ""], [0.5, 3.0, 1.0, 2.0, 0.0, 4.0])
    assert shown_activations(context) == (0.5, 0.0, 0.0, 3.0, 4.0, 0.0)
