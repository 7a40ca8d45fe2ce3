"""Calls by a provider's batch endpoint: half the price, and an answer within a day.

1. Requests gather until a batch is full, or nobody has asked for a moment; then they go off as one batch.
2. Before that the batch is written into the ledger (`ledger`), which keeps any call from being sent twice, and
   from being forgotten when this process dies.
3. The batch is looked at every `batch_poll_s`. When it is over, all that it has brought goes to the journal, also what
   nobody waits for any more; then those who wait are told. What brought no answer goes into the next batch, or is a
   failure of that call, by the same rules as a single call's.
4. A batch that a dead process of the same run left behind is taken over, its money set aside first. One that another
   living process has under way is waited for through the ledger.

What no further call can mend stops the desk: everybody who waits is told, and what is at the provider stays there, for
the next run to pick up.
"""

import asyncio
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any

from autointerp.config import ModelConfig
from autointerp.errors import AutointerpError, LanguageModelError
from autointerp.llm.batch.intake import Accounts, Batch, Fetched, Intake
from autointerp.llm.batch.ledger import LEASE_S, BatchEntry, BatchLedger, LedgerCall
from autointerp.llm.batch.packing import Asked, pack
from autointerp.llm.batch.poller import STAYS, Carrier, TakenOverError
from autointerp.llm.batch.service import BatchLook, BatchService
from autointerp.llm.limits.retries import Retries, Sleep
from autointerp.llm.protocol import AnswerT, RawAnswer, Repair, Request, Trouble
from autointerp.llm.tokens import prompt_bytes

_LOG = logging.getLogger(__name__)
_IDLE_S = 1.0


