"""Every paid answer, on disk before it is used.

1. One SQLite file in write-ahead mode. The key of an answer is the SHA-256 of all that decides it (the request, the
   model, where it is served), so a rerun that asks the same pays nothing. What is kept is the provider's answer as it
   came; what it means is read from it each time.
2. One thread writes. What has gathered while the disk was busy becomes one transaction, synced once (group commit), and
   whoever waits for one of its answers is told then. A process killed anywhere loses at most its calls in flight.
3. Several processes may share the file. Calls that failed for good are kept too, with what came back.
4. Which calls are in a batch at a provider stands here too, for `batch.ledger`.
"""

import asyncio
import json
import queue
import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Protocol, Self, cast
from weakref import WeakValueDictionary

from autointerp.config import ModelConfig
from autointerp.errors import RunError
from autointerp.identity import fingerprint
from autointerp.llm.answers import answer_schema
from autointerp.llm.batch.ledger import BatchLedger
from autointerp.llm.journal_file import bring_up_to_date, open_for_writing, open_read_only, unusable
from autointerp.llm.protocol import AnswerT, CallFailure, RawAnswer, Repair, Request, TokenChances
from autointerp.valid_text import valid_text

_MOST_ROWS_A_COMMIT = 1000
_INSERT_ANSWER = (
    "INSERT OR REPLACE INTO answers (key, text, stop, model, input_tokens, cached_input_tokens, output_tokens,"
    " cache_write_tokens, payer, asked_model, prompt_bytes, cost_usd, tokens)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_PAYMENT = (
    "INSERT INTO payments (payer, asked_model, input_tokens, cached_input_tokens, output_tokens, cost_usd)"
    " VALUES (?, ?, ?, ?, ?, ?)"
)
_INSERT_FAILURE = "INSERT INTO failures (key, payer, asked_model, error_type, message, raw) VALUES (?, ?, ?, ?, ?, ?)"


def request_key(request: Request[AnswerT], repair: Repair | None, config: ModelConfig, base_url: str) -> str:
    """SHA-256 of what decides an answer."""
    return fingerprint(
        [config.provider, base_url, config.model],
        [request.system, request.user, answer_schema(request.answer)],
        [request.max_output_tokens, request.temperature, *(["chances"] if request.wants_chances else [])],
        [repair.bad_answer, repair.complaint] if repair else None,
    )


@dataclass(frozen=True, slots=True)
class Payment:
    """Who paid for an answer, and what is needed to tell what further calls will cost.

    Attributes:
        payer: The run's name: a budget counts what its run paid, also where runs share a journal.
        asked_model: The model's name in the config.
        prompt_bytes: UTF-8 bytes of what was sent, schema apart.
        cost_usd: None where a price is unknown.
    """

    payer: str = ""
    asked_model: str = ""
    prompt_bytes: int = 0
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class PaidSoFar:
    """What a journal knows of a model's answers.

    Attributes:
        n_answers: Answers of which tokens and bytes are known.
        prompt_bytes: UTF-8 bytes of their prompts.
        input_tokens: Tokens of their prompts, as the provider counted.
    """

    n_answers: int
    prompt_bytes: int
    input_tokens: int


@dataclass(frozen=True, slots=True)
class UnpricedTokens:
    """Tokens of a model's answers whose price was not known when they came."""

    asked_model: str
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int


Statement = tuple[str, tuple[str | int | float | None, ...]]
"""Of SQL, with what is bound to it."""


@dataclass(frozen=True, slots=True)
class _Write:
    statements: tuple[Statement, ...]
    done: Future[None]


class AnswerStore(Protocol):
    """What a language model needs of a journal; see `Journal`."""

    def get(self, key: str) -> RawAnswer | None:
        """The answer with a key, if it was paid for."""
        ...

    def put(self, key: str, answer: RawAnswer, payment: Payment | None = None) -> Future[None]:
        """Keep an answer; it is safe when the future is done."""
        ...

    def put_failure(self, key: str, failure: CallFailure, payment: Payment) -> Future[None]:
        """Keep what came of a call that failed for good."""
        ...

    def paid_so_far(self, asked_model: str) -> PaidSoFar:
        """Prompts and tokens of a model's answers, to tell tokens from bytes."""
        ...

    def asking(self, key: str) -> asyncio.Lock:
        """Held by whoever asks for the answer with a key."""
        ...


