"""What goes over the wire, in either direction: what is asked of a run, and what comes back.

What comes back are the library's own records, as pydantic writes dataclasses. A number that is none is the text `"NaN"`
or `"Infinity"`, since JSON has no word for it. Arrays are packed (`arrays`), and tables are Arrow's own stream format.
"""

from dataclasses import fields
from typing import Annotated, Any, ClassVar, Generic, Literal, Self, TypeVar, get_type_hints

from jaxtyping import AbstractArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model

from autointerp.library.feature_edits import FeatureEdit
from autointerp.library.remote.arrays import Array
from autointerp.library.steer.receipt import Receipt
from autointerp.library.steer.settings import Settings
from autointerp.records import ContextKind, FeatureFilter, SourceRecord, Split
from autointerp.records.attribution import AskedToken, TokenAttribution
from autointerp.records.live import ActivationHistograms, Edit, EditMode, EditScope, ScopeKind, SourceEdits, TextFirings
from autointerp.records.on_texts import OnTexts
from autointerp.valid_text import valid_text

T = TypeVar("T")
PROTOCOL = 1
PATH = "/api/library"
PROGRAM = "autointerp"
ARROW = "application/vnd.apache.arrow.stream"
SQL, FRAME = "sql", "frame"
MOST_TEXTS = 256
MOST_FEATURES = 1_000_000
MOST_MESSAGES = 1_000
MOST_EDITS = 1_024
MOST_BIASES = 1_024
MOST_PROMPTS = 1_000


def _valid(value: object) -> object:
    return valid_text(value) if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_valid)]
"""Half of a surrogate pair is U+FFFD."""
AnyFloat = Annotated[float, Field(allow_inf_nan=True)]
"""What makes no sense is told by the library, in its own words."""
Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Index = Whole
Indices = Annotated[list[Index], Field(max_length=MOST_FEATURES)]


class Asked(BaseModel):
    """What comes in: exactly what is said here."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class Answer(BaseModel):
    """What goes out."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings", arbitrary_types_allowed=True)


class ServedRun(Answer):
    """A run that is served.

    Attributes:
        name: By which requests name it.
        told: What it holds, in words.
    """

    name: str
    told: str


class Served(Answer):
    """What answers at an address: any client reads this first.

    Attributes:
        program: Always `autointerp`.
        version: Of the program.
        protocol: Of what follows; a client of another one says so and asks nothing.
        runs: The runs.
    """

    program: str
    version: str
    protocol: int
    runs: list[ServedRun]


class RunFacts(Answer):
    """What is asked of a run again and again.

    Attributes:
        embedder: The model that its labels are embedded by.
        sources: Its coders.
        scorers: Scorers by which its labels have scores.
    """

    embedder: str
    sources: list[SourceRecord]
    scorers: list[str]


class Filter(Asked):
    """A `FeatureFilter`."""

    sources: list[Text] | None = None
    features: Indices | None = None
    min_score: dict[Text, float] = Field(default_factory=dict)
    min_density: float = 0.0
    max_density: float = 1.0
    explainer: Text | None = None
    labelled: bool | None = None

    @classmethod
    def of(cls, where: FeatureFilter) -> Self:
        """As a filter is sent."""
        return cls(
            sources=None if where.sources is None else sorted(where.sources),
            features=None if where.features is None else sorted(where.features),
            min_score={scorer: float(least) for scorer, least in where.min_score.items()},
            min_density=float(where.min_density),
            max_density=float(where.max_density),
            explainer=where.explainer,
            labelled=where.labelled,
        )

    def read(self) -> FeatureFilter:
        """The filter.

        Raises:
            FilterError: If it makes no sense.
        """
        return FeatureFilter(**{name: getattr(self, name) for name in type(self).model_fields})


class Search(Asked):
    """Which features are found."""

    query: Text
    top_k: Whole = 10
    where: Filter = Filter()
    min_relevance: AnyFloat | None = None


class Rerank(Asked):
    """Which features are put in order."""

    features: Indices
    query: Text
    source: Text | None = None
    where: Filter = Filter()


class Near(Asked):
    """Of which features neighbors are wanted."""

    features: Indices
    space: Text
    top_k: Whole = 10
    source: Text | None = None
    where: Filter = Filter()


class Some(Asked):
    """Which features are meant; all where None."""

    features: Indices | None
    source: Text | None = None


class One(Asked):
    """Which feature is meant."""

    feature: Index
    source: Text | None = None


class WantedContexts(One):
    """Which contexts of a feature are wanted."""

    n: Whole | None = None
    kind: ContextKind | None = None
    split: Split | None = None
    quantile: Whole | None = None


class WantedTrials(One):
    """Which trials of a feature are wanted."""

    scorer: Text | None = None
    errors: bool = False


class Strongest(Asked):
    """Of which features contexts are wanted, and how many of each."""

    features: Indices
    source: Text
    n: Annotated[int, Field(ge=1, lt=2**31)]


WireText = Text | Annotated[list[Any], Field(max_length=MOST_MESSAGES)]
"""A text, or a conversation, whose messages the library reads."""


