"""A stranger's query reads the store, and nothing else, within bounds."""

from pathlib import Path
from typing import Any

import pytest

from autointerp.errors import AutointerpError, SearchError, TimeLimitError
from autointerp.store.confined import Bounds, ask_confined

SMALL = Bounds(seconds=6.0, rows=100, memory_mib=64, found_mib=16)


@pytest.fixture(scope="module")
def store(planted_runs: Path) -> Path:
    return planted_runs / "runs/demo/store.duckdb"


def told(store: Path, query: str, parameters: Any = (), kind: type[AutointerpError] = SearchError) -> str:
    with pytest.raises(kind) as error:
        ask_confined(store, query, parameters, SMALL)
    line = str(error.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("FROM read_text('/etc/passwd')", "disabled"),
        ("FROM '/etc/passwd'", "does not exist"),
        ("FROM asked", "does not exist"),
        ("COPY scores TO '/tmp/scores.csv'", "does more than to read"),
        ("FROM range(1000)", "finds more than 100 rows"),
        (
            "SELECT sum(length(repeat('a', 1000) || i)) FROM range(2000000) t(i) GROUP BY i % 1000000",
            "takes more than 64 MiB of memory",
        ),
        ("SELECT repeat('a', 1000000) FROM range(20)", "finds more than 16 MiB"),
        ("SELECT repeat('a', 4000000000)", "takes more than 64 MiB of memory"),
    ],
)
def test_a_query_sees_nothing_but_the_store_and_takes_no_more_than_it_may(
    store: Path, query: str, message: str
) -> None:
    assert message in told(store, query)
    assert not Path("/tmp/scores.csv").exists()


def test_a_query_without_an_end_is_ended(store: Path) -> None:
    endless = "WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i % 7 + 1 FROM t) SELECT max(i) FROM t"
    with pytest.raises(TimeLimitError, match="longer than 1 s"):
        ask_confined(store, endless, (), Bounds(seconds=1.0))
