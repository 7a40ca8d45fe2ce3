"""Questions about people's notes, and changes of them; what is named has to exist."""

from collections.abc import Iterable

from autointerp.errors import UnknownNoteError
from autointerp.library.remote import note_shapes as shapes
from autointerp.library.remote.shapes import Asked
from autointerp.library.run import Run
from autointerp.records.notes import Comment, FeatureNotes, ListedFeature, ListFacts, OwnLabel, Star
from autointerp.store.known import shown
from autointerp.store.notes.base import Named


def notes(run: Run, asked: shapes.OfFeatures) -> list[tuple[str, int, FeatureNotes]]:
    """What people have written about features."""
    named = None if asked.features is None else _names(asked.features)
    return [(source, index, of) for (source, index), of in run.notes.of_features(named).items()]


def star(run: Run, asked: shapes.Starring) -> None:
    """Give a feature a star, or take it away."""
    (name,) = _known(run, [asked.feature])
    if asked.starred:
        run.notes.star(name)
    else:
        run.notes.unstar(name)


def stars(run: Run, asked: Asked) -> list[Star]:
    """The stars."""
    return run.notes.stars()


def vote(run: Run, asked: shapes.Voting) -> None:
    """Vote on a label that the feature has."""
    (name,) = _known(run, [asked.feature])
    if run.feature_of_label(asked.explanation_id) != name:
        raise UnknownNoteError(f"the feature has no label {shown(asked.explanation_id)}", "vote on one that it has")
    run.notes.vote(name, asked.explanation_id, asked.value, asked.author)


def comment(run: Run, asked: shapes.Commenting) -> Comment:
    """Comment on a feature."""
    (name,) = _known(run, [asked.feature])
    return run.notes.comment(name, asked.text, asked.author)


def delete_comment(run: Run, asked: shapes.Noted) -> None:
    """Take a comment away."""
    run.notes.delete_comment(asked.id)


def write_label(run: Run, asked: shapes.Labelling) -> OwnLabel:
    """Write a label of one's own, which is scored at once."""
    return run.write_label(asked.feature, asked.label, asked.author, asked.source)


def labels(run: Run, asked: Asked) -> list[OwnLabel]:
    """Labels that people wrote."""
    return run.notes.labels()


def feature_of_label(run: Run, asked: shapes.Noted) -> Named | None:
    """The feature that a label is of."""
    return run.feature_of_label(asked.id)


def delete_label(run: Run, asked: shapes.Noted) -> None:
    """Take a label of one's own away."""
    run.notes.delete_label(asked.id)


def lists(run: Run, asked: Asked) -> list[ListFacts]:
    """All lists."""
    return run.notes.lists()


def list_facts(run: Run, asked: shapes.Noted) -> ListFacts:
    """What is said of a list."""
    return run.notes.list_facts(asked.id)


def listed(run: Run, asked: shapes.Noted) -> list[ListedFeature]:
    """A list's features."""
    return run.notes.listed(asked.id)


def new_list(run: Run, asked: shapes.NewList) -> ListFacts:
    """Begin a list."""
    return run.notes.new_list(asked.name, asked.description, asked.test_text)


def change_list(run: Run, asked: shapes.ChangedList) -> ListFacts:
    """Change what is said of a list."""
    return run.notes.change_list(asked.id, asked.name, asked.description, asked.test_text)


def delete_list(run: Run, asked: shapes.Noted) -> None:
    """Take a list away."""
    run.notes.delete_list(asked.id)


def add_to_list(run: Run, asked: shapes.AddedToList) -> ListFacts:
    """Put features into a list, also those of other runs: their own server or run says whether they exist."""
    own = {of.source_id for of in run.sources()}
    _known(run, [of for of in asked.features if of.source in own])
    items = [ListedFeature(of.source, of.index, of.note) for of in asked.features]
    return run.notes.add_to_list(asked.id, items)


def remove_from_list(run: Run, asked: shapes.OfList) -> ListFacts:
    """Take features out of a list."""
    return run.notes.remove_from_list(asked.id, _names(asked.features))


def order_list(run: Run, asked: shapes.OfList) -> ListFacts:
    """Put a list into another order."""
    return run.notes.order_list(asked.id, _names(asked.features))


def _names(features: Iterable[shapes.WireFeature]) -> list[Named]:
    return [(of.source, of.index) for of in features]


def _known(run: Run, features: Iterable[shapes.WireFeature]) -> list[Named]:
    """Names, if the run knows the features.

    Raises:
        UnknownFeatureError: If it does not know one.
    """
    named = _names(features)
    for source in dict.fromkeys(of for of, _ in named):
        run.describe([index for of, index in named if of == source], source)
    return named
