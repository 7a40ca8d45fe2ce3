"""What is asked of a generator, and what it gives: requests with their edits and rules, tokens, answers."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32

from autointerp.records.live import EVERY_TOKEN, EditScope, FeatureName, SourceEdits

Likeliest = tuple[tuple[int, float], ...]
FinishReason = Literal["stop", "length", "abort"]
Activations = Mapping[FeatureName, Float32[np.ndarray, " token"]]
"""What features do at some tokens in a row, in the coder's own units."""


@dataclass(frozen=True, slots=True)
class Happening:
    """A rule that held at a token.

    Attributes:
        name: Of the rule's `Abort` or `Event`.
        position: Of the token, counted from the prompt's first.
        token_ids: What the model had read, up to that token: the prompt, and what was generated.
        n_prompt_tokens: How many of them are the prompt's.
        activations: Of the rule's features at that token, before its edits.
    """

    name: str
    position: int
    token_ids: tuple[int, ...]
    n_prompt_tokens: int
    activations: Mapping[FeatureName, float]


@dataclass(frozen=True, slots=True)
class Abort:
    """End the answer where the rule holds, with what was generated up to there."""

    name: str = "abort"


@dataclass(frozen=True, slots=True)
class Event:
    """Tell of it where the rule holds.

    Attributes:
        name: What it is called.
        handler: Is asked, in a thread of its own, what to edit from there on (or at that token, as the rule's `lasting`
            says); other requests go on meanwhile. What it raises ends this request. None is only told of.
    """

    name: str
    handler: Callable[[Happening], tuple[SourceEdits, ...] | None] | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """What is done where a condition holds.

    It is evaluated at every token that the model reads, the prompt's included, on what the features do there before
    that token is edited; tokens before it are as they were edited.

    Attributes:
        features: Those that it needs.
        holds: At which of some tokens in a row the condition holds.
        then: Edits, an end, or an event.
        lasting: Whether edits are made from the first token where it holds to the end (`rest`), whatever the request's
            scope, or only where it holds (`token`); an event's handler is asked once, or wherever it holds.
        inner: Evaluated from the first token where it holds on, that token included; of rules that last (`rest`) only.
    """

    features: tuple[FeatureName, ...]
    holds: Callable[[Activations], Bool[np.ndarray, " token"]]
    then: tuple[SourceEdits, ...] | Abort | Event
    lasting: Literal["rest", "token"] = "rest"
    inner: tuple["Rule", ...] = ()

    def all(self) -> Iterator["Rule"]:
        """It, and those in it."""
        yield self
        for rule in self.inner:
            yield from rule.all()


@dataclass(frozen=True, slots=True)
class LogitShifts:
    """What is added to logits before a token is chosen; log-probabilities are told without it.

    Attributes:
        by_token: To these tokens'.
        frequency: Taken off a token's logit for each time that it was generated.
        presence: Taken off once it was generated.
    """

    by_token: Mapping[int, float] = field(default_factory=dict)
    frequency: float = 0.0
    presence: float = 0.0

    def behind(self, token_ids: Sequence[int]) -> Mapping[int, float]:
        """What is added behind some generated tokens, by token; empty where nothing is."""
        if not (self.frequency or self.presence):
            return self.by_token
        shifts = dict(self.by_token)
        for token_id, n in Counter(token_ids).items():
            shifts[token_id] = shifts.get(token_id, 0.0) - n * self.frequency - self.presence
        return shifts


NO_SHIFTS = LogitShifts()


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One answer that is asked for.

    Attributes:
        prompt: Exactly what the model reads, special tokens included.
        roles: Whose words each token is of; None for what a template adds, and as a whole where there are none.
        edits: Of one source or several; `value`s are in the coder's own units.
        scope: The tokens that `edits` are made at.
        rules: What is done where conditions hold.
        max_new_tokens: The answer's tokens at most; fewer where the model's window ends.
        temperature: 0 takes the likeliest token.
        top_p: Tokens are drawn from the likeliest ones that together have this probability.
        seed: The same gives the same answer, whatever else is generated at the time.
        stop: Texts that end the answer; what ends it is not part of it.
        shifts: What is added to logits.
        n_likeliest: Tokens that are told with each that is chosen, the likeliest in its place.
        use_cache: Whether what was read is kept; without, each token reads all before it again, to the same result.
    """

    prompt: tuple[int, ...]
    roles: tuple[str | None, ...] | None = None
    edits: tuple[SourceEdits, ...] = ()
    scope: EditScope = EVERY_TOKEN
    rules: tuple[Rule, ...] = ()
    max_new_tokens: int = 2048
    temperature: float = 0.6
    top_p: float = 0.9
    seed: int = 42
    stop: tuple[str, ...] = ()
    shifts: LogitShifts = NO_SHIFTS
    n_likeliest: int = 0
    use_cache: bool = True


@dataclass(frozen=True, slots=True)
class GenerationLimits:
    """What a generator takes on.

    Attributes:
        longest_prompt: Tokens; None for what the model's window has room for.
        longest_answer: Tokens; None likewise.
        n_at_once: Requests that are generated in one batch.
        n_waiting: Requests that may wait for a place in it.
        seconds: That a request may take, its waiting included; None for any time.
    """

    longest_prompt: int | None = None
    longest_answer: int | None = None
    n_at_once: int = 16
    n_waiting: int = 256
    seconds: float | None = None


USUAL_LIMITS = GenerationLimits()


@dataclass(frozen=True, slots=True)
class GeneratedToken:
    """One token of an answer.

    Attributes:
        token_id: The token.
        text: What it makes certain of the answer's text: whole characters, without what may turn out to be the
            beginning of a stop text; may be empty. Special tokens have no text.
        log_prob: Its log-probability, in nats, by the model as it is edited, at temperature 1.
        events: What happened since the token before it was generated.
        likeliest: The likeliest tokens in its place, falling, with their log-probabilities; as many as were asked for.
    """

    token_id: int
    text: str
    log_prob: float
    events: tuple[Happening, ...] = ()
    likeliest: Likeliest = ()


@dataclass(frozen=True, slots=True)
class Generation:
    """A whole answer.

    Attributes:
        token_ids: What was generated, with the token that ended it, if one did.
        text: Without special tokens, and up to a stop text.
        log_probs: Of each token.
        finish_reason: `stop` at an end token or a stop text, `length` at `max_new_tokens` or the window's end, `abort`
            by a rule.
        n_prompt_tokens: Tokens of the prompt.
        n_edited_prompt: How many of these were edited.
        n_edited_generated: How many generated tokens were edited, of those that the model read: all but the last.
        events: All that happened; the last is the abort's, if one ended it.
        likeliest: Of each token, as of `GeneratedToken`.
    """

    token_ids: tuple[int, ...]
    text: str
    log_probs: tuple[float, ...]
    finish_reason: FinishReason
    n_prompt_tokens: int
    n_edited_prompt: int
    n_edited_generated: int
    events: tuple[Happening, ...] = ()
    likeliest: tuple[Likeliest, ...] = ()
