"""The file of a journal: its tables, how those of older versions are brought up to date, and how it is opened.

Who asks opens it in write-ahead mode. Who only looks leaves it as it is, also where nobody can write.
"""

import sqlite3
import time
from pathlib import Path

from autointerp.errors import DiskFullError, RunError, disk_full, in_one_line

_BUSY_TIMEOUT_S = 60.0
_ANSWERS = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY,
    text TEXT NOT NULL,
    stop TEXT NOT NULL,
    model TEXT NOT NULL,
    input_tokens INTEGER NOT NULL,
    cached_input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) WITHOUT ROWID
"""
# Each step once, in order; `user_version` counts those that a file has seen.
_STEPS = (
    (
        "ALTER TABLE answers ADD COLUMN cache_write_tokens INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE answers ADD COLUMN payer TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE answers ADD COLUMN asked_model TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE answers ADD COLUMN prompt_bytes INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE answers ADD COLUMN cost_usd REAL",
        "CREATE TABLE failures (key TEXT NOT NULL, payer TEXT NOT NULL, asked_model TEXT NOT NULL,"
        " error_type TEXT NOT NULL, message TEXT NOT NULL, raw TEXT,"
        " created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)",
        # One row a paid call, also where a later answer has replaced an earlier one.
        "CREATE TABLE payments (payer TEXT NOT NULL, asked_model TEXT NOT NULL, input_tokens INTEGER NOT NULL,"
        " cached_input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, cost_usd REAL)",
        "INSERT INTO payments SELECT payer, asked_model, input_tokens, cached_input_tokens, output_tokens, cost_usd"
        " FROM answers",
    ),
    (
        # The batches of an older version, if it sent any, lose their leases: one process at a time sends batches.
        "CREATE TABLE IF NOT EXISTS batches (mark TEXT PRIMARY KEY, batch_id TEXT, provider TEXT NOT NULL,"
        " base_url TEXT NOT NULL, model TEXT NOT NULL, payer TEXT NOT NULL, n_requests INTEGER NOT NULL,"
        " created_at REAL NOT NULL, ended_at REAL, owner TEXT NOT NULL, alive_at REAL NOT NULL)",
        "CREATE TABLE IF NOT EXISTS batch_calls (key TEXT NOT NULL, mark TEXT NOT NULL, prompt_bytes INTEGER NOT NULL,"
        " most_usd REAL NOT NULL, done_at REAL, PRIMARY KEY (key, mark)) WITHOUT ROWID",
        "CREATE INDEX IF NOT EXISTS calls_of_a_batch ON batch_calls (mark)",
        "DELETE FROM batch_calls WHERE done_at IS NOT NULL",
        "ALTER TABLE batch_calls DROP COLUMN done_at",
        "ALTER TABLE batch_calls RENAME COLUMN mark TO batch",
        "ALTER TABLE batches DROP COLUMN owner",
        "ALTER TABLE batches DROP COLUMN alive_at",
        "ALTER TABLE batches RENAME COLUMN mark TO name",
    ),
    # JSON; NULL where the chances of tokens were not asked for, or the server gave none.
    ("ALTER TABLE answers ADD COLUMN tokens TEXT",),
)


def open_for_writing(path: Path) -> sqlite3.Connection:
    """A journal's file, made where there is none; its tables are as they were.

    Raises:
        sqlite3.Error: If the file can't be used.
    """
    database = _connect(path.absolute().as_uri())
    _write_ahead(database)
    database.execute("PRAGMA synchronous = FULL")
    return database


def bring_up_to_date(database: sqlite3.Connection) -> None:
    """Make a journal's tables, or bring those of an older version up to date; another process may do so meanwhile."""
    database.execute("BEGIN IMMEDIATE")
    database.execute(_ANSWERS)
    version = database.execute("PRAGMA user_version").fetchone()[0]
    for step in _STEPS[version:]:
        for statement in step:
            database.execute(statement)
    if version < len(_STEPS):
        database.execute(f"PRAGMA user_version = {len(_STEPS)}")
    database.execute("COMMIT")


def open_read_only(path: Path) -> sqlite3.Connection:
    """A journal's tables; in memory where there is no file, or one of an older version, which is left as it is.

    Raises:
        sqlite3.Error: If the file can't be used.
    """
    memory = _connect(":memory:")
    bring_up_to_date(memory)
    if not path.exists():
        return memory
    version = "PRAGMA user_version"
    address = path.resolve().as_uri()
    file = _connect(f"{address}?mode=rw")
    file.execute("PRAGMA query_only = ON")
    try:
        found = file.execute(version).fetchone()
    except sqlite3.OperationalError:
        # SQLite would write beside the file; it need not where nobody can.
        file = _connect(f"{address}?immutable=1")
        found = file.execute(version).fetchone()
    if found == memory.execute(version).fetchone():
        memory.close()
        return file
    file.backup(memory)
    file.close()
    bring_up_to_date(memory)
    return memory


def unusable(path: Path, error: sqlite3.Error) -> RunError | DiskFullError:
    """What an error of SQLite's means to whoever uses a journal."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & 0xFF == sqlite3.SQLITE_FULL:
        return disk_full(path)
    return RunError(
        f"the journal {path} can't be used ({in_one_line(error)})",
        "check the folder's permissions; if the file is damaged, move it away, and its answers are paid again",
    )


def _write_ahead(database: sqlite3.Connection) -> None:
    """Bring a file into write-ahead mode, where it is not.

    This alone fails at once where another process is about to write, whatever the timeout: so it does where two open a
    new journal together. A transaction waits.
    """
    gives_up_at = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > gives_up_at:
                raise
        database.execute("BEGIN IMMEDIATE")
        database.execute("ROLLBACK")


def _connect(address: str) -> sqlite3.Connection:
    return sqlite3.connect(address, _BUSY_TIMEOUT_S, uri=True, isolation_level=None, check_same_thread=False)
