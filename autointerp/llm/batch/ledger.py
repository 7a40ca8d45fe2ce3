"""Which batches are at a provider, and which calls are in them: so that none is submitted twice.

The tables stand in the journal's SQLite file.

1. Before a batch is sent, its mark (a random name of ours) and the keys of its calls are written, in one transaction
   that leaves out every call which some batch holds already. So two processes never send the same call.
2. The provider's id is written when it is known. A batch without an id may have been sent or not: its process died in
   between, or the reply was lost. Whoever takes it over looks for it at the provider.
3. A call is marked as done once its answer is in the journal, a batch as ended when nothing more comes of it.
4. A batch belongs to one desk (`batch.BatchDesk`), which says every few seconds that it is alive. What a dead desk
   leaves behind may be taken over by one other.

Times are Unix seconds of this machine: SQLite's write-ahead log does not work between machines.
"""

import sqlite3
import threading
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from autointerp.config import ModelConfig
from autointerp.errors import DiskFullError, RunError, disk_full

if TYPE_CHECKING:
    from collections.abc import Iterator

LEASE_S = 60.0
"""After so long without a word from it, a desk is dead."""
_BUSY_TIMEOUT_S = 60.0
_KEEP_DONE_S = 7 * 86400.0
_TABLES = (
    "CREATE TABLE IF NOT EXISTS batches (mark TEXT PRIMARY KEY, batch_id TEXT, provider TEXT NOT NULL,"
    " base_url TEXT NOT NULL, model TEXT NOT NULL, payer TEXT NOT NULL, n_requests INTEGER NOT NULL,"
    " created_at REAL NOT NULL, ended_at REAL, owner TEXT NOT NULL, alive_at REAL NOT NULL)",
    "CREATE TABLE IF NOT EXISTS batch_calls (key TEXT NOT NULL, mark TEXT NOT NULL, prompt_bytes INTEGER NOT NULL,"
    " most_usd REAL NOT NULL, done_at REAL, PRIMARY KEY (key, mark)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS calls_of_a_batch ON batch_calls (mark)",
)
_ENTRY = "mark, batch_id, payer, n_requests, created_at, ended_at IS NOT NULL, alive_at"


@dataclass(frozen=True, slots=True)
class BatchEntry:
    """A batch in the ledger.

    Attributes:
        mark: Our name of it.
        batch_id: The provider's; None while it is not known whether the batch was sent.
        payer: The run that pays for it.
        n_requests: Calls in it.
        created_at: When it was written down.
        is_ended: Whether nothing more comes of it.
        is_deserted: Whether it has not ended, and its desk is dead.
    """

    mark: str
    batch_id: str | None
    payer: str
    n_requests: int
    created_at: float
    is_ended: bool
    is_deserted: bool


@dataclass(frozen=True, slots=True)
class LedgerCall:
    """A call in a batch.

    Attributes:
        prompt_bytes: As in `journal.Payment`.
        most_usd: What it can cost at most.
    """

    prompt_bytes: int
    most_usd: float


@dataclass(frozen=True, slots=True)
class Claim:
    """What became of calls that were to be sent.

    Attributes:
        ours: Keys that are written down as in our batch; it is for us to send them.
        elsewhere: Keys that another batch holds, with its mark.
        done: Keys that another batch has done since they were asked for.
    """

    ours: frozenset[str]
    elsewhere: Mapping[str, str]
    done: frozenset[str]


