"""What people write about features, kept beside a run: each change is one transaction, each answer of one moment."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from uuid import uuid4

from autointerp.errors import NoteError, UnknownNoteError
from autointerp.records.notes import (
    LONGEST_COMMENT,
    Comment,
    FeatureNotes,
    ListFacts,
    OwnLabel,
    Star,
    Vote,
    checked_text,
)
from autointerp.store.known import shown
from autointerp.store.notes.base import (
    OF_A_FEATURE,
    Named,
    check_room,
    checked_author,
    gathered,
    key,
    moment,
    now_text,
    read_comment,
    read_label,
    rows_of,
    text_of,
)
from autointerp.store.notes.lists import ListNotes
from autointerp.store.notes.uploads import UploadNotes


class Notes(ListNotes, UploadNotes):
    """The notes beside one run.

    Whether the features, labels and sources that are named exist is for the caller to see to.
    """

    def star(self, feature: Named) -> None:
        """Star a feature; one that is starred stays so."""
        with self._writing() as file:
            file.execute("INSERT OR IGNORE INTO stars VALUES (?, ?, ?)", (*feature, now_text()))

    def unstar(self, feature: Named) -> None:
        """Take a feature's star away, if it has one."""
        with self._writing() as file:
            file.execute(f"DELETE FROM stars WHERE {OF_A_FEATURE}", feature)

    def stars(self) -> list[Star]:
        """The stars, newest first."""
        with self._reading() as file:
            found = file.execute("SELECT * FROM stars ORDER BY created_at DESC, source_id, feature_index").fetchall()
        return [Star(source, index, moment(at)) for source, index, at in found]

    def vote(self, feature: Named, explanation_id: str, value: int, author: str = "") -> None:
        """Vote for a label (1), against it (-1), or take one's vote back (0).

        Raises:
            NoteError: If it is no such value, or the author is no name.
        """
        if isinstance(value, bool) or value not in (-1, 0, 1):
            raise NoteError(f"{shown(value)} is no vote", "give 1, -1, or 0 to take one back")
        author, explanation_id = checked_author(author), key(explanation_id)
        with self._writing() as file:
            file.execute("DELETE FROM votes WHERE explanation_id = ? AND author = ?", (explanation_id, author))
            if value:
                check_room(file, "votes", "explanation_id = ?", (explanation_id,), "votes on this label")
                row = (explanation_id, author, *feature, value, now_text())
                file.execute("INSERT INTO votes VALUES (?, ?, ?, ?, ?, ?)", row)

    def comment(self, feature: Named, text: str, author: str = "") -> Comment:
        """Comment on a feature.

        Raises:
            NoteError: If the text is empty or too long, or there are too many comments already.
        """
        text, author = checked_text(text, "the comment", LONGEST_COMMENT), checked_author(author)
        row = (str(uuid4()), *feature, text, author, now_text())
        with self._writing() as file:
            check_room(file, "comments", OF_A_FEATURE, feature, "comments on this feature")
            file.execute(
                "INSERT INTO comments (comment_id, source_id, feature_index, text, author, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                row,
            )
        return read_comment(row)

    def delete_comment(self, comment_id: str) -> None:
        """Take a comment away.

        Raises:
            UnknownNoteError: If there is none of this id.
        """
        with self._writing() as file:
            found = file.execute("DELETE FROM comments WHERE comment_id = ?", (key(comment_id),))
            if not found.rowcount:
                raise UnknownNoteError(
                    f"there is no comment {shown(comment_id)} here", "look at the feature's comments"
                )

    def of_feature(self, feature: Named) -> FeatureNotes:
        """All that people have written about one feature."""
        return self.of_features([feature])[feature]

    def of_features(self, features: Iterable[Named] | None = None) -> dict[Named, FeatureNotes]:
        """All that people have written about some features, or about all that anything is written about.

        Args:
            features: Each gets an entry; None for those that have notes.
        """
        named = None if features is None else list(dict.fromkeys(features))
        if named == []:
            return {}
        if named is not None and not self.path.exists():  # nobody has written anything yet
            return {feature: FeatureNotes(False, (), (), (), ()) for feature in named}
        with self._reading() as file:
            stars = {(source, index) for source, index, _ in rows_of(file, "stars", "*", named)}
            comments = gathered(
                read_comment(row)
                for row in rows_of(
                    file, "comments", "comment_id, source_id, feature_index, text, author, created_at, place", named
                )
            )
            votes = gathered(
                Vote(explanation, source, index, author, value, moment(at))
                for explanation, author, source, index, value, at in rows_of(file, "votes", "*", named)
            )
            labels = gathered(read_label(row) for row in rows_of(file, "labels", "*", named))
            lists = self._lists(file)
            listed: dict[Named, list[ListFacts]] = {}
            for list_id, source, index, *_ in rows_of(file, "listed", "*", named):
                listed.setdefault((source, index), []).append(lists[list_id])
        some = named if named is not None else sorted({*stars, *comments, *votes, *labels, *listed})
        return {
            feature: FeatureNotes(
                feature in stars,
                tuple(comments.get(feature, ())),
                tuple(sorted(votes.get(feature, ()), key=lambda vote: (vote.explanation_id, vote.created_at))),
                tuple(labels.get(feature, ())),
                tuple(sorted(listed.get(feature, ()), key=lambda of: (of.name, of.list_id))),
            )
            for feature in some
        }

    def keep_label(self, label: OwnLabel) -> None:
        """Keep a label with its scores; one of the same id is replaced.

        Raises:
            NoteError: If the feature has too many.
        """
        named = (label.source_id, label.feature_index)
        graded = {
            "scores": [asdict(of) for of in label.scores],
            "trials": [asdict(of) for of in label.trials],
            "failures": [{**asdict(of), "created_at": of.created_at.isoformat()} for of in label.failures],
        }
        row = (label.explanation_id, *named, label.label, label.author, text_of(label.created_at), json.dumps(graded))
        with self._writing() as file:
            file.execute("DELETE FROM labels WHERE explanation_id = ?", (label.explanation_id,))
            check_room(file, "labels", OF_A_FEATURE, named, "labels of people's own on this feature")
            file.execute(
                "INSERT INTO labels (explanation_id, source_id, feature_index, label, author, created_at, graded)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )

    def feature_of_label(self, explanation_id: str) -> Named | None:
        """The feature that a label of one's own is of; None where there is no such label."""
        with self._reading() as file:
            found = file.execute(
                "SELECT source_id, feature_index FROM labels WHERE explanation_id = ?", (key(explanation_id),)
            ).fetchone()
        return None if found is None else (found[0], found[1])

    def delete_label(self, explanation_id: str) -> None:
        """Take a label of one's own away, and the votes on it.

        Raises:
            UnknownNoteError: If there is none of this id.
        """
        with self._writing() as file:
            found = file.execute("DELETE FROM labels WHERE explanation_id = ?", (key(explanation_id),))
            if not found.rowcount:
                raise UnknownNoteError(
                    f"nobody here wrote a label with the id {shown(explanation_id)}", "look at the feature's labels"
                )
            file.execute("DELETE FROM votes WHERE explanation_id = ?", (key(explanation_id),))

    def labels(self) -> list[OwnLabel]:
        """All labels that people wrote, oldest first."""
        with self._reading() as file:
            return [read_label(row) for row in rows_of(file, "labels", "*", None)]
