"""What a provider's batch endpoint is asked, and what it says: the same words for both providers."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from autointerp.llm.protocol import AnswerT, RawAnswer, Repair, Request, Trouble
from autointerp.llm.providers.errors import HttpProblem


@dataclass(frozen=True, slots=True)
class Unsure:
    """The reply to a submission was lost: the provider may have taken the batch or not."""

    trouble: Trouble


@dataclass(frozen=True, slots=True)
class Candidate:
    """A batch at the provider that may be one of which we know no id.

    Attributes:
        batch_id: The provider's.
        is_ours: Whether it bears our name. Where a provider takes none, only its results can tell.
        results: As in `BatchLook`.
        is_over: As in `BatchLook`.
    """

    batch_id: str
    is_ours: bool
    is_over: bool
    results: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BatchLook:
    """What a look at a batch told.

    Attributes:
        is_over: Whether nothing more will come of it: it is finished, expired, cancelled or refused.
        n_done: Requests that are answered or have failed, as far as the provider says so before the end.
        results: Where the results lie, to be given to `BatchService.results`.
        refusal: Why the provider refused the batch as a whole; None if it did not.
        lacks_room: Whether the refusal says only that too much is waiting at the provider already.
    """

    is_over: bool
    n_done: int
    results: tuple[str, ...] = ()
    refusal: HttpProblem | None = None
    lacks_room: bool = False


@dataclass(frozen=True, slots=True)
class NotDone:
    """A request that the provider did not come to, and does not charge for.

    Attributes:
        reason: `expired` or `cancelled`, as the provider says.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of one request of a batch."""

    key: str
    outcome: RawAnswer | HttpProblem | Trouble | NotDone


class BatchService(Protocol):
    """One provider's batch endpoint, through its SDK. Each call is one attempt.

    A `LanguageModelError` is never raised here: whoever asks reads the `HttpProblem`.
    """

    @property
    def most_requests(self) -> int:
        """Requests that a batch may hold."""
        ...

    @property
    def most_bytes(self) -> int:
        """Bytes that a batch may hold."""
        ...

    def line(self, key: str, request: Request[AnswerT], repair: Repair | None, *, structured: bool) -> bytes:
        """One request as it stands in a batch."""
        ...

    async def submit(self, lines: Sequence[bytes], name: str) -> str | Unsure | Trouble | HttpProblem:
        """Send a batch off.

        Args:
            lines: Of `line`.
            name: Ours, by which `find` knows the batch again where the provider keeps it.

        Returns:
            The batch's id; or why there is none.
        """
        ...

    async def find(self, name: str, n_requests: int, since: float) -> list[Candidate] | Trouble | HttpProblem:
        """Look for a batch of which only our own record is left.

        Args:
            name: As given to `submit`.
            n_requests: Requests in it.
            since: Unix time before which it can't have been made.
        """
        ...

    async def look(self, batch_id: str) -> BatchLook | Trouble | HttpProblem:
        """See how far a batch is."""
        ...

    def results(self, where: str) -> AsyncGenerator[BatchResult | Trouble | HttpProblem, None]:
        """Read what a batch that is over has brought, line by line, in any order; trouble ends the reading.

        Args:
            where: One of `BatchLook.results`.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...
