"""What can be asked of a run over HTTP: of each question its path, what is sent, and what comes back.

Each is a POST to `/api/library/v1/runs/RUN/PATH`, or to `/api/library/v1/PATH` where it is asked of all runs. Questions
are as long as texts are, and a text is no part of an address, which logs keep.
"""

from dataclasses import dataclass
from functools import cached_property
from types import GenericAlias
from typing import Any, Generic, TypeVar

from pydantic import create_model

from autointerp.library.chat.expected import NextLogits
from autointerp.library.chat.replies import ChatCompletionChunk
from autointerp.library.feature_view import FeatureView
from autointerp.library.remote import note_shapes, shapes
from autointerp.library.remote.shapes import Answer, Asked
from autointerp.library.trials import LabelTrials
from autointerp.records import Context, SearchHit
from autointerp.records.attribution import TokenAttribution
from autointerp.records.dose import Dose
from autointerp.records.live import ActivationHistograms, TextFirings
from autointerp.records.notes import Comment, FeatureNotes, ListedFeature, ListFacts, OwnLabel, Star
from autointerp.records.on_texts import OnTexts
from autointerp.store.results import ScorerSummary, StageStatus

A = TypeVar("A", bound=Asked)
R = TypeVar("R")
_ANSWER = "answer"


@dataclass(frozen=True)
class Call(Generic[A, R]):
    """A question.

    Attributes:
        path: Behind the run's.
        asked: What is sent.
        answer: What comes back, as JSON's `answer`.
        told: What it is, for the description of the API.
        of_run: Whether it is asked of one run.
    """

    path: str
    asked: type[A]
    answer: Any
    told: str
    of_run: bool = True

    def __reduce__(self) -> tuple[Any, ...]:
        return _named, (self.path,)  # a model that is made as the program runs can't be pickled

    @cached_property
    def model(self) -> type[Answer]:
        """What comes back, as a model."""
        name = self.path.title().replace("-", "") + "Answer"
        made: type[Answer] = create_model(name, __base__=Answer, answer=(self.answer, ...))
        return made

    def write(self, answer: R) -> bytes:
        """An answer as JSON."""
        return self.model.model_construct(None, answer=answer).model_dump_json(warnings=False).encode()

    def read(self, text: bytes) -> R:
        """Read what `write` gave.

        Raises:
            ValueError: If it is something else.
        """
        found: R = getattr(self.model.model_validate_json(text), _ANSWER)
        return found


FACTS = Call[Asked, shapes.RunFacts]("facts", Asked, shapes.RunFacts, "Sources, scorers and the embedder of a run")
SEARCH = Call[shapes.Search, list[SearchHit]]("search", shapes.Search, list[SearchHit], "Features by what they mean")
RERANK = Call[shapes.Rerank, list[SearchHit]]("rerank", shapes.Rerank, list[SearchHit], "Features by a closer look")
NEIGHBORS = Call[shapes.Near, list[SearchHit]]("neighbors", shapes.Near, list[SearchHit], "Features close to some")
DESCRIBE = Call[shapes.Some, list[SearchHit]]("describe", shapes.Some, list[SearchHit], "Features with their labels")
FEATURE = Call[shapes.One, FeatureView]("feature", shapes.One, FeatureView, "All that is known of a feature")
CONTEXTS = Call[shapes.WantedContexts, list[Context]](
    "contexts", shapes.WantedContexts, list[Context], "A feature's contexts, strongest first"
)
TRIALS = Call[shapes.WantedTrials, tuple[LabelTrials, ...]](
    "trials", shapes.WantedTrials, tuple[LabelTrials, ...], "What a feature's labels were tried on"
)
STRONGEST = Call[shapes.Strongest, dict[int, list[Context]]](
    "strongest", shapes.Strongest, dict[int, list[Context]], "The strongest contexts of features"
)
STATUS = Call[Asked, list[StageStatus]]("status", Asked, list[StageStatus], "How far each stage is")
SUMMARY = Call[Asked, list[ScorerSummary]]("score-summary", Asked, list[ScorerSummary], "Each scorer over all labels")
HISTOGRAMS = Call[shapes.Some, shapes.WireRecord[ActivationHistograms]](
    "activation-histograms", shapes.Some, shapes.WireHistograms, "How active features are over the corpus"
)
DOSES = Call[shapes.Some, list[Dose]]("doses", shapes.Some, list[Dose], "What strength 1 is for features")
FIRINGS = Call[shapes.Read, list[shapes.WireRecord[TextFirings]]](
    "firings", shapes.Read, GenericAlias(list, shapes.WireFirings), "What features do on texts"
)
ON_OWN_TEXTS = Call[shapes.OwnTexts, shapes.WireRecord[OnTexts]](
    "on-own-texts", shapes.OwnTexts, shapes.WireOnTexts, "What features do on texts of the run's corpus"
)
ATTRIBUTION = Call[shapes.Attributed, shapes.WireRecord[TokenAttribution]](
    "attribution", shapes.Attributed, shapes.WireAttribution, "What pushes a token"
)
LOGITS = Call[shapes.Expected, NextLogits](
    "logits", shapes.Expected, NextLogits, "What is expected to come next", of_run=False
)
CHAT = Call[shapes.Completed, ChatCompletionChunk](
    "chat", shapes.Completed, ChatCompletionChunk, "An answer, piece by piece", of_run=False
)
AUTO_STEER = Call[shapes.Steered, shapes.WireSteering](
    "auto-steer", shapes.Steered, shapes.WireSteering, "Features that steer to what is said in words", of_run=False
)

