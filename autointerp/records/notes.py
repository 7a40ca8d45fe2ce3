"""Records of what people write about features: stars, votes, comments, lists, and labels of their own.

They are written while people look, and kept beside the run (`store.notes`). Text is as it was written, except for white
space at its ends; whoever shows it treats it as data. It has no control characters: none but tabs and ends of lines in
what may have several, and none that turns the direction of what stands behind it.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime

from autointerp.errors import NoteError
from autointerp.records.labels import Failure, Score, Trial
from autointerp.valid_text import valid_text

OWN = "own"
"""The explainer of labels that people write while they look."""
LONGEST_AUTHOR = 80
LONGEST_NAME = 200
LONGEST_LABEL = 500
LONGEST_DESCRIPTION = 5_000
LONGEST_COMMENT = 10_000
LONGEST_TEST_TEXT = 20_000
MOST_LISTED = 10_000
"""Features of one list."""
# Marks of direction that end with the line they stand in are what right-to-left text is written with.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")
_LINE_END = re.compile(r"\r\n?|\u2028|\u2029")


@dataclass(frozen=True, slots=True)
class Star:
    """A feature that somebody wants to find again.

    Attributes:
        source_id: `model@source`.
        feature_index: The feature.
        created_at: UTC.
    """

    source_id: str
    feature_index: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Vote:
    """What one person thinks of a label.

    Attributes:
        explanation_id: The label's.
        source_id: `model@source`.
        feature_index: The feature that the label is of.
        author: Who; empty where nobody said.
        value: 1 for it, -1 against it.
        created_at: UTC.
    """

    explanation_id: str
    source_id: str
    feature_index: int
    author: str
    value: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Comment:
    """What somebody says of a feature.

    Attributes:
        comment_id: A UUID.
        source_id: `model@source`.
        feature_index: The feature.
        text: One line or several.
        author: Who; empty where nobody said.
        created_at: UTC.
    """

    comment_id: str
    source_id: str
    feature_index: int
    text: str
    author: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ListedFeature:
    """A feature in a list.

    Attributes:
        source_id: `model@source`; it may be one of another run.
        feature_index: The feature.
        note: Why it is there; often empty.
    """

    source_id: str
    feature_index: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class ListFacts:
    """A list of features, without them.

    Attributes:
        list_id: A UUID.
        name: One line.
        description: What it is of; may be empty.
        test_text: A text to try its features on; may be empty.
        n_features: How many it has.
        created_at: UTC.
        changed_at: UTC.
    """

    list_id: str
    name: str
    description: str
    test_text: str
    n_features: int
    created_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class OwnLabel:
    """A label that somebody wrote while looking, with what its scorers say of it.

    Attributes:
        explanation_id: The UUID under which it is an explanation like any other.
        source_id: `model@source`.
        feature_index: The feature.
        label: The text, one line.
        author: Who; empty where nobody said.
        created_at: UTC.
        scores: By the scorers that could grade it, in the order in which they did.
        trials: What they tried it on.
        failures: Why others could not.
    """

    explanation_id: str
    source_id: str
    feature_index: int
    label: str
    author: str
    created_at: datetime
    scores: tuple[Score, ...] = ()
    trials: tuple[Trial, ...] = field(default=(), repr=False)
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class FeatureNotes:
    """What people have written about one feature.

    Attributes:
        is_starred: Whether anybody wants to find it again.
        comments: Oldest first.
        votes: On its labels.
        labels: People's own, oldest first.
        lists: Those that it is in, by name.
    """

    is_starred: bool
    comments: tuple[Comment, ...]
    votes: tuple[Vote, ...]
    labels: tuple[OwnLabel, ...]
    lists: tuple[ListFacts, ...]

    def approval(self, explanation_id: str) -> int:
        """Votes for a label less those against it."""
        return sum(vote.value for vote in self.votes if vote.explanation_id == explanation_id)


def checked_line(text: object, what: str, longest: int, *, may_be_empty: bool = False) -> str:
    """A text of one line as it is kept.

    Args:
        text: As it was given.
        what: What it is, for errors: "the list's name".
        longest: Characters that it may have.
        may_be_empty: Whether it may say nothing.

    Raises:
        NoteError: If it is none, too long, or has control characters.
    """
    line = _checked(text, what, longest, may_be_empty)
    if "\n" in line or "\t" in line:
        raise NoteError(f"{what} has more than one line, or a tab", "write it in one line")
    return line


def checked_text(text: object, what: str, longest: int, *, may_be_empty: bool = False) -> str:
    """A text of any number of lines as it is kept; arguments and errors are those of `checked_line`."""
    return _checked(text, what, longest, may_be_empty)


def _checked(text: object, what: str, longest: int, may_be_empty: bool) -> str:
    if not isinstance(text, str):
        raise NoteError(f"{what} is no text", "give text")
    if len(text) > 2 * longest:  # before work is done on a very long one
        raise NoteError(f"{what} has {len(text):,} characters", f"write at most {longest:,}")
    kept = _LINE_END.sub("\n", valid_text(text)).strip()
    if len(kept) > longest:
        raise NoteError(f"{what} has {len(kept):,} characters", f"write at most {longest:,}")
    if (found := _CONTROL.search(kept)) is not None:
        raise NoteError(f"{what} has the control character U+{ord(found[0]):04X}", "leave it out")
    if not kept and not may_be_empty:
        raise NoteError(f"{what} is empty", "write something")
    return kept
