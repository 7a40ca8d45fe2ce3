"""The store's file, opened for reading as often as it is asked, or kept open over several calls of a thread."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self

import duckdb

from autointerp.store.connection import reading, store_path
from autointerp.store.query import fetch


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