NOTES = Call[note_shapes.OfFeatures, list[tuple[str, int, FeatureNotes]]](
    "notes", note_shapes.OfFeatures, list[tuple[str, int, FeatureNotes]], "What people have written about features"
)
STAR = Call[note_shapes.Starring, None]("star", note_shapes.Starring, None, "Give a feature a star, or take it away")
STARS = Call[Asked, list[Star]]("stars", Asked, list[Star], "The stars, newest first")
VOTE = Call[note_shapes.Voting, None]("vote", note_shapes.Voting, None, "Vote on a label")
COMMENT = Call[note_shapes.Commenting, Comment]("comment", note_shapes.Commenting, Comment, "Comment on a feature")
DELETE_COMMENT = Call[note_shapes.Noted, None]("delete-comment", note_shapes.Noted, None, "Take a comment away")
WRITE_LABEL = Call[note_shapes.Labelling, OwnLabel](
    "write-label", note_shapes.Labelling, OwnLabel, "Write a label of one's own, which is scored at once"
)
LABELS = Call[Asked, list[OwnLabel]]("labels", Asked, list[OwnLabel], "Labels that people wrote, oldest first")
FEATURE_OF_LABEL = Call[note_shapes.Noted, tuple[str, int] | None](
    "feature-of-label", note_shapes.Noted, tuple[str, int] | None, "The feature that a label is of"
)
DELETE_LABEL = Call[note_shapes.Noted, None]("delete-label", note_shapes.Noted, None, "Take one's own label away")
LISTS = Call[Asked, list[ListFacts]]("lists", Asked, list[ListFacts], "All lists of features")
LIST_FACTS = Call[note_shapes.Noted, ListFacts]("list-facts", note_shapes.Noted, ListFacts, "What is said of a list")
LISTED = Call[note_shapes.Noted, list[ListedFeature]](
    "listed", note_shapes.Noted, list[ListedFeature], "The features of a list, in its order"
)
NEW_LIST = Call[note_shapes.NewList, ListFacts]("new-list", note_shapes.NewList, ListFacts, "Begin a list")
CHANGE_LIST = Call[note_shapes.ChangedList, ListFacts](
    "change-list", note_shapes.ChangedList, ListFacts, "Change what is said of a list"
)
DELETE_LIST = Call[note_shapes.Noted, None]("delete-list", note_shapes.Noted, None, "Take a list away")
ADD_TO_LIST = Call[note_shapes.AddedToList, ListFacts](
    "add-to-list", note_shapes.AddedToList, ListFacts, "Put features at the end of a list"
)
REMOVE_FROM_LIST = Call[note_shapes.OfList, ListFacts](
    "remove-from-list", note_shapes.OfList, ListFacts, "Take features out of a list"
)
ORDER_LIST = Call[note_shapes.OfList, ListFacts](
    "order-list", note_shapes.OfList, ListFacts, "Put a list into another order"
)


def _named(path: str) -> Call[Any, Any]:
    return next(of for of in globals().values() if isinstance(of, Call) and of.path == path)
