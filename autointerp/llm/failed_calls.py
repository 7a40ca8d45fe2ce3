"""The calls of a language model that failed for good, as the journal keeps them: with what came back."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from autointerp.llm.journal import JournalReader
from autointerp.llm.journal_file import open_read_only, unusable


class FailedCall(NamedTuple):
    """One call that gave no usable answer.

    Attributes:
        asked_model: The model, as the config names it.
        error_type: Why, as in `CallFailure`.
        message: One line.
        raw: What came back; None where nothing did.
        created_at: UTC, as SQLite writes it.
    """

    asked_model: str
    error_type: str
    message: str
    raw: str | None
    created_at: str


class FailedCalls(NamedTuple):
    """A run's failed calls.

    Attributes:
        counts: How many of each model and reason, the most frequent first.
        last: The last ones, the last first.
    """

    counts: tuple[tuple[str, str, int], ...]
    last: tuple[FailedCall, ...]


def read_failed_calls(path: Path, payer: str, n: int) -> FailedCalls:
    """A run's calls that failed for good, by a journal that is read and left as it is.

    Args:
        path: The journal.
        payer: Who asked.
        n: So many of the last are told.

    Raises:
        RunError: If it can't be read.
    """
    counted = (
        "SELECT asked_model, error_type, count(*) FROM failures WHERE payer = ? GROUP BY asked_model, error_type"
        " ORDER BY count(*) DESC, asked_model, error_type"
    )
    last = (
        "SELECT asked_model, error_type, message, raw, created_at FROM failures WHERE payer = ?"
        " ORDER BY rowid DESC LIMIT ?"
    )
    try:
        with closing(JournalReader(path, open_read_only(path))) as journal:
            return FailedCalls(
                tuple(tuple(row) for row in journal.rows(counted, payer)),
                tuple(FailedCall(*row) for row in journal.rows(last, payer, n)),
            )
    except sqlite3.Error as error:
        raise unusable(path, error) from error


NO_FAILED_CALLS = FailedCalls((), ())
