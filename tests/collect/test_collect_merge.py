"""Parts of shards put together: in any order, a few at a time, as if there had been one shard."""

import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.collect.merge import SHARDS_PER_FOLD, ShardPart, finish, fold, merge
from autointerp.collect.runs import first_rows
from autointerp.collect.settings import CollectSettings
from autointerp.errors import CollectError
from autointerp.records import Collected
from tests.collect.cases import SETTINGS, Case, assert_identical, cases, plain_case


@settings(max_examples=40, deadline=None)
@given(cases(), st.randoms())
def test_the_order_of_parts_and_parts_done_twice_change_nothing(case: Case, random: Any) -> None:
    parts = [ShardPart(s.shard_index, case.part(s)) for s in case.shards]
    again = [ShardPart(s.shard_index, case.part(s)) for s in case.shards[:2]]
    shuffled = parts + again
    random.shuffle(shuffled)
    assert_identical(merge(shuffled, case.settings), merge(parts, case.settings))


@settings(max_examples=40, deadline=None)
@given(
    cases(), st.sampled_from([1, 2, 8]), st.lists(st.integers(0, 5), min_size=4, max_size=4, unique=True), st.randoms()
)
def test_parts_merged_as_they_come_are_those_merged_in_shard_order(
    case: Case, at_once: int, indices: list[int], random: Any
) -> None:
    collected = {i: case.part(s) for i, s in zip(sorted(indices), case.shards, strict=False)}
    in_order = [ShardPart(index, part) for index, part in collected.items()]
    shuffled = in_order + in_order[:2]
    random.shuffle(shuffled)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("autointerp.collect.merge.SHARDS_PER_FOLD", at_once)
        streamed = merge(shuffled, case.settings)
    assert_identical(streamed, _merge_after_all_are_there(list(collected.values()), at_once, case.settings))


def _merge_after_all_are_there(parts: list[Collected], at_once: int, settings: CollectSettings) -> Collected:
    folded = None
    for first in range(0, len(parts), at_once):
        folded = fold(folded, parts[first : first + at_once], settings)
    assert folded is not None
    return finish(folded, settings)


def test_parts_that_come_in_shard_order_are_in_memory_a_few_at_once() -> None:
    case = plain_case(np.ones((5, 3, 1), np.float32))
    references: list[weakref.ref[np.ndarray]] = []
    most_alive = 0

    def load_parts() -> Iterator[ShardPart]:
        nonlocal most_alive
        for index in range(5 * SHARDS_PER_FOLD):
            collected = case.part(case.shards[0])
            references.append(weakref.ref(collected.top.entry_activation))
            most_alive = max(most_alive, sum(reference() is not None for reference in references))
            part = ShardPart(index, collected)
            del collected
            yield part
            del part

    merged = merge(load_parts(), case.settings)
    assert merged.statistics.n_tokens == 5 * 15 * SHARDS_PER_FOLD
    assert 1 < most_alive <= SHARDS_PER_FOLD + 1


def test_nothing_to_merge_is_an_error() -> None:
    with pytest.raises(CollectError, match="no shard was collected"):
        merge([], SETTINGS)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 2)), max_size=30),
    st.integers(1, 5),
    st.booleans(),
)
def test_the_first_rows_of_each_feature_are_those_of_a_stable_sort(
    rows: list[tuple[int, int, int]], n_kept: int, breaks_ties: bool
) -> None:
    rows.sort(key=lambda row: row[0])
    feature, rank, tie_rank = (np.array([row[place] for row in rows], np.int64) for place in range(3))
    found = first_rows(
        feature.astype(np.int32), rank.astype(np.uint32), n_kept, tie_rank.astype(np.uint64) if breaks_ties else None
    )
    expected: list[int] = []
    for one in range(4):
        mine = [index for index, row in enumerate(rows) if row[0] == one]
        mine.sort(key=lambda index: rows[index][1:] if breaks_ties else rows[index][1:2])
        expected += mine[:n_kept]
    assert found.tolist() == sorted(expected)
