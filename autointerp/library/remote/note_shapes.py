"""What goes over the wire of people's notes: what is asked; what comes back are the records of `records.notes`."""

from typing import Annotated

from pydantic import Field

from autointerp.library.remote.shapes import MOST_FEATURES, Asked, Index, Text, Whole
from autointerp.records.notes import MOST_LISTED


class WireFeature(Asked):
    """A feature by name."""

    source: Text
    index: Index


class WireListed(WireFeature):
    """A feature in a list."""

    note: Text = ""


class OfFeature(Asked):
    """A feature that something is written about."""

    feature: WireFeature


class OfFeatures(Asked):
    """Features whose notes are wanted; all that have notes where None."""

    features: Annotated[list[WireFeature] | None, Field(max_length=MOST_FEATURES)] = None


class Starring(OfFeature):
    """A star that is given, or taken away."""

    starred: bool


class Voting(OfFeature):
    """A vote: for a label (1), against it (-1), or none any more (0)."""

    explanation_id: Text
    value: Whole
    author: Text = ""


class Commenting(OfFeature):
    """A comment."""

    text: Text
    author: Text = ""


class Labelling(Asked):
    """A label of one's own."""

    feature: Index
    source: Text | None = None
    label: Text
    author: Text = ""


class Noted(Asked):
    """A note, a label or a list by its id."""

    id: Text


class NewList(Asked):
    """A list that is begun."""

    name: Text
    description: Text = ""
    test_text: Text = ""


class ChangedList(Noted):
    """What is said of a list from now on; what is None stays."""

    name: Text | None = None
    description: Text | None = None
    test_text: Text | None = None


class AddedToList(Noted):
    """Features that come to a list."""

    features: Annotated[list[WireListed], Field(max_length=MOST_LISTED)]


class OfList(Noted):
    """Features that leave a list, or are its new order."""

    features: Annotated[list[WireFeature], Field(max_length=MOST_LISTED)]
