"""How many of a model's questions come to nothing, and when that is too many to go on paying.

A question counts once, however many calls it took: one whose answer was sent back and still can't be read is one
failure.
"""

from collections import Counter

from autointerp.errors import TooManyFailuresError
from autointerp.llm.protocol import CallErrorType, CallFailure

_N_BEFORE_STOPPING = 20


class FailureTally:
    """Counts the questions to one model that failed for good.

    Args:
        model: Its name in the config.
        max_failed_share: Of the questions.

    Attributes:
        counts: Failed questions, by what became of them.
        n_usable: Questions with an answer that can be used.
    """

    def __init__(self, model: str, max_failed_share: float) -> None:
        self._model = model
        self._max_failed_share = max_failed_share
        self.counts: Counter[CallErrorType] = Counter()
        self.n_usable = 0

    def add(self, failure: CallFailure) -> TooManyFailuresError | None:
        """Count a failure.

        Returns:
            Why the run must stop, if it must; not before 20 questions.
        """
        self.counts[failure.error_type] += 1
        n_failed = self.counts.total()
        n_asked = self.n_usable + n_failed
        if n_asked < _N_BEFORE_STOPPING or n_failed <= self._max_failed_share * n_asked:
            return None
        kinds = ", ".join(f"{n} {kind}" for kind, n in self.counts.most_common())
        return TooManyFailuresError(
            f"{n_failed} of {n_asked} questions to {self._model} failed ({kinds}; the last: {failure.message})",
            "mend the cause, or raise llm.max_failed_share; what was paid for is kept",
        )
