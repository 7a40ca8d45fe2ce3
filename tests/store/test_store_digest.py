"""Two stores have one digest where they hold the same rows, each as often, and only there."""

from functools import cache

import duckdb
from hypothesis import example, given, settings
from hypothesis import strategies as st

from autointerp.store.digest import content_digest

ROWS = st.lists(st.tuples(st.integers(0, 3), st.none() | st.sampled_from(["", "a"])), max_size=6)
A, B, C = (0, "a"), (1, "a"), (1, None)


@cache
def database() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})


def digest_of(rows: list[tuple[int, str | None]]) -> str:
    database().execute("CREATE OR REPLACE TABLE labels (feature INTEGER, label TEXT)")
    for row in rows:
        database().execute("INSERT INTO labels VALUES (?, ?)", row)
    return content_digest(database())


@settings(deadline=None, max_examples=40)
@given(ROWS, ROWS)
@example([A, B], [B, A])
@example([A, B, C], [A, C, C])
@example([A, A, B], [A, B, B])
@example([A, A], [B, B])
@example([A], [A, A])
def test_digests_are_equal_for_the_same_rows_in_any_order_and_for_no_others(
    rows: list[tuple[int, str | None]], others: list[tuple[int, str | None]]
) -> None:
    assert (digest_of(rows) == digest_of(others)) == (sorted(rows, key=repr) == sorted(others, key=repr))


def test_a_change_in_any_one_of_many_rows_changes_the_digest() -> None:
    rows: list[tuple[int, str | None]] = [(index, f"label {index}") for index in range(20)]
    changed = [[*rows[:index], (index, "another"), *rows[index + 1 :]] for index in range(20)]
    assert len({digest_of(rows), *map(digest_of, changed)}) == 21
