"""Features that fire on the same tokens, by hand and by a law."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from autointerp.contexts.together import Together
from autointerp.records import Pool
from autointerp.records.firing import FiringTogether


def pool(firings: list[tuple[int, int, int]]) -> Pool:
    """A pool of firings, each a block, a position and a feature."""
    ordered = sorted(set(firings))
    n_blocks = 1 + max((block for block, _, _ in ordered), default=0)
    n_of = [sum(block == of for block, _, _ in ordered) for of in range(n_blocks)]
    return Pool(
        block_index=np.arange(n_blocks, dtype=np.int64),
        offsets=np.cumsum([0, *n_of]).astype(np.int64),
        feature=np.array([feature for _, _, feature in ordered], dtype=np.int32),
        position=np.array([position for _, position, _ in ordered], dtype=np.int32),
        activation=np.ones(len(ordered), dtype=np.float32),
    )


def test_tokens_are_counted_on_which_both_fire() -> None:
    of_0 = [(0, at, 0) for at in range(4)] + [(1, 0, 0)]
    of_1 = [(0, at, 1) for at in (0, 1, 2)]
    of_2 = [(0, at, 2) for at in range(4)] + [(1, at, 2) for at in range(4)]
    of_3 = [(0, 0, 3), (1, 1, 3)]  # together with 0 on one token: too few
    found = Together(pool([*of_0, *of_1, *of_2, *of_3]), 5).of(0, 10)
    assert found == (FiringTogether(1, 3, 5, 3), FiringTogether(2, 5, 5, 8))[::-1]
    best, second = found
    assert (best.recall, best.precision, best.jaccard) == (1.0, 5 / 8, 5 / 8)
    assert (second.recall, second.precision, second.jaccard) == (3 / 5, 1.0, 3 / 5)
    assert Together(pool(of_0), 5).of(4, 10) == ()


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 4), st.integers(0, 3)), max_size=40))
def test_counts_are_those_of_sets_of_tokens(firings: list[tuple[int, int, int]]) -> None:
    tokens = {of: {(b, p) for b, p, f in firings if f == of} for of in range(4)}
    together = Together(pool(firings), 4)
    for of in range(4):
        counted = {found.feature_index: found for found in together.of(of, 4)}
        for other in range(4):
            both = len(tokens[of] & tokens[other])
            assert (other in counted) == (other != of and both >= 3)
            if other in counted:
                assert counted[other] == FiringTogether(other, both, len(tokens[of]), len(tokens[other]))
        jaccards = [found.jaccard for found in together.of(of, 4)]
        assert jaccards == sorted(jaccards, reverse=True)
