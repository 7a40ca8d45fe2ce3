"""Answers as OpenAI's clients know them, with what was edited and what happened besides."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from autointerp.records.live import EditScope


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """A message; `message["content"]`, as Ember's users write, is the same as `message.content`."""

    role: str
    content: str

    def __getitem__(self, key: str) -> str:
        if key not in ("role", "content"):
            raise KeyError(key)
        return self.role if key == "role" else self.content


@dataclass(frozen=True, slots=True)
class ListedToken:
    """A token that might have come.

    Attributes:
        token: Its text; of a part of a character its bytes, as `<0xF0>`.
        logprob: In nats, at temperature 1, by the model as it is edited.
        bytes: Of UTF-8; None where they depend on the tokens around it.
    """

    token: str
    logprob: float
    bytes: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class TokenLogProb:
    """A token that came, and what might have come.

    Attributes:
        token: As of `ListedToken`.
        logprob: Likewise.
        bytes: Likewise.
        top_logprobs: The likeliest in its place.
    """

    token: str
    logprob: float
    bytes: tuple[int, ...] | None
    top_logprobs: tuple[ListedToken, ...]


@dataclass(frozen=True, slots=True)
class ChatChoice:
    """The answer.

    Attributes:
        message: What was said.
        finish_reason: `stop` at an end token or a stop text, `length` where there was no more room.
        index: Always 0.
        logprobs: Of each generated token but one that ended it; None where they were not asked for.
    """

    message: ChatMessage
    finish_reason: str
    index: int = 0
    logprobs: tuple[TokenLogProb, ...] | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that were read and generated."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


@dataclass(frozen=True, slots=True)
class Edited:
    """Where features were edited.

    Attributes:
        scope: The tokens that were to be edited.
        n_prompt: Tokens of the prompt that were.
        n_generated: Generated tokens that were, of those that the model read: all but the last.
        n_features: Features that are edited in that scope; those of conditions are not among them.
    """

    scope: EditScope
    n_prompt: int
    n_generated: int
    n_features: int


@dataclass(frozen=True, slots=True)
class HeldCondition:
    """A condition that held.

    Attributes:
        name: Of the event.
        condition: What held.
        position: Of the token at which it held, counted from the prompt's first.
        activations: Of its features there, by `model@source:index`.
        aborted: Whether it ended the answer.
    """

    name: str
    condition: str
    position: int
    activations: Mapping[str, float]
    aborted: bool


@dataclass(frozen=True, slots=True)
class ChatCompletion:
    """An answer.

    Attributes:
        id: Of this answer.
        created: When, in seconds since 1970.
        model: The source whose model answered.
        choices: One.
        usage: Tokens.
        edited: Where features were edited.
        events: Conditions that held, of those that are events, in order.
        notes: What was done to the messages, for example to a system message that the template refuses.
        system_fingerprint: This program's name and version.
        object: `chat.completion`.
    """

    id: str
    created: int
    model: str
    choices: tuple[ChatChoice, ...]
    usage: Usage
    edited: Edited
    events: tuple[HeldCondition, ...]
    notes: tuple[str, ...]
    system_fingerprint: str
    object: str = "chat.completion"

    @property
    def gf_event_names(self) -> list[str]:
        """Names of the events, as Ember's client reads them."""
        return [event.name for event in self.events]

    def as_plain(self) -> dict[str, Any]:
        """What JSON can hold of it."""
        return {**asdict(self), "gf_event_names": self.gf_event_names}

    def __str__(self) -> str:
        return self.choices[0].message.content


@dataclass(frozen=True, slots=True)
class ChunkChoice:
    """A piece of the answer.

    Attributes:
        delta: What was said since the piece before.
        gf_token_index: Of the last generated token in it, counted from 0.
        finish_reason: Of the last piece, as of `ChatChoice`, and `abort` where a condition ended the answer; else None.
        index: Always 0.
        logprobs: Of the tokens since the piece before, as of `ChatChoice`.
    """

    delta: ChatMessage
    gf_token_index: int
    finish_reason: str | None = None
    index: int = 0
    logprobs: tuple[TokenLogProb, ...] | None = None


@dataclass(frozen=True, slots=True)
class ChatCompletionChunk:
    """A piece of an answer that is streamed.

    Attributes:
        id: Of the answer.
        created: When, in seconds since 1970.
        model: The source whose model answers.
        choices: One.
        events: Conditions that held since the piece before.
        system_fingerprint: This program's name and version.
        usage: Of the last piece; else None.
        edited: Of the last piece; else None.
        notes: Of the last piece.
        object: `chat.completion.chunk`.
    """

    id: str
    created: int
    model: str
    choices: tuple[ChunkChoice, ...]
    events: tuple[HeldCondition, ...]
    system_fingerprint: str
    usage: Usage | None = None
    edited: Edited | None = None
    notes: tuple[str, ...] = ()
    object: str = "chat.completion.chunk"

    @property
    def gf_event_names(self) -> list[str]:
        """Names of the events, as Ember's client reads them."""
        return [event.name for event in self.events]

    def as_plain(self) -> dict[str, Any]:
        """What JSON can hold of it."""
        return {**asdict(self), "gf_event_names": self.gf_event_names}
