"""Which contexts are shown, and how they look."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.explain.shown import choose_contexts, choose_silent, render_contexts, render_silent
from autointerp.records import Context, ContextKind
from tests.explain.explaining import peaks
from tests.loopback.contexts import context, of_tokens


@pytest.mark.parametrize("n_contexts", [1, 2, 3, 5, 10])
def test_contexts_are_half_the_top_and_half_spread_over_the_rest(n_contexts: int) -> None:
    shown = [int(c.max_activation) for c in choose_contexts(peaks(20), n_contexts)]
    assert (
        shown
        == {
            1: [20],
            2: [20, 1],
            3: [20, 19, 1],
            5: [20, 19, 18, 10, 1],
            10: [20, 19, 18, 17, 16, 13, 10, 7, 4, 1],
        }[n_contexts]
    )


@given(st.lists(st.floats(0.1, 9.0), max_size=60), st.integers(1, 50))
def test_no_context_is_shown_twice_nor_left_out_for_room_that_is_there(highest: list[float], n_contexts: int) -> None:
    active = [context(f"a b={peak!r}", block_index=i) for i, peak in enumerate(highest)]
    shown = choose_contexts(active, n_contexts)
    assert len(shown) == min(len(active), n_contexts)
    assert len({c.context_id for c in shown}) == len(shown)
    assert [c.max_activation for c in shown] == sorted((c.max_activation for c in shown), reverse=True)
    assert choose_contexts(active[::-1], n_contexts) == shown


def silent(kind: ContextKind, *numbers: int) -> list[Context]:
    return [context(f"text {number}", kind=kind, block_index=number) for number in numbers]


def test_look_alikes_go_before_silent_contexts_drawn_at_random_each_kind_in_turn() -> None:
    among = [
        *silent("silent_random", 1, 2, 3),
        *silent("silent_similar", 11, 12, 13),
        *silent("silent_neighbor", 31),
        *silent("silent_token", 21, 22),
        *silent("silent_window", 41),
    ]
    numbers = [c.block_index for c in choose_silent(among, 20)]
    assert numbers == [11, 21, 31, 41, 12, 22, 13, 1, 2, 3]
    for n_contexts in range(10):
        assert [c.block_index for c in choose_silent(among, n_contexts)] == numbers[:n_contexts]
    assert choose_silent([], 5) == ()


def test_only_the_strongest_tokens_are_listed_in_their_order() -> None:
    many = context("a=1.0 b=9.0 c=2.0 d=8.0 e=7.0 f=3.0")
    assert render_contexts([many], 9.0) == '1: "<<a b c d e f>>" b 10, d 9'


def test_where_nothing_is_silent_it_is_said() -> None:
    assert render_silent([]) == "none"


@given(st.lists(st.tuples(st.text(max_size=8), st.sampled_from([0.0, 1.0, 9.0])), min_size=1, max_size=8))
def test_no_text_of_a_corpus_ends_its_quotation_or_begins_a_line(pieces: list[tuple[str, float]]) -> None:
    tokens, activations = zip(*pieces, strict=True)
    active = of_tokens((*tokens, "x"), (*activations, 9.0), block_index=1)
    lines = render_contexts([active, active], 9.0).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["1", "2"]
    plain = of_tokens(tokens, (0.0,) * len(tokens), kind="silent_similar")
    silent_lines = render_silent([plain, plain]).splitlines()
    assert len(silent_lines) == 2
    for line in [lines[0].removeprefix("1: "), silent_lines[0].removeprefix("- ")]:
        (string,) = re.findall(r'^"(?:[^"\\]|\\.)*"', line)
        assert isinstance(json.loads(string), str)
    assert silent_lines[0].endswith('"')