class JournalReader:
    """What was paid for, as it stands in a journal's tables. Safe for threads.

    Args:
        path: The file, for errors.
        database: Its tables, brought up to date.
    """

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._database = database
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def get(self, key: str) -> RawAnswer | None:
        """The answer with a key, if it was paid for."""
        rows = self.rows(
            "SELECT text, stop, model, input_tokens, cached_input_tokens, output_tokens, cache_write_tokens, tokens"
            " FROM answers WHERE key = ?",
            key,
        )
        if not rows:
            return None
        text, stop, model, n_input, n_cached, n_output, n_written, tokens = rows[0]
        stopped = cast(Literal["complete", "truncated", "refusal"], stop)
        return RawAnswer(text, stopped, model, n_input, n_cached, n_output, n_written, _tokens_of(tokens))

    def asking(self, key: str) -> asyncio.Lock:
        """Held by whoever asks for the answer with a key, so that two models that ask the same at once pay once.

        Who asks for the same key asks in the same event loop.
        """
        return self._asking.setdefault(key, asyncio.Lock())

    def spent_usd(self, payer: str) -> float:
        """What a run's calls have cost, as far as their prices were known."""
        return float(self.rows("SELECT coalesce(sum(cost_usd), 0.0) FROM payments WHERE payer = ?", payer)[0][0])

    def unpriced(self, payer: str) -> list[UnpricedTokens]:
        """Tokens of a run's answers whose price was not known, by model."""
        query = (
            "SELECT asked_model, sum(input_tokens), sum(cached_input_tokens), sum(output_tokens) FROM payments"
            " WHERE payer = ? AND cost_usd IS NULL GROUP BY asked_model ORDER BY asked_model"
        )
        return [UnpricedTokens(*row) for row in self.rows(query, payer)]

    def paid_so_far(self, asked_model: str) -> PaidSoFar:
        """Prompts and tokens of a model's answers, to tell tokens from bytes."""
        query = (
            "SELECT count(*), coalesce(sum(prompt_bytes), 0), coalesce(sum(input_tokens), 0) FROM answers"
            " WHERE asked_model = ? AND prompt_bytes > 0 AND input_tokens > 0"
        )
        return PaidSoFar(*self.rows(query, asked_model)[0])

    def __len__(self) -> int:
        return int(self.rows("SELECT count(*) FROM answers")[0][0])

    def rows(self, query: str, *bound: str | int) -> list[Any]:
        """The rows of a query.

        Raises:
            RunError: If the file can't be used.
        """
        try:
            with self._lock:
                return self._database.execute(query, bound).fetchall()
        except sqlite3.Error as error:
            raise unusable(self.path, error) from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()


class Journal(JournalReader):
    """Paid answers. Safe for threads and for several processes at once.

    Raises:
        RunError: If the file can't be used.
        DiskFullError: If nothing more can be written.
    """

    def __init__(self, path: Path) -> None:
        try:
            super().__init__(path, open_for_writing(path))
            bring_up_to_date(self._database)
            self._writing = open_for_writing(path)
        except sqlite3.Error as error:
            raise unusable(path, error) from error
        self._writes: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="journal", daemon=True)
        self._thread.start()

    def put(self, key: str, answer: RawAnswer, payment: Payment | None = None) -> Future[None]:
        """Keep an answer; it is on disk when the future is done. A later answer replaces an earlier one."""
        paid = payment or Payment()
        row = (
            key,
            valid_text(answer.text),
            answer.stop,
            valid_text(answer.model),
            answer.input_tokens,
            answer.cached_input_tokens,
            answer.output_tokens,
            answer.cache_write_tokens,
            paid.payer,
            paid.asked_model,
            paid.prompt_bytes,
            paid.cost_usd,
            _text_of(answer.tokens),
        )
        tokens = (answer.input_tokens, answer.cached_input_tokens, answer.output_tokens)
        paid_row = (paid.payer, paid.asked_model, *tokens, paid.cost_usd)
        return self.write((_INSERT_ANSWER, row), (_INSERT_PAYMENT, paid_row))

    def put_failure(self, key: str, failure: CallFailure, payment: Payment) -> Future[None]:
        """Keep what came of a call that failed for good."""
        raw = None if failure.raw is None else valid_text(failure.raw)
        message = valid_text(failure.message)
        row = (key, payment.payer, payment.asked_model, failure.error_type, message, raw)
        return self.write((_INSERT_FAILURE, row))

    @cached_property
    def batches(self) -> BatchLedger:
        """Which calls are in a batch at a provider."""
        return BatchLedger(self.path, self.write, self.rows)

    def close(self) -> None:
        """Write what waits, and close the file."""
        self._writes.put(None)
        self._thread.join()
        self.batches.close()
        super().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def write(self, *statements: Statement) -> Future[None]:
        """Write in one transaction; it is on disk when the future is done.

        Raises:
            RunError: If the journal is closed.
        """
        if not self._thread.is_alive():
            raise RunError(f"the journal {self.path} is closed", "ask before the run ends")
        write = _Write(statements, Future())
        write.done.set_running_or_notify_cancel()  # from here on nobody can call the write back
        self._writes.put(write)
        return write.done

    def _write_all(self) -> None:
        """The writing thread."""
        is_open = True
        while is_open:
            waiting = [self._writes.get()]
            while len(waiting) < _MOST_ROWS_A_COMMIT and not self._writes.empty():
                waiting.append(self._writes.get())
            is_open = None not in waiting
            self._commit([write for write in waiting if write is not None])
        self._writing.close()

    def _commit(self, writes: list[_Write]) -> None:
        if not writes:
            return
        try:
            self._writing.execute("BEGIN IMMEDIATE")
            for write in writes:
                for statement, row in write.statements:
                    self._writing.execute(statement, row)
            self._writing.execute("COMMIT")
        except sqlite3.Error as error:
            if self._writing.in_transaction:
                self._writing.execute("ROLLBACK")
            if len(writes) == 1:
                writes[0].done.set_exception(unusable(self.path, error))
                return
            for write in writes:  # one that can't be written must not take the others with it
                self._commit([write])
            return
        for write in writes:
            write.done.set_result(None)


def _text_of(tokens: Sequence[TokenChances]) -> str | None:
    """An answer's tokens as JSON: a text alone where nothing else had a chance."""
    if not tokens:
        return None
    return valid_text(json.dumps([[t.text, *t.chances] if t.chances else t.text for t in tokens], ensure_ascii=False))


def _tokens_of(text: str | None) -> tuple[TokenChances, ...]:
    if text is None:
        return ()
    return tuple(
        TokenChances(entry) if isinstance(entry, str) else TokenChances(entry[0], tuple(map(tuple, entry[1:])))
        for entry in json.loads(text)
    )


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
