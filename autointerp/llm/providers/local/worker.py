"""A loaded model and the thread that asks it, shared by all who ask it in this process.

1. Questions come in from event loops; each gets a future. The thread waits a few milliseconds for more.
2. It takes the oldest, those with the same system text, and of these as many of about its length as fit: all at once
   have no more tokens than pay, and keys and values no more than half of the memory that is left.
3. Where the device has no room for a batch all the same, its halves are tried; a single question is then `TooLong`.

A model stays loaded when nobody asks it any more, since a run asks it in several stages; it goes when another model
needs the room.
"""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from autointerp.config import ModelConfig
from autointerp.errors import LanguageModelError
from autointerp.identity import hash_key
from autointerp.llm.answers import answer_schema
from autointerp.llm.protocol import AnswerModel, RawAnswer, Repair, Request, Sent, Trouble
from autointerp.llm.providers.local.loading import load_model, model_identity

if TYPE_CHECKING:
    from autointerp.llm.providers.local.generation import Generator, Question, Written
    from autointerp.llm.providers.local.prompt import Prompts

_QUIET_S = 0.005
_LONGEST_WAIT_S = 0.05
_TOKENS_AT_ONCE = {"cpu": 4096, "cuda": 32768}
"""Of a batch, padding included: more at once are not read faster."""
_LEAST_AT_ONCE = 4096
_SHARE_OF_MEMORY = 0.5
_UNKNOWN_MEMORY = 4_000_000_000
"""Bytes that a batch may take where the device does not tell what it has left."""


