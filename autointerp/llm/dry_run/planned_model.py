"""Language models that are not asked: what a run would ask, counted before it is spent.

A planned model is a `ConnectedModel` like any other, so that it looks up the journal, asks once what is asked twice,
and repairs what was answered badly, just as the run will. Only its two ends differ:

1. Its provider sends nothing. It counts the prompt's tokens and gives a plausible answer (`planned_answer`), from which
   the run's own code builds the prompts that follow.
2. Its journal is read, never written; planned answers are kept in memory.

Tokens are counted with the model's tokenizer where its config names one. Otherwise they are told from the journal's
answered calls of the model, those with the same kind of answer where there are some; so the schema and a reasoning
model's thoughts are counted as far as they were charged for. Where no call has been answered, four bytes are a token.

What can't be foreseen is left out: repairs, refusals, attempts that are repeated, and, where nothing was answered yet,
thoughts. A fixed part counts as cached from its second call on if it is long enough for the provider, though calls made
at the same time as the first will miss it.
"""

import asyncio
import re
import sqlite3
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from autointerp.config import LlmConfig, ModelConfig
from autointerp.llm.answers import parse_answer
from autointerp.llm.connect import connect_provider
from autointerp.llm.dry_run.planned_answer import plan_answer, plan_chances
from autointerp.llm.journal import JournalReader, Payment
from autointerp.llm.journal_file import open_read_only, unusable
from autointerp.llm.limits.retries import Retries
from autointerp.llm.model import ConnectedModel, Terms
from autointerp.llm.prices import Prices, find_prices, min_cached_tokens
from autointerp.llm.protocol import AnswerModel, AnswerT, CallFailure, Provider, RawAnswer, Repair, Request, Sent
from autointerp.llm.providers.local.loading import model_place
from autointerp.llm.tokens import BYTES_PER_TOKEN, TokenizerCount, prompt_bytes

_N_SAMPLED = 1000
_SIGNS = re.compile(r"\d{1,3}|[^\w\s]")
_TOKENS_PER_SIGN = 0.75
"""Some digits and signs that stand together are one token."""
_MOST_TOKENS_PER_BYTE = 0.5
"""Of words: what is charged for beyond that is thought."""


class Planner:
    """Makes the planned models of one run; they share a journal, and what is cached.

    Args:
        llm: The table of the pipeline.
        journal: The file of paid answers; may be missing.

    Raises:
        RunError: If the journal can't be read.
    """

    def __init__(self, llm: LlmConfig, journal: Path) -> None:
        self.journal = PlannedJournal(journal)
        self._llm = llm
        self._cached: set[tuple[str, str, str]] = set()
        self._tokenizers: dict[str, TokenizerCount] = {}

    def connect(self, config: ModelConfig) -> "PlannedModel":
        """A planned model.

        Raises:
            LanguageModelError: If what the provider needs is not installed, or `base_url` is no address.
            PipelineError: If its tokenizer or the file of prices can't be read.
        """
        prices = find_prices(config, self._llm)
        counts = _Counts(config, self._tokenizer(config), self.journal.answered_calls(config.model))
        unhurried = config.model_copy(update={"requests_per_minute": None, "tokens_per_minute": None})
        real = connect_provider(unhurried, key="planned")
        provider = _PlannedProvider(config, real, counts, prices, min_cached_tokens(config, self._llm), self._cached)
        model = ConnectedModel(
            unhurried,
            provider,
            self.journal,
            terms=Terms(prices=prices),
            retry_failures=True,
            retries=Retries(config.max_attempts),
            sleep=asyncio.sleep,
        )
        return PlannedModel(config, model, prices, counts.how)

    def close(self) -> None:
        """Close the journal."""
        self.journal.close()

    def _tokenizer(self, config: ModelConfig) -> TokenizerCount | None:
        place = config.tokenizer
        if place is None and config.provider == "local":
            place = model_place(config)
        if place is None:
            return None
        if place not in self._tokenizers:
            self._tokenizers[place] = TokenizerCount(place)
        return self._tokenizers[place]


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """A model that is not asked.

    Attributes:
        config: Which one.
        model: Answers in its place; its `usage` is what the run would pay.
        prices: By which its cost is told.
        counted: How its tokens are told, in words.
    """

    config: ModelConfig
    model: ConnectedModel
    prices: Prices
    counted: str


@dataclass(frozen=True, slots=True)
class _AnsweredCall:
    """What the journal knows of one."""

    text: str
    prompt_bytes: int
    input_tokens: int
    output_tokens: int


class _Calls:
    """Answered calls of one kind, or of all kinds."""

    def __init__(self, calls: Sequence[_AnsweredCall]) -> None:
        self.n = len(calls)
        self._prompt_bytes = sum(call.prompt_bytes for call in calls)
        self._input_tokens = sum(call.input_tokens for call in calls)
        self._answer_bytes = sum(len(call.text.encode("utf-8", "replace")) for call in calls)
        self._output_tokens = sum(call.output_tokens for call in calls)

    @property
    def mean_answer_bytes(self) -> float:
        return self._answer_bytes / self.n

    def input_tokens(self, n_bytes: int) -> float:
        return n_bytes * self._input_tokens / self._prompt_bytes if self.n else n_bytes / BYTES_PER_TOKEN

    def output_tokens(self, answer: str) -> float:
        n_bytes = len(answer.encode("utf-8", "replace"))
        if self.n == 0:
            # Numbers and brackets are short tokens, whatever their bytes.
            return max(n_bytes / BYTES_PER_TOKEN, _TOKENS_PER_SIGN * len(_SIGNS.findall(answer)))
        of_words = min(self._output_tokens, self._answer_bytes * _MOST_TOKENS_PER_BYTE)
        return n_bytes * of_words / max(self._answer_bytes, 1) + (self._output_tokens - of_words) / self.n


