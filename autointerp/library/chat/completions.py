"""`client.chat.completions`: answers, whole or as they come."""

import threading
import time
import uuid
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, Self, overload

from autointerp.errors import AbortError, GenerationError, TimeLimitError
from autointerp.library.chat.asking import (
    LONGEST_ANSWER,
    Asked,
    Asker,
    Messages,
    Sampling,
    read_likeliest,
    read_sampling,
    read_shifts,
)
from autointerp.library.chat.log_probs import LogProbTeller
from autointerp.library.chat.replies import (
    ChatChoice,
    ChatCompletion,
    ChatCompletionChunk,
    ChatMessage,
    ChunkChoice,
    Edited,
    HeldCondition,
    Usage,
)
from autointerp.library.chat.steering import Model
from autointerp.live.generation.request import Generation, Likeliest
from autointerp.store.known import shown

if TYPE_CHECKING:
    from autointerp.live.generation.stream import Stream

_LONGEST_WAIT_S = threading.TIMEOUT_MAX


class Completions:
    """Answers to conversations, in OpenAI's shape.

    Args:
        asker: Reads what is asked.
    """

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    @overload
    def create(
        self,
        messages: Messages,
        model: Model = None,
        *,
        stream: Literal[False] = False,
        max_completion_tokens: int | None = LONGEST_ANSWER,
        temperature: float | None = 0.6,
        top_p: float | None = 0.9,
        seed: int | None = 42,
        stop: str | Sequence[str] | None = None,
        system_prompt: str | None = None,
        timeout: float | None = None,
        logprobs: bool | None = False,
        top_logprobs: int | None = None,
        frequency_penalty: float | None = None,
        presence_penalty: float | None = None,
        logit_bias: Mapping[Any, float] | None = None,
    ) -> ChatCompletion: ...
    @overload
    def create(
        self,
        messages: Messages,
        model: Model = None,
        *,
        stream: Literal[True],
        max_completion_tokens: int | None = LONGEST_ANSWER,
        temperature: float | None = 0.6,
        top_p: float | None = 0.9,
        seed: int | None = 42,
        stop: str | Sequence[str] | None = None,
        system_prompt: str | None = None,
        timeout: float | None = None,
        logprobs: bool | None = False,
        top_logprobs: int | None = None,
        frequency_penalty: float | None = None,
        presence_penalty: float | None = None,
        logit_bias: Mapping[Any, float] | None = None,
    ) -> "ChatStream": ...
    @overload
    def create(
        self,
        messages: Messages,
        model: Model = None,
        *,
        stream: bool,
        max_completion_tokens: int | None = LONGEST_ANSWER,
        temperature: float | None = 0.6,
        top_p: float | None = 0.9,
        seed: int | None = 42,
        stop: str | Sequence[str] | None = None,
        system_prompt: str | None = None,
        timeout: float | None = None,
        logprobs: bool | None = False,
        top_logprobs: int | None = None,
        frequency_penalty: float | None = None,
        presence_penalty: float | None = None,
        logit_bias: Mapping[Any, float] | None = None,
    ) -> "ChatCompletion | ChatStream": ...
    def create(
        self,
        messages: Messages,
        model: Model = None,
        *,
        stream: bool = False,
        max_completion_tokens: int | None = LONGEST_ANSWER,
        temperature: float | None = 0.6,
        top_p: float | None = 0.9,
        seed: int | None = 42,
        stop: str | Sequence[str] | None = None,
        system_prompt: str | None = None,
        timeout: float | None = None,
        logprobs: bool | None = False,
        top_logprobs: int | None = None,
        frequency_penalty: float | None = None,
        presence_penalty: float | None = None,
        logit_bias: Mapping[Any, float] | None = None,
    ) -> "ChatCompletion | ChatStream":
        """Answer a conversation; docs/steer.md goes on from here.

        Several threads may ask at once: their answers are generated in one batch.

        Args:
            messages: Each `{"role": …, "content": …}`; the model's chat template renders them.
            model: A variant, a source or a model by name; the only one where None.
            stream: Whether pieces are given as they come.
            max_completion_tokens: The answer's tokens at most; fewer where the model's window ends.
            temperature: From 0, which takes the likeliest token, to 2.
            top_p: Tokens are drawn from the likeliest ones that together have this probability.
            seed: The same gives the same answer; None for any.
            stop: A text, or several, that end the answer and are not part of it.
            system_prompt: Stands first where the messages have no system message.
            timeout: Seconds, after which there is an error.
            logprobs: Whether each token's log-probability is told: at temperature 1, by the model as it is edited.
            top_logprobs: So many of the likeliest in its place as well, up to 20.
            frequency_penalty: Taken off a token's logit for each time that it was generated, -2 to 2.
            presence_penalty: Taken off it once it was generated, -2 to 2.
            logit_bias: Added to the logits of tokens, by their numbers, -100 to 100.

        Returns:
            The answer, with usage, how many tokens were edited, and conditions that held; or a stream of pieces.

        Raises:
            AbortError: If a condition of `abort_when` held, with the text up to there. A stream only ends, with
                `finish_reason` "abort".
            GenerationError: If the messages or a setting make no sense; `TooLongError` if they are longer than the
                model reads; `TimeLimitError`, `BusyError`.
            VariantError: If the variant is of another model.
            SubjectError: If the model has no language-model head or no chat template, or can't be loaded.
            Exception: What a handler of the variant raised.

        Example:
            >>> messages = [{"role": "user", "content": "the river"}]
            >>> steered = client.variant().set(client.features.get(7), 4.0, unit="max")
            >>> reply = client.chat.completions.create(messages, steered, max_completion_tokens=3, temperature=0)
            >>> reply.choices[0].message.content
            ' piano piano piano'
            >>> reply.edited.n_prompt, reply.edited.n_generated, reply.usage.prompt_tokens
            (6, 2, 6)
            >>> pieces = client.chat.completions.create(messages, steered, stream=True, max_completion_tokens=3)
            >>> "".join(piece.choices[0].delta.content for piece in pieces)
            ' piano piano piano'
        """
        shifts = read_shifts(frequency_penalty, presence_penalty, logit_bias)
        n_likeliest = read_likeliest(logprobs, top_logprobs)
        sampling = read_sampling(max_completion_tokens, temperature, top_p, seed, stop, shifts, n_likeliest)
        if not isinstance(stream, bool):
            raise GenerationError(f"stream can't be {shown(stream)}", "give True or False")
        if timeout is not None and not (_is_number(timeout) and 0 < timeout <= _LONGEST_WAIT_S):
            raise GenerationError(f"timeout can't be {shown(timeout)}", "give seconds, or None for any time")
        answer = self._begin(messages, model, system_prompt, sampling, timeout)
        return answer if stream else answer.whole()

    def _begin(
        self,
        messages: Messages,
        model: Model,
        system_prompt: str | None,
        sampling: Sampling,
        timeout_s: float | None,
    ) -> "ChatStream":
        asked = self._asker.ask(messages, model, system_prompt)
        generator = asked.steering.run.live.generator(asked.steering.source)
        started = generator.submit(self._asker.request(asked, sampling))
        teller = None if sampling.n_likeliest is None else LogProbTeller(asked.live, generator.ends)
        return ChatStream(started, asked, timeout_s, teller)