class WireScope(Asked):
    """An `EditScope`."""

    kind: ScopeKind = "all"
    position: Annotated[int, Field(ge=0)] = 0
    role: Text | None = None

    def read(self) -> EditScope:
        """The scope."""
        return EditScope(self.kind, self.position, self.role)


class WireEdit(Asked):
    """An `Edit`, in the coder's own units."""

    feature: Index
    mode: EditMode
    value: float


class WireEdits(Asked):
    """The edits where one source writes."""

    source: Text
    edits: Annotated[list[WireEdit], Field(max_length=MOST_EDITS)]

    def read(self) -> SourceEdits:
        """The edits."""
        return SourceEdits(self.source, tuple(Edit(of.feature, of.mode, of.value) for of in self.edits))


class Read(Asked):
    """Which texts are read, and as what."""

    texts: Annotated[list[WireText], Field(min_length=1, max_length=MOST_TEXTS)]
    source: Text | None = None
    edits: Annotated[list[WireEdits], Field(max_length=MOST_EDITS)] = Field(default_factory=list)
    scope: WireScope = WireScope()


class OwnTexts(Asked):
    """Which texts of the run's corpus are read, and for which features."""

    features: Annotated[list[Index], Field(max_length=1_024)]
    n: Annotated[int, Field(ge=1, le=100_000)]
    seed: Whole = 0
    source: Text | None = None


class Attributed(Asked):
    """Of which token it is asked what pushes it."""

    text: WireText
    index: Whole | Text = "last"
    instead_of: Whole | Text | None = None
    measure: Literal["log_prob", "logit"] = "log_prob"
    n_removed: Annotated[int, Field(ge=0, le=10_000)] = 0
    n_steps: Annotated[int, Field(ge=0, le=1_000)] = 0
    source: Text | None = None

    def token(self) -> AskedToken:
        """The token."""
        return AskedToken(**{of.name: getattr(self, of.name) for of in fields(AskedToken)})


class Steered(Asked):
    """What answers are to be steered towards."""

    specification: Annotated[Text, Field(max_length=2_000)]
    examples: tuple[list[Text], list[Text]] | None = Field(default=None, strict=False)
    source: Text
    n_prompts: Annotated[int, Field(ge=1, le=MOST_PROMPTS)] = Settings().n_prompts
    max_tokens: Annotated[int, Field(ge=1, le=512)] = Settings().sampling.max_tokens
    seed: Whole = 0


class Chatted(Asked):
    """A conversation that is to be answered.

    Attributes:
        model: A variant as `Variant.json` gives it, or a name.
        timeout_s: After which there is an error.
    """

    messages: Annotated[list[Any], Field(max_length=MOST_MESSAGES)]
    model: dict[str, Any] | Text | None = None
    system_prompt: Text | None = None


class Completed(Chatted):
    """How it is answered."""

    max_completion_tokens: Whole
    temperature: float
    top_p: float
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    stop: Annotated[list[Text], Field(max_length=16)] = Field(default_factory=list)
    timeout_s: Annotated[float, Field(gt=0)] | None = None
    logprobs: bool = False
    top_logprobs: Whole | None = None
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: Annotated[dict[Text, float], Field(max_length=MOST_BIASES)] = Field(default_factory=dict)


class Expected(Chatted):
    """What is expected as its first token."""

    top_k: Whole | None = 10
    vocabulary: Annotated[list[Text], Field(max_length=MOST_FEATURES)] | None = None


class Query(Asked):
    """A query in SQL."""

    query: Annotated[Text, Field(max_length=100_000)]
    parameters: list[Any] | dict[Text, Any] = Field(default_factory=list)


class Frame(Asked):
    """Which features a data frame has."""

    where: Filter = Filter()


class WireRecord(Answer, Generic[T]):
    """A record with arrays; `wire_of` makes its class, so that a record that grows travels whole."""

    kind: ClassVar[type[Any]]

    @classmethod
    def of(cls, record: T) -> Self:
        """As it is sent."""
        construct: Any = cls.model_construct  # what the server found itself is not checked again
        made: Self = construct(None, **{of.name: getattr(record, of.name) for of in fields(cls.kind)})
        return made

    def record(self) -> T:
        """It."""
        found: T = self.kind(**{of.name: getattr(self, of.name) for of in fields(self.kind)})
        return found


def wire_of(kind: type[T]) -> type[WireRecord[T]]:
    """How a record travels whose arrays pydantic knows nothing of."""
    record: Any = kind
    hints = get_type_hints(record)
    shape: Any = {of.name: (Array if _is_array(hints[of.name]) else hints[of.name], ...) for of in fields(record)}
    create: Any = create_model
    made: Any = create(f"Wire{kind.__name__}", __base__=WireRecord, __doc__=kind.__doc__, **shape)
    made.kind = kind
    wire: type[WireRecord[T]] = made
    return wire


def _is_array(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, AbstractArray)


WireFirings = wire_of(TextFirings)
WireHistograms = wire_of(ActivationHistograms)
WireOnTexts = wire_of(OnTexts)
WireAttribution = wire_of(TokenAttribution)


class WireSteering(Answer):
    """A `Steering`."""

    receipt: Receipt
    edits: list[FeatureEdit]
