"""What notes on lists, features and labels have in common: the file, a transaction, and rows as records."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from autointerp.errors import NoteError
from autointerp.records.labels import Failure, Score, Trial
from autointerp.records.notes import LONGEST_AUTHOR, Comment, ListFacts, OwnLabel, Vote, checked_line
from autointerp.store.connection import store_path
from autointerp.store.notes.file import NOTES_FILE, reading_notes, writing_notes
from autointerp.valid_text import valid_text

OF_A_FEATURE = "source_id = ? AND feature_index = ?"
MOST_OF_A_FEATURE = 500
Named = tuple[str, int]
"""A feature: its source and index."""
_AboutFeature = TypeVar("_AboutFeature", Comment, Vote, OwnLabel)


class NotesOfRun:
    """The file of notes beside one run.

    Args:
        run_folder: The run's folder, or its store's file.
        timeout_s: How long to wait for others that write.
    """

    def __init__(self, run_folder: str | Path, timeout_s: float = 10.0) -> None:
        self.path = store_path(run_folder).parent / NOTES_FILE
        self._timeout_s = timeout_s

    def __reduce__(self) -> tuple[type[Self], tuple[Path, float]]:
        return type(self), (self.path.parent, self._timeout_s)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path.parent)!r})"

    def _reading(self) -> AbstractContextManager[sqlite3.Connection]:
        return reading_notes(self.path, self._timeout_s)

    def _writing(self) -> AbstractContextManager[sqlite3.Connection]:
        return writing_notes(self.path, self._timeout_s)


def rows_of(file: sqlite3.Connection, table: str, columns: str, features: Sequence[Named] | None) -> Iterator[Any]:
    """Rows about some features, or all, in the order in which they were written where the table knows it."""
    order = " ORDER BY place" if table in ("comments", "labels") else ""
    if features is None:
        yield from file.execute(f"SELECT {columns} FROM {table}{order}").fetchall()
        return
    for feature in features:
        yield from file.execute(f"SELECT {columns} FROM {table} WHERE {OF_A_FEATURE}{order}", feature).fetchall()


def gathered(records: Iterable[_AboutFeature]) -> dict[Named, list[_AboutFeature]]:
    """Records by the feature that they are about, each in its order."""
    found: dict[Named, list[_AboutFeature]] = {}
    for record in records:
        found.setdefault((record.source_id, record.feature_index), []).append(record)
    return found


def check_room(
    file: sqlite3.Connection, table: str, where: str, of: Sequence[Any], what: str, most: int = MOST_OF_A_FEATURE
) -> None:
    """See that a table may get another row.

    Args:
        file: The notes, in a transaction.
        table: The table.
        where: Which of its rows count.
        of: In the places of its `?`.
        what: What is counted, for the error.
        most: Rows that there may be.

    Raises:
        NoteError: If there are so many.
    """
    (n,) = file.execute(f"SELECT count(*) FROM {table} WHERE {where}", of).fetchone()
    if n >= most:
        raise NoteError(f"there are {n:,} {what} already", "delete some first")


def checked_author(author: str) -> str:
    """Somebody's name, empty for nobody's.

    Raises:
        NoteError: If it is no line of some length.
    """
    return checked_line(author, "the author's name", LONGEST_AUTHOR, may_be_empty=True)


def read_comment(row: Sequence[Any]) -> Comment:
    """A comment from its row, whose first column is its id."""
    comment_id, source, index, text, author, at = row[:6]
    return Comment(comment_id, source, index, text, author, moment(at))


def read_list(row: Sequence[Any]) -> ListFacts:
    """What is said of a list, from its row."""
    list_id, name, description, test_text, n_features, created_at, changed_at = row
    return ListFacts(list_id, name, description, test_text, n_features, moment(created_at), moment(changed_at))


def read_label(row: Sequence[Any]) -> OwnLabel:
    """A label of one's own with its scores, from its row."""
    _, explanation_id, source, index, label, author, at, graded = row
    said: Mapping[str, Any] = json.loads(graded)
    trials = (
        {**of, "marked": tuple(of["marked"]), "simulated": None if of["simulated"] is None else tuple(of["simulated"])}
        for of in said["trials"]
    )
    failures = ({**of, "created_at": datetime.fromisoformat(of["created_at"])} for of in said["failures"])
    return OwnLabel(
        explanation_id,
        source,
        index,
        label,
        author,
        moment(at),
        tuple(Score(**of) for of in said["scores"]),
        tuple(Trial(**of) for of in trials),
        tuple(Failure(**of) for of in failures),
    )


def key(name: object) -> str:
    """An id as somebody gives it, as text that the file can be asked for."""
    return valid_text(str(name))


def now_text() -> str:
    """The moment, as rows have it."""
    return text_of(datetime.now(UTC))


def text_of(when: datetime) -> str:
    """A moment, as rows have it."""
    return when.astimezone(UTC).isoformat(timespec="microseconds")


def moment(text: str) -> datetime:
    """A moment, from a row's text."""
    return datetime.fromisoformat(text)
