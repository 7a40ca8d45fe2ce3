"""What the disk under a store may do: take no locks, fill up while the store is made, or allow reading only."""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from autointerp.errors import DiskFullError, StoreBusyError, StoreError
from autointerp.store import connection, schema
from autointerp.store.reader import Reader
from autointerp.store.writer import Writer
from tests.store.making import make
from tests.unprivileged import run_unprivileged

NO_LOCKS = "the file system of .* takes no locks: set `runs` to a folder on another disk"
HELD_BY_NOBODY = (
    'IO Error: Could not set lock on file "runs/p/store.duckdb": Conflicting lock is held in PID 0. See also '
    "https://duckdb.org/docs/current/connect/concurrency"
)
NOT_SUPPORTED = (
    'IO Error: Could not set lock on file "runs/p/store.duckdb": File locks are not supported for this file system, '
    "cannot open the file in read-write mode. Try opening the file in read-only mode."
)
# A share without locks: those of fcntl fail for files whose name has .duckdb in it.
WITHOUT_LOCKS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static int without_locks(const char *real, int fd, int command, void *argument) {
    char link[64], name[4096] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int locks = command == F_SETLK || command == F_SETLKW;
    if (locks && readlink(link, name, sizeof name - 1) > 0 && strstr(name, ".duckdb")) {
        errno = atoi(getenv("LOCK_ERRNO"));
        return -1;
    }
    return ((int (*)(int, int, void *))dlsym(RTLD_NEXT, real))(fd, command, argument);
}
#define LIKE(name) int name(int fd, int command, ...) { \
    va_list rest; va_start(rest, command); void *argument = va_arg(rest, void *); va_end(rest); \
    return without_locks(#name, fd, command, argument); }
LIKE(fcntl)
LIKE(fcntl64)
"""
# Who waited for a lock would do so for ten minutes.
READ = "import sys; from autointerp.store.reader import Reader; print(len(Reader(sys.argv[1], 600).explanations()))"
MAKE = "import sys; from autointerp.store.writer import Writer; Writer(sys.argv[1], 600)"
MAKE_ON_A_SMALL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from autointerp.errors import DiskFullError
from autointerp.store.writer import Writer
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    Writer(sys.argv[1])
except DiskFullError as error:
    print(error)
"""


@pytest.mark.parametrize("said", [HELD_BY_NOBODY, NOT_SUPPORTED])
def test_a_file_system_without_locks_is_told_at_once(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Writer(tmp_path).path

    def refuse(*_: object, **__: object) -> None:
        raise duckdb.IOException(said)

    def take_none(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(connection, "OpenStore", refuse)
    monkeypatch.setattr(fcntl, "lockf", take_none)
    for open_it in (lambda: Reader(path).sources(), lambda: Writer(path)):
        with pytest.raises(StoreError, match=NO_LOCKS) as caught:
            open_it()
        assert not isinstance(caught.value, StoreBusyError)


def test_a_lock_of_another_machine_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Writer(tmp_path).path

    def refuse(*_: object, **__: object) -> None:
        raise duckdb.IOException(HELD_BY_NOBODY)

    monkeypatch.setattr(connection, "OpenStore", refuse)
    with pytest.raises(StoreBusyError, match="another process has"):
        Reader(path, timeout_s=0.1).sources()


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_share_without_locks_is_told_at_once(tmp_path: Path, number: int) -> None:
    source, library = tmp_path / "locks.c", tmp_path / "locks.so"
    source.write_text(WITHOUT_LOCKS, encoding="utf-8")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    environment = os.environ | {"LD_PRELOAD": str(library), "LOCK_ERRNO": str(number)}

    def told(program: str, folder: Path) -> str:
        command = [sys.executable, "-c", program, str(folder)]
        result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=300)
        return result.stderr.splitlines()[-1] if result.stderr else result.stdout

    finished = tmp_path / "finished"
    Writer(finished).add_explanations([make.explanation(1)])
    assert "takes no locks: set `runs`" in told(MAKE, tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
    # Where locks are not supported at all, DuckDB reads without one.
    assert ("takes no locks" in told(READ, finished)) == (number == errno.ENOLCK)


@pytest.mark.parametrize("n_bytes", [1000, 20_000, 300_000])
def test_a_disk_that_fills_while_the_store_is_made_leaves_none(tmp_path: Path, n_bytes: int) -> None:
    command = [sys.executable, "-c", MAKE_ON_A_SMALL_DISK, str(tmp_path), str(n_bytes)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.startswith("no space left while writing ")
    assert list(tmp_path.iterdir()) == []
    Writer(tmp_path).add_explanations([make.explanation(1)])
    assert len(Reader(tmp_path).explanations()) == 1


def test_an_empty_file_where_a_store_should_be_becomes_one(tmp_path: Path) -> None:
    (tmp_path / "store.duckdb").touch()
    Writer(tmp_path).add_explanations([make.explanation(1)])
    assert len(Reader(tmp_path).explanations()) == 1


def test_a_link_that_leads_nowhere_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "store.duckdb").symlink_to("/media/not-mounted/store.duckdb")
    with pytest.raises(StoreError, match="is a link that leads nowhere"):
        Writer(tmp_path)
    with pytest.raises(StoreError, match="there is no store"):
        Reader(tmp_path).sources()
    assert (tmp_path / "store.duckdb").is_symlink()


@pytest.mark.parametrize(
    ("name", "told"),
    [("x" * 300, "is longer than the file system takes"), ("a\udcff", "is not UTF-8"), ("a\0b", "there is no store")],
)
def test_a_name_that_no_file_can_have_is_told(tmp_path: Path, name: str, told: str) -> None:
    with pytest.raises(StoreError, match=told):
        Reader(tmp_path / name).sources()


def test_a_folder_in_the_stores_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "store.duckdb").mkdir()
    for open_it in (lambda: Reader(tmp_path).sources(), lambda: Writer(tmp_path)):
        with pytest.raises(StoreError, match="is a folder, and a file is needed"):
            open_it()


def test_only_a_runs_own_store_is_said_to_be_deleted(tmp_path: Path) -> None:
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("years of work", encoding="utf-8")
    with pytest.raises(StoreError, match="give the folder of a run"):
        Reader(thesis).sources()


def only_readable(folder: Path) -> Path:
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    return folder


def test_a_store_that_can_only_be_read_is_read_and_nothing_is_written_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    Writer(folder).add_explanations([make.explanation(1)])
    result = run_unprivileged([sys.executable, "-c", READ, str(only_readable(folder))])
    assert (result.stdout, result.stderr) == ("1\n", "")
    assert [path.name for path in folder.iterdir()] == ["store.duckdb"]


def test_an_older_store_that_can_only_be_read_is_said_to_be_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, older = tmp_path / "run", schema.known_migrations()[:-1]
    with monkeypatch.context() as patch:
        for module in (schema, connection):
            patch.setattr(module, "known_migrations", lambda: older)
        Writer(folder)
    result = run_unprivileged([sys.executable, "-c", READ, str(only_readable(folder))])
    told = result.stderr.splitlines()[-1]
    assert "is of an older version of this program, and can't be brought up to date" in told
    assert told.endswith("copy the run folder to where it can be written, and open the copy")


def test_a_full_disk_is_one_error_by_whatever_door_it_comes(tmp_path: Path) -> None:
    error = connection.store_error(duckdb.IOException("Could not write: No space left on device"), tmp_path)
    assert isinstance(error, DiskFullError)
