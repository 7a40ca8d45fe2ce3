"""A language model as the stages use it: one `ask`, with everything that can go wrong behind it.

1. The journal is looked up; an answer that was paid for is not paid for again.
2. Otherwise the call waits for one of `concurrency` places and is attempted until there is an answer or no attempt is
   left. It keeps its place while it waits for its next attempt: a server that says "too many" is not asked by the next
   in line meanwhile.
3. The answer goes to the journal, is read, and if it does not fit its schema is sent back once with the complaint.

What no further call can mend (a refused key) is raised, and every later call raises the same without being sent.
"""

import asyncio
import importlib
import json
import logging
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from autointerp.config import ModelConfig
from autointerp.errors import LanguageModelError
from autointerp.llm.answers import answer_schema, parse_answer
from autointerp.llm.cost import Prices, prices_of
from autointerp.llm.journal import Journal, request_key
from autointerp.llm.keys import read_key
from autointerp.llm.prompts import load_prompt
from autointerp.llm.protocol import (
    AnswerT,
    CallFailure,
    Provider,
    RawAnswer,
    Repair,
    Reply,
    Request,
    Trouble,
)
from autointerp.llm.retries import Retries, Sleep, with_retries
from autointerp.records import Usage

_LOG = logging.getLogger(__name__)


def connect(
    config: ModelConfig,
    journal: Journal,
    *,
    retry_failures: bool = False,
    retries: Retries | None = None,
    sleep: Sleep = asyncio.sleep,
) -> "ConnectedModel":
    """Make a language model ready to be asked. Nothing is sent yet.

    Use it in one event loop, and close it there: `async with connect(config, journal) as model`.

    Args:
        config: Which model, where, at what price.
        journal: Of the run.
        retry_failures: Whether what was paid and could not be used (a refusal, an answer cut short or unreadable) is
            asked again. By default the journal repeats it, so that a rerun pays nothing.
        retries: How attempts follow each other; by default `config.max_attempts` with the usual waits.
        sleep: How to wait between attempts.

    Raises:
        NoKeyError: If the environment holds no key and the provider wants one.
        LanguageModelError: If the provider's SDK is not installed, or `base_url` is no address.
    """
    key = read_key(config)
    if config.base_url is not None and not _is_address(config.base_url):
        raise LanguageModelError(
            f"base_url = {config.base_url!r} is not the address of a server", "write it as http://127.0.0.1:8000/v1"
        )
    return ConnectedModel(
        config,
        _provider(config, key),
        journal,
        retry_failures=retry_failures,
        retries=retries or Retries(config.max_attempts),
        sleep=sleep,
    )


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _provider(config: ModelConfig, key: str) -> Provider:
    try:
        importlib.import_module(config.provider)
    except ImportError:
        raise LanguageModelError(
            f"the package `{config.provider}` is not installed", f"pip install 'autointerp[{config.provider}]'"
        ) from None
    if config.provider == "openai":
        from autointerp.llm.openai_client import OpenAIProvider

        return OpenAIProvider(config, key)
    from autointerp.llm.anthropic_client import AnthropicProvider

    return AnthropicProvider(config, key)


@dataclass(frozen=True, slots=True)
class _Call:
    answer: RawAnswer
    usage: Usage
    from_journal: bool


