"""How many of a model's calls come to nothing, and when that is too many to go on paying."""

from collections import Counter

from autointerp.errors import TooManyFailuresError
from autointerp.llm.protocol import CallErrorType, CallFailure

_N_BEFORE_STOPPING = 20
# Of the others there was an answer, though none that could be used.
_NOT_ANSWERED: tuple[CallErrorType, ...] = ("Timeout", "RateLimited", "ServerError", "ConnectionDropped", "BadRequest")


class FailureTally:
    """Counts the calls of one model that failed for good.

    Args:
        model: Its name in the config.
        max_failed_share: Of the calls.

    Attributes:
        counts: Failed calls, by what became of them.
        n_answered: Calls that were answered, usably or not.
    """

    def __init__(self, model: str, max_failed_share: float) -> None:
        self._model = model
        self._max_failed_share = max_failed_share
        self.counts: Counter[CallErrorType] = Counter()
        self.n_answered = 0

    def add(self, failure: CallFailure) -> TooManyFailuresError | None:
        """Count a failure.

        Returns:
            Why the run must stop, if it must; not before 20 calls.
        """
        self.counts[failure.error_type] += 1
        n_failed = self.counts.total()
        n_calls = self.n_answered + sum(self.counts[kind] for kind in _NOT_ANSWERED)
        if n_calls < _N_BEFORE_STOPPING or n_failed <= self._max_failed_share * n_calls:
            return None
        kinds = ", ".join(f"{n} {kind}" for kind, n in self.counts.most_common())
        return TooManyFailuresError(
            f"{n_failed} of {n_calls} calls of {self._model} failed ({kinds}; the last: {failure.message})",
            "mend the cause, or raise llm.max_failed_share; what was paid for is kept",
        )
