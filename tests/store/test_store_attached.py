"""One DuckDB instance for all stores that a process has open: shared, told apart, left by forks, replaced."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from autointerp.errors import StoreBusyError
from autointerp.store.attached import OpenStore
from autointerp.store.connection import reading, writing
from autointerp.store.reader import Reader
from autointerp.store.writer import Writer
from tests.store.making import make
from tests.store.test_store_file import start

TELL = """
import duckdb, sys
print("ready", flush=True)
for line in sys.stdin:
    try:
        duckdb.connect(line.removesuffix("\\n")).close()
    except duckdb.IOException:
        print("taken", flush=True)
    else:
        print("free", flush=True)
"""
FORK = """
import os, sys
from pathlib import Path
from autointerp.store.connection import reading
from autointerp.store.reader import Reader
reader = Reader(sys.argv[1])
with reading(reader.path, 1):
    forked = os.fork()
    print(len(reader.explanations()), flush=True)
    if not forked:
        os._exit(0)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]))
"""


@pytest.fixture
def stores(tmp_path: Path) -> list[Path]:
    """Two, the second of which has a label more."""
    for name in ("a", "it's b"):
        writer = Writer(tmp_path / name)
        writer.add_explanations([make.explanation(1), *([make.explanation(2)] if name != "a" else [])])
    return [tmp_path / "a/store.duckdb", tmp_path / "it's b/store.duckdb"]


def n_labels(connection: duckdb.DuckDBPyConnection) -> int:
    ((n,),) = connection.execute("SELECT count(*) FROM explanations").fetchall()
    return int(n)


@pytest.fixture(scope="module")
def others() -> Iterator["subprocess.Popen[str]"]:
    """Another process, which says of files whether it can open them for writing."""
    process = start(TELL)
    yield process
    process.communicate()


def can_be_written_by(others: "subprocess.Popen[str]", store: Path) -> bool:
    assert others.stdin is not None
    assert others.stdout is not None
    others.stdin.write(f"{store}\n")
    others.stdin.flush()
    return others.stdout.readline() == "free\n"


def test_names_are_those_of_the_store_that_was_opened(stores: list[Path]) -> None:
    digests = [Reader(store).content_digest() for store in stores]
    assert digests[0] != digests[1]
    with reading(stores[0], 1) as a, reading(stores[1], 1) as b, reading(stores[0], 1) as again:
        assert [n_labels(one) for one in (a, b, again, b, a)] == [1, 2, 1, 2, 1]
        assert [Reader(store).content_digest() for store in stores] == digests


def test_a_file_is_free_for_others_when_the_last_that_has_it_open_closes_it(
    stores: list[Path], others: "subprocess.Popen[str]"
) -> None:
    with reading(stores[0], 1):
        with reading(stores[0], 1):
            pass
        assert not can_be_written_by(others, stores[0])
        assert can_be_written_by(others, stores[1])
    assert can_be_written_by(others, stores[0])


def test_who_writes_in_this_process_waits_for_who_reads_there_and_the_other_way_round(stores: list[Path]) -> None:
    with reading(stores[0], 1), pytest.raises(StoreBusyError), writing(stores[0], 0.1):
        pass
    with writing(stores[0], 1), pytest.raises(StoreBusyError), reading(stores[0], 0.1):
        pass
    with writing(stores[0], 1) as connection:
        connection.execute("DELETE FROM explanations")
    with reading(stores[0], 1) as connection:
        assert n_labels(connection) == 0


def test_a_link_is_the_file_that_it_leads_to(stores: list[Path], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(stores[0].parent)
    with reading(stores[0], 1), reading(tmp_path / "link/store.duckdb", 1) as connection:
        assert n_labels(connection) == 1


def test_a_forked_process_reads_what_its_parent_has_open(stores: list[Path]) -> None:
    done = subprocess.run([sys.executable, "-c", FORK, str(stores[0])], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("1\n1\n", 0)


def test_threads_read_two_stores_at_once(stores: list[Path]) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda n: len(Reader(stores[n % 2]).explanations()), range(64)))
    assert found == [1, 2] * 32


def test_what_does_not_fit_into_memory_goes_beside_each_store(stores: list[Path]) -> None:
    for store in stores:
        opened = OpenStore(str(store), read_only=True)
        opened.connection.execute("SET memory_limit = '20MB'")
        grouped = "SELECT DISTINCT repeat(range::VARCHAR, 8) FROM range(400_000)"
        assert opened.connection.execute(f"SELECT count(*) FROM ({grouped})").fetchall() == [(400_000,)]
        assert [entry.name for entry in os.scandir(store.parent) if entry.name != store.name] == ["store.duckdb.tmp"]
        opened.close()
    assert not Path(".tmp").exists()
