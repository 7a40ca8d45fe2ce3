"""What ends a run's calls: what it may pay, what stops all of its models together, and too many failures.

The budget is a hard limit. Before a call is sent the most that it can cost is set aside; when its answer has come,
what it did cost takes that place. A call whose most does not fit waits until others have given back what they did not
need, and if none is under way the budget is used up. So the sum never passes the limit, as far as the input's tokens
are not underestimated (`tokens.BytesPerToken` says how they are told), and what is left unspent is less than the most
of one call.

An attempt that brought no answer (a timeout, a dropped connection) counts as unpaid: providers differ in whether they
charge for it, and none says so.

A question counts as failed once, however many calls it took: one whose answer was sent back and still can't be read is
one failure.
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any, TypeVar

from autointerp.config import ModelConfig
from autointerp.errors import AutointerpError, BudgetError, LanguageModelError, TooManyFailuresError
from autointerp.llm.protocol import CallErrorType, CallFailure


def unpriced(config: ModelConfig) -> LanguageModelError:
    """A budget over a model whose prices nobody knows."""
    return LanguageModelError(
        f"llm.max_cost_usd is set, and the prices of {config.model} are unknown",
        "set usd_per_million_input and usd_per_million_output in its table (0 for a server of your own), or add it to"
        " the file llm.prices",
    )


class Budget:
    """What may be spent and what is; for one event loop.

    Args:
        max_cost_usd: The limit; None for none.
        spent_usd: What the run has paid before.
    """

    def __init__(self, max_cost_usd: float | None, spent_usd: float = 0.0) -> None:
        self._max = max_cost_usd
        self._spent = spent_usd
        self._reserved = 0.0
        self._n_under_way = 0
        self._changed = asyncio.Condition()

    @property
    def spent_usd(self) -> float:
        """What has been paid, before and now."""
        return self._spent

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit."""
        return self._max is not None

    async def reserve(self, most_usd: float) -> None:
        """Set aside what a call can cost at most; wait for others to settle if it does not fit.

        Raises:
            BudgetError: If it does not fit and none is under way.
        """
        if self._max is None:
            return
        async with self._changed:
            while self._spent + self._reserved + most_usd > self._max:
                if self._n_under_way == 0:
                    raise BudgetError(
                        f"the budget is used up: ${self._spent:.4f} of llm.max_cost_usd = {self._max:g} are spent, and"
                        f" the next call may cost ${most_usd:.4f} at most",
                        "raise llm.max_cost_usd, or lower the model's max_output_tokens, and run the same command"
                        " again: what was paid for is kept",
                    )
                await self._changed.wait()
            self._reserved += most_usd
            self._n_under_way += 1

    async def commit(self, most_usd: float) -> None:
        """Set aside what calls under way can cost, which an earlier process sent: whether it fits or not."""
        if self._max is None:
            return
        async with self._changed:
            self._reserved += most_usd
            self._n_under_way += 1

    async def settle(self, most_usd: float, paid_usd: float) -> None:
        """Put what a call did cost in the place of what was set aside for it; without a limit nothing was."""
        if self._max is None:
            self._spent += paid_usd
            return
        async with self._changed:
            self._reserved -= most_usd
            self._n_under_way -= 1
            self._spent += paid_usd
            self._changed.notify_all()


_Result = TypeVar("_Result")


class Stop:
    """Set once, by the first model that learns that no further call can succeed or may be paid; for one event loop."""

    def __init__(self) -> None:
        self._error: AutointerpError | None = None
        self._event = asyncio.Event()

    def set(self, error: AutointerpError) -> None:
        """Stop; the first error counts."""
        self._error = self._error or error
        self._event.set()

    def check(self) -> None:
        """Raise the error anew, if the run is to stop.

        Raises:
            AutointerpError: The one that was set.
        """
        if self._error is not None:
            raise type(self._error)(self._error.problem, self._error.remedy)

    async def unless(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Wait for something, or until the run stops.

        Raises:
            AutointerpError: The one that was set, if it was first.
        """
        working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(self._event.wait())
        try:
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
        finally:
            stopping.cancel()
            if not working.done():
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)
        self.check()
        raise AssertionError("one of the two has ended")


_N_BEFORE_STOPPING = 20


class FailureCount:
    """Counts the questions to one model that failed for good.

    Args:
        model: Its name in the config.
        max_failed_share: Share of the questions that may fail.

    Attributes:
        counts: Failed questions, by what became of them.
        n_usable: Questions with an answer that can be used.
    """

    def __init__(self, model: str, max_failed_share: float) -> None:
        self._model = model
        self._max_failed_share = max_failed_share
        self.counts: Counter[CallErrorType] = Counter()
        self.n_usable = 0

    def add(self, failure: CallFailure) -> TooManyFailuresError | None:
        """Count a failure.

        Returns:
            Why the run must stop, if it must; not before 20 questions.
        """
        self.counts[failure.error_type] += 1
        n_failed = self.counts.total()
        n_asked = self.n_usable + n_failed
        if n_asked < _N_BEFORE_STOPPING or n_failed <= self._max_failed_share * n_asked:
            return None
        kinds = ", ".join(f"{n} {kind}" for kind, n in self.counts.most_common())
        return TooManyFailuresError(
            f"{n_failed} of {n_asked} questions to {self._model} failed ({kinds}; the last: {failure.message})",
            "mend the cause, or raise llm.max_failed_share; what was paid for is kept",
        )
