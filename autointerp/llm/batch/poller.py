"""One batch at a provider: sent, found again, looked at until it is over. Trouble on the way is waited out.

A reply to a submission can be lost after the provider has taken the batch. Then it is looked for before it is sent
again, so that no batch is paid twice: by our name of it, or, where a provider keeps none, among the batches of the
right size, by the calls that its results name.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from autointerp.config import ModelConfig
from autointerp.errors import AutointerpError, LanguageModelError
from autointerp.llm.batch.ledger import BatchedCall, BatchEntry, BatchLedger
from autointerp.llm.batch.service import BatchLook, BatchResult, Candidate, Unsure
from autointerp.llm.limits.retries import Retries, Sleep
from autointerp.llm.limits.silence import Silence
from autointerp.llm.protocol import Trouble
from autointerp.llm.providers.errors import read_problem, server_of
from autointerp.llm.providers.manner import Learned, Manner
from autointerp.llm.providers.problem import HttpProblem, said

if TYPE_CHECKING:
    from autointerp.llm.batch.sdk import SdkBatches

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")
_N_LOOKS_FOR_A_LOST_BATCH = 2
_LONGEST_LIFE_S = 48 * 3600.0
_NO_ENDPOINT = frozenset({404, 405, 501})
STAYS = "run the same command again: what is at the provider is picked up"


class Poller:
    """Deals with one provider's batch endpoint; see the module.

    What it waits for raises `LanguageModelError` where no further call can succeed, or patience ends.

    Args:
        config: The model.
        service: The endpoint.
        ledger: Where its batches are written down.
        retries: How long trouble is waited out.
        sleep: How to wait.

    Attributes:
        learned: How the model is asked, as far as its provider has taught.
        most_requests: Calls in a batch at most: fewer where the provider says that it has no room.
        stopped: Why nothing more is to be sent; None while all is well.
        silence: Tells of trouble that is waited out.
    """

    def __init__(
        self, config: ModelConfig, service: "SdkBatches[Any]", ledger: BatchLedger, retries: Retries, sleep: Sleep
    ) -> None:
        self.learned = Learned(config)
        self.most_requests = min(config.batch_size, service.most_requests)
        self.stopped: AutointerpError | None = None
        self._config = config
        self._service = service
        self._ledger = ledger
        self._retries = retries
        self._sleep = sleep
        self._uploading = asyncio.Lock()
        self.silence = Silence(config, retries.patience_s)

    async def submit(
        self,
        entry: BatchEntry,
        manner: Manner,
        calls: Mapping[str, BatchedCall],
        lines: Sequence[bytes],
        has_company: Callable[[], bool],
    ) -> str | None:
        """Write a batch down, and send it off.

        Args:
            entry: The batch.
            manner: In which its calls are asked.
            calls: In it, by key.
            lines: Its requests, in the same order.
            has_company: Whether other batches of ours are under way: then a provider that has no room is waited for.

        Returns:
            Its id; None if its calls are to be packed anew, by what `learned` and `most_requests` say now.
        """
        waited_s = 0.0
        may_have_arrived = False
        try:
            await asyncio.wrap_future(self._ledger.open(entry, calls))
            with self.silence.waited():
                for number in count(1):
                    async with self._uploading:
                        may_have_arrived = True
                        outcome = await self._attempt(entry, manner, lines)
                    if outcome is None or isinstance(outcome, str):
                        self.silence.ends()
                        return outcome
                    if isinstance(outcome, Unsure):
                        _LOG.info("the reply to a batch was lost (%s); looking for it", outcome.trouble.message)
                        found = await self.find(entry, calls)
                        if found is not None:
                            return found
                        outcome = outcome.trouble
                    may_have_arrived = False
                    if outcome.error_type == "RateLimited" and has_company():
                        waited_s = 0.0
                    waited_s = await self._wait("sending a batch", outcome, number, waited_s, entry.name)
        except (asyncio.CancelledError, LanguageModelError):
            if not may_have_arrived:  # nobody need look for it
                self._ledger.end(entry.name)
            raise
        raise AssertionError("count has no end")

    async def find(self, entry: BatchEntry, keys: Collection[str]) -> str | None:
        """Look for a batch of which no id is known.

        Args:
            entry: The batch, as it is written down.
            keys: Its calls'.

        Returns:
            Its id, or None if the provider does not have it.
        """
        not_ours: set[str] = set()
        n_misses = 0
        while True:
            found = await self.outlast(
                "looking for a batch", lambda: self._service.find(entry.name, entry.n_requests, entry.created_at), entry
            )
            not_ours |= await asyncio.to_thread(self._ledger.known_ids)
            may_come = False
            for candidate in found or ():
                if candidate.is_ours:
                    return candidate.batch_id
                if candidate.batch_id in not_ours:
                    continue
                if not candidate.is_over:
                    may_come = True
                elif await self._names(candidate, keys, entry):
                    return candidate.batch_id
                else:
                    not_ours.add(candidate.batch_id)
            n_misses = 0 if may_come else n_misses + 1
            if n_misses == _N_LOOKS_FOR_A_LOST_BATCH:
                return None
            await self._sleep(self._config.batch_poll_s)

    async def until_over(self, entry: BatchEntry, batch_id: str, saw: Callable[[BatchLook], None]) -> BatchLook | None:
        """Look at a batch until nothing more comes of it.

        Args:
            entry: The batch, as it is written down.
            batch_id: The provider's.
            saw: Told of each look.

        Returns:
            The last look; None if the provider has forgotten the batch.
        """
        while True:
            look = await self.outlast("looking at a batch", lambda: self._service.look(batch_id), entry)
            if look is None:
                return None
            saw(look)
            if look.is_over:
                return look
            await self._sleep(self._config.batch_poll_s)

    async def outlast(
        self, what: str, attempt: Callable[[], Awaitable[_T | Trouble | HttpProblem]], entry: BatchEntry
    ) -> _T | None:
        """Attempt until it succeeds.

        Args:
            what: We are doing.
            attempt: Once.
            entry: The batch that it is about.

        Returns:
            What the attempt brought; None where the provider has forgotten what it is asked for. One that does not
            know a batch of these days is asked again: to take that for an answer would be to pay twice.
        """
        waited_s = 0.0
        with self.silence.waited():
            for number in count(1):
                outcome = await attempt()
                read = self._read_problem(outcome, entry) if isinstance(outcome, HttpProblem) else outcome
                if not isinstance(read, Trouble):
                    self.silence.ends()
                    return read
                waited_s = await self._wait(what, read, number, waited_s, entry.name)
        raise AssertionError("count has no end")

    def _read_problem(self, problem: HttpProblem, entry: BatchEntry) -> Trouble | None:
        if problem.status != 404:
            return read_problem(problem, self._config)
        if time.time() - entry.created_at > _LONGEST_LIFE_S:
            return None
        message = (
            f"HTTP 404: {said(problem.body)}; a batch that was sent with another key, or whose files were deleted, is"
            " asked anew after two days"
        )
        return Trouble("ServerError", message, retriable=True)

    def read_whole_refusal(self, look: BatchLook, entry: BatchEntry, manner: Manner) -> None:
        """Say what it means that a batch was refused after it had been taken; no call of it was carried out.

        Args:
            look: That told so.
            entry: The batch.
            manner: In which its calls were asked.

        Raises:
            LanguageModelError: If its calls can't be sent as they are.
        """
        assert look.refusal is not None, "only a refused batch is read"
        if self._read_refusal(look.refusal, entry, manner) is not None:
            raise self._refused(entry, said(look.refusal.body))

    def lower_for(self, look: BatchLook, entry: BatchEntry) -> None:
        """Send smaller batches from now on, because the provider has no room for one of this size.

        Raises:
            LanguageModelError: If a batch of one call is too much.
        """
        assert look.refusal is not None, "only a refused batch lacks room"
        self._lower(entry, said(look.refusal.body))

    def _lower(self, entry: BatchEntry, reason: str) -> None:
        if entry.n_requests == 1:
            raise LanguageModelError(
                f"{server_of(self._config)} has no room for a batch of one call ({reason})",
                "wait for the account's other batches to end, or have its limits raised",
            )
        self.most_requests = min(self.most_requests, entry.n_requests // 2)
        _LOG.info("a batch of %d calls is too much (%s); now %d", entry.n_requests, reason, self.most_requests)

    async def _attempt(
        self, entry: BatchEntry, manner: Manner, lines: Sequence[bytes]
    ) -> str | Unsure | Trouble | None:
        """Send a batch once, unless all has stopped; None if its calls are to be packed anew.

        Raises:
            LanguageModelError: If it can't be sent, and was not.
        """
        try:
            if self.stopped is not None:
                raise type(self.stopped)(self.stopped.problem, self.stopped.remedy)
            outcome = await self._service.submit(lines, entry.name)
            return self._read_refusal(outcome, entry, manner) if isinstance(outcome, HttpProblem) else outcome
        except AutointerpError as error:
            self.stopped = self.stopped or error
            self._ledger.end(entry.name)
            raise

    async def _names(self, candidate: Candidate, keys: Collection[str], entry: BatchEntry) -> bool:
        """Whether the results of a batch are those of our calls: the first one tells."""

        async def first(where: str) -> str | Trouble | HttpProblem:
            async with aclosing(self._service.results(where)) as results:
                async for result in results:
                    return result.key if isinstance(result, BatchResult) else result
            return ""

        for where in candidate.results:
            if await self.outlast("reading a batch", partial(first, where), entry) in keys:
                return True
        return False

    def _read_refusal(self, problem: HttpProblem, entry: BatchEntry, manner: Manner) -> Trouble | None:
        """Trouble to be waited out; None if the calls are to be packed anew."""
        message = f"HTTP {problem.status}: {said(problem.body)}"
        if self.learned.learn(manner, problem, self._config.max_output_tokens):
            return None
        if problem.status == 413:
            self._lower(entry, message)
            return None
        if problem.status in _NO_ENDPOINT and "model" not in problem.body.lower():
            raise LanguageModelError(
                f"{server_of(self._config)} has no batch endpoint ({message})", "set batch = false in the model's table"
            )
        trouble = read_problem(problem, self._config)
        if not trouble.retriable:
            raise self._refused(entry, message)
        return trouble

    def _refused(self, entry: BatchEntry, message: str) -> LanguageModelError:
        return LanguageModelError(
            f"{server_of(self._config)} refuses a batch of {entry.n_requests} calls as a whole ({message})",
            "correct what it names, or set batch = false in the model's table; nothing of it was paid",
        )

    async def _wait(self, what: str, trouble: Trouble, number: int, waited_s: float, key: str) -> float:
        """Wait before the next attempt, and say how long that makes.

        Raises:
            LanguageModelError: If there is to be none.
        """
        delay_s = self._retries.delay_s(number, key, trouble.retry_after_s)
        if not trouble.retriable or waited_s + delay_s > self._retries.patience_s:
            raise LanguageModelError(f"{what} failed {number} times ({trouble.message})", STAYS)
        _LOG.info("%s: %s; again in %.1f s", what, trouble.message, delay_s)
        self.silence.goes_on(replace(trouble, is_overload=True))  # all trouble of a batch is waited out by patience
        await self._sleep(delay_s)
        return waited_s + delay_s
