"""The file of notes, `notes.sqlite` beside the store: how it is opened, and brought up to date.

It is a file of its own, since a labelling run may have the store locked when somebody wants to say something. SQLite in
write-ahead mode: any number of processes read while one writes, and each change is one transaction. There is no file
until something is written.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from autointerp.errors import AutointerpError, NotesFileError, StoreBusyError, disk_full, in_one_line

NOTES_FILE = "notes.sqlite"
_STEPS = (
    (
        "CREATE TABLE stars (source_id TEXT NOT NULL, feature_index INTEGER NOT NULL, created_at TEXT NOT NULL,"
        " PRIMARY KEY (source_id, feature_index)) WITHOUT ROWID",
        "CREATE TABLE votes (explanation_id TEXT NOT NULL, author TEXT NOT NULL, source_id TEXT NOT NULL,"
        " feature_index INTEGER NOT NULL, value INTEGER NOT NULL CHECK (value IN (-1, 1)), created_at TEXT NOT NULL,"
        " PRIMARY KEY (explanation_id, author)) WITHOUT ROWID",
        "CREATE INDEX votes_of_a_feature ON votes (source_id, feature_index)",
        "CREATE TABLE comments (place INTEGER PRIMARY KEY, comment_id TEXT NOT NULL UNIQUE, source_id TEXT NOT NULL,"
        " feature_index INTEGER NOT NULL, text TEXT NOT NULL, author TEXT NOT NULL, created_at TEXT NOT NULL)",
        "CREATE INDEX comments_of_a_feature ON comments (source_id, feature_index)",
        "CREATE TABLE lists (list_id TEXT PRIMARY KEY, name TEXT NOT NULL, description TEXT NOT NULL,"
        " test_text TEXT NOT NULL, created_at TEXT NOT NULL, changed_at TEXT NOT NULL) WITHOUT ROWID",
        "CREATE TABLE listed (list_id TEXT NOT NULL REFERENCES lists ON DELETE CASCADE, source_id TEXT NOT NULL,"
        " feature_index INTEGER NOT NULL, place INTEGER NOT NULL, note TEXT NOT NULL,"
        " PRIMARY KEY (list_id, source_id, feature_index)) WITHOUT ROWID",
        "CREATE INDEX lists_of_a_feature ON listed (source_id, feature_index)",
        "CREATE TABLE labels (place INTEGER PRIMARY KEY, explanation_id TEXT NOT NULL UNIQUE, source_id TEXT NOT NULL,"
        " feature_index INTEGER NOT NULL, label TEXT NOT NULL, author TEXT NOT NULL, created_at TEXT NOT NULL,"
        " graded TEXT NOT NULL)",
        "CREATE INDEX labels_of_a_feature ON labels (source_id, feature_index)",
    ),
    (
        "CREATE TABLE models (model_id TEXT PRIMARY KEY, layers INTEGER NOT NULL, name TEXT NOT NULL,"
        " url TEXT NOT NULL, created_at TEXT NOT NULL) WITHOUT ROWID",
        "CREATE TABLE source_sets (model_id TEXT NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL,"
        " url TEXT NOT NULL, created_at TEXT NOT NULL, PRIMARY KEY (model_id, name)) WITHOUT ROWID",
    ),
)
# SQLite's own numbers for what went wrong, without what it adds in higher bits.
_OF_THE_FILE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}


@contextmanager
def reading_notes(path: Path, timeout_s: float) -> Iterator[sqlite3.Connection]:
    """The notes as they are; those of a file that is not there are none.

    Raises:
        NotesFileError: If the file can't be read.
        StoreBusyError: If another process keeps it from being read.
    """
    with _translated(path):
        if not path.exists():
            with closing(_connect(":memory:", timeout_s)) as memory:
                _bring_up_to_date(memory, path)
                yield memory
            return
        with closing(_open_to_read(path, timeout_s)) as file:
            version = _version(file, path)
            if version == len(_STEPS):
                file.execute("BEGIN")  # all that is read is of one moment
                yield file
                return
            with closing(_connect(":memory:", timeout_s)) as memory:
                file.backup(memory)
                _bring_up_to_date(memory, path)
                yield memory


@contextmanager
def writing_notes(path: Path, timeout_s: float) -> Iterator[sqlite3.Connection]:
    """The notes for one change: kept at the end, and nothing of it on an exception.

    Raises:
        NotesFileError: If the file can't be written.
        StoreBusyError: If others write for longer than `timeout_s`.
        DiskFullError: If there is no room.
    """
    with _translated(path):
        if not path.parent.is_dir():
            raise NotesFileError(f"there is no run {path.parent.name!r} any more", "see that its folder is there")
        with closing(_connect(f"{path.absolute().as_uri()}?mode=rwc", timeout_s)) as file:
            _write_ahead(file, timeout_s)
            file.execute("PRAGMA synchronous = FULL")
            file.execute("PRAGMA foreign_keys = ON")
            file.execute("BEGIN IMMEDIATE")
            _bring_up_to_date(file, path)
            yield file
            file.execute("COMMIT")


def _open_to_read(path: Path, timeout_s: float) -> sqlite3.Connection:
    file = _connect(f"{path.absolute().as_uri()}?mode=rw", timeout_s)
    try:
        file.execute("PRAGMA query_only = ON")
        file.execute("PRAGMA user_version").fetchone()
    except sqlite3.OperationalError as error:
        file.close()
        if error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}:
            raise
        # SQLite would write beside the file; it need not where nobody can.
        return _connect(f"{path.absolute().as_uri()}?immutable=1", timeout_s)
    return file


def _connect(address: str, timeout_s: float) -> sqlite3.Connection:
    return sqlite3.connect(address, timeout_s, uri=True, isolation_level=None)


def _write_ahead(file: sqlite3.Connection, timeout_s: float) -> None:
    """Bring a file into write-ahead mode; this alone fails at once, without waiting, where another process writes."""
    gives_up_at = time.monotonic() + timeout_s
    while True:
        try:
            file.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > gives_up_at:
                raise
        file.execute("BEGIN IMMEDIATE")
        file.execute("ROLLBACK")


def _version(file: sqlite3.Connection, path: Path) -> int:
    version = int(file.execute("PRAGMA user_version").fetchone()[0])
    if version > len(_STEPS):
        raise NotesFileError(
            f"{_named(path)} has version {version}, this program knows up to {len(_STEPS)}", "upgrade autointerp"
        )
    if version == 0 and file.execute("SELECT 1 FROM sqlite_master").fetchone() is not None:
        raise NotesFileError(f"{_named(path)} holds other tables, and no notes", "move it away")
    return version


def _bring_up_to_date(file: sqlite3.Connection, path: Path) -> None:
    version = _version(file, path)
    for step in _STEPS[version:]:
        for statement in step:
            file.execute(statement)
    if version < len(_STEPS):
        file.execute(f"PRAGMA user_version = {len(_STEPS)}")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except AutointerpError:
        raise
    except sqlite3.Error as error:
        raise _told(error, path) from error
    except OSError as error:
        raise NotesFileError(f"{_named(path)} can't be used ({in_one_line(error)})", "mend that") from error


def _told(error: sqlite3.Error, path: Path) -> AutointerpError:
    """What SQLite's error means; it names the run and not where it lies, since those who ask may be anybody."""
    code = getattr(error, "sqlite_errorcode", None)
    number = None if code is None else code & 0xFF
    if number == sqlite3.SQLITE_FULL:
        return disk_full(Path(_named(path)))
    if number == sqlite3.SQLITE_BUSY:
        return StoreBusyError(f"others write into {_named(path)} for too long", "try again in a few seconds")
    if number in _OF_THE_FILE or (isinstance(error, sqlite3.DatabaseError) and number is None):
        return NotesFileError(
            f"{_named(path)} is damaged, or no file of notes ({in_one_line(error)})", "move it away, or restore a copy"
        )
    if number == sqlite3.SQLITE_IOERR:
        return NotesFileError(
            f"the disk fails at {_named(path)} ({in_one_line(error)})", "check the disk, and the room on it"
        )
    where = path if path.exists() else path.parent
    why = in_one_line(error) if os.access(where, os.W_OK) else "nobody may write there"
    return NotesFileError(f"no notes can be kept in {_named(path)} ({why})", "see that the run's folder can be written")


def _named(path: Path) -> str:
    return f"{path.absolute().parent.name}/{path.name}"