class BatchDesk:
    """Takes requests, sends them in batches, and brings their answers. For one model and one event loop.

    Args:
        config: The model.
        service: Its provider's batch endpoint.
        ledger: Of the journal.
        accounts: Journal and budget.
        retries: How often a call is sent, and how long trouble is waited out.
        sleep: How to wait.
        on_stop: Told of what no further call can mend.
    """

    def __init__(
        self,
        config: ModelConfig,
        service: BatchService,
        ledger: BatchLedger,
        *,
        accounts: Accounts,
        retries: Retries,
        sleep: Sleep,
        on_stop: Callable[[AutointerpError], None],
    ) -> None:
        self._config = config
        self._on_stop = on_stop
        self._service = service
        self._ledger = ledger
        self._accounts = accounts
        self._sleep = sleep
        self._carrier = Carrier(config, service, ledger, retries, sleep)
        self._intake = Intake(config, service, ledger, accounts, self._carrier)
        self._asked: dict[str, Asked] = {}
        self._gathered: deque[Asked] = deque()
        self._n_gathered = 0
        self._has_gathered = asyncio.Event()
        self._batches: dict[str, Batch] = {}
        self._held: dict[str, Batch] = {}
        self._brought: set[str] = set()
        self._watched: dict[str, set[str]] = {}
        self._starting: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def progress(self) -> str:
        """What is under way, for a progress line; empty where nothing is."""
        batches = [batch for batch in self._batches.values() if batch.calls]
        if not batches:
            return ""
        n_requests = sum(batch.entry.n_requests for batch in batches)
        n_done = sum(batch.n_done for batch in batches)
        plural = "" if len(batches) == 1 else "es"
        return f"{len(batches)} batch{plural}, {n_done:,} of {n_requests:,} done"

    async def held(self, key: str) -> RawAnswer | None:
        """Wait for what a batch of an earlier process brings; its money is set aside already.

        Returns:
            The answer, in the journal by now; None if no such batch holds the call, or it brought no answer.

        Raises:
            LanguageModelError: If no further call can succeed.
            RunError: If ledger or journal can't be used.
        """
        await self._start()
        if key in self._held:
            await self._held[key].over.wait()
        self._raise_if_stopped()
        if key not in self._brought:
            return None
        self._brought.discard(key)  # who asks again wants another answer
        return self._accounts.kept(key)

    async def answer(
        self, key: str, request: Request[AnswerT], repair: Repair | None, *, most_usd: float, asked_at: float
    ) -> Fetched | Trouble:
        """Ask by the next batch.

        Args:
            key: The request's.
            request: What is asked.
            repair: The second turn, if this is one.
            most_usd: What the call can cost at most; it is set aside.
            asked_at: Unix time at which the journal had no answer: one that another process has brought since will do.

        Raises:
            LanguageModelError: If no further call can succeed.
            RunError: If ledger or journal can't be used.
        """
        await self._start()
        self._raise_if_stopped()
        told: asyncio.Future[Fetched | Trouble] = asyncio.get_running_loop().create_future()
        call = LedgerCall(prompt_bytes(request, repair), most_usd)
        asked = Asked(key, request, repair, call, asked_at, told)
        self._asked[key] = asked
        self._gather([asked])
        try:
            return await told
        finally:
            if self._asked.get(key) is asked:
                del self._asked[key]

    async def close(self) -> None:
        """Stop looking. What is at the provider stays there."""
        n_left = sum(batch.is_sent for batch in self._batches.values())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if n_left:
            _LOG.info("batches of %s left at the provider for the next run: %d", self._config.model, n_left)
        try:
            await asyncio.to_thread(self._ledger.release)
        except AutointerpError as error:  # the next run waits a little longer, that is all
            _LOG.warning("%s", error)
        self._ledger.close()
        await self._service.close()

    # --- tasks ------------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        """Take over what a dead process of this run left behind, once, and begin to send."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._resume())
            self._tasks.add(self._starting)
        await asyncio.shield(self._starting)

    async def _resume(self) -> None:
        for entry in await asyncio.to_thread(self._ledger.deserted):
            await self._take_over(entry)
        self._begin(self._send_all())
        self._begin(self._stay_alive())

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
        self._carrier.stopped = self._carrier.stopped or error
        # Also for those who have not come here yet: they may wait for money that nobody gives back now.
        self._on_stop(error)
        for asked in list(self._asked.values()):
            if not asked.told.done():
                asked.told.set_exception(type(error)(error.problem, error.remedy))
        for batch in self._batches.values():
            batch.over.set()

    def _raise_if_stopped(self) -> None:
        stopped = self._carrier.stopped
        if stopped is not None:
            raise type(stopped)(stopped.problem, stopped.remedy)

    async def _stay_alive(self) -> None:
        while True:
            await asyncio.sleep(LEASE_S / 6)
            await asyncio.to_thread(self._ledger.renew)

    async def _take_over(self, entry: BatchEntry) -> bool:
        if not await asyncio.to_thread(self._ledger.take_over, entry.mark):
            return False
        calls = await asyncio.to_thread(self._ledger.calls, entry.mark)
        is_for_us = entry.payer == self._ledger.payer
        most_usd = sum(call.most_usd for call in calls.values()) if is_for_us else 0.0
        batch = Batch(entry, calls, is_resumed=True, most_usd=most_usd)
        _LOG.info("taking over a batch of %d calls of %s", entry.n_requests, self._config.model)
        self._batches[entry.mark] = batch
        if is_for_us:
            self._held.update(dict.fromkeys(calls, batch))
            await self._accounts.commit(most_usd)
        self._begin(self._carry(batch, None))
        return True

    # --- gathering and sending --------------------------------------------------------------------------------------

    def _gather(self, calls: Sequence[Asked]) -> None:
        self._gathered.extend(calls)
        self._n_gathered += len(calls)
        if calls:
            self._has_gathered.set()

    def _ask_again(self, calls: Sequence[Asked]) -> None:
        for asked in calls:
            asked.asked_at = time.time()
        self._gather(calls)

    async def _send_all(self) -> None:
        while True:
            await self._has_gathered.wait()
            n_before = -1
            while len(self._gathered) < self._carrier.most_requests and n_before != self._n_gathered:
                n_before = self._n_gathered
                await self._sleep(_IDLE_S)
            is_structured = self._carrier.structured
            calls, lines = pack(self._gathered, self._service, self._carrier.most_requests, structured=is_structured)
            if not self._gathered:
                self._has_gathered.clear()
            if calls:
                await self._deal(calls, lines, is_structured=is_structured)

    async def _deal(self, calls: list[Asked], lines: dict[str, bytes], *, is_structured: bool) -> None:
        """Send what no other batch holds, and wait for the rest where it is."""
        mark = uuid.uuid4().hex
        by_key = {asked.key: asked for asked in calls}
        claim = await asyncio.to_thread(
            self._ledger.claim,
            mark,
            {asked.key: asked.call for asked in calls},
            {asked.key: asked.asked_at for asked in calls},
        )
        for key, other in claim.elsewhere.items():
            if other in self._batches:
                self._batches[other].joined.add(key)
            elif other in self._watched:
                self._watched[other].add(key)
            else:
                self._watched[other] = {key}
                self._begin(self._watch(other))
        self._tell_kept([by_key[key] for key in claim.done])
        ours = {key: asked.call for key, asked in by_key.items() if key in claim.ours}
        if ours:
            entry = BatchEntry(mark, None, self._ledger.payer, len(ours), time.time(), False, False)
            batch = Batch(entry, ours, is_structured=is_structured)
            self._batches[mark] = batch
            self._begin(self._carry(batch, [lines[key] for key in ours]))

    def _tell_kept(self, calls: Sequence[Asked]) -> None:
        """Tell who waits what another batch has put into the journal; what it did not answer is asked again."""
        for asked in calls:
            kept = self._accounts.kept(asked.key)
            if kept is None:
                self._ask_again([asked])
            elif not asked.told.done():
                asked.told.set_result(Fetched(kept, is_paid_here=False))

    def _tell(self, batch: Batch, answers: Mapping[str, RawAnswer]) -> None:
        """Tell who waits what a batch of ours has brought; it is in the journal."""
        is_held = batch.is_resumed and batch.entry.payer == self._ledger.payer
        for key, answer in answers.items():
            asked = self._asked.get(key)
            if asked is None:
                if is_held:
                    self._brought.add(key)
            elif not asked.told.done():
                asked.told.set_result(Fetched(answer, is_paid_here=not batch.is_resumed))

    async def _watch(self, mark: str) -> None:
        """Wait for a batch that another desk has under way; take it over if that desk dies."""
        while True:
            entry = await asyncio.to_thread(self._ledger.entry, mark)
            if entry.is_ended:
                self._tell_kept(self._waiting_for(self._watched.pop(mark)))
                return
            if entry.is_deserted and await self._take_over(entry):
                keys = self._watched.pop(mark)
                batch = self._batches[mark]
                batch.joined |= keys & batch.calls.keys()
                self._tell_kept(self._waiting_for(keys - batch.calls.keys()))
                return
            await self._sleep(min(self._config.batch_poll_s, LEASE_S / 6))

    def _waiting_for(self, keys: Iterable[str]) -> list[Asked]:
        return [asked for key in keys if (asked := self._asked.get(key)) is not None and not asked.told.done()]

    # --- one batch --------------------------------------------------------------------------------------------------

    async def _carry(self, batch: Batch, lines: Sequence[bytes] | None) -> None:
        """See a batch through; `lines` are those of one that is to be sent."""
        entry, carrier = batch.entry, self._carrier

        def saw(look: BatchLook) -> None:
            batch.n_done = look.n_done

        try:
            batch_id = entry.batch_id
            if batch_id is None:
                if lines is not None:
                    batch_id = await carrier.submit(entry, lines, batch.calls, lambda: bool(self._others(batch)))
                else:
                    batch_id = await carrier.find(entry, batch.calls)
                if batch_id is None:
                    await self._end(batch, self._waiting_for(batch.calls))
                    return
                await asyncio.to_thread(self._ledger.submitted, entry.mark, batch_id)
                _LOG.info("batch %s: %d calls of %s", batch_id, entry.n_requests, self._config.model)
            batch.is_sent = True
            look = await carrier.until_over(entry, batch_id, saw)
            await carrier.check_ours(entry)
        except TakenOverError:
            await self._let_go(batch)
            return
        if look is not None and look.refusal is not None:
            await self._repack(batch, look)
            return
        await self._collect(batch, batch_id, () if look is None else look.results)

    def _others(self, batch: Batch) -> list[Batch]:
        """What is at the provider beside this batch."""
        return [other for other in self._batches.values() if other is not batch and other.is_sent]

    async def _let_go(self, batch: Batch) -> None:
        """Another desk took a batch over: wait for it there."""
        mark = batch.entry.mark
        del self._batches[mark]
        self._watched[mark] = {*batch.calls, *batch.joined}
        if batch.is_resumed:
            await self._accounts.settle(batch.most_usd, batch.paid_usd)
        batch.over.set()
        await self._watch(mark)

    async def _repack(self, batch: Batch, look: BatchLook) -> None:
        """Send the calls of a batch that was refused as a whole in other batches."""
        entry = batch.entry
        calls = self._waiting_for(batch.calls)
        await self._end(batch, [])
        if not look.lacks_room:
            self._carrier.read_whole_refusal(look, entry)
        elif others := self._others(batch):
            _LOG.info("no room for a batch of %d calls: waiting for another to end", entry.n_requests)
            ends = [asyncio.ensure_future(other.over.wait()) for other in others]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                end.cancel()
        else:
            self._carrier.lower_for(look, entry)
        self._ask_again(calls)

    async def _collect(self, batch: Batch, batch_id: str, results: Sequence[str]) -> None:
        """Take in what a batch has brought, tell who waits, and ask again for what it has not brought."""
        await self._intake.take_in(batch, batch_id, results, self._tell)
        again: list[Asked] = []
        troubles: list[tuple[Asked, Trouble]] = []
        fatal: LanguageModelError | None = None
        for asked in self._waiting_for(batch.calls):
            try:
                trouble = self._intake.judge(batch, asked.key, asked.n_attempts + 1)
            except LanguageModelError as error:
                fatal = fatal or error
                continue
            if trouble is None:
                asked.n_attempts += 1
                again.append(asked)
            else:
                troubles.append((asked, trouble))
        batch.joined -= batch.calls.keys()
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
        await asyncio.to_thread(self._ledger.end, batch.entry.mark)
        del self._batches[batch.entry.mark]
        if batch.is_resumed:
            await self._accounts.settle(batch.most_usd, batch.paid_usd)
        batch.over.set()
        self._tell_kept(self._waiting_for(batch.joined - {asked.key for asked in again}))
        self._ask_again(again)
