"""Which prompts are read in one pass."""

from hypothesis import given
from hypothesis import strategies as st

from autointerp.live.generation.together import together


def test_those_of_like_length_are_read_with_the_first() -> None:
    assert together([40, 5, 42, 6, 38, 300], 512) == [0, 2, 4]
    assert together([5, 40, 42, 6], 512) == [0, 3]


def test_a_pass_holds_what_it_may_and_the_first_whatever_it_has() -> None:
    assert together([40] * 20, 512) == list(range(12))
    assert together([600, 40, 600], 512) == [0]
    assert together([256, 256, 256], 512) == [0, 1]


@given(st.lists(st.integers(1, 600), min_size=1, max_size=40), st.integers(1, 4096))
def test_no_pass_is_too_long_or_filled_up_too_much(lengths: list[int], most: int) -> None:
    chosen = together(lengths, most)
    assert chosen[0] == 0
    assert chosen == sorted(set(chosen))
    n_padded = max(lengths[place] for place in chosen) * len(chosen)
    assert len(chosen) == 1 or n_padded <= most
    assert n_padded <= 1.25 * sum(lengths[place] for place in chosen)
