"""What fires near each firing of a feature: hand-worked, and against counting token by token."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from autointerp.collect.firing_index import FiringIndex, Spans
from autointerp.records import FiringPlace

Firing = tuple[int, int, int]  # block, position, feature
PLACES: tuple[FiringPlace, ...] = ("before", "with", "after")


def index(firings: list[Firing], spans: list[tuple[int, int]], n_features: int, reach: int, n: int = 12) -> FiringIndex:
    ordered = np.array(sorted(firings), dtype=np.int64).reshape(-1, 3)
    start, end = np.array(spans, dtype=np.int32).reshape(-1, 2).T
    return FiringIndex.build(
        ordered[:, 0],
        ordered[:, 1],
        ordered[:, 2].astype(np.int32),
        Spans(start, end, n),
        n_features=n_features,
        reach=reach,
    )


def test_the_counts_of_two_small_blocks_are_those_worked_out_by_hand() -> None:
    #   position   0  1  2  3  4  5  6  7
    #   block 0    g     f     g  g  f        f at 2 and 6, g at 0, 4 and 5
    #   block 1    f  g                       f at 0, g at 1
    f, g = 0, 1
    firings = [(0, 0, g), (0, 2, f), (0, 4, g), (0, 5, g), (0, 6, f), (1, 0, f), (1, 1, g)]
    near = index(firings, [(0, 8), (0, 3)], 2, reach=2)
    assert near.n_tokens == 11
    assert near.n_fired(f) == 3
    # Both firings in block 0 have g within two tokens before them, the second one twice: once each.
    assert near.count(f, near, "before").tolist() == [0, 2]
    # f at 2 has g at 4, and f at 0 of block 1 has g at 1; f at 6 has none behind it.
    assert near.count(f, near, "after").tolist() == [0, 2]
    assert near.count(f, near, "with").tolist() == [3, 0]
    # With g one or two before: 1, 2, 5, 6, 7, and 2 of block 1. With g one or two after: 2, 3, 4, and 0 of block 1.
    assert near.n_near["before"].tolist()[g] == 6
    assert near.n_near["after"].tolist()[g] == 4
    assert near.n_near["with"].tolist() == [3, 4]
    assert near.count_blocks(f, near, "after", np.array([1, 0])).tolist() == [2, 0]
    assert near.count_blocks(f, near, "before", np.array([1])).tolist() == [1]


def test_nothing_reaches_into_the_next_block() -> None:
    near = index([(0, 11, 1), (1, 0, 0), (1, 11, 0), (2, 0, 1)], [(0, 12)] * 3, 2, reach=12)
    assert [near.count(0, near, place)[1] for place in PLACES] == [0, 0, 0]


def test_blocks_without_a_firing_and_features_that_never_fire_count_nothing() -> None:
    near = index([], [(0, 12), (3, 3)], 3, reach=4)
    assert (near.n_tokens, near.n_fired(2)) == (12, 0)
    assert near.count(2, near, "before").tolist() == [0, 0, 0]
    assert near.count_blocks(2, near, "with", np.array([0])).tolist() == [0]
    assert near.n_near["after"].tolist() == [0, 0, 0]


@st.composite
def two_sources(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[Firing], list[Firing]]:
    spans = draw(st.lists(st.tuples(st.integers(0, 3), st.integers(4, 12)), min_size=1, max_size=3))
    cells = [(block, at) for block, (start, end) in enumerate(spans) for at in range(start, end)]
    of_each = [
        draw(st.lists(st.tuples(st.sampled_from(cells), st.integers(0, 2)), unique=True, max_size=25)) for _ in range(2)
    ]
    own, other = ([(*cell, feature) for cell, feature in firings] for firings in of_each)
    return spans, own, other


@given(two_sources(), st.integers(1, 13))
def test_counts_are_those_of_looking_at_each_token(
    made: tuple[list[tuple[int, int]], list[Firing], list[Firing]], reach: int
) -> None:
    spans, own, other = made
    ours, theirs = index(own, spans, 3, reach), index(other, spans, 3, reach)

    def has(block: int, position: int, feature: int, place: FiringPlace) -> bool:
        near = {"before": range(-reach, 0), "with": range(1), "after": range(1, reach + 1)}[place]
        return any((block, position + distance, feature) in other for distance in near)

    for place in PLACES:
        for feature in range(3):
            mine = [(block, at) for block, at, of in own if of == feature]
            met = [{cell for cell in mine if has(*cell, g, place)} for g in range(3)]
            assert ours.count(feature, theirs, place).tolist() == [len(cells) for cells in met]
            blocks = ours.count_blocks(feature, theirs, place, np.arange(3))
            assert blocks.tolist() == [len({block for block, _ in cells}) for cells in met]
        tokens = [(block, at) for block, (start, end) in enumerate(spans) for at in range(start, end)]
        expected = [sum(has(*token, g, place) for token in tokens) for g in range(3)]
        assert theirs.n_near[place].tolist() == expected
