"""What people wrote about features, as exports have it: beside the features, and only where there is anything."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from autointerp.records.notes import FeatureNotes
from autointerp.store.notes.notes import Notes
from autointerp.store.reader import Reader

NOTE_COLUMNS = ("starred", "approval", "lists", "comments", "own_labels")
"""What a flat format has of them: a line a comment, a list and a label; `approval` is the votes on the row's label."""
Named = tuple[str, int]


def read_notes(reader: Reader) -> Mapping[Named, FeatureNotes]:
    """The notes beside a run, by feature; none for those about which nobody wrote.

    Raises:
        NotesFileError: If they can't be read.
    """
    return Notes(reader.path).of_features()


def nested_notes(notes: FeatureNotes) -> str:
    """A feature's notes as JSON, without what the trials of people's own labels were."""
    told: dict[str, Any] = {
        "is_starred": notes.is_starred,
        "comments": [asdict(of) for of in notes.comments],
        "votes": [asdict(of) for of in notes.votes],
        "labels": [{name: value for name, value in asdict(of).items() if name != "trials"} for of in notes.labels],
        "lists": [asdict(of) for of in notes.lists],
    }
    return json.dumps(told, ensure_ascii=False, default=str)


def flat_notes(notes: FeatureNotes | None, explanation_id: str | None) -> tuple[str, ...]:
    """The cells of `NOTE_COLUMNS`.

    Args:
        notes: Of the row's feature.
        explanation_id: Of the row's label.
    """
    if notes is None:
        return ("",) * len(NOTE_COLUMNS)
    has_votes = any(vote.explanation_id == explanation_id for vote in notes.votes)
    return (
        "true" if notes.is_starred else "",
        str(notes.approval(explanation_id)) if explanation_id is not None and has_votes else "",
        "\n".join(of.name for of in notes.lists),
        "\n".join(f"{of.author}: {of.text}" if of.author else of.text for of in notes.comments),
        "\n".join(of.label for of in notes.labels),
    )