class BatchLedger:
    """The ledger as one desk sees it: the batches of one model. Safe for threads and for several processes.

    Args:
        path: The journal's file.
        config: The model.
        base_url: Where its calls go.
        payer: The run's name.

    Raises:
        RunError: If the file can't be used.
        DiskFullError: If nothing more can be written.
    """

    def __init__(self, path: Path, config: ModelConfig, base_url: str, payer: str) -> None:
        self.payer = payer
        self._path = path
        self._model = (config.provider, _without_password(base_url), config.model)
        self._owner = uuid.uuid4().hex
        self._lock = threading.Lock()
        try:
            self._database = sqlite3.connect(
                path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        with self._transaction() as database:
            for table in _TABLES:
                database.execute(table)

    def claim(self, mark: str, calls: Mapping[str, LedgerCall], asked_at: Mapping[str, float]) -> Claim:
        """Write down what is about to be sent, without what another batch holds.

        Args:
            mark: Of the batch; there is none if nothing is ours.
            calls: By key.
            asked_at: When each was asked for.
        """
        now = time.time()
        ours: dict[str, LedgerCall] = {}
        elsewhere: dict[str, str] = {}
        done: set[str] = set()
        with self._transaction() as database:
            for key, call in calls.items():
                held = database.execute(
                    "SELECT mark, done_at IS NULL FROM batch_calls WHERE key = ? AND (done_at IS NULL OR done_at >= ?)"
                    " ORDER BY done_at IS NULL DESC LIMIT 1",
                    (key, asked_at[key]),
                ).fetchone()
                if held is None:
                    ours[key] = call
                elif held[1]:
                    elsewhere[key] = held[0]
                else:
                    done.add(key)
            if ours:
                row = (mark, *self._model, self.payer, len(ours), now, self._owner, now)
                database.execute(
                    "INSERT INTO batches (mark, provider, base_url, model, payer, n_requests, created_at, owner,"
                    " alive_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    row,
                )
                database.executemany(
                    "INSERT INTO batch_calls (key, mark, prompt_bytes, most_usd) VALUES (?, ?, ?, ?)",
                    ((key, mark, call.prompt_bytes, call.most_usd) for key, call in ours.items()),
                )
        return Claim(frozenset(ours), elsewhere, frozenset(done))

    def submitted(self, mark: str, batch_id: str) -> None:
        """Write down the provider's id of a batch."""
        with self._transaction() as database:
            database.execute("UPDATE batches SET batch_id = ? WHERE mark = ?", (batch_id, mark))

    def done(self, mark: str, keys: Iterable[str]) -> None:
        """Note that calls are done: their answers are in the journal."""
        now = time.time()
        with self._transaction() as database:
            database.executemany(
                "UPDATE batch_calls SET done_at = ? WHERE key = ? AND mark = ?", ((now, key, mark) for key in keys)
            )

    def end(self, mark: str) -> None:
        """Note that nothing more comes of a batch: its calls may be sent again. Forget those of long ago."""
        now = time.time()
        with self._transaction() as database:
            database.execute("UPDATE batch_calls SET done_at = ? WHERE mark = ? AND done_at IS NULL", (now, mark))
            database.execute("UPDATE batches SET ended_at = ? WHERE mark = ?", (now, mark))
            database.execute(
                "DELETE FROM batch_calls WHERE mark IN (SELECT mark FROM batches WHERE ended_at < ?)",
                (now - _KEEP_DONE_S,),
            )

    def entry(self, mark: str) -> BatchEntry:
        """A batch as it is written down now."""
        return self._entries("mark = ?", mark)[0]

    def calls(self, mark: str) -> dict[str, LedgerCall]:
        """Calls of a batch that are not done, by key."""
        query = "SELECT key, prompt_bytes, most_usd FROM batch_calls WHERE mark = ? AND done_at IS NULL"
        rows = self._rows(query, mark)
        return {key: LedgerCall(n_bytes, most_usd) for key, n_bytes, most_usd in rows}

    def deserted(self) -> list[BatchEntry]:
        """Batches of this run and model that a dead desk left behind, the oldest first."""
        found = self._entries(
            "provider = ? AND base_url = ? AND model = ? AND payer = ? AND ended_at IS NULL ORDER BY created_at",
            *self._model,
            self.payer,
        )
        return [entry for entry in found if entry.is_deserted]

    def take_over(self, mark: str) -> bool:
        """Make a deserted batch ours; False if another desk was faster, or it is not deserted."""
        now = time.time()
        with self._transaction() as database:
            taken = database.execute(
                "UPDATE batches SET owner = ?, alive_at = ? WHERE mark = ? AND ended_at IS NULL AND alive_at < ?",
                (self._owner, now, mark, now - LEASE_S),
            )
            return taken.rowcount == 1

    def owns(self, mark: str) -> bool:
        """Whether a batch is ours still: after a long sleep of the machine it may have been taken over."""
        with self._transaction() as database:
            renewed = database.execute(
                "UPDATE batches SET alive_at = ? WHERE mark = ? AND owner = ?", (time.time(), mark, self._owner)
            )
            return renewed.rowcount == 1

    def renew(self) -> None:
        """Say that this desk is alive."""
        self._touch(time.time())

    def release(self) -> None:
        """Say that this desk is done: what has not ended may be taken over at once."""
        self._touch(0.0)

    def known_ids(self) -> frozenset[str]:
        """Ids of all batches that are written down."""
        return frozenset(row[0] for row in self._rows("SELECT batch_id FROM batches WHERE batch_id IS NOT NULL"))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def _touch(self, moment: float) -> None:
        with self._transaction() as database:
            database.execute(
                "UPDATE batches SET alive_at = ? WHERE owner = ? AND ended_at IS NULL", (moment, self._owner)
            )

    def _entries(self, where: str, *bound: str) -> list[BatchEntry]:
        stale = time.time() - LEASE_S
        return [
            BatchEntry(mark, batch_id, payer, n_requests, created_at, bool(ended), not ended and alive_at < stale)
            for mark, batch_id, payer, n_requests, created_at, ended, alive_at in self._rows(
                f"SELECT {_ENTRY} FROM batches WHERE {where}", *bound
            )
        ]

    def _rows(self, query: str, *bound: str) -> Sequence[Any]:
        try:
            with self._lock:
                return self._database.execute(query, bound).fetchall()
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    @contextmanager
    def _transaction(self) -> "Iterator[sqlite3.Connection]":
        try:
            with self._lock:
                self._database.execute("BEGIN IMMEDIATE")
                try:
                    yield self._database
                    self._database.execute("COMMIT")
                except BaseException:
                    if self._database.in_transaction:
                        self._database.execute("ROLLBACK")
                    raise
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def _unusable(self, error: sqlite3.Error) -> RunError | DiskFullError:
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None and code & 0xFF == sqlite3.SQLITE_FULL:
            return disk_full(self._path)
        return RunError(
            f"the record of batches in {self._path} can't be used ({error})",
            "check the folder's permissions and free space, and run again: batches stay at the provider",
        )


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
