"""What the wire formats' shapes have in common."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from autointerp.library.feature import Feature
from autointerp.valid_text import valid_text

MAX_TOP_K = 1_000
_MOST_MESSAGES = 1_000


def _valid(value: object) -> object:
    return valid_text(value) if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_valid)]
"""Text from outside; half of a surrogate pair is U+FFFD."""
TopK = Annotated[int, Field(ge=1, le=MAX_TOP_K)]


class Shape(BaseModel):
    """What comes in: of the types that are said, finite, and whatever else stands there is not looked at."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False, extra="ignore")


class Part(Shape):
    """A part of a message: text, or what will be refused."""

    type: Text
    text: Text | None = None


class Message(Shape):
    """A message of a conversation; an assistant's may have said nothing, or have refused.

    Attributes:
        tool_calls: Will be refused, unless empty.
        function_call: Likewise.
        audio: Likewise.
    """

    role: Text
    content: Text | list[Part]
    tool_calls: Annotated[Any, Field(exclude=True)] = None
    function_call: Annotated[Any, Field(exclude=True)] = None
    audio: Annotated[Any, Field(exclude=True)] = None

    @model_validator(mode="before")
    @classmethod
    def _with_content(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("role") == "assistant" and given.get("content") is None:
            return {**given, "content": given.get("refusal") or ""}
        return given


Conversation = Annotated[list[Message], Field(min_length=1, max_length=_MOST_MESSAGES)]


def plain(conversation: list[Message]) -> list[dict[str, Any]]:
    """A conversation as the library takes it."""
    return [message.model_dump(exclude_none=True) for message in conversation]


def told_feature(feature: Feature) -> dict[str, Any]:
    """A feature as the client reads it, with the scores of its label besides."""
    shape = {"id": feature.uuid, "label": feature.told, "index_in_sae": feature.index, "scores": dict(feature.scores)}
    return shape if feature.relevance is None else {**shape, "relevance": feature.relevance}
