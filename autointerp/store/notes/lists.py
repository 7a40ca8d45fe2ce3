"""Lists of features: named, described, with a text to try them on, in an order."""

import sqlite3
from collections.abc import Iterable, Sequence
from uuid import uuid4

from autointerp.errors import NoteError, UnknownNoteError
from autointerp.records.notes import (
    LONGEST_DESCRIPTION,
    LONGEST_NAME,
    LONGEST_TEST_TEXT,
    MOST_LISTED,
    ListedFeature,
    ListFacts,
    checked_line,
    checked_text,
)
from autointerp.store.known import shown
from autointerp.store.notes.base import OF_A_FEATURE, Named, NotesOfRun, check_room, key, now_text, read_list

_MOST_LISTS = 1_000
_LISTS = """
SELECT list_id, name, description, test_text, (SELECT count(*) FROM listed WHERE listed.list_id = lists.list_id),
    created_at, changed_at
FROM lists
"""


class ListNotes(NotesOfRun):
    """The lists among the notes."""

    def new_list(self, name: str, description: str = "", test_text: str = "") -> ListFacts:
        """Begin a list.

        Raises:
            NoteError: If a text is none that can be kept, or there are too many lists.
        """
        list_id, now = str(uuid4()), now_text()
        row = (list_id, *_list_texts(name, description, test_text), now, now)
        with self._writing() as file:
            check_room(file, "lists", "true", (), "lists", _MOST_LISTS)
            file.execute("INSERT INTO lists VALUES (?, ?, ?, ?, ?, ?)", row)
            return self._list(file, list_id)

    def change_list(
        self, list_id: str, name: str | None = None, description: str | None = None, test_text: str | None = None
    ) -> ListFacts:
        """Change what is said of a list; what is None stays.

        Raises:
            UnknownNoteError: If there is no such list.
            NoteError: If a text is none that can be kept.
        """
        with self._writing() as file:
            now = self._list(file, list_id)
            texts = _list_texts(
                now.name if name is None else name,
                now.description if description is None else description,
                now.test_text if test_text is None else test_text,
            )
            file.execute(
                "UPDATE lists SET name = ?, description = ?, test_text = ? WHERE list_id = ?", (*texts, list_id)
            )
            return self._changed(file, list_id)

    def delete_list(self, list_id: str) -> None:
        """Take a list away; its features stay.

        Raises:
            UnknownNoteError: If there is no such list.
        """
        with self._writing() as file:
            self._list(file, list_id)
            file.execute("DELETE FROM lists WHERE list_id = ?", (list_id,))

    def lists(self) -> list[ListFacts]:
        """All lists, the one that was changed last first."""
        with self._reading() as file:
            return list(self._lists(file).values())

    def list_facts(self, list_id: str) -> ListFacts:
        """What is said of a list.

        Raises:
            UnknownNoteError: If there is no such list.
        """
        with self._reading() as file:
            return self._list(file, list_id)

    def listed(self, list_id: str) -> list[ListedFeature]:
        """The features of a list, in its order.

        Raises:
            UnknownNoteError: If there is no such list.
        """
        with self._reading() as file:
            self._list(file, list_id)
            found = file.execute(
                "SELECT source_id, feature_index, note FROM listed WHERE list_id = ? ORDER BY place", (list_id,)
            ).fetchall()
        return [ListedFeature(*row) for row in found]

    def add_to_list(self, list_id: str, features: Iterable[ListedFeature]) -> ListFacts:
        """Put features at the end of a list; of one that it has already, its place stays, and its note is replaced.

        Raises:
            UnknownNoteError: If there is no such list.
            NoteError: If it would have too many features, or a note can't be kept.
        """
        some = [
            (of.source_id, of.feature_index, checked_text(of.note, "a note", LONGEST_DESCRIPTION, may_be_empty=True))
            for of in features
        ]
        with self._writing() as file:
            self._list(file, list_id)
            (first,) = file.execute(
                "SELECT coalesce(max(place) + 1, 0) FROM listed WHERE list_id = ?", (list_id,)
            ).fetchone()
            file.executemany(
                "INSERT INTO listed (list_id, source_id, feature_index, place, note) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET note = CASE WHEN excluded.note = '' THEN note ELSE excluded.note END",
                [(list_id, source, index, first + place, note) for place, (source, index, note) in enumerate(some)],
            )
            changed = self._changed(file, list_id)
            if changed.n_features > MOST_LISTED:
                raise NoteError(f"the list would have {changed.n_features:,} features", f"list at most {MOST_LISTED:,}")
            return changed

    def remove_from_list(self, list_id: str, features: Iterable[Named]) -> ListFacts:
        """Take features out of a list, if they are in it.

        Raises:
            UnknownNoteError: If there is no such list.
        """
        with self._writing() as file:
            self._list(file, list_id)
            file.executemany(
                f"DELETE FROM listed WHERE list_id = ? AND {OF_A_FEATURE}", [(list_id, *of) for of in features]
            )
            return self._changed(file, list_id)

    def order_list(self, list_id: str, features: Sequence[Named]) -> ListFacts:
        """Put the features of a list into another order.

        Raises:
            UnknownNoteError: If there is no such list.
            NoteError: If these are not the list's features, each once.
        """
        with self._writing() as file:
            self._list(file, list_id)
            has = file.execute("SELECT source_id, feature_index FROM listed WHERE list_id = ?", (list_id,)).fetchall()
            if sorted(has) != sorted(features):
                raise NoteError("the order names other features than the list has", "name each of them once")
            file.executemany(
                f"UPDATE listed SET place = ? WHERE list_id = ? AND {OF_A_FEATURE}",
                [(place, list_id, *of) for place, of in enumerate(features)],
            )
            return self._changed(file, list_id)

    def _list(self, file: sqlite3.Connection, list_id: str) -> ListFacts:
        found = file.execute(f"{_LISTS} WHERE list_id = ?", (key(list_id),)).fetchone()
        if found is None:
            raise UnknownNoteError(f"there is no list {shown(list_id)} here", "look at the lists")
        return read_list(found)

    def _lists(self, file: sqlite3.Connection) -> dict[str, ListFacts]:
        found = file.execute(f"{_LISTS} ORDER BY changed_at DESC, list_id").fetchall()
        return {row[0]: read_list(row) for row in found}

    def _changed(self, file: sqlite3.Connection, list_id: str) -> ListFacts:
        file.execute("UPDATE lists SET changed_at = ? WHERE list_id = ?", (now_text(), list_id))
        return self._list(file, list_id)


def _list_texts(name: str, description: str, test_text: str) -> tuple[str, str, str]:
    return (
        checked_line(name, "the list's name", LONGEST_NAME),
        checked_text(description, "the list's description", LONGEST_DESCRIPTION, may_be_empty=True),
        checked_text(test_text, "the list's test text", LONGEST_TEST_TEXT, may_be_empty=True),
    )
