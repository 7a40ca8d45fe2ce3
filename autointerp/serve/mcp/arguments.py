"""What each tool takes. Types, bounds and descriptions become the input schema by which an agent knows how to ask."""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt

from autointerp.records import ContextKind, Split

MOST_ROWS = 50
MOST_TEXT = 20_000


def _read_json(value: Any) -> Any:
    """Read an object or a list that came as text: some hosts write every argument as one."""
    if not isinstance(value, str) or value[:1] not in ("{", "["):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


_Share = Annotated[float, Field(ge=0.0, le=1.0)]
_Name = Annotated[str, Field(min_length=1, max_length=300)]
_Feature = StrictInt | _Name
_FeatureField = Annotated[
    _Feature,
    Field(description="As replies name it, model@source:index; or its index where there is one source."),
]
_Rows = Annotated[int, Field(ge=1, le=MOST_ROWS, description="Most rows wanted.")]
_Offset = Annotated[int, Field(ge=0, le=100_000, description="Rows to leave out at the start, to see what was cut.")]


class Arguments(BaseModel):
    """Arguments of a tool; one that the tool does not know is refused, since a misspelt filter would filter nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class NoArguments(Arguments):
    """Of a tool that takes none."""


class OfRun(Arguments):
    """Of a tool that may be asked of one run only."""

    run: Annotated[
        _Name | None,
        Field(description="Only this run, as `status` names it; null: all, and of a feature the first that knows it."),
    ] = None


class _Filtered(OfRun):
    top_k: _Rows = 10
    offset: Annotated[_Offset, Field(le=9_000)] = 0
    min_score: Annotated[
        _Share | dict[_Name, _Share] | None,
        BeforeValidator(_read_json),
        Field(description='Least score by scorer, {"detection": 0.8}; or one number for every scorer of the run.'),
    ] = None
    min_density: Annotated[_Share, Field(description="Least share of tokens on which a feature fires.")] = 0.0
    max_density: Annotated[_Share, Field(description="Largest share; .01 leaves out what fires nearly always.")] = 1.0
    explainer: Annotated[_Name | None, Field(description="Only labels that this explainer wrote.")] = None


class SearchArguments(_Filtered):
    """Of `search`."""

    query: Annotated[
        str, Field(min_length=1, max_length=2_000, description="What features should be about, in plain words.")
    ]
    source: Annotated[
        _Name | Annotated[list[_Name], Field(min_length=1, max_length=100)] | None,
        BeforeValidator(_read_json),
        Field(description="Only features of this source, or of these; each model@source as `status` lists them."),
    ] = None
    rerank: Annotated[
        bool, Field(description="Order what was found by a closer look at labels and contexts; slower.")
    ] = False


class NeighborsArguments(_Filtered):
    """Of `neighbors`."""

    feature: Annotated[
        _Feature | Annotated[list[_Feature], Field(min_length=1, max_length=MOST_ROWS)],
        BeforeValidator(_read_json),
        Field(description="A feature, or several of one source: neighbors of the group."),
    ]
    space: Annotated[
        Literal["label", "decoder", "coactivation"],
        Field(
            description="label: labels that mean the like. decoder: directions that are close. "
            "coactivation: fires on the same tokens."
        ),
    ] = "label"


class ShowArguments(OfRun):
    """Of `show`."""

    feature: _FeatureField


class ContextsArguments(OfRun):
    """Of `contexts`."""

    feature: _FeatureField
    n: _Rows = 8
    offset: _Offset = 0
    kind: Annotated[
        ContextKind | None,
        Field(description="top, quantile: it fires. silent_…: it does not, though it might seem so. Others: scorers'."),
    ] = None
    split: Annotated[
        Split | None, Field(description="explain: shown to the explainer. score: only graded by, never shown to it.")
    ] = None
    quantile: Annotated[
        int | None, Field(ge=0, le=1_000, description="Only of this quantile of its activations, 0 the weakest.")
    ] = None
    kept: Annotated[
        bool, Field(description="Also those that the pass over the corpus kept and nobody took; slower.")
    ] = False


class TrialsArguments(OfRun):
    """Of `trials`."""

    feature: _FeatureField
    scorer: Annotated[_Name | None, Field(description="Only of this scorer, for example detection.")] = None
    errors: Annotated[bool, Field(description="Only trials answered wrong, or not at all.")] = False
    baselines: Annotated[bool, Field(description="Also of shuffled labels and other baselines.")] = False
    n: _Rows = 20
    offset: _Offset = 0


class Message(Arguments):
    """A message of a conversation."""

    role: _Name
    content: Annotated[str, Field(max_length=MOST_TEXT)]


class InspectArguments(OfRun):
    """Of `inspect`."""

    text: Annotated[
        Annotated[str, Field(min_length=1, max_length=MOST_TEXT)]
        | Annotated[list[Message], Field(min_length=1, max_length=MOST_ROWS)],
        Field(description="A text; or a conversation, a list of messages with role and content, if the model chats."),
    ]
    features: Annotated[
        Annotated[list[_Feature], Field(min_length=1, max_length=MOST_ROWS)] | None,
        BeforeValidator(_read_json),
        Field(description="Only these features, of one source; all of the source by default."),
    ] = None
    source: Annotated[_Name | None, Field(description="Which source reads it, where there are several.")] = None
    top_k: _Rows = 10
    aggregate_by: Annotated[
        Literal["frequency", "mean", "max", "sum"], Field(description="What a feature does on the text as one number.")
    ] = "max"
    rank_by: Annotated[
        Literal["surprise", "percentile", "activation"],
        Field(description="By what features are chosen; raw activations put the same few features on top of any text."),
    ] = "surprise"
    each_token: Annotated[int, Field(ge=0, le=5, description="Features to tell on every token; 0: none.")] = 0
    offset: Annotated[int, Field(ge=0, le=100_000, description="Tokens to leave out at the start, where told.")] = 0