class ConnectedModel:
    """A `LanguageModel` over one provider, one journal and one set of limits."""

    def __init__(
        self,
        config: ModelConfig,
        provider: Provider,
        journal: Journal,
        *,
        retry_failures: bool,
        retries: Retries,
        sleep: Sleep,
    ) -> None:
        self._config = config
        self._provider = provider
        self._journal = journal
        self._retry_failures = retry_failures
        self._retries = retries
        self._sleep = sleep
        self._prices: Prices = prices_of(config)
        self._places = asyncio.Semaphore(config.concurrency)
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._stopped: LanguageModelError | None = None
        self._usage = Usage()

    @property
    def name(self) -> str:
        """The model's name in the config."""
        return self._config.model

    @property
    def usage(self) -> Usage:
        """What was paid through this object; answers from the journal cost nothing again."""
        return self._usage

    async def ask(self, request: Request[AnswerT]) -> Reply[AnswerT] | CallFailure:
        """Ask, at most once where the journal has the answer.

        Raises:
            LanguageModelError: If no further call can succeed.
            RunError: If the journal can't be used.
        """
        # Two that ask the same at once pay once: the second waits and finds the first's answer in the journal.
        key = self._key(request, None)
        lock = self._asking.setdefault(key, asyncio.Lock())
        async with lock:
            outcome = await self._converse(request, anew=False)
            replayed_failure = isinstance(outcome, _ReplayedFailure)
            if replayed_failure and self._retry_failures:
                outcome = await self._converse(request, anew=True)
            return outcome.failure if isinstance(outcome, _ReplayedFailure) else outcome

    async def close(self) -> None:
        """Close the connections. The journal stays open: it belongs to the run."""
        await self._provider.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _key(self, request: Request[AnswerT], repair: Repair | None) -> str:
        return request_key(request, repair, self._config, self._provider.base_url)

    async def _converse(
        self, request: Request[AnswerT], *, anew: bool
    ) -> "Reply[AnswerT] | CallFailure | _ReplayedFailure":
        calls: list[_Call] = []
        repair: Repair | None = None
        while True:
            call = await self._call(request, repair, anew=anew)
            paid = sum((c.usage for c in calls), Usage())
            if isinstance(call, Trouble):
                return CallFailure(call.error_type, call.message, call.raw, paid)
            calls.append(call)
            paid = paid + call.usage
            from_journal = all(c.from_journal for c in calls)
            outcome = _read(call.answer, request, paid, from_journal)
            if isinstance(outcome, Reply):
                return outcome
            if outcome.error_type != "ParseFailure" or repair is not None:
                return _ReplayedFailure(outcome) if from_journal else outcome
            repair = Repair(call.answer.text, _complaint(outcome.message, request))

    async def _call(self, request: Request[AnswerT], repair: Repair | None, *, anew: bool) -> _Call | Trouble:
        key = self._key(request, repair)
        if not anew:
            kept = await asyncio.to_thread(self._journal.get, key)
            if kept is not None:
                return _Call(kept, self._prices.usage(kept), from_journal=True)

        async def attempt() -> RawAnswer | Trouble:
            return await self._attempt(request, repair)

        async with self._places:
            answer = await with_retries(attempt, key, self._retries, self._sleep)
            if isinstance(answer, Trouble):
                return answer
            await self._keep(key, answer)
        usage = self._prices.usage(answer)
        self._usage = self._usage + usage
        return _Call(answer, usage, from_journal=False)

    async def _keep(self, key: str, answer: RawAnswer) -> None:
        """Write a paid answer; a run that stops meanwhile waits for it."""
        write = asyncio.create_task(asyncio.to_thread(self._journal.put, key, answer))
        try:
            await asyncio.shield(write)
        except asyncio.CancelledError:
            await write
            raise

    async def _attempt(self, request: Request[AnswerT], repair: Repair | None) -> RawAnswer | Trouble:
        self._raise_if_stopped()
        try:
            # The SDK's timeout is per read; a server that drips would hold its place for ever.
            async with asyncio.timeout(self._config.timeout_s):
                outcome = await self._provider.send(request, repair)
        except TimeoutError:
            outcome = Trouble("Timeout", f"no answer within {self._config.timeout_s:g} s", retriable=True)
        except LanguageModelError as error:
            self._stopped = error
            raise
        if isinstance(outcome, Trouble):
            self._raise_if_stopped()
        return outcome

    def _raise_if_stopped(self) -> None:
        if self._stopped is not None:
            raise type(self._stopped)(self._stopped.problem, self._stopped.remedy)


@dataclass(frozen=True, slots=True)
class _ReplayedFailure:
    failure: CallFailure


def _read(
    answer: RawAnswer, request: Request[AnswerT], usage: Usage, from_journal: bool
) -> Reply[AnswerT] | CallFailure:
    if answer.stop == "refusal":
        return CallFailure("Refusal", "the model refuses to answer", answer.text, usage)
    if answer.stop == "truncated":
        message = f"the answer is cut short at {answer.output_tokens} tokens (max_output_tokens)"
        return CallFailure("Truncated", message, answer.text, usage)
    parsed = parse_answer(answer.text, request.answer)
    if isinstance(parsed, str):
        return CallFailure("ParseFailure", f"the answer does not fit its schema ({parsed})", answer.text, usage)
    return Reply(answer.text, parsed, usage, answer.model, from_journal)


def _complaint(problem: str, request: Request[AnswerT]) -> str:
    schema = json.dumps(answer_schema(request.answer), separators=(",", ":"))
    return load_prompt("repair").user(problem=problem, schema=schema)
