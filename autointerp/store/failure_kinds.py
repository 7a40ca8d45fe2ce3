"""A run's failures by kind, and those of one kind a page at a time: a run of a large coder may have a hundred thousand.

Only current ones count: of the settings that each stage has now, and of labels that are current.
"""

from dataclasses import dataclass

from autointerp.records import Failure
from autointerp.store.query import columns_of
from autointerp.store.rows import failures_of
from autointerp.store.store_file import StoreFile

_KINDS = """
SELECT stage, error_type, count(*), count(*) FILTER (retry), count(raw),
    CASE WHEN count(cost_usd) = count(*) THEN sum(cost_usd) END, arg_min(message, (source_id, feature_index))
FROM current_failures GROUP BY stage, error_type ORDER BY count(*) DESC, stage, error_type
"""


@dataclass(frozen=True, slots=True)
class FailureKind:
    """Failures of one stage for one reason.

    Attributes:
        stage: As in `Failure`.
        error_type: As in `Failure`.
        n: How many.
        n_retry: Of these, that another run may fare better with.
        n_raw: Of these, that have an answer that came back.
        cost_usd: What their calls cost; None where a price is unknown.
        example: The message of the first.
    """

    stage: str
    error_type: str
    n: int
    n_retry: int
    n_raw: int
    cost_usd: float | None
    example: str


class FailureStore(StoreFile):
    """Reads failures."""

    def kinds(self) -> list[FailureKind]:
        """Every kind, the most frequent first."""
        with self._open() as connection:
            return [FailureKind(*row) for row in connection.execute(_KINDS).fetchall()]

    def of_kind(self, stage: str, error_type: str, n: int, first: int = 0) -> list[Failure]:
        """Failures of one kind, by feature.

        Args:
            stage: Their stage.
            error_type: Why.
            n: At most so many.
            first: Behind so many.
        """
        columns = columns_of(Failure)
        query = (
            f"SELECT {', '.join(columns)} FROM current_failures WHERE stage = ? AND error_type = ?"
            " ORDER BY source_id, feature_index, explanation_id LIMIT ? OFFSET ?"
        )
        with self._open() as connection:
            found = connection.execute(query, [stage, error_type, n, first]).fetchall()
        return failures_of([dict(zip(columns, row, strict=True)) for row in found])
