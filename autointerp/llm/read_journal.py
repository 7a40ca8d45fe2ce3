"""A journal read by who does not ask: it is left as it is, also where nobody can write."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from autointerp.llm.journal import BUSY_TIMEOUT_S, JournalReader, bring_up_to_date, unusable


class Paid(NamedTuple):
    """What a run's calls have cost.

    Attributes:
        known_usd: Of those whose price is known.
        is_all: Whether that is every call.
    """

    known_usd: float
    is_all: bool


def read_paid(path: Path, payer: str) -> Paid:
    """What a run's calls have cost, by a journal that is read and left as it is.

    Raises:
        RunError: If it can't be read.
    """
    try:
        with closing(JournalReader(path, open_read_only(path))) as journal:
            return Paid(journal.spent_usd(payer), not journal.unpriced(payer))
    except sqlite3.Error as error:
        raise unusable(path, error) from error


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


def _connect(address: str) -> sqlite3.Connection:
    return sqlite3.connect(address, BUSY_TIMEOUT_S, uri=True, isolation_level=None, check_same_thread=False)
