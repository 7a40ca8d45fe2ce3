"""What all wire formats ask: a client, its names, and the lines in which requests wait."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TypeVar

from autointerp.errors import AutointerpError
from autointerp.library.client import Client
from autointerp.live.generation.request import GenerationLimits
from autointerp.serve.chats import Answering, Chats
from autointerp.serve.kept import KeptViews
from autointerp.serve.knows import Question
from autointerp.serve.limits import Limits, Line, Waiting
from autointerp.serve.names import Names

T = TypeVar("T")
_STORE_THREADS = 4
_SQL_THREADS = 2


class Serving:
    """A client that is served.

    Attributes:
        client: What answers.
        limits: What may be asked for.
        names: What models and features are called.
        store: The line of what reads the store.
        model: The line of what runs the model, one request at a time; answers are written beside it.
        chats: The line of answers.
        kept: What pages said before.
        sql: The line of users' own queries, which may take as long as they are let: pages don't wait behind them.
        steering: The line of what finds edits and conditions, which takes minutes.
    """

    def __init__(self, client: Client, limits: Limits, aliases: Mapping[str, str] | None = None) -> None:
        self.client = client
        self.limits = limits
        self.names = Names(client, aliases)
        self.kept = KeptViews()
        self.store = Line("store", _STORE_THREADS, limits)
        self.sql = Line("SQL", _SQL_THREADS, limits)
        self.model = Line("model", 1, limits)
        self.chats: Answering = Chats(self, limits)
        self.steering = Line("steering", 1, limits)
        for run in client.runs:
            run.live.limits = GenerationLimits(
                longest_prompt=limits.longest_prompt, n_waiting=limits.n_chats, seconds=limits.seconds
            )

    async def ask(self, request: Waiting, question: Question[T]) -> T:
        """Have what runs the model answer a question, in its turn.

        Raises:
            As `Line.answer`, and of the question.
        """
        return await self.model.answer(request, partial(question, self))

    async def ask_for_minutes(self, request: Waiting, question: Question[T]) -> T:
        """Have a question answered that takes minutes, in a line of such.

        Raises:
            As `ask`.
        """
        return await self.steering.answer(request, partial(question, self))

    def warm(self) -> Iterator[str]:
        """Load what requests need, since clients wait seconds only; what can't be loaded is told, and the rest serves.

        Yields:
            One line for each trouble.
        """
        yield from self.warm_store()
        yield from self.warm_model()

    def warm_store(self) -> Iterator[str]:
        """As `warm`, for what runs no model.

        Yields:
            As `warm`.
        """
        try:
            self.client.features.search("a", 1)
        except AutointerpError as error:
            yield f"search is not served: {error.problem}"
        for source in self.names.sources:
            self.names.uuids(source)

    def warm_model(self) -> Iterator[str]:
        """As `warm`, for the models.

        Yields:
            As `warm`.
        """
        for source in self.names.sources:
            try:
                self.client.features.inspect("a", source=source)
            except AutointerpError as error:
                yield f"nothing is read by {source}: {error.problem}"
                continue
            try:
                self.client.chat.completions.create([{"role": "user", "content": "a"}], source, max_completion_tokens=1)
            except AutointerpError as error:
                yield f"no chats with {source}: {error.problem}"

    def close(self) -> None:
        """Begin nothing more."""
        self.store.close()
        self.model.close()
        self.chats.close()
        self.steering.close()
        self.sql.close()