class _Counts:
    """Tokens of a model's planned calls.

    Attributes:
        how: They are told, in words.
    """

    def __init__(
        self, config: ModelConfig, tokenizer: TokenizerCount | None, answered: Sequence[_AnsweredCall]
    ) -> None:
        self._tokenizer = tokenizer
        self._answered = answered
        self._all = _Calls(answered)
        self._by_kind: dict[type[AnswerModel], _Calls] = {}
        if tokenizer is not None:
            self.how = f"counted with the tokenizer {tokenizer.location}"
        elif answered:
            sampled = " or more" if len(answered) == _N_SAMPLED else ""
            self.how = f"estimated from {len(answered)}{sampled} answered calls of this model"
        else:
            self.how = f"estimated at {BYTES_PER_TOKEN:g} bytes a token; no call of this model has been answered yet"

    def answer(self, request: Request[AnswerT]) -> str:
        kind = self._of_kind(request.answer)
        return plan_answer(request, kind.mean_answer_bytes if kind.n else None)

    def prompt(self, request: Request[AnswerT], repair: Repair | None) -> int:
        if self._tokenizer is not None:
            return self._tokenizer.prompt(request, repair)
        return round(self._like(request.answer).input_tokens(prompt_bytes(request, repair)))

    def fixed(self, request: Request[AnswerT]) -> int:
        if self._tokenizer is not None:
            return self._tokenizer.fixed(request)
        return round(self._like(request.answer).input_tokens(len(request.system.encode("utf-8", "replace"))))

    def output(self, request: Request[AnswerT], text: str) -> int:
        if self._tokenizer is not None and not self._answered:
            return self._tokenizer.text(text)
        n_tokens = self._like(request.answer).output_tokens(text)
        return min(max(1, round(n_tokens)), request.max_output_tokens)

    def _like(self, answer: type[AnswerModel]) -> _Calls:
        kind = self._of_kind(answer)
        return kind if kind.n else self._all

    def _of_kind(self, answer: type[AnswerModel]) -> _Calls:
        """Answered calls with an answer that fits."""
        if answer not in self._by_kind:
            self._by_kind[answer] = _Calls(
                [c for c in self._answered if not isinstance(parse_answer(c.text, answer), str)]
            )
        return self._by_kind[answer]


class _PlannedProvider:
    """A `Provider` that sends nothing."""

    def __init__(
        self,
        config: ModelConfig,
        real: Provider,
        counts: _Counts,
        prices: Prices,
        min_cached: int | None,
        cached: set[tuple[str, str, str]],
    ) -> None:
        self._model = config.model
        # Whatever comes after the fixed part too, and asks for it where writing has a price (gpt-5.6 and later).
        self._writes_whole_prompts = config.provider == "openai"
        self._real = real
        self._counts = counts
        self._prices = prices
        self._min_cached = min_cached
        self._cached = cached

    @property
    def base_url(self) -> str:
        """Where the calls would go."""
        return self._real.base_url

    async def send(self, request: Request[AnswerT], repair: Repair | None) -> Sent:
        """Count."""
        text = self._counts.answer(request)
        n_input = self._counts.prompt(request, repair)
        n_read, n_written = self._cache_use(request, n_input)
        n_output = self._counts.output(request, text)
        chances = plan_chances(request, text)
        return Sent(RawAnswer(text, "complete", "planned", n_input, n_read, n_output, n_written, chances))

    def _cache_use(self, request: Request[AnswerT], n_input: int) -> tuple[int, int]:
        """Tokens that are read from the provider's cache, and that are written to it at a price."""
        if self._min_cached is None:
            return 0, 0
        n_read = n_written = 0
        n_fixed = min(self._counts.fixed(request), n_input)
        if n_fixed >= self._min_cached:
            key = (self.base_url, self._model, request.system)
            n_read, n_written = (n_fixed, 0) if key in self._cached else (0, n_fixed)
            self._cached.add(key)
        if self._prices.cache_write is None:
            return n_read, 0
        if self._writes_whole_prompts and n_input >= self._min_cached:
            n_written = n_input - n_read
        return n_read, n_written

    async def close(self) -> None:
        """Close the provider that was not asked."""
        await self._real.close()


class PlannedJournal(JournalReader):
    """A journal that is read, and planned answers beside it in memory.

    Args:
        path: Its file; may be missing.

    Raises:
        RunError: If it can't be read.
    """

    def __init__(self, path: Path) -> None:
        try:
            super().__init__(path, open_read_only(path))
        except sqlite3.Error as error:
            raise unusable(path, error) from error
        self._planned: dict[str, RawAnswer] = {}

    def get(self, key: str) -> RawAnswer | None:
        """The answer with a key, if it was paid for or planned."""
        return self._planned.get(key) or super().get(key)

    def put(self, key: str, answer: RawAnswer, payment: Payment | None = None) -> Future[None]:
        """Keep a planned answer in memory."""
        self._planned[key] = answer
        return _done()

    def put_failure(self, key: str, failure: CallFailure, payment: Payment) -> Future[None]:
        """Keep nothing."""
        return _done()

    def answered_calls(self, asked_model: str) -> list[_AnsweredCall]:
        """Some of a model's answered calls; keys are hashes, so that the first are a random sample."""
        query = (
            "SELECT text, prompt_bytes, input_tokens, output_tokens FROM answers"
            " WHERE asked_model = ? AND stop = 'complete' AND prompt_bytes > 0 AND input_tokens > 0 LIMIT ?"
        )
        return [_AnsweredCall(*row) for row in self.rows(query, asked_model, _N_SAMPLED)]


def _done() -> Future[None]:
    done: Future[None] = Future()
    done.set_result(None)
    return done
