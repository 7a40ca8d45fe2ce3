"""Calls of a language model from Ray workers, so that one process's CPU does not bound them.

1. The driver keeps everything that is global: journal, budget, limits, retries. What a worker gets is one attempt at a
   time, allowed by all of these; so the limits hold for all workers together, and a worker that dies loses at most
   its calls in flight, which are attempted again.
2. Orders to a worker and outcomes from it are gathered for a few milliseconds and travel together: a message of Ray's
   costs about as much CPU as a call.
3. A worker that dies is started again by Ray, on another machine if need be.
"""

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from autointerp.errors import AutointerpError, RunError
from autointerp.llm.protocol import AnswerT, Provider, Repair, Request, Sent, Trouble
from autointerp.run.workers.ray_call_worker import CallWorker, Carried, Order
from autointerp.run.workers.ray_cluster import import_ray, one_line, running

if TYPE_CHECKING:
    from autointerp.config import ModelConfig, RayConfig

_log = logging.getLogger(__name__)
_GATHER_S = 0.002
_RESTART_S = 1.0
_MOST_DEATHS = 5  # one after another, without an outcome between them


class RayCalls:
    """Ray, reached or started, for the time in which language models are called.

    Args:
        config: `n_llm_workers`, and where the cluster is.

    Raises:
        CollectError: If Ray can't be reached or started.
    """

    def __init__(self, config: "RayConfig") -> None:
        self._config = config
        self._stack = contextlib.ExitStack()
        self._ray = import_ray(config.address)
        self._stack.enter_context(running(self._ray, config.address, config.n_llm_workers, 0))

    def provider(self, config: "ModelConfig", here: Provider) -> "RayProvider":
        """What calls a model from the workers.

        Args:
            config: The model.
            here: The same model's provider in this process, which knows the address.
        """
        # They wait for the network most of the time: so they take no CPU from those who collect.
        options = {"num_cpus": 0, "max_restarts": -1, "scheduling_strategy": "SPREAD"}
        actors = self._ray.remote(**options)(CallWorker)
        return RayProvider(self._ray, [actors.remote(config) for _ in range(self._config.n_llm_workers)], here)

    def close(self) -> None:
        """Leave Ray, and stop it if it was started here."""
        self._stack.close()


class RayProvider:
    """One attempt at one provider, from one of several workers; see `protocol.Provider`.

    Attributes:
        base_url: Where the calls go.
    """

    def __init__(self, ray: Any, actors: list[Any], here: Provider) -> None:
        self._workers = [_Worker(ray, actor) for actor in actors]
        self._here = here
        self.base_url = here.base_url

    async def send(self, request: Request[AnswerT], repair: Repair | None) -> Sent:
        """Make one attempt, from the worker that has the fewest under way.

        Raises:
            LanguageModelError: If no further call can succeed.
            RunError: If the workers die again and again.
        """
        return await min(self._workers, key=lambda worker: worker.n_under_way).send(request, repair)

    async def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.close()
        await self._here.close()


class _Worker:
    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray = ray
        self._actor = actor
        self._n_orders = 0
        self._waiting: list[Order] = []
        self._outcomes: dict[int, asyncio.Future[Sent]] = {}
        self._is_gathering = False
        self._giving: set[asyncio.Task[None]] = set()
        self._taking: asyncio.Task[None] | None = None
        self._n_deaths = 0

    @property
    def n_under_way(self) -> int:
        return len(self._outcomes)

    async def send(self, request: Request[AnswerT], repair: Repair | None) -> Sent:
        self._n_orders += 1
        number = self._n_orders
        outcome: asyncio.Future[Sent] = asyncio.get_running_loop().create_future()
        self._outcomes[number] = outcome
        self._waiting.append(Order.of(number, request, repair))
        if not self._is_gathering:
            self._is_gathering = True
            giving = asyncio.create_task(self._give())
            self._giving.add(giving)
            giving.add_done_callback(self._giving.discard)
        if self._taking is None:
            self._taking = asyncio.create_task(self._take())
        try:
            return await outcome
        finally:
            self._outcomes.pop(number, None)

    def close(self) -> None:
        for task in (*self._giving, *([self._taking] if self._taking else [])):
            task.cancel()
        self._ray.kill(self._actor)

    async def _give(self) -> None:
        await asyncio.sleep(_GATHER_S)
        orders, self._waiting, self._is_gathering = self._waiting, [], False
        try:
            await self._actor.give.remote(orders)
        except self._ray.exceptions.RayError as error:
            self._lose([order.number for order in orders], error)

    async def _take(self) -> None:
        try:
            while self._outcomes:
                try:
                    carried: list[Carried] = await self._actor.take.remote()
                except self._ray.exceptions.RayError as error:
                    self._n_deaths += 1
                    _log.warning("a Ray worker that calls a language model died (%s)", one_line(error))
                    waiting = {order.number for order in self._waiting}
                    self._lose([number for number in self._outcomes if number not in waiting], error)
                    await asyncio.sleep(_RESTART_S)
                    continue
                self._n_deaths = 0
                for one in carried:
                    self._settle(one)
        finally:
            self._taking = None

    def _settle(self, carried: Carried) -> None:
        outcome = self._outcomes.get(carried.number)
        if outcome is None or outcome.done():
            return  # who asked has given up meanwhile
        if isinstance(carried.outcome, AutointerpError):
            outcome.set_exception(carried.outcome)
        else:
            outcome.set_result(carried.outcome)

    def _lose(self, numbers: list[int], error: Exception) -> None:
        """A worker died with these orders: whoever asked attempts them again."""
        for number in numbers:
            outcome = self._outcomes.pop(number, None)
            if outcome is None or outcome.done():
                continue
            if self._n_deaths >= _MOST_DEATHS:
                outcome.set_exception(
                    RunError(
                        f"Ray workers that call a language model die again and again ({one_line(error)})",
                        "see Ray's logs, or set ray.n_llm_workers = 0",
                    )
                )
            else:
                trouble = Trouble("ConnectionDropped", "the Ray worker died", retriable=True, is_overload=True)
                outcome.set_result(Sent(trouble))
