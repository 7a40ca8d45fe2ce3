"""What people have written about a feature."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from autointerp.library.lists import FeatureList
from autointerp.records.notes import FeatureNotes

_MOST_LISTS = 200


@dataclass(frozen=True, slots=True)
class ShownComment:
    """A comment.

    Attributes:
        id: UUID.
        text: One line or several.
        author: Who; empty where nobody said.
        created_at: UTC.
    """

    id: str
    text: str
    author: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Votes:
    """The votes on a label.

    Attributes:
        explanation_id: Of the label.
        n_for: For it.
        n_against: Against it.
    """

    explanation_id: str
    n_for: int
    n_against: int


@dataclass(frozen=True, slots=True)
class NamedList:
    """A list by name.

    Attributes:
        id: UUID.
        name: One line.
    """

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ShownNotes:
    """What people have written about a feature.

    Attributes:
        is_starred: Whether anybody wants to find it again.
        votes: On its labels, where there are any.
        comments: Oldest first.
        lists: Those that it is in, by name.
        other_lists: Those that it could be put into, the one that was changed last first.
    """

    is_starred: bool
    votes: tuple[Votes, ...]
    comments: tuple[ShownComment, ...]
    lists: tuple[NamedList, ...]
    other_lists: tuple[NamedList, ...]


def shown_notes(notes: FeatureNotes, every_list: Iterable[FeatureList]) -> ShownNotes:
    """Notes as pages show them.

    Args:
        notes: Of a feature.
        every_list: All lists that there are.
    """
    has = {of.list_id for of in notes.lists}
    voted = dict.fromkeys(vote.explanation_id for vote in notes.votes)
    return ShownNotes(
        is_starred=notes.is_starred,
        votes=tuple(Votes(of, _count(notes, of, 1), _count(notes, of, -1)) for of in voted),
        comments=tuple(ShownComment(of.comment_id, of.text, of.author, of.created_at) for of in notes.comments),
        lists=tuple(NamedList(of.list_id, of.name) for of in notes.lists),
        other_lists=tuple(NamedList(of.id, of.name) for of in every_list if of.id not in has)[:_MOST_LISTS],
    )


def _count(notes: FeatureNotes, explanation_id: str, value: int) -> int:
    values: Sequence[int] = [of.value for of in notes.votes if of.explanation_id == explanation_id]
    return values.count(value)
