"""What a batch has brought: into the journal first, then to those who wait for it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from autointerp.config import ModelConfig
from autointerp.llm.batch.ledger import BatchedCall, BatchEntry, BatchLedger
from autointerp.llm.batch.poller import Poller
from autointerp.llm.batch.service import BatchResult, NotDone
from autointerp.llm.protocol import RawAnswer, Trouble
from autointerp.llm.providers.errors import read_problem
from autointerp.llm.providers.manner import Manner
from autointerp.llm.providers.problem import HttpProblem

if TYPE_CHECKING:
    from autointerp.llm.batch.sdk import SdkBatches

_LOG = logging.getLogger(__name__)
_ANSWERS_AT_A_TIME = 500


@dataclass(frozen=True, slots=True)
class Accounts:
    """What a batch client needs of whoever pays.

    Attributes:
        kept: The journal's answer with a key.
        keep: Writes an answer (key, answer, bytes of its prompt, who pays) to the journal, and returns when it is on
            disk: with what it cost this run, in USD.
        commit: Sets aside what a batch of an earlier process can cost.
        settle: Puts what it did cost in that place.
    """

    kept: Callable[[str], RawAnswer | None]
    keep: Callable[[str, RawAnswer, int, str], Awaitable[float]]
    commit: Callable[[float], Awaitable[None]]
    settle: Callable[[float, float], Awaitable[None]]


@dataclass(slots=True, eq=False)
class Batch:
    """A batch that has not ended.

    Attributes:
        entry: As in the ledger.
        calls: Those that have brought nothing yet, by key.
        manner: How the model was asked in it.
        is_resumed: Whether an earlier process sent it, so that no caller has set money aside for it.
        most_usd: What is set aside for it, if it is resumed.
        over: Set at its end.
        n_done: Calls that the provider is done with, as far as it says.
        paid_usd: What its answers have cost this run.
        problems: What brought no answer, by key.
        is_under_way: Whether it is seen through: one of another run that was left behind waits until it is needed.
        is_sent: Whether the provider has it.
        had_company: Whether it had others of ours when this one came.
    """

    entry: BatchEntry
    calls: dict[str, BatchedCall]
    manner: Manner
    is_resumed: bool = False
    most_usd: float = 0.0
    over: asyncio.Event = field(default_factory=asyncio.Event)
    n_done: int = 0
    paid_usd: float = 0.0
    problems: "dict[str, HttpProblem | Trouble | NotDone]" = field(default_factory=dict)
    is_under_way: bool = False
    is_sent: bool = False
    had_company: bool = False


class ResultReader:
    """Takes in what batches have brought.

    Args:
        config: The model.
        service: Its provider's batch endpoint.
        ledger: Where its batches are written down.
        accounts: Journal and budget.
        poller: Asks the endpoint, and waits trouble out.
    """

    def __init__(
        self, config: ModelConfig, service: "SdkBatches[Any]", ledger: BatchLedger, accounts: Accounts, poller: Poller
    ) -> None:
        self._config = config
        self._service = service
        self._ledger = ledger
        self._accounts = accounts
        self._poller = poller

    async def take_in(
        self,
        batch: Batch,
        batch_id: str,
        results: Sequence[str],
        tell: Callable[[Mapping[str, RawAnswer]], None],
    ) -> None:
        """Read the results of a batch that is over.

        Its answers leave `batch.calls`; what became of the others is in `batch.problems`.

        Args:
            batch: Ours.
            batch_id: The provider's name of it.
            results: Where they lie.
            tell: Told of answers that are in the journal.

        Raises:
            LanguageModelError: As the poller raises it.
            RunError: If the journal can't be used.
        """
        for where in results:
            read = await self._poller.outlast("reading a batch", partial(self._read, batch, where, tell), batch.entry)
            if read is None:
                _LOG.warning("results of the batch %s are no longer kept; its calls are asked anew", batch_id)

    def judge(self, batch: Batch, key: str, n_attempts: int) -> Trouble | None:
        """What a call comes to that a batch did not answer; None if it is to be asked again.

        Args:
            batch: That is over.
            key: The call's.
            n_attempts: Batches that have held it, this one included.

        Raises:
            LanguageModelError: If no further call can succeed.
        """
        outcome = batch.problems.get(key, NotDone("no result"))
        if isinstance(outcome, HttpProblem):
            if self._poller.learned.learn(batch.manner, outcome, self._config.max_output_tokens):
                return None
            outcome = read_problem(outcome, self._config)
        if isinstance(outcome, NotDone):
            outcome = Trouble("Timeout", f"the batch ended before this call ({outcome.reason})", retriable=True)
        if not outcome.retriable:
            return outcome
        if n_attempts < self._config.max_attempts:
            return None
        plural = "" if n_attempts == 1 else "es"
        return replace(outcome, message=f"{outcome.message} (given up after {n_attempts} batch{plural})")

    async def _read(
        self, batch: Batch, where: str, tell: Callable[[Mapping[str, RawAnswer]], None]
    ) -> "Literal[True] | Trouble | HttpProblem":
        answers: dict[str, RawAnswer] = {}
        async with aclosing(self._service.results(where)) as results:
            async for result in results:
                if not isinstance(result, BatchResult):
                    await self._keep(batch, answers, tell)
                    return result
                if result.key not in batch.calls:
                    continue
                if isinstance(result.outcome, RawAnswer):
                    answers[result.key] = result.outcome
                else:
                    batch.problems[result.key] = result.outcome
                if len(answers) == _ANSWERS_AT_A_TIME:
                    await self._keep(batch, answers, tell)
                    answers = {}
        await self._keep(batch, answers, tell)
        return True

    async def _keep(
        self,
        batch: Batch,
        answers: Mapping[str, RawAnswer],
        tell: Callable[[Mapping[str, RawAnswer]], None],
    ) -> None:
        keep, payer = self._accounts.keep, batch.entry.payer
        costs = await asyncio.gather(
            *(keep(key, answer, batch.calls[key].prompt_bytes, payer) for key, answer in answers.items())
        )
        batch.paid_usd += sum(costs)
        await asyncio.wrap_future(self._ledger.done(batch.entry.name, answers))
        if len(answers) == len(batch.calls):  # once the last is told, this process may be over
            await asyncio.wrap_future(self._ledger.end(batch.entry.name))
        # At once, so that whoever asks meanwhile finds the call in the batch or is told.
        for key in answers:
            del batch.calls[key]
        tell(answers)
