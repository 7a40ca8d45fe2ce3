"""Rows of a cache come, go on and leave, and hold what they held."""

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.live.generation.cache import TextCache

WIDTH = 2


def write(cache: TextCache, values: list[list[int]]) -> None:
    """Read on: a number for each row and place, in keys and, below zero, in values."""
    states = torch.tensor(values, dtype=torch.float32)[:, None, :, None].expand(-1, 1, -1, WIDTH)
    layer: Any = cache.for_model.layers[0]
    layer.update(states, -states)
    cache.advance(states.shape[2])


def held(cache: TextCache, row: int) -> list[int]:
    """What a row holds."""
    layer: Any = cache.for_model.layers[0]
    keys, values = (
        layer.keys[row, 0, cache.starts[row] : cache.end],
        layer.values[row, 0, cache.starts[row] : cache.end],
    )
    assert torch.equal(keys, -values)
    numbers: list[int] = keys[:, 0].long().tolist()
    return numbers


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["join", "step", "leave", "drop"]), st.integers(1, 200)), max_size=25))
def test_rows_hold_what_they_read_whoever_comes_and_goes(acts: list[tuple[str, int]]) -> None:
    cache, expected, number = TextCache(1, ()), list[list[int]](), 0
    for act, n in acts:
        place = n % len(expected) if expected else 0
        if act == "join":
            alone, tokens = TextCache(1), list(range(number, number + n))
            write(alone, [tokens])
            cache.join(alone)
            expected.append(tokens)
        elif expected and act == "step":
            cache.make_room()
            write(cache, [[number + row] for row in range(len(expected))])
            for row, tokens in enumerate(expected):
                tokens.append(number + row)
        elif expected:
            if act == "leave":
                left = cache.leave(place)
                assert held(left, 0) == expected[place]
                left.cut(1)
                write(left, [[-5]])
                assert held(left, 0) == [expected[place][0], -5]
            else:
                cache.drop(place)
            last = expected.pop()
            if place < len(expected):
                expected[place] = last
        number += 1000
        assert [held(cache, row) for row in range(cache.n_rows)] == expected
        positions = cache.positions(torch.device("cpu"))[:, 0].tolist() if expected else []
        assert positions == [len(tokens) for tokens in expected]
        mask = cache.mask(torch.device("cpu"))
        if mask is not None:
            assert mask.sum(dim=1).tolist() == [len(tokens) + 1 for tokens in expected]


def test_texts_that_begin_at_once_end_at_one_place_and_are_themselves() -> None:
    cache = TextCache(1, (2, 4, 1))
    assert cache.positions(torch.device("cpu"), 4).tolist() == [[0, 0, 0, 1], [0, 1, 2, 3], [0, 0, 0, 0]]
    mask = cache.mask(torch.device("cpu"), 4)
    assert mask is not None
    assert mask.long().tolist() == [[0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 1]]
    write(cache, [[-9, -9, 10, 11], [20, 21, 22, 23], [-9, -9, -9, 30]])
    assert [held(cache.of_row(row), 0) for row in range(3)] == [[10, 11], [20, 21, 22, 23], [30]]
    assert held(cache.leave(0), 0) == [10, 11]
    assert [held(cache, row) for row in range(2)] == [[30], [20, 21, 22, 23]]


def test_memory_does_not_grow_with_what_was_read_and_let_go() -> None:
    cache = TextCache(1, ())
    for number in range(40):
        alone = TextCache(1)
        write(alone, [list(range(50))])
        cache.join(alone)
        for _ in range(30):
            cache.make_room()
            write(cache, [[number]] * cache.n_rows)
        if number % 2:
            cache.drop(0)
            cache.drop(0)
    layer: Any = cache.for_model.layers[0]
    assert layer.keys.shape[0] <= 4
    assert layer.keys.shape[2] < 700
