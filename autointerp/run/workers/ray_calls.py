"""Calls of a language model from Ray workers, so that one process's CPU does not bound them.

1. The driver keeps everything that is global: journal, budget, limits, retries. What a worker gets is one attempt at a
   time, allowed by all of these; so the limits hold for all workers together, and a worker that dies loses at most
   its calls in flight, which are attempted again.
2. What travels is a call's body and what came of it: no class of a user's file has to be there.
3. A message of Ray's costs as much CPU as a call that is sent from here. So bodies and outcomes gather for some
   milliseconds, and each message takes there and back what there is.
4. A worker that dies is started again by Ray, on another machine if need be. It reads the key from the environment of
   its own machine.
"""

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from autointerp.errors import AutointerpError, LanguageModelError, RunError
from autointerp.llm.connect import connect_sdk
from autointerp.llm.protocol import AnswerT, Repair, Request, Sent, Trouble
from autointerp.llm.providers.problem import Posted
from autointerp.run.workers.ray_cluster import import_ray, one_line, running

if TYPE_CHECKING:
    from autointerp.config import ModelConfig, RayConfig
    from autointerp.llm.providers.sdk import SdkProvider

_log = logging.getLogger(__name__)
_GATHER_S = 0.02
_RESTART_S = 1.0
_MOST_DEATHS = 5  # one after another, without an outcome between them

Body = dict[str, Any]
Outcome = Posted | AutointerpError
"""An error of ours travels as a value, since Ray would wrap one that is raised."""


class CallWorker:
    """Posts calls, in a process of its own.

    Args:
        config: The model.
        base_url: Where the calls go, as the driver has it: the environment here may say something else.
    """

    def __init__(self, config: "ModelConfig", base_url: str) -> None:
        self._config = config
        self._base_url = base_url
        self._provider: SdkProvider | None = None
        self._outcomes: list[tuple[int, Outcome]] = []
        self._posting: set[asyncio.Task[None]] = set()

    async def exchange(self, bodies: list[tuple[int, Body]]) -> list[tuple[int, Outcome]]:
        """Take numbered calls in, and hand back what has come of any within a moment."""
        for number, body in bodies:
            task = asyncio.create_task(self._post(number, body))
            self._posting.add(task)
            task.add_done_callback(self._posting.discard)
        await asyncio.sleep(_GATHER_S)
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    async def _post(self, number: int, body: Body) -> None:
        try:
            self._provider = self._provider or self._connect()
            outcome: Outcome = await self._provider.post(body)
        except AutointerpError as error:
            outcome = error
        except Exception as error:  # whoever waits must learn of it
            outcome = Posted(Trouble("ServerError", f"the worker failed ({error!r})", retriable=True))
        self._outcomes.append((number, outcome))

    def _connect(self) -> "SdkProvider":
        provider = connect_sdk(self._config)
        if provider.base_url != self._base_url:
            raise LanguageModelError(
                f"a worker's environment sends the calls of {self._config.model} to {provider.base_url}, and the"
                f" driver's to {self._base_url}",
                "set the variable alike on all machines, or name the address by `base_url`",
            )
        return provider


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

    def provider(self, config: "ModelConfig", here: "SdkProvider") -> "RayProvider":
        """What calls a model from the workers.

        Args:
            config: The model.
            here: The same model's provider in this process, which knows how it is asked.
        """
        # They wait for the network most of the time: so they take no CPU from those who collect.
        options = {"num_cpus": 0, "max_restarts": -1, "scheduling_strategy": "SPREAD"}
        actors = self._ray.remote(**options)(CallWorker)
        return RayProvider(
            self._ray, [actors.remote(config, here.base_url) for _ in range(self._config.n_llm_workers)], here
        )

    def close(self) -> None:
        """Leave Ray, and stop it if it was started here."""
        self._stack.close()


class RayProvider:
    """One attempt at one provider, from one of several workers; see `protocol.Provider`.

    Attributes:
        base_url: Where the calls go.
    """

    def __init__(self, ray: Any, actors: list[Any], here: "SdkProvider") -> None:
        self._workers = [_Worker(ray, actor) for actor in actors]
        self._here = here
        self.base_url = here.base_url

    async def send(self, request: Request[AnswerT], repair: Repair | None) -> Sent:
        """Make one attempt, from the worker that has the fewest under way.

        Raises:
            RunError: If the workers die again and again.
        """
        worker = min(self._workers, key=lambda worker: worker.n_under_way)
        return await self._here.send(request, repair, worker.post)

    async def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.close()
        await self._here.close()


class _Worker:
    """The driver's end of a worker."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray = ray
        self._actor = actor
        self._n_posted = 0
        self._gathered: list[tuple[int, Body]] = []
        self._waiting: dict[int, asyncio.Future[Posted]] = {}
        self._exchanging: asyncio.Task[None] | None = None

    @property
    def n_under_way(self) -> int:
        return len(self._waiting)

    async def post(self, body: Body) -> Posted:
        """Have a call posted."""
        self._n_posted += 1
        number = self._n_posted
        self._gathered.append((number, body))
        self._waiting[number] = asyncio.get_running_loop().create_future()
        if self._exchanging is None or self._exchanging.done():
            self._exchanging = asyncio.create_task(self._exchange())
        try:
            return await self._waiting[number]
        finally:
            del self._waiting[number]

    def close(self) -> None:
        if self._exchanging is not None:
            self._exchanging.cancel()
        self._ray.kill(self._actor)

    async def _exchange(self) -> None:
        """Send and receive until nobody waits."""
        n_deaths = 0
        while self._waiting:
            bodies, self._gathered = self._gathered, []
            try:
                outcomes = await self._actor.exchange.remote(bodies)
            except self._ray.exceptions.RayError as error:
                n_deaths += 1
                _log.warning("a Ray worker that calls a language model died (%s)", one_line(error))
                self._lose(error, n_deaths)
                await asyncio.sleep(_RESTART_S)
                continue
            n_deaths = 0 if outcomes else n_deaths
            for number, outcome in outcomes:
                self._settle(number, outcome)

    def _lose(self, error: Exception, n_deaths: int) -> None:
        """The worker died with what it had: whoever asked attempts it again."""
        outcome: Outcome = Posted(Trouble("ConnectionDropped", "the Ray worker died", retriable=True, is_overload=True))
        if n_deaths >= _MOST_DEATHS:
            problem = f"Ray workers that call a language model die again and again ({one_line(error)})"
            outcome = RunError(problem, "see Ray's logs, or set ray.n_llm_workers = 0")
        for number in self._waiting.keys() - {number for number, _ in self._gathered}:
            self._settle(number, outcome)

    def _settle(self, number: int, outcome: Outcome) -> None:
        waiting = self._waiting.get(number)
        if waiting is None or waiting.done():
            return  # who asked has given up meanwhile
        if isinstance(outcome, AutointerpError):
            waiting.set_exception(outcome)
        else:
            waiting.set_result(outcome)
