"""Why a run has no label or score for some features: by reason, with the answers that came back."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from autointerp.library.run import Run
from autointerp.run.on_disk.paid import find_failed_calls
from autointerp.store.failure_kinds import FailureKind, FailureStore

if TYPE_CHECKING:
    from autointerp.llm.failed_calls import FailedCalls
    from autointerp.records import Failure


@dataclass(frozen=True, slots=True)
class RunFailures:
    """A run's current failures.

    Attributes:
        run: The run.

    Example:
        >>> from autointerp.library.failures import RunFailures
        >>> RunFailures(client.run).kinds()[0].error_type
        'TooFewContexts'
    """

    run: Run

    def kinds(self) -> list[FailureKind]:
        """Every stage and reason with its count, the most frequent first."""
        return FailureStore(self.run.reader.path).kinds()

    def of_kind(self, stage: str, error_type: str, n: int = 50, first: int = 0) -> "list[Failure]":
        """Failures of one kind, by feature.

        Args:
            stage: Their stage.
            error_type: Why.
            n: At most so many.
            first: Behind so many.
        """
        return FailureStore(self.run.reader.path).of_kind(stage, error_type, n, first)

    def calls(self, n: int = 20) -> "FailedCalls":
        """The calls of language models that failed for good, with what came back, by the run's journal.

        They are more than the failures of features: one that fails may be asked again, by another setting or run.

        Args:
            n: So many of the last are told.

        Raises:
            RunError: If the journal can't be read.
        """
        record = self.run.reader.run()
        pipeline = {} if record is None else record.pipeline
        journal = (pipeline.get("llm") or {}).get("journal")
        return find_failed_calls("" if record is None else record.name, self.run.reader.path.parent, journal, n)
