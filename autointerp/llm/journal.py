"""Every paid answer, on disk before it is used.

One SQLite file in the run folder, in write-ahead mode: each answer is committed, and synced, by itself, so a process
killed anywhere loses at most its calls in flight, and several processes may share the file. The key is the SHA-256 of
all that decides an answer (the request, the model, where it is served), so a rerun that asks the same pays nothing.
What is kept is the provider's answer as it came; what it means is read from it each time.
"""

import sqlite3
import threading
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, cast

from autointerp.config import ModelConfig
from autointerp.errors import DiskFullError, RunError
from autointerp.identity import fingerprint
from autointerp.llm.answers import answer_schema
from autointerp.llm.protocol import AnswerT, RawAnswer, Repair, Request

_BUSY_TIMEOUT_S = 60.0
_SCHEMA = """
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


def request_key(request: Request[AnswerT], repair: Repair | None, config: ModelConfig, base_url: str) -> str:
    """SHA-256 of what decides an answer."""
    return fingerprint(
        [config.provider, base_url, config.model],
        [request.system, request.user, answer_schema(request.answer)],
        [request.max_output_tokens, request.temperature],
        [repair.bad_answer, repair.complaint] if repair else None,
    )


class Journal:
    """The answers of a run. Safe for threads and for several processes at once.

    Raises:
        RunError: If the file can't be used.
        DiskFullError: If nothing more can be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            self._database = sqlite3.connect(
                path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute(_SCHEMA)
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def get(self, key: str) -> RawAnswer | None:
        """The answer with a key, if it was paid for."""
        query = "SELECT text, stop, model, input_tokens, cached_input_tokens, output_tokens FROM answers WHERE key = ?"
        try:
            with self._lock:
                row = self._database.execute(query, (key,)).fetchone()
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        if row is None:
            return None
        text, stop, model, n_input, n_cached, n_output = row
        stopped = cast(Literal["complete", "truncated", "refusal"], stop)
        return RawAnswer(text, stopped, model, n_input, n_cached, n_output)

    def put(self, key: str, answer: RawAnswer) -> None:
        """Keep an answer; on return it is on disk. A later answer to the same replaces the earlier one."""
        row = (
            key,
            _storable(answer.text),
            answer.stop,
            _storable(answer.model),
            answer.input_tokens,
            answer.cached_input_tokens,
            answer.output_tokens,
        )
        statement = (
            "INSERT OR REPLACE INTO answers"
            " (key, text, stop, model, input_tokens, cached_input_tokens, output_tokens) VALUES (?, ?, ?, ?, ?, ?, ?)"
        )
        try:
            with self._lock:
                self._database.execute(statement, row)
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def __len__(self) -> int:
        with self._lock:
            count: int = self._database.execute("SELECT count(*) FROM answers").fetchone()[0]
        return count

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _unusable(self, error: sqlite3.Error) -> RunError | DiskFullError:
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None and code & 0xFF == sqlite3.SQLITE_FULL:
            return DiskFullError(f"no space left for {self.path}", "free some, and run again: what was paid is kept")
        return RunError(
            f"the journal {self.path} can't be used ({error})",
            "check the folder's permissions; if the file is damaged, move it away, and its answers are paid again",
        )


def _storable(text: str) -> str:
    """The text with lone surrogates replaced: a JSON answer can hold them, UTF-8 can't."""
    return text.encode("utf-8", "replace").decode("utf-8")
