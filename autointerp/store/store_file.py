"""The store's file, opened for reading as often as it is asked, or kept open over several calls of a thread."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self, TypeVar

import duckdb

from autointerp.store.connection import reading, store_path
from autointerp.store.query import fetch

T = TypeVar("T")
FileState = tuple[tuple[int, int, int], ...]
_RESTS_NS = 50_000_000


class StoreFile:
    """The store of one run folder, for reading.

    Each call opens the file and closes it, unless its thread is within a `session`.

    Args:
        run_folder: The run's folder, or the store's file.
        timeout_s: How long to wait for a writer to finish its transaction.
    """

    def __init__(self, run_folder: str | Path, timeout_s: float = 10.0) -> None:
        self.path = store_path(run_folder)
        self._timeout_s = timeout_s
        self._local = threading.local()
        self._kept: dict[str, tuple[FileState, Any]] = {}

    def __reduce__(self) -> tuple[type[Self], tuple[Path, float]]:
        # A copy in another process opens the file for itself.
        return type(self), (self.path, self._timeout_s)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    @contextmanager
    def session(self) -> Iterator[Self]:
        """Keep the file open over several calls of this thread, which then see one state.

        A run that wants to write waits for as long: keep it short.
        """
        outer, known = getattr(self._local, "connection", None), self._known
        with self._open() as connection:
            self._local.connection, self._local.known = connection, known if outer is not None else {}
            try:
                yield self
            finally:
                self._local.connection, self._local.known = outer, known

    def file_state(self) -> FileState | None:
        """By what a later state of the store is told from this one, without opening it.

        None where there is no store, or it was written this moment: what is read now may then be told by no such sign
        from what is written next.
        """
        return file_state(self.path, self.path.with_name(f"{self.path.name}.wal"))

    def _kept_while_same(self, name: str, read: Callable[[], T]) -> T:
        """What was read of the store, read again once it has been written."""
        state = self.file_state()  # from before reading: what is written in between is seen at the next call
        kept = self._kept.get(name)
        if kept is not None and kept[0] == state:
            found: T = kept[1]
            return found
        found = read()
        if state is not None:
            self._kept[name] = state, found
        return found

    @property
    def _known(self) -> dict[str, Any] | None:
        """What this thread has read within its session, where it is within one."""
        known: dict[str, Any] | None = getattr(self._local, "known", None)
        return known

    def _open(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        held: duckdb.DuckDBPyConnection | None = getattr(self._local, "connection", None)
        return nullcontext(held) if held is not None else reading(self.path, self._timeout_s)

    def _fetch(
        self, table: str, columns: Sequence[str], where: Mapping[str, Any] | None = None, order: Sequence[str] = ()
    ) -> list[dict[str, Any]]:
        with self._open() as connection:
            return fetch(connection, table, columns, where, order=order)


def file_state(*files: Path) -> FileState | None:
    """Inode, size and time of the last change of some files; those that are not there have none.

    None where the first is not there, or one was written a moment ago.
    """
    found = []
    for file in files:
        try:
            at = file.stat()
        except (OSError, ValueError):  # the latter of a name that no file can have
            found.append((0, 0, 0))
        else:
            found.append((at.st_ino, at.st_size, at.st_mtime_ns))
    now = time.time_ns()
    is_resting = all(not 0 <= now - changed < _RESTS_NS for _, _, changed in found)
    return tuple(found) if found[0] != (0, 0, 0) and is_resting else None
