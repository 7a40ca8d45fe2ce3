"""The shapes of notes: what comes in, and what is told of them."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from autointerp.library.lists import FeatureList
from autointerp.records.notes import MOST_LISTED, Comment, FeatureNotes, ListFacts, OwnLabel
from autointerp.serve.shapes import Shape, Text

FeatureId = Annotated[Text, Field(description="model@source:index", examples=["all-minilm-l6-v2@3-res-2k:162"])]
Author = Annotated[Text, Field(description="who writes; empty for nobody who says so")]


class Starring(Shape):
    """A feature, and whether it has a star from now on."""

    feature: FeatureId
    starred: bool = True


class Voting(Shape):
    """A vote on a label."""

    feature: FeatureId
    value: Annotated[Literal[-1, 0, 1], Field(description="for the label, against it, or no vote any more")]
    author: Author = ""
    explanation_id: Annotated[Text | None, Field(description="the label; the feature's best one where null")] = None


class Commenting(Shape):
    """A comment."""

    feature: FeatureId
    text: Text
    author: Author = ""


class Labelling(Shape):
    """A label of one's own."""

    feature: FeatureId
    label: Text
    author: Author = ""


class NewList(Shape):
    """A list that is begun."""

    name: Text
    description: Text = ""
    test_text: Text = ""


class ChangedList(Shape):
    """What is said of a list from now on; what is null stays."""

    name: Text | None = None
    description: Text | None = None
    test_text: Text | None = None


class Listing(Shape):
    """Features that come to a list, leave it, or are its new order."""

    features: Annotated[list[FeatureId], Field(min_length=1, max_length=MOST_LISTED)]
    note: Text = ""


class Told(BaseModel):
    """What goes out."""

    model_config = ConfigDict(frozen=True)


class ToldComment(Told):
    """A comment."""

    comment_id: str
    text: str
    author: str
    created_at: datetime

    @classmethod
    def of(cls, comment: Comment) -> "ToldComment":
        """A comment, as it is told."""
        return cls(
            comment_id=comment.comment_id, text=comment.text, author=comment.author, created_at=comment.created_at
        )


class ToldScore(Told):
    """What a scorer says of a label."""

    scorer: str
    judge: str
    metric: str
    value: float
    ci_low: float
    ci_high: float
    n_trials: int
    n_unanswered: int


class ToldLabel(Told):
    """A label of somebody's own, with its scores; and why there are others not."""

    explanation_id: str
    label: str
    author: str
    created_at: datetime
    scores: list[ToldScore]
    problems: dict[str, str]

    @classmethod
    def of(cls, own: OwnLabel) -> "ToldLabel":
        """A label, as it is told."""
        return cls(
            explanation_id=own.explanation_id,
            label=own.label,
            author=own.author,
            created_at=own.created_at,
            scores=[ToldScore(**{name: getattr(of, name) for name in ToldScore.model_fields}) for of in own.scores],
            problems={of.stage: f"{of.error_type}: {of.message}" for of in own.failures},
        )


class ToldVotes(Told):
    """What the votes on a label come to."""

    explanation_id: str
    approval: Annotated[int, Field(description="votes for it less those against it")]
    n_for: int
    n_against: int


class ToldList(Told):
    """A list without its features."""

    list_id: str
    name: str
    description: str
    test_text: str
    n_features: int
    created_at: datetime
    changed_at: datetime

    @classmethod
    def of(cls, of: FeatureList | ListFacts) -> "ToldList":
        """A list, as it is told."""
        if isinstance(of, ListFacts):
            list_id, n_features = of.list_id, of.n_features
        else:
            list_id, n_features = of.id, len(of)
        return cls(
            list_id=list_id,
            name=of.name,
            description=of.description,
            test_text=of.test_text,
            n_features=n_features,
            created_at=of.created_at,
            changed_at=of.changed_at,
        )


class ToldListed(Told):
    """A feature in a list; its label is null where it has none, or its source is not served here."""

    feature: str
    source_id: str
    index: int
    note: str
    label: str | None
    is_served: bool


class ToldListWithFeatures(ToldList):
    """A list, with some of its features in order."""

    features: list[ToldListed]


class ToldLists(Told):
    """All lists, the one that was changed last first."""

    lists: list[ToldList]


class ToldStar(Told):
    """A feature with a star."""

    feature: str
    source_id: str
    index: int
    label: str | None


class ToldStars(Told):
    """The features with a star, the one that got it last first."""

    stars: list[ToldStar]


class ToldNotes(Told):
    """What people have written about a feature."""

    feature: str
    is_starred: bool
    comments: list[ToldComment]
    votes: list[ToldVotes]
    labels: list[ToldLabel]
    lists: list[ToldList]

    @classmethod
    def of(cls, feature: str, notes: FeatureNotes) -> "ToldNotes":
        """A feature's notes, as they are told."""
        votes = []
        for explanation_id in dict.fromkeys(vote.explanation_id for vote in notes.votes):
            values = [vote.value for vote in notes.votes if vote.explanation_id == explanation_id]
            n_for, n_against = values.count(1), values.count(-1)
            votes.append(
                ToldVotes(explanation_id=explanation_id, approval=n_for - n_against, n_for=n_for, n_against=n_against)
            )
        return cls(
            feature=feature,
            is_starred=notes.is_starred,
            comments=[ToldComment.of(comment) for comment in notes.comments],
            votes=votes,
            labels=[ToldLabel.of(own) for own in notes.labels],
            lists=[ToldList.of(facts) for facts in notes.lists],
        )
