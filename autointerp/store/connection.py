"""Opening the store for as long as one query or one transaction takes.

DuckDB locks its file: while one process has it open for writing no other can open it at all, and while others read it
none can write. A run goes on for hours while the page and `search` look at it, so nobody keeps the file open: each
transaction and each read opens it (about 3 ms), and waits its turn.

Many readers that come and go would leave a writer no moment in which none has the file. So whoever wants to write holds
a lock of the folder while waiting for those that read, and whoever wants to read lets it go first.
"""

import errno
import fcntl
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

from autointerp.errors import (
    AutointerpError,
    StoreBusyError,
    StoreError,
    file_error,
    in_one_line,
    is_of_a_path,
    no_locks,
    says_no_locks,
)
from autointerp.store.attached import OpenStore
from autointerp.store.schema import known_migrations, migrate, store_version
from autointerp.valid_text import valid_text

STORE_FILE = "store.duckdb"

_JITTER = random.Random()
_LET_FIRST_S = 2.0
_BUSY = ("could not set lock", "different configuration", "unique file handle conflict", "already attached")
# DuckDB says so where the file system refuses all locks, and where a process of another machine holds one.
_HELD_BY_NOBODY = "is held in pid 0"
_NO_LOCKS = "file locks are not supported"
_MISSING = ("does not exist", "no such file or directory")


def store_path(run_folder: str | Path) -> Path:
    """The store of a run folder; a path that is a file is taken as the store itself.

    Raises:
        StoreError: If the path can't be one.
    """
    try:
        path = Path(run_folder).expanduser()
    except RuntimeError as error:
        raise StoreError(f"{run_folder} is in the home folder of nobody known", "give the path in full") from error
    with _translated(path):
        return path if path.is_file() or path.suffix == ".duckdb" else path / STORE_FILE


def prepare(path: Path, timeout_s: float) -> None:
    """Make a new store, or bring the one that is there to the last schema version.

    Raises:
        StoreError: As from `writing`.
    """
    with _translated(path):
        if not path.exists() or path.stat().st_size == 0:  # what a full disk has left of a copy
            _create(path, timeout_s)
            return
    with writing(path, timeout_s):
        pass


@contextmanager
def writing(path: Path, timeout_s: float) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the store for one transaction: committed at the end, rolled back on an exception, closed in any case.

    Raises:
        StoreError: If there is no store or it can't be used; StoreBusyError after `timeout_s`; NewerStoreError.
        DiskFullError: If there is no room; the store then holds what it held before.
    """
    with _translated(path):
        if not path.exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        # Closing without a commit rolls back; the file's lock goes with it.
        with _opened(path, read_only=False, timeout_s=timeout_s) as connection:
            if store_version(connection, path) < known_migrations()[-1].version:
                migrate(connection, path)
            connection.begin()
            yield connection
            connection.commit()


@contextmanager
def reading(path: Path, timeout_s: float) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the store for reading, migrated first if it is of an older version, and close it afterwards.

    Raises:
        StoreError: If there is no store or it can't be used; StoreBusyError after `timeout_s`; NewerStoreError.
    """
    with _translated(path):
        with _opened(path, read_only=True, timeout_s=timeout_s) as connection:
            version = store_version(connection, path)
            if version == 0:
                raise StoreError(f"{path} is empty", _how_to_mend(path))
            if version == known_migrations()[-1].version:
                yield connection
                return
        _bring_up_to_date(path, timeout_s)
        with _opened(path, read_only=True, timeout_s=timeout_s) as connection:
            yield connection


def _bring_up_to_date(path: Path, timeout_s: float) -> None:
    try:
        with writing(path, timeout_s):
            pass
    except StoreBusyError:
        raise
    except StoreError as error:
        raise StoreError(
            f"{path} is of an older version of this program, and can't be brought up to date ({error.problem})",
            "copy the run folder to where it can be written, and open the copy",
        ) from error


def _create(path: Path, timeout_s: float) -> None:
    # Under another name first: a process killed here, or a disk that fills, leaves no half-made store behind.
    if path.is_symlink() and not path.exists():
        raise StoreError(f"{path} is a link that leads nowhere", "mend it, or remove it")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.new")
    half_made = (unfinished, unfinished.with_name(f"{unfinished.name}.wal"))
    for file in half_made:
        file.unlink(missing_ok=True)
    try:
        with _opened(unfinished, read_only=False, timeout_s=timeout_s) as connection:
            migrate(connection, path)
            connection.execute("CHECKPOINT")  # closing would say nothing of a disk that has no room for it
        unfinished.rename(path)
    except BaseException:
        for file in half_made:
            with suppress(OSError):
                file.unlink(missing_ok=True)
        raise


