"""Which batches are at a provider, and which calls are in them: so that none is submitted twice.

The tables stand in the journal's file, and are written as its answers are.

1. Before a batch is sent, its name (a random one of ours) and its calls are on disk.
2. The provider's id is written when it is known. A batch without an id may have been sent or not: its process died in
   between, or the reply was lost. Whoever finds it in the ledger looks for it at the provider.
3. A call is taken out once its answer is in the journal; a batch has ended when nothing more comes of it.
4. One process at a time sends batches by a journal: it holds a lock of the operating system, which ends with it. So
   what has not ended, and no client in this process has in hand, was left behind.
5. The ledger knows all clients of this process: whoever takes what was left behind takes the calls of other stages
   too, and those find them at that client.
"""

import fcntl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import urlsplit, urlunsplit

from autointerp.config import ModelConfig
from autointerp.errors import RunError
from autointerp.llm.protocol import RawAnswer


@dataclass(frozen=True, slots=True)
class Served:
    """Which model, where."""

    provider: str
    base_url: str
    model: str

    @classmethod
    def of(cls, config: ModelConfig, base_url: str) -> "Served":
        """The model of a config; a password in its address is left out."""
        parts = urlsplit(base_url)
        return cls(config.provider, urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])), config.model)


@dataclass(frozen=True, slots=True)
class BatchEntry:
    """A batch in the ledger.

    Attributes:
        served: The model that is asked.
        name: Ours.
        batch_id: The provider's; None while it is not known whether the batch was sent.
        payer: The run that pays for it.
        n_requests: Calls in it when it was sent.
        created_at: Unix time at which it was written down.
    """

    served: Served
    name: str
    batch_id: str | None
    payer: str
    n_requests: int
    created_at: float


@dataclass(frozen=True, slots=True)
class BatchedCall:
    """A call in a batch.

    Attributes:
        prompt_bytes: UTF-8 bytes of what is sent, schema apart.
        most_usd: What it can cost at most.
    """

    prompt_bytes: int
    most_usd: float


@dataclass(frozen=True, slots=True)
class Held:
    """What a batch has brought that held a call before it was asked for.

    Attributes:
        answer: In the journal by now.
        payer: The run that has paid for it.
    """

    answer: RawAnswer
    payer: str


class HoldsCalls(Protocol):
    """A batch client, to the others of its process."""

    async def bring(self, key: str) -> Held | None:
        """See a batch through that this client has in hand, if one holds the call."""
        ...


class BatchLedger:
    """The batches of one journal, for all models of this process.

    Args:
        path: The journal's file; the lock lies beside it.
        write: The journal's.
        rows: The journal's.

    Attributes:
        clients: Those of this process, for one event loop.
        n_let_go: How often a client has let batches go that had not ended.
    """

    def __init__(
        self,
        path: Path,
        write: Callable[..., Future[None]],
        rows: Callable[..., list[Any]],
    ) -> None:
        self._path = path
        self._write = write
        self._rows = rows
        self._lock: IO[str] | None = None
        self._guard = threading.Lock()
        self._in_hand: set[str] = set()
        self.clients: list[HoldsCalls] = []
        self.n_let_go = 0

    def hold(self) -> None:
        """Keep other processes from sending batches by this journal, until it is closed.

        Raises:
            RunError: If one does so already, the folder can't be written, or its disk has no locks.
        """
        with self._guard:
            if self._lock is not None:
                return
            path = self._path.with_name(f"{self._path.name}.batches")
            try:
                lock = path.open("w")
            except OSError as error:
                raise RunError(f"{path} can't be written ({error.strerror})", "check its permissions") from error
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                lock.close()
                raise RunError(
                    f"another process asks by batches over the journal {self._path}",
                    "wait for it to end, or set batch = false, or another llm.journal",
                ) from error
            except OSError as error:  # some network disks have no locks
                lock.close()
                raise RunError(
                    f"{path} can't be locked ({error.strerror}), so that another process might pay for batches twice",
                    "set llm.journal to a file on a local disk, or batch = false",
                ) from error
            self._lock = lock

    def take_left_behind(self, served: Served) -> list[tuple[BatchEntry, dict[str, BatchedCall]]]:
        """Take what has not ended of a model's batches and nobody has in hand, the oldest first.

        Returns:
            Each with its calls that are not done, by key.
        """
        with self._guard:
            rows = self._rows(
                "SELECT name, batch_id, payer, n_requests, created_at FROM batches WHERE provider = ? AND base_url = ?"
                " AND model = ? AND ended_at IS NULL ORDER BY created_at",
                served.provider,
                served.base_url,
                served.model,
            )
            entries = [entry for row in rows if (entry := BatchEntry(served, *row)).name not in self._in_hand]
            self._in_hand.update(entry.name for entry in entries)
        return [(entry, self._calls(entry.name)) for entry in entries]

    def open(self, entry: BatchEntry, calls: Mapping[str, BatchedCall]) -> Future[None]:
        """Write down what is about to be sent; the caller has it in hand."""
        with self._guard:
            self._in_hand.add(entry.name)
        served = entry.served
        batch = (
            "INSERT INTO batches (name, provider, base_url, model, payer, n_requests, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (entry.name, served.provider, served.base_url, served.model, entry.payer, len(calls), entry.created_at),
        )
        insert = "INSERT INTO batch_calls (key, batch, prompt_bytes, most_usd) VALUES (?, ?, ?, ?)"
        rows = ((insert, (key, entry.name, call.prompt_bytes, call.most_usd)) for key, call in calls.items())
        return self._write(batch, *rows)

    def submitted(self, name: str, batch_id: str) -> Future[None]:
        """Write down the provider's id of a batch."""
        return self._write(("UPDATE batches SET batch_id = ? WHERE name = ?", (batch_id, name)))

    def done(self, name: str, keys: Iterable[str]) -> Future[None]:
        """Take calls out: their answers are in the journal."""
        delete = "DELETE FROM batch_calls WHERE key = ? AND batch = ?"
        return self._write(*((delete, (key, name)) for key in keys))

    def end(self, name: str) -> Future[None]:
        """Write down that nothing more comes of a batch: its calls may be sent again."""
        return self._write(
            ("DELETE FROM batch_calls WHERE batch = ?", (name,)),
            ("UPDATE batches SET ended_at = ? WHERE name = ?", (time.time(), name)),
        )

    def known_ids(self) -> frozenset[str]:
        """Ids of all batches that were ever written down."""
        return frozenset(row[0] for row in self._rows("SELECT batch_id FROM batches WHERE batch_id IS NOT NULL"))

    def let_go(self, names: Iterable[str]) -> None:
        """Have batches no longer in hand: those that have not ended are left behind."""
        with self._guard:
            gone = self._in_hand.intersection(names)
            self._in_hand -= gone
            self.n_let_go += bool(gone)

    def close(self) -> None:
        """Let other processes send batches."""
        if self._lock is not None:
            self._lock.close()

    def _calls(self, name: str) -> dict[str, BatchedCall]:
        rows = self._rows("SELECT key, prompt_bytes, most_usd FROM batch_calls WHERE batch = ?", name)
        return {key: BatchedCall(n_bytes, most_usd) for key, n_bytes, most_usd in rows}
