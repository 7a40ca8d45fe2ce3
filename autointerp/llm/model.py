"""A language model as the stages use it: one `ask`, with everything that can go wrong behind it.

1. The journal is looked up; an answer that was paid for is not paid for again.
2. The most that the call can cost is set aside in the budget (`budget`).
3. Each attempt waits for the gate (`limits.gate`), which keeps to the server's limits. A call that has to be repeated
   gives its place away while it waits, so that none holds the others up (`limits.retries`).
4. The answer goes to the journal, is read, and if it does not fit its schema is sent back once with the complaint.

What no further call can mend (a refused key, a budget that is used up, too many failures) is raised, and every later
call raises the same without being sent.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from autointerp.config import ModelConfig
from autointerp.errors import AutointerpError, LanguageModelError
from autointerp.llm.answers import complaint, read_answer
from autointerp.llm.batch.client import BatchClient
from autointerp.llm.batch.ledger import BatchLedger, Held, Served
from autointerp.llm.batch.results import Accounts
from autointerp.llm.budget import Budget, FailureCount, Stop, unpriced
from autointerp.llm.journal import AnswerStore, Payment, request_key
from autointerp.llm.limits.clock import Clock
from autointerp.llm.limits.gate import Gate
from autointerp.llm.limits.retries import Retries, Sleep, with_retries
from autointerp.llm.limits.silence import Silence
from autointerp.llm.prices import Prices, prices_of
from autointerp.llm.protocol import (
    AnswerT,
    CallErrorType,
    CallFailure,
    Provider,
    RawAnswer,
    Repair,
    Reply,
    Request,
    Sent,
    Trouble,
)
from autointerp.llm.tokens import BytesPerToken, prompt_bytes
from autointerp.records import Usage

if TYPE_CHECKING:
    from autointerp.llm.batch.sdk import SdkBatches

_LOG = logging.getLogger(__name__)
_OUTPUT_AT_FIRST = 256


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms a run's models are asked.

    Attributes:
        budget: Shared by all models of a run; None for no limit.
        prices: Of this model; None for those of its config.
        max_failed_share: Share of the questions that may fail; past it the run stops.
        payer: The run's name in the journal.
        gate: Shared by the models that ask one server for one model; None for one of its own.
        stop: Shared by all models of a run; None for one of its own.
    """

    budget: Budget | None = None
    prices: Prices | None = None
    max_failed_share: float = 1.0
    payer: str = ""
    gate: Gate | None = None
    stop: Stop | None = None


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that was answered; `from_journal` also where another run has paid for it in a batch that we waited for."""

    answer: RawAnswer
    usage: Usage
    from_journal: bool


class ConnectedModel:
    """A `LanguageModel` over one provider, one journal and one set of limits.

    Args:
        config: Which model.
        provider: Sends its calls.
        journal: Keeps its answers.
        terms: Budget, prices and when to stop.
        retry_failures: Whether what was paid and could not be used is asked again.
        retries: How attempts follow each other.
        sleep: How to wait between them.
        batches: The provider's batch endpoint, and where its batches are written down; None to make single calls.
    """

    def __init__(
        self,
        config: ModelConfig,
        provider: Provider,
        journal: AnswerStore,
        *,
        terms: Terms,
        retry_failures: bool,
        retries: Retries,
        sleep: Sleep,
        batches: tuple["SdkBatches[Any]", BatchLedger] | None = None,
    ) -> None:
        self._config = config
        self._provider = provider
        self._journal = journal
        self._retry_failures = retry_failures
        self._retries = retries
        clock = Clock(sleep)
        self._sleep = clock.sleep
        self._terms = terms
        self._prices: Prices = terms.prices or prices_of(config)
        self._budget = terms.budget or Budget(None)
        if self._budget.is_limited and not self._prices.are_known:
            raise unpriced(config)
        self._gate = terms.gate or Gate(config, clock, longest_pause_s=retries.patience_s)
        # A model in this process answers when its turn has come.
        self._timeout_s = None if config.provider == "local" else config.timeout_s
        self._silence = Silence(config, retries.patience_s)
        paid = journal.paid_so_far(config.model)
        self._tokens = BytesPerToken(paid.prompt_bytes, paid.input_tokens, paid.n_answers)
        self._stop = terms.stop or Stop()
        self._usage = Usage()
        self._outcomes = FailureCount(config.model, terms.max_failed_share)
        self._batches: BatchClient | None = None
        if batches is not None:
            self._batches = BatchClient(
                config,
                *batches,
                Served.of(config, provider.base_url),
                terms.payer,
                accounts=Accounts(journal.get, self._keep_from_batch, self._budget.commit, self._budget.settle),
                retries=retries,
                sleep=self._wait,
                on_stop=self._stop_with,
            )

    @property
    def name(self) -> str:
        """The model's name in the config."""
        return self._config.model

    @property
    def usage(self) -> Usage:
        """What was paid through this object; answers from the journal cost nothing again."""
        return self._usage

    @property
    def failures(self) -> Mapping[CallErrorType, int]:
        """Calls that came to nothing through this object, by what became of them."""
        return self._outcomes.counts

    @property
    def n_in_flight(self) -> int:
        """Attempts under way."""
        return self._gate.n_in_flight

    @property
    def batches_under_way(self) -> str:
        """How far the batches at the provider are, for a progress line; empty where there are none."""
        return "" if self._batches is None else self._batches.progress

    async def ask(self, request: Request[AnswerT]) -> Reply[AnswerT] | CallFailure:
        """Ask, at most once where the journal has the answer.

        Raises:
            LanguageModelError: If no further call can succeed.
            RunError: If the journal can't be used.
        """
        # Two that ask the same at once pay once: the second waits and finds the first's answer in the journal.
        key = self._key(request, None)
        async with self._journal.asking(key):
            outcome = await self._converse(request, key, anew=False)
            if isinstance(outcome, _ReplayedFailure) and self._retry_failures:
                outcome = await self._converse(request, key, anew=True)
        if isinstance(outcome, _ReplayedFailure):
            return outcome.failure
        await self._note(outcome, key)
        return outcome

    async def close(self) -> None:
        """Close the connections. The journal stays open: it belongs to the run."""
        self._silence.close()
        if self._batches is not None:
            await self._batches.close()
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
        self, request: Request[AnswerT], key: str, *, anew: bool
    ) -> "Reply[AnswerT] | CallFailure | _ReplayedFailure":
        calls: list[_Call] = []
        repair: Repair | None = None
        misfit: Reply[AnswerT] | None = None
        while True:
            call = await self._call(request, repair, key if repair is None else self._key(request, repair), anew=anew)
            if isinstance(call, _Call):
                calls.append(call)
            usage = sum((c.usage for c in calls), Usage())
            paid = sum((c.usage for c in calls if not c.from_journal), Usage())
            if isinstance(call, Trouble):
                if misfit is not None:  # what there is was paid, and some of it can be used
                    return replace(misfit, usage=usage, paid=paid)
                return CallFailure(call.error_type, call.message, call.raw, usage, paid)
            from_journal = all(c.from_journal for c in calls)
            outcome = read_answer(call.answer, request, usage, paid, from_journal=from_journal)
            if isinstance(outcome, Reply):
                fault = request.misfit(outcome.answer) if request.misfit is not None else None
                if fault is None or repair is not None:
                    return outcome
                misfit, repair = outcome, Repair(call.answer.text, complaint(fault, request))
                continue
            if misfit is not None:
                return replace(misfit, usage=usage, paid=paid, from_journal=from_journal)
            if outcome.error_type != "ParseFailure" or repair is not None:
                return _ReplayedFailure(outcome) if from_journal else outcome
            repair = Repair(call.answer.text, complaint(outcome.message, request))

    async def _call(self, request: Request[AnswerT], repair: Repair | None, key: str, *, anew: bool) -> _Call | Trouble:
        if not anew:
            kept = self._journal.get(key)
            if kept is not None:
                return _Call(kept, self._prices.usage(kept), from_journal=True)
        held = await self._held(key)
        if held is not None:
            return _Call(held.answer, self._prices.usage(held.answer), from_journal=held.payer != self._terms.payer)
        n_bytes = prompt_bytes(request, repair)
        most_usd = self._prices.most_usd(self._tokens.at_most(n_bytes), request.max_output_tokens) or 0.0
        self._stop.check()
        paid_usd: float | None = 0.0
        try:
            if self._budget.is_limited:
                await self._stop.unless(self._budget.reserve(most_usd))
        except LanguageModelError as error:
            self._stop_with(error)
            raise
        try:
            answer = await (
                self._attempts(request, repair, key, n_bytes, most_usd)
                if self._batches is None
                else self._by_batch(self._batches, request, repair, key, most_usd)
            )
            if isinstance(answer, Trouble):
                return answer
            usage = self._prices.usage(answer)
            paid_usd = self._charged_usd(usage, most_usd)
        finally:
            await self._budget.settle(most_usd, paid_usd or 0.0)
        if self._batches is None:
            self._usage = self._usage + usage
        return _Call(answer, usage, from_journal=False)

    async def _held(self, key: str) -> Held | None:
        """What a batch brings that holds this call already, if one does: an earlier process may have sent it."""
        if self._batches is None:
            return None
        self._stop.check()
        try:
            return await self._batches.held(key)
        except LanguageModelError as error:
            self._stop_with(error)
            raise

    async def _by_batch(
        self, batches: BatchClient, request: Request[AnswerT], repair: Repair | None, key: str, most_usd: float
    ) -> RawAnswer | Trouble:
        try:
            return await batches.answer(key, request, repair, most_usd)
        except LanguageModelError as error:
            self._stop_with(error)
            raise

    async def _keep_from_batch(self, key: str, answer: RawAnswer, n_bytes: int, payer: str) -> float:
        """Write an answer that a batch has brought, and tell what it cost this run."""
        usage = self._prices.usage(answer)
        if payer == self._terms.payer:
            await self._keep(key, answer, n_bytes, usage.cost_usd)
            self._usage = self._usage + usage
            return usage.cost_usd or 0.0
        payment = Payment(payer, self._config.model, n_bytes, usage.cost_usd)
        await asyncio.wrap_future(self._journal.put(key, answer, payment))
        return 0.0

    async def _attempts(
        self, request: Request[AnswerT], repair: Repair | None, key: str, n_bytes: int, most_usd: float
    ) -> RawAnswer | Trouble:
        async def attempt() -> RawAnswer | Trouble:
            n_tokens = self._tokens.expected(n_bytes) + self._output_to_expect(request)
            await self._gate.enter(n_tokens)
            sent: Sent | None = None
            try:
                sent = await self._send(request, repair)
                if isinstance(sent.outcome, RawAnswer):
                    # Before another is sent in its place: so a kill costs no more than may be in flight.
                    charged_usd = self._charged_usd(self._prices.usage(sent.outcome), most_usd)
                    await self._keep(key, sent.outcome, n_bytes, charged_usd)
                if isinstance(sent.outcome, Trouble) and sent.outcome.retriable:
                    self._silence.goes_on(sent.outcome)
                else:
                    self._silence.ends()
            finally:
                self._gate.leave(n_tokens, sent)
            return sent.outcome

        with self._silence.waited():
            return await with_retries(attempt, key, self._retries, self._wait)

    async def _wait(self, seconds: float) -> None:
        """Wait for the next attempt, or until the run stops."""
        await self._stop.unless(self._sleeping(seconds))
        self._stop.check()

    async def _sleeping(self, seconds: float) -> None:
        await self._sleep(seconds)

    async def _send(self, request: Request[AnswerT], repair: Repair | None) -> Sent:
        self._stop.check()
        try:
            # The SDK's timeout is per read; a server that drips would hold its place for ever.
            async with asyncio.timeout(self._timeout_s):
                sent = await self._provider.send(request, repair)
        except TimeoutError:
            sent = Sent(Trouble("Timeout", f"no answer within {self._config.timeout_s:g} s", retriable=True))
        except LanguageModelError as error:
            self._stop_with(error)
            raise
        if isinstance(sent.outcome, Trouble):
            self._stop.check()
        return sent

    def _charged_usd(self, usage: Usage, most_usd: float) -> float | None:
        """What a call counts for in the budget: where the server does not count its tokens, the most it can cost."""
        return most_usd if usage.cost_usd is None and self._budget.is_limited else usage.cost_usd

    async def _keep(self, key: str, answer: RawAnswer, n_bytes: int, cost_usd: float | None) -> None:
        """Write a paid answer; a run that stops meanwhile waits for it."""
        self._tokens.learn(n_bytes, answer.input_tokens)
        write = asyncio.wrap_future(self._journal.put(key, answer, self._payment(n_bytes, cost_usd)))
        try:
            await asyncio.shield(write)
        except asyncio.CancelledError:
            await write
            raise

    def _payment(self, n_bytes: int, cost_usd: float | None) -> Payment:
        return Payment(self._terms.payer, self._config.model, n_bytes, cost_usd)

    def _output_to_expect(self, request: Request[AnswerT]) -> float:
        if self._usage.n_calls == 0:
            return min(_OUTPUT_AT_FIRST, request.max_output_tokens)
        return self._usage.output_tokens / self._usage.n_calls

    async def _note(self, outcome: Reply[AnswerT] | CallFailure, key: str) -> None:
        """Keep what came to nothing, and stop the run where too much does."""
        if isinstance(outcome, Reply):
            self._outcomes.n_usable += not outcome.from_journal
            return
        if outcome.error_type == "TooLong":
            return  # who asks may ask for less
        error = self._outcomes.add(outcome)
        await asyncio.wrap_future(self._journal.put_failure(key, outcome, self._payment(0, None)))
        if error is not None:
            self._stop_with(error)
            self._stop.check()

    def _stop_with(self, error: AutointerpError) -> None:
        self._stop.set(error)
        self._gate.open()


@dataclass(frozen=True, slots=True)
class _ReplayedFailure:
    failure: CallFailure
