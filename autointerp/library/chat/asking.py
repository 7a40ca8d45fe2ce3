"""What callers ask of a chat, as the generator takes it."""

import logging
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from autointerp.errors import GenerationError
from autointerp.identity import feature_id
from autointerp.library.backend import Backend
from autointerp.library.chat.replies import HeldCondition
from autointerp.library.chat.steering import Model, Steerer, Steering, rules
from autointerp.library.when import ChatEvent, When
from autointerp.live.generation.request import NO_SHIFTS, GenerationRequest, Happening, LogitShifts
from autointerp.store.known import as_float, check_count, shown

if TYPE_CHECKING:
    from autointerp.live.chat_prompt import ChatPrompt
    from autointerp.live.subject import LiveSubject

logger = logging.getLogger(__name__)
Messages = Iterable[Mapping[str, Any]]
LONGEST_ANSWER = 2048
_MOST_STOPS = 16
_MOST_BIASES = 1024
_MOST_LIKELIEST = 20
_SEEDS = 2**63


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn.

    Attributes:
        max_new_tokens: Its tokens at most.
        temperature: 0 takes the likeliest token.
        top_p: Tokens are drawn from the likeliest ones that together have this probability.
        seed: The same gives the same answer.
        stop: Texts that end it.
        shifts: What is added to logits.
        n_likeliest: Tokens that are told in the place of each; None where no log-probability is told.
    """

    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int
    stop: tuple[str, ...]
    shifts: LogitShifts = NO_SHIFTS
    n_likeliest: int | None = None


@dataclass(frozen=True, eq=False)
class Asked:
    """A conversation that is to be answered.

    Attributes:
        steering: Which model answers, and what is done to it.
        live: That model.
        messages: The conversation.
        prompt: It, as the model reads it.
    """

    steering: Steering
    live: "LiveSubject"
    messages: Sequence[Mapping[str, Any]]
    prompt: "ChatPrompt"

    def held(self, happening: Happening) -> HeldCondition:
        """What is told of a condition that held."""
        when = self.steering.flat[int(happening.name)].when
        return HeldCondition(
            when.event_name or "",
            repr(when.condition),
            happening.position,
            _told(happening),
            when.aborts,
        )

    def event(self, when: When, happening: Happening) -> ChatEvent:
        """What a handler is told of a condition that held."""
        said = happening.token_ids[happening.n_prompt_tokens :]
        shown_ids = [token_id for token_id in said if token_id not in self.live.special.uncounted]
        return ChatEvent(
            when.event_name or "",
            repr(when.condition),
            happening.position,
            _told(happening),
            self.messages,
            "".join(self.live.pieces.pieces(shown_ids)),
        )


class Asker:
    """Reads what callers ask.

    Attributes:
        template: File of a chat template; the corpus's, or the tokenizer's own, where None.

    Args:
        runs: Whose models answer.
    """

    def __init__(self, runs: Sequence[Backend]) -> None:
        self.template: str | None = None
        self._steerer = Steerer(runs)
        self._noted: set[str] = set()

    def ask(
        self, messages: Messages, model: Model, system_prompt: str | None = None, *, tells_events: bool = True
    ) -> Asked:
        """Read a conversation, and for which model it is.

        Args:
            messages: The conversation.
            model: A variant, or a name.
            system_prompt: Stands first where the conversation has no system message.
            tells_events: Whether conditions that end an answer, or are told of, are read.

        Raises:
            GenerationError: If there is no message, or the variant makes no sense here.
            SubjectError: If the model can't be loaded, or reads no conversations.
            StoreError: If there is no such model.
        """
        from autointerp.live.chat_prompt import read_prompt, with_system
        from autointerp.live.read import check_role  # looking features up needs no torch

        if isinstance(messages, str | Mapping) or not isinstance(messages, Iterable):
            raise GenerationError(
                f"{shown(messages)} is no conversation", 'give a list of messages: [{"role": "user", "content": "…"}]'
            )
        if not (system_prompt is None or isinstance(system_prompt, str)):
            raise GenerationError(f"{shown(system_prompt)} is no system prompt", "give a text")
        steering = self._steerer.read(model, tells_events=tells_events)
        conversation = with_system(messages, system_prompt)
        live = steering.run.live.of_source(steering.source)
        prompt = read_prompt(live, conversation, self.template)
        if steering.scope.kind == "role" and prompt.roles is None:
            raise GenerationError(
                f"whose words a token is of is not known with the tokenizer of {steering.source.source_id}",
                "edit all tokens, those generated, or those from a position on",
            )
        if steering.scope.kind == "role" and prompt.roles is not None:
            check_role(steering.scope.role, prompt.roles)
        for note in prompt.notes:
            if note not in self._noted:
                self._noted.add(note)
                logger.warning("%s: %s", steering.source.source_id, note)
        return Asked(steering, live, conversation, prompt)

    def request(self, asked: Asked, sampling: Sampling) -> GenerationRequest:
        """What the generator is asked."""
        return GenerationRequest(
            asked.prompt.token_ids,
            asked.prompt.roles,
            asked.steering.edits,
            asked.steering.scope,
            rules(self._steerer, asked.steering, asked.event),
            max_new_tokens=sampling.max_new_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=sampling.seed,
            stop=sampling.stop,
            shifts=sampling.shifts,
            n_likeliest=sampling.n_likeliest or 0,
        )


def read_sampling(
    max_completion_tokens: int | None,
    temperature: float | None,
    top_p: float | None,
    seed: int | None,
    stop: str | Sequence[str] | None,
    shifts: LogitShifts = NO_SHIFTS,
    n_likeliest: int | None = None,
) -> Sampling:
    """See that an answer can be drawn so; None is what is usual, of a seed any.

    Raises:
        GenerationError: If it can't.
        SearchError: If `max_completion_tokens` is no whole number above 0.
    """
    if not (stop is None or (isinstance(stop, Iterable) and not isinstance(stop, Mapping))):
        raise GenerationError(f"{shown(stop)} can't be stop texts", f"give up to {_MOST_STOPS} texts")
    stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if len(stops) > _MOST_STOPS or not all(isinstance(text, str) and text for text in stops):
        raise GenerationError(f"{shown(stop)} can't be stop texts", f"give up to {_MOST_STOPS} texts, none empty")
    if not (seed is None or (isinstance(seed, Integral) and not isinstance(seed, bool) and 0 <= seed < _SEEDS)):
        raise GenerationError(f"{shown(seed)} is no seed", "give a whole number from 0 on")
    return Sampling(
        check_count(
            "max_completion_tokens", LONGEST_ANSWER if max_completion_tokens is None else max_completion_tokens
        ),
        _number("temperature", 0.6 if temperature is None else temperature, 0.0, 2.0),
        _number("top_p", 0.9 if top_p is None else top_p, 0.0, 1.0, without_low=True),
        secrets.randbelow(_SEEDS) if seed is None else int(seed),
        stops,
        shifts,
        n_likeliest,
    )


def read_shifts(
    frequency_penalty: float | None, presence_penalty: float | None, logit_bias: Mapping[Any, float] | None
) -> LogitShifts:
    """What is added to logits, as OpenAI's clients say it; None is nothing.

    Raises:
        GenerationError: If it makes no sense.
    """
    if not (logit_bias is None or isinstance(logit_bias, Mapping)) or len(logit_bias or {}) > _MOST_BIASES:
        raise GenerationError(
            f"logit_bias can't be {shown(logit_bias)}", f"give numbers by tokens, for up to {_MOST_BIASES:,}"
        )
    return LogitShifts(
        {_token(token): _number("logit_bias", value, -100.0, 100.0) for token, value in (logit_bias or {}).items()},
        _number("frequency_penalty", 0.0 if frequency_penalty is None else frequency_penalty, -2.0, 2.0),
        _number("presence_penalty", 0.0 if presence_penalty is None else presence_penalty, -2.0, 2.0),
    )


def read_likeliest(logprobs: bool | None, top_logprobs: int | None) -> int | None:
    """Tokens that are told with each; None where no log-probability is.

    Raises:
        GenerationError: If it makes no sense.
    """
    if not (logprobs is None or isinstance(logprobs, bool)):
        raise GenerationError(f"logprobs can't be {shown(logprobs)}", "give True or False")
    n = 0 if top_logprobs is None else top_logprobs
    if isinstance(n, bool) or not isinstance(n, Integral) or not 0 <= n <= _MOST_LIKELIEST:
        raise GenerationError(f"top_logprobs can't be {shown(n)}", f"give a number from 0 to {_MOST_LIKELIEST}")
    if n and not logprobs:
        raise GenerationError("top_logprobs are asked for without logprobs", "set logprobs to true as well")
    return int(n) if logprobs else None


def _token(token: object) -> int:
    text = token if isinstance(token, str) else str(token)
    if isinstance(token, bool) or not (text.isascii() and text.isdigit() and len(text) < 10):
        raise GenerationError(f"{shown(token)} is no token in logit_bias", "give a token's number")
    return int(text)


def _number(name: str, value: object, low: float, high: float, *, without_low: bool = False) -> float:
    if isinstance(value, Real) and not isinstance(value, bool):
        number = as_float(value)
        if low <= number <= high and not (without_low and number == low):
            return number
    raise GenerationError(
        f"{name} can't be {shown(value)}", f"give a number {'above' if without_low else 'from'} {low:g} to {high:g}"
    )


def _told(happening: Happening) -> dict[str, float]:
    return {feature_id(*name): float(value) for name, value in happening.activations.items()}