def _name(path: Path) -> str:
    name = str(path.absolute())  # DuckDB takes `md:mine` and `:memory:` for other than files
    if valid_text(name) != name:
        raise StoreError(f"the name of {valid_text(name)} is not UTF-8, which DuckDB needs", "rename the folder")
    if "\0" in name:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    return name


@contextmanager
def _opened(path: Path, *, read_only: bool, timeout_s: float) -> Iterator[duckdb.DuckDBPyConnection]:
    opened = _open(path, read_only=read_only, timeout_s=timeout_s)
    try:
        yield opened.connection
    finally:
        opened.close()


def _open(path: Path, *, read_only: bool, timeout_s: float) -> OpenStore:
    try:
        folder = os.open(path.parent, os.O_RDONLY)
    except (OSError, ValueError):  # it has no such name, which is told when it is opened
        return _open_when_free(path, read_only=read_only, timeout_s=timeout_s)
    try:
        _wait_for_turn(folder, read_only=read_only)
        return _open_when_free(path, read_only=read_only, timeout_s=timeout_s)
    finally:
        os.close(folder)


def _wait_for_turn(folder: int, *, read_only: bool) -> None:
    """Let a writer that waits go first, for some time; where the file system has no such locks, go at once.

    Who reads passes and holds nothing, or readers that follow one another would hold the lock together without end.
    """
    deadline = time.monotonic() + _LET_FIRST_S
    while time.monotonic() < deadline:
        try:
            fcntl.flock(folder, (fcntl.LOCK_SH if read_only else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_JITTER.uniform(0.002, 0.01))
        except OSError:
            return
        else:
            if read_only:
                fcntl.flock(folder, fcntl.LOCK_UN)
            return


def _open_when_free(path: Path, *, read_only: bool, timeout_s: float) -> OpenStore:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            opened = OpenStore(_name(path), read_only=read_only)
            with suppress(duckdb.InvalidInputException):  # in a notebook without ipywidgets, which has none anyway
                # It would be drawn into what a command prints.
                opened.connection.execute("SET enable_progress_bar = false")
            return opened
        except duckdb.Error as error:
            said = str(error).lower()
            if _NO_LOCKS in said:
                raise no_locks(path, StoreError) from error
            if not any(sign in said for sign in _BUSY):
                raise
            if _HELD_BY_NOBODY in said and not _takes_locks(path):
                raise no_locks(path, StoreError) from error
            if time.monotonic() >= deadline:
                raise StoreBusyError(
                    f"another process has {path} open for more than {timeout_s:g} s",
                    "wait for it to finish, or stop it, and try again",
                ) from error
        # Apart by chance, so that several waiting processes don't keep meeting.
        time.sleep(_JITTER.uniform(0.005, 0.05))


def _takes_locks(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return not says_no_locks(error)
    return True


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except AutointerpError:
        raise
    except (duckdb.Error, OSError) as error:
        raise store_error(error, path) from error


def store_error(error: Exception, path: Path) -> AutointerpError:
    """The error of ours that says what DuckDB or the file system said."""
    message, said = in_one_line(error), str(error).lower()
    if any(sign in said for sign in _MISSING) and not path.exists():
        return StoreError(f"there is no store at {path}", "give the folder of a run, or run the pipeline first")
    if is_of_a_path(error) or isinstance(error, OSError):
        return file_error(error, path, StoreError)
    is_ours = isinstance(error, duckdb.ProgrammingError | duckdb.DataError | duckdb.IntegrityError)
    if is_ours:
        return StoreError(f"{path} did not take a record or a query ({message})", "report this as a bug")
    return StoreError(f"{path} is damaged, or no store ({message})", _how_to_mend(path))


def _how_to_mend(path: Path) -> str:
    if path.name != STORE_FILE or not (path.parent / "run.json").is_file():
        return "give the folder of a run, or restore a copy of the file"
    return (
        f"delete {path.name} and run the pipeline again: it is made anew from what was collected and from the journal "
        "of paid answers, without paying again"
    )
