"""Opening the store for as long as one query or one transaction takes.

DuckDB locks its file: while one process has it open for writing no other can open it at all, and while others read it
none can write. A run goes on for hours while the page and `search` look at it, so nobody keeps the file open: each
transaction and each read opens it (about 15 to 20 ms), and waits its turn.
"""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from autointerp.errors import AutointerpError, StoreBusyError, StoreError, disk_full, is_disk_full
from autointerp.store.schema import known_migrations, migrate, store_version

STORE_FILE = "store.duckdb"

_JITTER = random.Random()
_BUSY = ("could not set lock", "different configuration", "unique file handle conflict", "already attached")
_DENIED = ("permission denied", "read-only file system")
_MISSING = ("does not exist", "no such file or directory")


def store_path(run_folder: str | Path) -> Path:
    """The store of a run folder; a path that is a file is taken as the store itself."""
    path = Path(run_folder).expanduser()
    return path if path.is_file() or path.suffix == ".duckdb" else path / STORE_FILE


def prepare(path: Path, timeout_s: float) -> None:
    """Make a new store, or bring the one that is there to the last schema version.

    Raises:
        StoreError: As from `writing`.
    """
    with _translated(path):
        if not path.exists():
            _create(path)
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
            raise FileNotFoundError(2, "No such file or directory", str(path))
        connection = _open(path, read_only=False, timeout_s=timeout_s)
        try:
            if store_version(connection, path) < known_migrations()[-1].version:
                migrate(connection, path)
            connection.begin()
            yield connection
            connection.commit()
        finally:
            # Closing without a commit rolls back; the file's lock goes with it.
            connection.close()


@contextmanager
def reading(path: Path, timeout_s: float) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the store for reading, migrated first if it is of an older version, and close it afterwards.

    Raises:
        StoreError: If there is no store or it can't be used; StoreBusyError after `timeout_s`; NewerStoreError.
    """
    with _translated(path):
        connection = _open(path, read_only=True, timeout_s=timeout_s)
        try:
            version = store_version(connection, path)
            if version == 0:
                raise StoreError(f"{path} is empty", "remove it and run the pipeline again")
            if version < known_migrations()[-1].version:
                connection.close()
                with writing(path, timeout_s):
                    pass
                connection = _open(path, read_only=True, timeout_s=timeout_s)
            yield connection
        finally:
            connection.close()


def _create(path: Path) -> None:
    # Under another name first: a process killed here leaves no half-made store behind.
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    unfinished.with_name(f"{unfinished.name}.wal").unlink(missing_ok=True)
    with duckdb.connect(str(unfinished)) as connection:
        migrate(connection, path)
    unfinished.rename(path)


def _open(path: Path, *, read_only: bool, timeout_s: float) -> duckdb.DuckDBPyConnection:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return duckdb.connect(str(path), read_only=read_only)
        except duckdb.Error as error:
            if not any(sign in str(error).lower() for sign in _BUSY):
                raise
            if time.monotonic() >= deadline:
                raise StoreBusyError(
                    f"another process has {path} open for more than {timeout_s:g} s",
                    "wait for it to finish, or stop it, and try again",
                ) from error
        # Apart by chance, so that several waiting processes don't keep meeting.
        time.sleep(_JITTER.uniform(0.005, 0.05))


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
    message = " ".join(str(error).split())
    lowered = message.lower()
    if is_disk_full(error):
        return disk_full(path)
    if any(sign in lowered for sign in _DENIED):
        return StoreError(f"{path} may not be used ({message})", "check the permissions of the file and its folder")
    if any(sign in lowered for sign in _MISSING) and not path.exists():
        return StoreError(f"there is no store at {path}", "give the folder of a run, or run the pipeline first")
    if isinstance(error, duckdb.ProgrammingError | duckdb.DataError | duckdb.IntegrityError):
        return StoreError(f"{path} did not take a record or a query ({message})", "report this as a bug")
    return StoreError(f"{path} can't be read as a store ({message})", "restore a copy of it, or use a new run folder")
