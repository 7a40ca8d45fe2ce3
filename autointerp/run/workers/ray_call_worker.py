"""What runs in the process of a Ray worker that calls a language model: orders come in, what became of them goes out.

The worker knows neither limits nor budget nor journal: the driver keeps these, for all workers together, and hands out
no order that they don't allow. It reads the key from the environment of its own machine.
"""

import asyncio
import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from autointerp.errors import AutointerpError
from autointerp.llm.answers import answer_schema
from autointerp.llm.connect import connect_provider
from autointerp.llm.protocol import AnswerModel, Provider, Repair, Request, Sent, Trouble

if TYPE_CHECKING:
    from autointerp.config import ModelConfig

# What is done within so long of the first goes back with it.
_GATHER_S = 0.005


@dataclass(frozen=True, slots=True)
class Order:
    """One attempt to be made.

    Attributes:
        number: Given by the driver.
        system: As in `Request`.
        user: As in `Request`.
        schema: Of the wanted answer, as JSON: its class may stand in a user's file, which is not here.
        max_output_tokens: As in `Request`.
        temperature: As in `Request`.
        repair: The second turn, if this is one.
    """

    number: int
    system: str
    user: str
    schema: str
    max_output_tokens: int
    temperature: float | None
    repair: Repair | None

    @classmethod
    def of(cls, number: int, request: Request[Any], repair: Repair | None) -> "Order":
        """The order of a request."""
        answer: type[AnswerModel] = request.answer
        schema = json.dumps(answer_schema(answer))
        settings = (request.max_output_tokens, request.temperature)
        return cls(number, request.system, request.user, schema, *settings, repair)

    def request(self) -> Request[AnswerModel]:
        """A request that is sent like the first."""
        answer = _stand_in(self.schema)
        return Request(self.system, self.user, answer, self.max_output_tokens, self.temperature)


@cache
def _stand_in(schema: str) -> type[AnswerModel]:
    """A class of answers that has a schema and no fields: here answers are sent for, not read."""

    class StandIn(AnswerModel):
        @classmethod
        def model_json_schema(cls, *_: Any, **__: Any) -> dict[str, Any]:
            return dict(json.loads(schema))

    return StandIn


@dataclass(frozen=True, slots=True)
class Carried:
    """What became of an order: an outcome, or the error that no further call can mend."""

    number: int
    outcome: Sent | AutointerpError


class CallWorker:
    """Makes attempts. Errors of ours come back as values, since Ray would wrap one that is raised."""

    def __init__(self, config: "ModelConfig") -> None:
        self._config = config
        self._provider: Provider | None = None
        self._done: list[Carried] = []
        self._some_done = asyncio.Event()
        self._under_way: set[asyncio.Task[None]] = set()

    async def give(self, orders: list[Order]) -> None:
        """Take orders in, and come back at once."""
        for order in orders:
            task = asyncio.create_task(self._carry_out(order))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def take(self) -> list[Carried]:
        """Wait until an order is carried out, and hand back all that are."""
        await self._some_done.wait()
        await asyncio.sleep(_GATHER_S)
        self._some_done.clear()
        done, self._done = self._done, []
        return done

    async def _carry_out(self, order: Order) -> None:
        outcome: Sent | AutointerpError
        try:
            self._provider = self._provider or connect_provider(self._config)
            outcome = await self._provider.send(order.request(), order.repair)
        except AutointerpError as error:
            outcome = error
        except Exception as error:  # whoever waits must learn of it
            outcome = Sent(Trouble("ServerError", f"the worker failed ({error!r})", retriable=True))
        self._done.append(Carried(order.number, outcome))
        self._some_done.set()
