"""What can be asked of a run over HTTP: of each question its path, what is sent, and what comes back.

Each is a POST to `/api/library/v1/runs/RUN/PATH`: questions are as long as texts are, and a text is no part of an
address, which logs keep.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

from pydantic import create_model

from autointerp.library.chat.expected import NextLogits
from autointerp.library.feature_view import FeatureView
from autointerp.library.remote import shapes
from autointerp.library.remote.shapes import Answer, Asked
from autointerp.library.trials import LabelTrials
from autointerp.records import Context, SearchHit
from autointerp.records.dose import Dose
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
    """

    path: str
    asked: type[A]
    answer: Any
    told: str

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
HISTOGRAMS = Call[shapes.Some, shapes.WireHistograms](
    "activation-histograms", shapes.Some, shapes.WireHistograms, "How active features are over the corpus"
)
DOSES = Call[shapes.Some, list[Dose]]("doses", shapes.Some, list[Dose], "What strength 1 is for features")
FIRINGS = Call[shapes.Read, list[shapes.WireFirings]](
    "firings", shapes.Read, list[shapes.WireFirings], "What features do on texts"
)
ON_OWN_TEXTS = Call[shapes.OwnTexts, shapes.WireOnTexts](
    "on-own-texts", shapes.OwnTexts, shapes.WireOnTexts, "What features do on texts of the run's corpus"
)
ATTRIBUTION = Call[shapes.Attributed, shapes.WireAttribution](
    "attribution", shapes.Attributed, shapes.WireAttribution, "What pushes a token"
)
LOGITS = Call[shapes.Expected, NextLogits]("logits", shapes.Expected, NextLogits, "What is expected to come next")
