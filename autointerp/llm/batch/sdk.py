"""A provider's batch endpoint through its SDK: what both have in common."""

import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar, Generic, TypeVar

import pydantic

from autointerp.config import ModelConfig
from autointerp.llm.batch.service import BatchLook, BatchResult, Candidate, Unsure
from autointerp.llm.protocol import AnswerT, Repair, Request, Trouble
from autointerp.llm.providers.manner import Manner
from autointerp.llm.providers.problem import HttpProblem
from autointerp.llm.providers.sdk import Dialect, SdkClient, read_json

_LOG = logging.getLogger(__name__)
_CLOCKS_DIFFER_S = 3600.0
_PAGE = 100
_ModelT = TypeVar("_ModelT", bound=pydantic.BaseModel)


class DescribedBatch(pydantic.BaseModel):
    """A batch, as its provider describes it."""

    id: str
    created_at: datetime = datetime.fromtimestamp(0, UTC)


BatchT = TypeVar("BatchT", bound=DescribedBatch)


class Page(pydantic.BaseModel, Generic[BatchT]):
    """Some of an account's batches, the newest first."""

    data: list[BatchT]
    has_more: bool = False


class SdkBatches(ABC, Generic[BatchT]):
    """One provider's batch endpoint, through its SDK. Each call is one attempt.

    A `LanguageModelError` is never raised here: whoever asks reads the `HttpProblem`.

    Args:
        config: The model.
        key: The API key.

    Attributes:
        most_requests: Requests that a batch may hold.
        most_bytes: Bytes that a batch may hold.
        dialect: How single calls are made.
        path: Where the endpoint is.
        after: Name of the parameter that asks for what comes after a batch in the list.
        batch: What the endpoint says of one batch.
        page: What it says of some.
    """

    most_requests: ClassVar[int]
    most_bytes: ClassVar[int]
    dialect: ClassVar[Dialect]
    path: ClassVar[str]
    after: ClassVar[str]
    batch: type[BatchT]
    page: type[Page[BatchT]]

    def __init__(self, config: ModelConfig, key: str) -> None:
        self._config = config
        self._client = SdkClient(self.dialect, config, key, is_for_single_calls=False)

    @abstractmethod
    def line(self, key: str, request: Request[AnswerT], repair: Repair | None, manner: Manner) -> bytes:
        """One request as it stands in a batch."""

    @abstractmethod
    async def submit(self, lines: Sequence[bytes], name: str) -> str | Unsure | Trouble | HttpProblem:
        """Send a batch off.

        Args:
            lines: Of `line`.
            name: Ours, by which `find` knows the batch again where the provider keeps it.

        Returns:
            The batch's id; or why there is none.
        """

    @abstractmethod
    def read_look(self, batch: BatchT) -> BatchLook:
        """Say how far a batch is."""

    @abstractmethod
    def is_ours(self, batch: BatchT, name: str, n_requests: int) -> bool | None:
        """Whether a batch is that of our name; None if only its results can tell."""

    @abstractmethod
    def results_path(self, where: str) -> str:
        """The path of one of `BatchLook.results`."""

    @abstractmethod
    def read_line(self, text: str) -> BatchResult | Trouble:
        """Read one line of the results."""

    async def find(self, name: str, n_requests: int, since: float) -> list[Candidate] | Trouble | HttpProblem:
        """Look for a batch of which only our own record is left.

        Args:
            name: As given to `submit`.
            n_requests: Requests in it.
            since: Unix time before which it can't have been made.
        """
        found: list[Candidate] = []
        query = {"limit": str(_PAGE)}
        while True:
            page = await self._get(self.path, self.page, query)
            if isinstance(page, Trouble | HttpProblem):
                return page
            is_late_enough = True
            for batch in page.data:
                is_late_enough = batch.created_at.timestamp() >= since - _CLOCKS_DIFFER_S
                is_ours = self.is_ours(batch, name, n_requests)
                if is_ours or (is_ours is None and is_late_enough):
                    look = self.read_look(batch)
                    found.append(Candidate(batch.id, bool(is_ours), look.is_over, look.results))
            if not page.has_more or not page.data or not is_late_enough:
                return found
            query[self.after] = page.data[-1].id

    async def look(self, batch_id: str) -> BatchLook | Trouble | HttpProblem:
        """See how far a batch is."""
        batch = await self._get(f"{self.path}/{batch_id}", self.batch)
        return batch if isinstance(batch, Trouble | HttpProblem) else self.read_look(batch)

    async def results(self, where: str) -> AsyncGenerator[BatchResult | Trouble | HttpProblem, None]:
        """Read what a batch that is over has brought, line by line, in any order; trouble ends the reading.

        A line that can't be read costs its own result where others follow it. Where none does the results broke off
        there, or what came is a proxy's page.

        Args:
            where: One of `BatchLook.results`.
        """
        unread: Trouble | None = None
        async with aclosing(self._client.lines(self.results_path(where))) as lines:
            async for text in lines:
                if not isinstance(text, str):
                    yield text
                    return
                line = self.read_line(text)
                if isinstance(line, Trouble):
                    unread = unread or self._client.blot(line)
                    continue
                if unread is not None:
                    _LOG.warning("a line of a batch's results can't be read, and is asked anew: %s", unread.message)
                    unread = None
                yield replace(line, outcome=self._client.blot(line.outcome))
        if unread is not None:
            yield unread

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _get(
        self, path: str, kind: type[_ModelT], query: dict[str, str] | None = None
    ) -> _ModelT | Trouble | HttpProblem:
        text = await self._client.get(path, query)
        return read_json(text, kind) if isinstance(text, str) else text

    def _made(self, text: str | Trouble | HttpProblem) -> str | Unsure | Trouble | HttpProblem:
        """The id of a batch that was submitted, or what is known: only a refusal is certain to have sent nothing."""
        made = read_json(text, self.batch) if isinstance(text, str) else text
        if isinstance(made, HttpProblem):
            if made.status < 500:
                return made
            return Unsure(Trouble("ServerError", f"HTTP {made.status}", made.body[:500] or None, retriable=True))
        if isinstance(made, Trouble):
            is_out_of_reach = made.error_type == "ConnectionDropped" and made.is_overload
            return made if is_out_of_reach else Unsure(made)
        return made.id
