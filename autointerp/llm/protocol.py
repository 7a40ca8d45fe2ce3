"""What callers and language models say to each other, and what a provider's client says to our own layer.

A call's outcome is a value that the caller matches: a `Reply`, or a `CallFailure` of this one call. Exceptions are left
for what no further call can mend (no key, a refused key, an unknown model): they stop the run.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from autointerp.records import Usage

CallErrorType = Literal[
    "Refusal",
    "Truncated",
    "ParseFailure",
    "Timeout",
    "RateLimited",
    "ServerError",
    "ConnectionDropped",
    "TooLong",
    "BadRequest",
]
NOT_NOW: tuple[CallErrorType, ...] = ("ConnectionDropped", "Timeout", "RateLimited", "ServerError")
"""What says nothing of the request: the same one may be answered later."""


class AnswerModel(BaseModel):
    """Base of the answers that can be asked for: every field with its type, nothing is converted.

    A range belongs to whoever reads the answer: providers' structured answers know types and names only.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def problem(self) -> str | None:
        """What is wrong with an answer that fits its types, so that it is sent back like one that doesn't; one line."""
        return None


AnswerT = TypeVar("AnswerT", bound=AnswerModel)
AnswerT_co = TypeVar("AnswerT_co", bound=AnswerModel, covariant=True)


@dataclass(frozen=True, slots=True)
class Request(Generic[AnswerT]):
    """One question to a language model.

    Attributes:
        system: The fixed part, equal over many requests, so that a provider can cache it.
        user: The part of this request only.
        answer: The wanted answer; its JSON schema is sent where the provider can, and checked always.
        max_output_tokens: Per call.
        temperature: None for the provider's default.
        wants_chances: Whether the chances of other tokens are wanted where the server gives them.
        misfit: What is wrong with an answer that fits its schema, by what was asked; one line, or None. The answer is
            sent back once; one that comes again with a fault is taken as it is.
    """

    system: str
    user: str
    answer: type[AnswerT]
    max_output_tokens: int
    temperature: float | None = None
    wants_chances: bool = False
    misfit: Callable[[AnswerT], str | None] | None = None


@dataclass(frozen=True, slots=True)
class TokenChances:
    """A token of an answer, and what might have stood in its place.

    Attributes:
        text: Its text.
        chances: Texts with their probabilities, the likeliest first, itself among them; none where nothing else had
            a chance.
    """

    text: str
    chances: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Reply(Generic[AnswerT_co]):
    """An answer that fits the schema.

    Attributes:
        text: The answer as it came.
        answer: The same, parsed.
        usage: Of all calls this answer took (two where the first had to be repaired), whenever they were paid.
        model: The model that answered, as the provider names it.
        from_journal: Whether nothing was paid now: every call was answered by the journal, or by a batch for which
            another run has paid.
        paid: Of the calls that were paid now.
        tokens: Of its text, with their chances; none where they were not wanted or not given.
    """

    text: str
    answer: AnswerT_co
    usage: Usage
    model: str
    from_journal: bool = False
    paid: Usage = field(default_factory=Usage)
    tokens: tuple[TokenChances, ...] = ()


@dataclass(frozen=True, slots=True)
class CallFailure:
    """One call that gave no usable answer; the next may, also where it was refused as it stands.

    Who runs the server may give it more room or another model meanwhile, and a refusal costs nothing.

    Attributes:
        error_type: `Refusal`, `Truncated` and `ParseFailure` were answered and paid; `Timeout`, `RateLimited`,
            `ServerError` and `ConnectionDropped` outlasted every attempt; `TooLong` and `BadRequest` were refused as
            they stand, `TooLong` because the model can't read as much.
        message: One line.
        raw: What came back, if anything did.
        usage: Of all calls that it took, whenever they were paid.
        paid: Of the calls that were paid now.
    """

    error_type: CallErrorType
    message: str
    raw: str | None = None
    usage: Usage = field(default_factory=Usage)
    paid: Usage = field(default_factory=Usage)


class LanguageModel(Protocol):
    """Answers requests, each paid for once."""

    @property
    def name(self) -> str:
        """The model's name in the config."""
        ...

    @property
    def usage(self) -> Usage:
        """What was paid through this object; answers from the journal cost nothing again."""
        ...

    async def ask(self, request: Request[AnswerT]) -> Reply[AnswerT] | CallFailure:
        """Ask, at most once where the journal has the answer.

        Raises:
            LanguageModelError: If no further call can succeed.
        """
        ...


# --- between a provider's client and our own layer ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Repair:
    """A second turn: the answer that did not fit, and what was wrong with it."""

    bad_answer: str
    complaint: str


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """What a provider sent and charged for, before it is read: this is what the journal keeps.

    Attributes:
        text: The model's words; empty if there are none.
        stop: `complete`, `truncated` at a token limit, or `refusal`.
        model: The model that answered, as the provider names it.
        input_tokens: All input tokens, cached ones included.
        cached_input_tokens: Input tokens read from the provider's cache.
        output_tokens: Output tokens, reasoning included.
        cache_write_tokens: Input tokens that the provider wrote to its cache, for which it may ask more.
        tokens: Of the text, with their chances; none where they were not wanted or not given.
    """

    text: str
    stop: Literal["complete", "truncated", "refusal"]
    model: str
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    cache_write_tokens: int = 0
    tokens: tuple[TokenChances, ...] = ()


@dataclass(frozen=True, slots=True)
class Trouble:
    """One attempt that brought no answer.

    Attributes:
        error_type: As in `CallFailure`.
        message: One line, without the key.
        raw: Start of the body, if there was one, without the key.
        retriable: Whether another attempt may succeed.
        retry_after_s: How long the server asked to be left alone, in seconds; None if it did not say.
        is_overload: Whether the server says that it has too much to do: fewer calls should be in flight.
    """

    error_type: CallErrorType
    message: str
    raw: str | None = None
    retriable: bool = False
    retry_after_s: float | None = None
    is_overload: bool = False


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a server says of one of its limits, in the headers of an answer.

    Attributes:
        per_minute: Requests or tokens that it takes a minute; None if it does not say.
        remaining: How many of them are left now; None if it does not say.
        reset_s: Seconds until there are as many again as at the start; None if it does not say.
    """

    per_minute: int | None = None
    remaining: int | None = None
    reset_s: float | None = None


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What a server says of its limits, in the headers of an answer; input and output tokens apart where it does."""

    requests: Allowance | None = None
    tokens: Allowance | None = None
    input_tokens: Allowance | None = None
    output_tokens: Allowance | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one attempt, and what the server said of its limits with it."""

    outcome: RawAnswer | Trouble
    limits: ServerLimits | None = None


class Provider(Protocol):
    """One attempt at one provider, through its SDK."""

    @property
    def base_url(self) -> str:
        """Where the calls go; part of the journal's key."""
        ...

    async def send(self, request: Request[AnswerT], repair: Repair | None) -> Sent:
        """Make one attempt.

        Raises:
            LanguageModelError: If no further call can succeed.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...
