"""What a provider's batch endpoint says: the same words for both providers."""

from dataclasses import dataclass

from autointerp.llm.protocol import RawAnswer, Trouble
from autointerp.llm.providers.problem import HttpProblem


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
        results: Where the results lie, to be given to `SdkBatches.results`.
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