class ChatStream(Iterator[ChatCompletionChunk]):
    """An answer's pieces as they come.

    The last one has a `finish_reason`, `usage` and `edited`. Closed, or let go of, the rest is not generated.

    Example:
        >>> messages = [{"role": "user", "content": "the river"}]
        >>> with client.chat.completions.create(messages, stream=True, max_completion_tokens=2) as stream:
        ...     [piece.choices[0].finish_reason for piece in stream][-1]
        'length'
    """

    def __init__(
        self, stream: "Stream", asked: Asked, timeout_s: float | None, teller: LogProbTeller | None = None
    ) -> None:
        self._stream = stream
        self._asked = asked
        self._teller = teller
        self._untold: list[tuple[int, float, Likeliest]] = []
        self._id = f"chatcmpl-{uuid.uuid4().hex}"
        self._created = int(time.time())
        self._said = ""
        self._n = self._n_events = 0
        self._is_over = False
        self._timeout_s = timeout_s
        self._is_late = threading.Event()
        # It holds nothing of the answer, so that one that is let go of ends.
        self._clock = threading.Timer(timeout_s or 0.0, _too_late, (self._is_late, weakref.ref(stream)))
        self._clock.daemon = True
        if timeout_s is not None:
            self._clock.start()

    def __next__(self) -> ChatCompletionChunk:
        """The next piece.

        Raises:
            As `Completions.create`, but for `AbortError`.
        """
        if self._is_over:
            raise StopIteration
        try:
            for token in self._stream:
                self._n += 1
                self._untold.append((token.token_id, token.log_prob, token.likeliest))
                self._said += token.text
                self._n_events += len(token.events)
                if token.text or token.events:
                    return self._piece(token.text, tuple(map(self._asked.held, token.events)))
            answer = self._stream.result()
        except BaseException as error:
            self.close()
            self._tell_if_late(error)
            raise
        self.close()
        return self._last(answer)

    def whole(self) -> ChatCompletion:
        """The whole answer; waits for it.

        Raises:
            As `Completions.create`.
        """
        try:
            answer = self._stream.result()
        except GenerationError as error:
            self._tell_if_late(error)
            raise
        finally:
            self.close()
        events = tuple(map(self._asked.held, answer.events))
        if answer.finish_reason == "abort":
            raise aborted(events[-1], answer.text)
        return ChatCompletion(
            id=self._id,
            created=self._created,
            model=self._asked.steering.source.source_id,
            choices=(self._choice(answer),),
            usage=_usage(answer),
            edited=self._edited(answer),
            events=events,
            notes=self._asked.prompt.notes,
            system_fingerprint=_fingerprint(),
        )

    def close(self) -> None:
        """Generate nothing more."""
        self._is_over = True
        self._clock.cancel()
        self._stream.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell_if_late(self, error: BaseException) -> None:
        if isinstance(error, GenerationError) and self._is_late.is_set():
            raise TimeLimitError(
                f"the answer took longer than {self._timeout_s:g} s", "ask for fewer tokens, or give it more time"
            ) from error

    def _choice(self, answer: Generation) -> ChatChoice:
        tokens = zip(answer.token_ids, answer.log_probs, answer.likeliest, strict=True)
        told = None if self._teller is None else self._teller.told(tokens)
        return ChatChoice(ChatMessage("assistant", answer.text), answer.finish_reason, logprobs=told)

    def _edited(self, answer: Generation) -> Edited:
        steering = self._asked.steering
        return Edited(steering.scope, answer.n_edited_prompt, answer.n_edited_generated, steering.n_features)

    def _last(self, answer: Generation) -> ChatCompletionChunk:
        """The piece that ends an answer, with what was held back since it might have become a stop text."""
        events = tuple(map(self._asked.held, answer.events[self._n_events :]))
        piece = self._piece(answer.text[len(self._said) :], events, answer.finish_reason)
        return replace(piece, usage=_usage(answer), edited=self._edited(answer), notes=self._asked.prompt.notes)

    def _piece(
        self, text: str, events: tuple[HeldCondition, ...], finish_reason: str | None = None
    ) -> ChatCompletionChunk:
        said, place = ChatMessage("assistant", text), self._n - (finish_reason is None)
        told = None if self._teller is None else self._teller.told(self._untold)
        self._untold.clear()
        choice = ChunkChoice(said, place, finish_reason, logprobs=told)
        return ChatCompletionChunk(
            id=self._id,
            created=self._created,
            model=self._asked.steering.source.source_id,
            choices=(choice,),
            events=events,
            system_fingerprint=_fingerprint(),
        )


def aborted(held: HeldCondition, text: str) -> AbortError:
    """The error of an answer that a condition ended.

    Args:
        held: The condition.
        text: What was said up to there.
    """
    return AbortError(
        f"{held.condition} held at token {held.position}, which ends the answer",
        "catch AbortError, whose text has what was said up to there, or take the condition out",
        text=text,
        condition=held.condition,
        position=held.position,
    )


def _too_late(is_late: threading.Event, stream: "weakref.ref[Stream]") -> None:
    is_late.set()
    waiting = stream()
    if waiting is not None:
        waiting.cancel()


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _usage(answer: Generation) -> Usage:
    n = len(answer.token_ids)
    return Usage(answer.n_prompt_tokens, n, answer.n_prompt_tokens + n)


def _fingerprint() -> str:
    return f"autointerp-{version('autointerp')}"
