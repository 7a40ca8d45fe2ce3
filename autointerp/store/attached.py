"""Stores attached to one DuckDB instance of this process, for as long as somebody has them open.

To start an instance takes 15 ms of processor time, to attach a file to it 2 ms, and a store is opened for every read.
Whoever opens a store that this process has open in the same way shares its attachment, by a connection of their own.

After an error that DuckDB calls fatal an instance answers nothing more: the next store is attached to a new one.
"""

import atexit
import os
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count

import duckdb


@dataclass(slots=True)
class _Attached:
    """A file; `catalog` is its name within the instance, by which a query may qualify a table's."""

    catalog: str
    read_only: bool
    n_open: int = 0


@dataclass(frozen=True, slots=True)
class _Instance:
    """`files` has what is attached, by paths without links."""

    root: duckdb.DuckDBPyConnection = field(default_factory=lambda: duckdb.connect(":memory:"))
    files: dict[str, _Attached] = field(default_factory=dict)

    def open(self, path: str, *, read_only: bool) -> duckdb.DuckDBPyConnection:
        attached = self.files.get(path) or self._attach(path, read_only)
        if attached.read_only != read_only:
            raise duckdb.ConnectionException(f"{path} is already attached with a different configuration")
        connection = self.root.cursor()
        connection.execute(f"USE {attached.catalog}")
        attached.n_open += 1
        return connection

    def close(self, path: str) -> None:
        attached = self.files[path]
        attached.n_open -= 1
        if attached.n_open == 0:
            del self.files[path]
            self.root.execute(f"DETACH {attached.catalog}")

    def _attach(self, path: str, read_only: bool) -> _Attached:
        if not self.files:
            # What doesn't fit into memory goes beside the store, not into the current folder.
            self.root.execute(f"SET temp_directory = {_quoted(f'{path}.tmp')}")
        taken = {attached.catalog for attached in self.files.values()}
        catalog = next(name for n in count(1) if (name := "store" if n == 1 else f"store_{n}") not in taken)
        mode = "READ_ONLY" if read_only else "READ_WRITE"
        self.root.execute(f"ATTACH {_quoted(path)} AS {catalog} (TYPE duckdb, {mode})")
        self.files[path] = _Attached(catalog, read_only)
        return self.files[path]


class _Process:
    """What this process has: one instance at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._instance: _Instance | None = None
        self._left_by_parents: list[_Instance | None] = []

    def open(self, path: str, *, read_only: bool) -> tuple[_Instance, duckdb.DuckDBPyConnection]:
        with self._lock:
            if (instance := self._instance) is not None:
                try:
                    return instance, instance.open(path, read_only=read_only)
                except (duckdb.FatalException, duckdb.NotSupportedError):  # the latter once it has used its folder
                    self._drop(instance)
            self._instance = instance = _Instance()
            return instance, instance.open(path, read_only=read_only)

    def close(self, instance: _Instance, path: str) -> None:
        with self._lock:
            try:
                instance.close(path)
            except duckdb.Error:  # as after a fatal error; what was committed is in the file, or in that beside it
                self._drop(instance)

    def forget(self) -> None:
        """Begin anew in a forked process, which has none of the instance's threads: to close it might never end."""
        self._left_by_parents.append(self._instance)
        self._lock, self._instance = threading.Lock(), None

    def end(self) -> None:
        """Close the instance before the interpreter takes its modules apart."""
        with self._lock:
            if self._instance is not None:
                self._drop(self._instance)

    def _drop(self, instance: _Instance) -> None:
        # Connections that are open keep it, and end with an error if it was fatal.
        if self._instance is instance:
            self._instance = None
        with suppress(duckdb.Error):
            instance.root.close()


_PROCESS = _Process()
os.register_at_fork(after_in_child=_PROCESS.forget)
atexit.register(_PROCESS.end)


class OpenStore:
    """A DuckDB file opened by this process, which is made where there is none and it is to be written.

    Attributes:
        connection: One whose unqualified names are those of the file.

    Args:
        name: The file's absolute path.
        read_only: Whether nothing is to be written.

    Raises:
        duckdb.Error: Where DuckDB can't, or this process has the file open in the other way.
    """

    def __init__(self, name: str, *, read_only: bool) -> None:
        self._path = os.path.realpath(name)
        self._instance, self.connection = _PROCESS.open(self._path, read_only=read_only)

    def close(self) -> None:
        """Roll back what isn't committed, and let the file go with the last that has it open."""
        self.connection.close()
        _PROCESS.close(self._instance, self._path)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
