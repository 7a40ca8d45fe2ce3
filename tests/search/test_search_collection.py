from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from autointerp.contexts.pool_blocks import PoolBlocks
from autointerp.corpus.reader import Blocks
from autointerp.puzzles.predicate import Rule
from benchmarks.search_truth import Firings, read_queries

TEXT = ["red", " apples", " and", " blue", " sky", " over", " green", " hills", " in", " may"]


class Words:
    """A vocabulary of whole words."""

    def pieces(self, token_ids: Iterable[int]) -> list[str]:
        return [TEXT[i] for i in token_ids]


@pytest.fixture
def firings() -> Firings:
    """Feature 0 fires on colours, feature 1 on every word, feature 2 on one colour and weakly on two other words."""
    ids = np.array([[99, *range(10), 99]], dtype=np.int32)
    blocks = Blocks(ids, ids != 99, np.array([1]), np.array([11]), ("a",), ("a",))
    fired = [
        (0, 0, 2.0),
        (0, 3, 1.0),
        (1, 0, 1.0),
        *((1, i, 1.0) for i in range(1, 10)),
        (2, 6, 2.0),
        (2, 4, 1.5),
        (2, 9, 1.5),
    ]
    feature, piece, activation = (np.array(column) for column in zip(*fired, strict=True))
    pool = PoolBlocks(np.array([0]), blocks, 1, feature.astype(np.int32), piece + 1, activation)
    return Firings(pool, Words(), 4)


def test_a_feature_is_about_what_most_of_its_activation_lies_on(firings: Firings) -> None:
    colours = Rule(words=("red", "green", "blue"))

    shares, base = firings.shares(colours)

    assert shares.tolist() == pytest.approx([1.0, 0.3, 0.4, 0.0])
    assert base == pytest.approx(0.3)
    # Feature 1 has its 30 %, but that is what any feature would have by chance.
    assert firings.grades([colours]).tolist() == [[2, 0, 0, 0]]
    assert firings.grades([Rule(words=("green",))]).tolist() == [[0, 0, 1, 0]]


def test_the_collection_has_enough_queries_of_each_kind_and_two_like_halves() -> None:
    queries = read_queries(Path("data/search/queries.jsonl"))

    kinds = [query.kind for query in queries]
    assert len(queries) - kinds.count("absent") >= 200
    assert kinds.count("absent") >= 30
    assert len({query.text.casefold() for query in queries}) == len(queries)
    for kind in ("absent", "paraphrase"):
        share = np.mean([query.is_for_tuning for query in queries if query.kind == kind])
        assert 0.35 < share < 0.65
