"""Calls by a provider's batch endpoint: half the price, and an answer within a day.

1. Requests gather until a batch is full, or nobody has asked for a moment (`gathering`); then they go off as one.
2. Before that the batch is written into the ledger (`ledger`), so that it is not forgotten when this process dies.
3. The batch is looked at every `batch_poll_s` (`poller`). When it is over, all that it has brought goes to the journal
   (`results`), also what nobody waits for any more; then those who wait are told. What brought no answer goes into the
   next batch, or is a failure of that call, by the same rules as a single call's.
4. A batch that an earlier process left behind is picked up, its money set aside first: at once if this run pays for it;
   if another run at the same journal does, as soon as one of its calls is asked for. Explainer and judge may be one
   model: then the first of their clients takes what both had sent, and the other waits for it there.

What no further call can mend stops the client: everybody who waits is told, and what is at the provider stays there,
for the next run to pick up.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from autointerp.config import ModelConfig
from autointerp.errors import AutointerpError, LanguageModelError
from autointerp.llm.batch.gathering import Asked, Gathering
from autointerp.llm.batch.ledger import BatchedCall, BatchEntry, BatchLedger, Held, Served
from autointerp.llm.batch.poller import STAYS, Poller
from autointerp.llm.batch.results import Accounts, Batch, ResultReader
from autointerp.llm.batch.service import BatchLook
from autointerp.llm.limits.retries import Retries, Sleep
from autointerp.llm.protocol import AnswerT, RawAnswer, Repair, Request, Trouble
from autointerp.llm.tokens import prompt_bytes

if TYPE_CHECKING:
    from autointerp.llm.batch.sdk import SdkBatches

_LOG = logging.getLogger(__name__)


class BatchClient:
    """Takes requests, sends them in batches, and brings their answers. For one model and one event loop.

    Whoever waits is told by `LanguageModelError` that no further call can succeed, and by `RunError` that the journal
    can't be used.

    Args:
        config: The model.
        service: Its provider's batch endpoint.
        ledger: Where its batches are written down, for this process alone.
        served: The model, as the ledger knows it.
        payer: The run's name.
        accounts: Journal and budget.
        retries: How often a call is sent, and how long trouble is waited out.
        sleep: How to wait.
        on_stop: Told of what no further call can mend.
    """

    def __init__(
        self,
        config: ModelConfig,
        service: "SdkBatches[Any]",
        ledger: BatchLedger,
        served: Served,
        payer: str,
        *,
        accounts: Accounts,
        retries: Retries,
        sleep: Sleep,
        on_stop: Callable[[AutointerpError], None],
    ) -> None:
        self._config = config
        self._service = service
        self._ledger = ledger
        self._served = served
        self._payer = payer
        self._accounts = accounts
        self._on_stop = on_stop
        self._poller = Poller(config, service, ledger, retries, sleep)
        self._results = ResultReader(config, service, ledger, accounts, self._poller)
        self._has_excused = False
        self._asked: dict[str, Asked] = {}
        self._gathering = Gathering(service, self._poller, sleep)
        self._batches: dict[str, Batch] = {}
        self._brought: dict[str, str] = {}  # who paid for answers that nobody waited for, by key
        self._starting: asyncio.Task[None] | None = None
        self._n_let_go = 0  # as the ledger had it when it was last looked through
        self._tasks: set[asyncio.Task[None]] = set()
        ledger.clients.append(self)

    @property
    def progress(self) -> str:
        """What is under way, for a progress line; empty where nothing is."""
        batches = [batch for batch in self._batches.values() if batch.calls and batch.is_under_way]
        if not batches:
            return ""
        n_requests = sum(batch.entry.n_requests for batch in batches)
        n_done = sum(batch.n_done for batch in batches)
        plural = "" if len(batches) == 1 else "es"
        return f"{len(batches)} batch{plural}, {n_done:,} of {n_requests:,} done"

    async def held(self, key: str) -> Held | None:
        """Wait for what a batch brings that holds the call already, of whichever client here; its money is set aside.

        Returns:
            The answer; None if no batch holds the call, or it brought no answer.
        """
        n_let_go = None
        while n_let_go != self._ledger.n_let_go:  # or a client was closed meanwhile, and has left the call behind
            n_let_go = self._ledger.n_let_go
            await self._start()
            for client in list(self._ledger.clients):
                held = await client.bring(key)
                if held is not None:
                    return held
        self._raise_if_stopped()
        return None

    async def bring(self, key: str) -> Held | None:
        """See a batch through that this client has in hand, if one holds the call.

        Returns:
            The answer; None if no batch of this client holds the call, or it brought no answer.
        """
        if self._starting is not None:
            await asyncio.shield(self._starting)
        while True:
            payer = self._brought.pop(key, None)  # who asks again wants another answer
            answer = None if payer is None else self._accounts.kept(key)
            if payer is not None and answer is not None:
                return Held(answer, payer)
            batch = next((batch for batch in self._batches.values() if key in batch.calls), None)
            if batch is None:
                return None
            self._raise_if_stopped()
            await self._pick_up(batch)
            await batch.over.wait()

    async def answer(
        self, key: str, request: Request[AnswerT], repair: Repair | None, most_usd: float
    ) -> RawAnswer | Trouble:
        """Ask by the next batch.

        Args:
            key: The request's; no batch holds it, and nobody else asks for it meanwhile.
            request: What is asked.
            repair: The second turn, if this is one.
            most_usd: What the call can cost at most; it is set aside.
        """
        self._raise_if_stopped()
        call = BatchedCall(prompt_bytes(request, repair), most_usd)
        asked = Asked(key, request, repair, call, asyncio.get_running_loop().create_future())
        self._asked[key] = asked
        self._gathering.add([asked])
        try:
            return await asked.told
        finally:
            del self._asked[key]

    async def close(self) -> None:
        """Stop looking. What is at the provider stays there."""
        if self._starting is not None:  # what it takes in hand is to be let go
            await asyncio.gather(self._starting, return_exceptions=True)
        n_left = sum(batch.is_sent for batch in self._batches.values())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._poller.silence.close()
        if n_left:
            _LOG.info("batches of %s left at the provider for the next run: %d", self._config.model, n_left)
        self._ledger.let_go(self._batches)
        if self in self._ledger.clients:
            self._ledger.clients.remove(self)
        left, self._batches = self._batches, {}
        for batch in left.values():
            batch.over.set()
        await self._service.close()

    # --- tasks ------------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        """Find what was left behind, once and whenever a client here has let go of batches, and begin to send."""
        if self._starting is None or self._n_let_go != self._ledger.n_let_go:
            self._n_let_go = self._ledger.n_let_go
            self._starting = asyncio.create_task(self._resume(self._starting))
        await asyncio.shield(self._starting)

    async def _resume(self, before: "asyncio.Task[None] | None") -> None:
        if before is not None:
            await before
        for entry, calls in await asyncio.to_thread(self._ledger.take_left_behind, self._served):
            # How an earlier process asked is not written down; what it was refused it had asked for at first.
            batch = Batch(entry, calls, self._poller.learned.at_first, is_resumed=True)
            self._add(batch)
            if entry.payer == self._payer:
                await self._pick_up(batch)
        if before is None:
            self._begin(self._send_all())

    async def _pick_up(self, batch: Batch) -> None:
        """See a batch through that was left behind, unless somebody does."""
        if batch.is_under_way:
            return
        batch.is_under_way = True
        _LOG.info("picking up a batch of %d calls of %s", batch.entry.n_requests, self._config.model)
        if batch.entry.payer == self._payer:
            batch.most_usd = sum(call.most_usd for call in batch.calls.values())
            await self._accounts.commit(batch.most_usd)
        self._begin(self._carry(batch, None))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except AutointerpError as error:
                self._stop(error)
            except Exception as error:  # a mistake of ours: whoever waits must not wait for ever
                _LOG.exception("asking by batches failed")
                self._stop(LanguageModelError(f"asking by batches failed ({error!r})", f"report it, and {STAYS}"))

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _stop(self, error: AutointerpError) -> None:
        self._poller.stopped = self._poller.stopped or error
        # Also for those who have not come here yet: they may wait for money that nobody gives back now.
        self._on_stop(error)
        for asked in self._waiting_for(list(self._asked)):
            asked.told.set_exception(type(error)(error.problem, error.remedy))
        for batch in self._batches.values():
            batch.over.set()

    def _raise_if_stopped(self) -> None:
        stopped = self._poller.stopped
        if stopped is not None:
            raise type(stopped)(stopped.problem, stopped.remedy)

    # --- sending ----------------------------------------------------------------------------------------------------

    async def _send_all(self) -> None:
        while True:
            calls, lines = await self._gathering.next_batch()
            if calls:
                entry = BatchEntry(self._served, uuid.uuid4().hex, None, self._payer, len(calls), time.time())
                batch = Batch(entry, calls, self._poller.learned.manner, is_under_way=True)
                self._add(batch)
                self._begin(self._carry(batch, lines))

    def _add(self, batch: Batch) -> None:
        self._batches[batch.entry.name] = batch

    def _waiting_for(self, keys: Iterable[str]) -> list[Asked]:
        return [asked for key in keys if (asked := self._asked.get(key)) is not None and not asked.told.done()]

    def _tell(self, payer: str, answers: Mapping[str, RawAnswer]) -> None:
        """Tell who waits what a batch has brought; it is in the journal, paid by the batch's payer."""
        for key, answer in answers.items():
            asked = self._asked.get(key)
            if asked is None:
                self._brought[key] = payer
            elif not asked.told.done():
                asked.told.set_result(answer)

    # --- one batch --------------------------------------------------------------------------------------------------

    async def _carry(self, batch: Batch, lines: Sequence[bytes] | None) -> None:
        """See a batch through; `lines` are those of one that is to be sent."""
        entry, poller = batch.entry, self._poller

        def saw(look: BatchLook) -> None:
            batch.n_done = look.n_done

        batch_id = entry.batch_id
        if batch_id is None:
            if lines is not None:
                batch_id = await poller.submit(
                    entry, batch.manner, batch.calls, lines, lambda: bool(self._others(batch))
                )
            else:
                batch_id = await poller.find(entry, batch.calls)
            if batch_id is None:
                await self._end(batch, self._waiting_for(batch.calls))
                return
            await asyncio.wrap_future(self._ledger.submitted(entry.name, batch_id))
            _LOG.info("batch %s: %d calls of %s", batch_id, entry.n_requests, self._config.model)
        batch.is_sent = True
        batch.had_company = bool(self._others(batch))
        look = await poller.until_over(entry, batch_id, saw)
        if look is not None and look.refusal is not None:
            await self._repack(batch, look)
        else:
            await self._collect(batch, batch_id, () if look is None else look.results)

    def _others(self, batch: Batch) -> list[Batch]:
        """What is at the provider beside this batch."""
        return [other for other in self._batches.values() if other is not batch and other.is_sent]

    async def _repack(self, batch: Batch, look: BatchLook) -> None:
        """Send the calls of a batch that was refused as a whole in other batches."""
        entry = batch.entry
        calls = self._waiting_for(batch.calls)
        await self._end(batch, [])
        if not look.lacks_room:
            self._poller.read_whole_refusal(look, entry, batch.manner)
        elif others := self._others(batch):
            _LOG.info("no room for a batch of %d calls: waiting for another to end", entry.n_requests)
            ends = [asyncio.ensure_future(other.over.wait()) for other in others]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                end.cancel()
        elif batch.had_company and not self._has_excused:
            self._has_excused = True  # once, until a batch is done: its room was that of others, which have ended since
        else:
            self._poller.lower_for(look, entry)
        self._gathering.add(calls)

    async def _collect(self, batch: Batch, batch_id: str, results: Sequence[str]) -> None:
        """Take in what a batch has brought, tell who waits, and ask again for what it has not brought."""
        self._has_excused = False
        await self._results.take_in(batch, batch_id, results, partial(self._tell, batch.entry.payer))
        again: list[Asked] = []
        troubles: list[tuple[Asked, Trouble]] = []
        fatal: LanguageModelError | None = None
        for asked in self._waiting_for(batch.calls):
            try:
                trouble = self._results.judge(batch, asked.key, asked.n_attempts + 1)
            except LanguageModelError as error:
                fatal = fatal or error
                continue
            if trouble is None:
                asked.n_attempts += 1
                again.append(asked)
            else:
                troubles.append((asked, trouble))
        await self._end(batch, [] if fatal else again)
        for asked, trouble in troubles:
            if not asked.told.done():
                asked.told.set_result(trouble)
        if fatal is not None:
            raise fatal
        if again:
            _LOG.info("batch %s: %d calls are asked again", batch_id, len(again))

    async def _end(self, batch: Batch, again: Sequence[Asked]) -> None:
        """Nothing more comes of a batch: note it, and ask again for some of its calls."""
        await asyncio.wrap_future(self._ledger.end(batch.entry.name))
        del self._batches[batch.entry.name]
        if batch.is_resumed and batch.entry.payer == self._payer:
            await self._accounts.settle(batch.most_usd, batch.paid_usd)
        batch.over.set()
        self._gathering.add(again)