@dataclass(slots=True, eq=False)
class _Call:
    request: Request[Any]
    repair: Repair | None
    sent: "Future[Sent]" = field(default_factory=Future)
    question: "Question | None" = None

    def answer(self, outcome: RawAnswer | Trouble) -> None:
        if self.sent.set_running_or_notify_cancel():
            self.sent.set_result(Sent(outcome))

    def fail(self, error: BaseException) -> None:
        if self.sent.set_running_or_notify_cancel():
            self.sent.set_exception(error)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A model that can be asked.

    Attributes:
        prompts: Writes questions out.
        generator: Answers them.
        window: Tokens that it reads and writes at most; None if its config does not say.
        sliding: Tokens that its layers look back at most; None for all.
        device: Where it is.
    """

    prompts: "Prompts"
    generator: "Generator"
    window: int | None
    sliding: int | None
    device: Any


class LocalModel:
    """A model in this process; see the module's steps.

    Args:
        config: Names it.
    """

    def __init__(self, config: ModelConfig) -> None:
        self._config = config
        self._loaded: _Loaded | None = None
        self._waiting: list[_Call] = []
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, "local-model")
        self.n_users = 0

    def ask(self, request: Request[Any], repair: Repair | None) -> "Future[Sent]":
        """Put a question. Its future may be cancelled."""
        call = _Call(request, repair)
        with self._lock:
            self._waiting.append(call)
        self._thread.submit(self._work)
        return call.sent

    def unload(self) -> None:
        """Let weights and thread go, once what is under way is done; nothing is asked after that."""
        self._thread.submit(self._let_go).result()
        self._thread.shutdown()

    def _let_go(self) -> None:
        import torch

        self._loaded = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _work(self) -> None:
        """Answer what waits, if anything is left: each question has brought one such visit."""
        self._gather()
        batch: list[_Call] = []
        try:
            loaded = self._load()
            batch = self._batch(loaded)
            if batch:
                self._answer(loaded, batch)
        except BaseException as error:  # whoever waits must learn of it
            for call in batch or self._taken(self._waiting):
                call.fail(error)
        with self._lock:
            if self._waiting:
                self._thread.submit(self._work)

    def _gather(self) -> None:
        """Wait until no more questions come, a few milliseconds."""
        began, n_before = time.monotonic(), -1
        while len(self._waiting) != n_before and time.monotonic() - began < _LONGEST_WAIT_S:
            n_before = len(self._waiting)
            time.sleep(_QUIET_S if n_before else 0.0)

    def _load(self) -> _Loaded:
        # What failed is tried again at the next question: another model may have made room since.
        self._loaded = self._loaded or _load(self._config)
        return self._loaded

    def _batch(self, loaded: _Loaded) -> list[_Call]:
        """The questions that are answered next; those that can't be asked are told so."""
        with self._lock:
            waiting = list(self._waiting)
        for call in waiting:
            if call.sent.cancelled():
                self._taken([call])
            elif call.question is None:
                made = _question(loaded, call, self._config)
                if isinstance(made, Trouble):
                    self._taken([call])[0].answer(made)
                else:
                    call.question = made
        with self._lock:
            asked = [(call, call.question) for call in self._waiting if call.question is not None]
        if not asked:
            return []
        oldest = asked[0][0]
        alike = [(call, question) for call, question in asked if call.request.system == oldest.request.system]
        alike.sort(key=lambda pair: len(pair[1].tokens))
        most_kept = self._most_kept(loaded)
        group: list[tuple[_Call, Question]] = []
        for call, question in alike:
            if group and not _fits(loaded, [q for _, q in group] + [question], most_kept):
                if any(member is oldest for member, _ in group):
                    break
                group = []
            group.append((call, question))
        return self._taken([call for call, _ in group])

    def _most_kept(self, loaded: _Loaded) -> float:
        """Tokens whose keys and values there is room for."""
        from autointerp.devices import free_memory

        free = free_memory(loaded.device)
        room = _SHARE_OF_MEMORY * (_UNKNOWN_MEMORY if free is None else free)
        return room / max(loaded.generator.bytes_per_token, 1.0)

    def _taken(self, calls: Sequence[_Call]) -> list[_Call]:
        """Take calls out of those that wait."""
        calls = list(calls)
        with self._lock:
            self._waiting = [call for call in self._waiting if call not in calls]
        return calls

    def _answer(self, loaded: _Loaded, batch: Sequence[_Call]) -> None:
        from autointerp.devices import is_out_of_memory

        questions = [call.question for call in batch if call.question is not None]
        try:
            answers = loaded.generator.write(questions, lambda: all(call.sent.cancelled() for call in batch))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            answers = None
            if len(batch) == 1:
                problem = f"{loaded.device} has no room for a question of {len(questions[0].tokens)} tokens"
                batch[0].answer(Trouble("TooLong", problem))
                return
        if answers is not None:
            for call, question, written in zip(batch, questions, answers, strict=True):
                call.answer(_raw(self._config.model, question, written))
        elif not all(call.sent.cancelled() for call in batch):
            for half in (batch[: len(batch) // 2], batch[len(batch) // 2 :]):
                self._answer(loaded, half)


_models: dict[tuple[Any, ...], LocalModel] = {}
_models_lock = threading.Lock()


def shared_model(config: ModelConfig) -> LocalModel:
    """The model of a config, the same for all who ask it; not yet loaded."""
    key = (config.model, *model_identity(config), config.device, config.context_window)
    with _models_lock:
        model = _models.setdefault(key, LocalModel(config))
        model.n_users += 1
    return model


def give_back(model: LocalModel) -> None:
    """Say that one of those who ask a model does so no more."""
    with _models_lock:
        model.n_users -= 1


def _make_room() -> None:
    """Let go the models that nobody asks."""
    with _models_lock:
        idle = [(key, model) for key, model in _models.items() if model.n_users == 0]
        for key, _ in idle:
            del _models[key]
    for _, model in idle:
        model.unload()


def _load(config: ModelConfig) -> _Loaded:
    from autointerp.devices import is_out_of_memory
    from autointerp.llm.providers.local.generation import Generator
    from autointerp.llm.providers.local.grammar import Grammar
    from autointerp.llm.providers.local.prompt import Prompts

    subject = load_model(config, _make_room)
    model: Any = subject.model
    settings = model.config.get_text_config()
    n_logits = model.get_output_embeddings().weight.shape[0]
    said = [getattr(settings, "max_position_embeddings", None), config.context_window]
    windows = [n for n in said if isinstance(n, int) and n > 0]
    sliding = getattr(settings, "sliding_window", None) if getattr(settings, "use_sliding_window", True) else None
    grammar = Grammar(subject.tokenizer, n_logits, config.model)
    try:
        generator = Generator(model, grammar, config.model)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise LanguageModelError(
            f"{subject.device} has room for the model {config.model}, and none for a question to it",
            "use a smaller model, or another device",
        ) from error
    return _Loaded(
        Prompts(subject.tokenizer, config.model),
        generator,
        min(windows, default=None),
        sliding,
        subject.device,
    )


def _question(loaded: _Loaded, call: _Call, config: ModelConfig) -> "Question | Trouble":
    from autointerp.llm.providers.local.generation import Question

    request, repair = call.request, call.repair
    try:
        tokens = loaded.prompts.tokens(request.system, request.user, repair)
    except ValueError as error:
        return Trouble("BadRequest", str(error))
    if loaded.window is not None and len(tokens) + request.max_output_tokens > loaded.window:
        return Trouble(
            "TooLong",
            f"the context length is {loaded.window} tokens, and there are {len(tokens)} tokens in the prompt and"
            f" {request.max_output_tokens} for the answer",
        )
    answer: type[AnswerModel] = request.answer
    seed = hash_key(0, request.system, request.user, *((repair.bad_answer, repair.complaint) if repair else ()))
    return Question(
        tokens,
        loaded.prompts.n_fixed(request.system),
        answer_schema(answer),
        request.max_output_tokens,
        request.temperature or 0.0,
        seed,
        request.wants_chances,
    )


def _fits(loaded: _Loaded, questions: "Sequence[Question]", most_kept: float) -> bool:
    """Whether questions can be asked at once."""
    longest = max(len(question.tokens) for question in questions)
    most_output = max(question.most_output for question in questions)
    if not loaded.generator.has_batches or (loaded.sliding is not None and longest + most_output > loaded.sliding):
        return False
    at_once = _TOKENS_AT_ONCE.get(loaded.device.type, _LEAST_AT_ONCE)
    return len(questions) * longest <= at_once and len(questions) * (longest + most_output) <= most_kept


def _raw(model: str, question: "Question", written: "Written") -> RawAnswer:
    return RawAnswer(
        written.text,
        "truncated" if written.is_cut else "complete",
        model,
        len(question.tokens),
        written.n_cached,
        written.n_output,
        tokens=written.tokens,
    )
