"""Answers of models that a server runs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from autointerp.errors import GenerationError, StoreError, VariantError
from autointerp.library.chat.asking import Asker, Messages, Sampling
from autointerp.library.chat.chat import Chat
from autointerp.library.chat.completions import ChatStream, Completions, aborted
from autointerp.library.chat.expected import NextLogits
from autointerp.library.chat.replies import ChatChoice, ChatCompletion, ChatCompletionChunk, ChatMessage
from autointerp.library.chat.steering import Model
from autointerp.library.remote import calls
from autointerp.library.remote.asking import asked_as
from autointerp.library.remote.connection import Connection
from autointerp.library.run import Run
from autointerp.library.variant import Variant
from autointerp.store.known import check_count, shown


class RemoteChat(Chat):
    """Asks the models of a server.

    Args:
        connection: The server.
        runs: Its runs.
    """

    def __init__(self, connection: Connection, runs: Sequence[Run]) -> None:
        super().__init__(runs)
        self._connection = connection
        self.completions = RemoteCompletions(connection, self._asker)

    def logits(
        self,
        messages: Messages,
        model: Model = None,
        top_k: int | None = 10,
        filter_vocabulary: Iterable[str] | None = None,
        *,
        system_prompt: str | None = None,
    ) -> NextLogits:
        """What the model expects as the answer's first token; see `Chat.logits`."""
        if top_k is not None:
            top_k = check_count("top_k", top_k)
        if isinstance(filter_vocabulary, str):
            raise GenerationError(f"{shown(filter_vocabulary)} is no list of words", "give the words in a list")
        asked = asked_as(
            calls.LOGITS.asked,
            GenerationError,
            **_conversation(messages, model, system_prompt),
            top_k=top_k,
            vocabulary=None if filter_vocabulary is None else list(filter_vocabulary),
        )
        return self._connection.ask(calls.LOGITS, asked)

    @property
    def template(self) -> str | None:
        """Always None: the server has the templates."""
        return None

    @template.setter
    def template(self, file: str | None) -> None:
        if file is not None:
            raise GenerationError("a server takes no chat template", "serve a run whose model or corpus has one")


class RemoteCompletions(Completions):
    """Answers to conversations, from a server.

    Args:
        connection: The server.
        asker: Unused: what is asked is read there.
    """

    def __init__(self, connection: Connection, asker: Asker) -> None:
        super().__init__(asker)
        self._connection = connection

    def _begin(
        self,
        messages: Messages,
        model: Model,
        system_prompt: str | None,
        sampling: Sampling,
        timeout_s: float | None,
    ) -> ChatStream:
        asked = asked_as(
            calls.CHAT.asked,
            GenerationError,
            **_conversation(messages, model, system_prompt),
            max_completion_tokens=sampling.max_new_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=sampling.seed,
            stop=list(sampling.stop),
            logprobs=sampling.n_likeliest is not None,
            top_logprobs=sampling.n_likeliest,
            frequency_penalty=sampling.shifts.frequency,
            presence_penalty=sampling.shifts.presence,
            logit_bias={str(token): value for token, value in sampling.shifts.by_token.items()},
            timeout_s=None if timeout_s is None else float(timeout_s),
        )
        pieces = self._connection.pieces(calls.CHAT, asked)
        # What is wrong with the question is told now, as it is where the model runs in this process.
        return RemoteStream(next(pieces), pieces)


class RemoteStream(ChatStream):
    """An answer's pieces as a server sends them. Closed, or let go of, the server generates nothing more.

    Args:
        first: The first.
        rest: The others.
    """

    def __init__(self, first: ChatCompletionChunk, rest: Iterator[ChatCompletionChunk]) -> None:
        self._waiting: ChatCompletionChunk | None = first
        self._rest = rest

    def __next__(self) -> ChatCompletionChunk:
        """The next piece; see `ChatStream`."""
        piece, self._waiting = self._waiting, None
        return next(self._rest) if piece is None else piece

    def whole(self) -> ChatCompletion:
        """The whole answer; waits for it."""
        with self:
            pieces = list(self)
        last = pieces[-1]
        (choice,) = last.choices
        text = "".join(piece.choices[0].delta.content for piece in pieces)
        events = tuple(event for piece in pieces for event in piece.events)
        if choice.finish_reason == "abort":
            raise aborted(events[-1], text)
        if choice.finish_reason is None or last.usage is None or last.edited is None:
            raise GenerationError("the answer has no end", "ask again")
        told = [of for piece in pieces for of in piece.choices[0].logprobs or ()]
        logprobs = None if choice.logprobs is None else tuple(told)
        return ChatCompletion(
            id=last.id,
            created=last.created,
            model=last.model,
            choices=(ChatChoice(ChatMessage("assistant", text), choice.finish_reason, logprobs=logprobs),),
            usage=last.usage,
            edited=last.edited,
            events=events,
            notes=last.notes,
            system_fingerprint=last.system_fingerprint,
        )

    def close(self) -> None:
        """Generate nothing more."""
        self._waiting = None
        if isinstance(self._rest, Iterator) and hasattr(self._rest, "close"):
            self._rest.close()


def _conversation(messages: Messages, model: Model, system_prompt: str | None) -> dict[str, Any]:
    if isinstance(messages, str | Mapping) or not isinstance(messages, Iterable):
        raise GenerationError(
            f"{shown(messages)} is no conversation", 'give a list of messages: [{"role": "user", "content": "…"}]'
        )
    if not (system_prompt is None or isinstance(system_prompt, str)):
        raise GenerationError(f"{shown(system_prompt)} is no system prompt", "give a text")
    some = [dict(message) if isinstance(message, Mapping) else message for message in messages]
    return {"messages": some, "model": _model(model), "system_prompt": system_prompt}


def _model(model: Model) -> dict[str, Any] | str | None:
    if isinstance(model, Variant):
        if any(when.handler is not None for when in model.whens):
            raise VariantError(
                "a server can't call a handler that is here",
                "leave it out, handle_when(condition, None, name=…), and look at the reply's events",
            )
        return model.json()
    if not (model is None or isinstance(model, str)):
        raise StoreError(f"there is no model {shown(model)} here", "give a variant, or a source or model by name")
    return model
