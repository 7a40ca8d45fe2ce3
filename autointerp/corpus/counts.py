"""What became of a corpus's documents, counted while they are read and cut.

Reading and cutting are lazy and end where enough tokens are had, so the counts are of what was read until then. They
depend on the corpus alone.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from autointerp.records.corpus import Rejection

# Where so many rows or documents are left out and none is taken, it is told, and of a stream no more are read: it may
# have no end to wait for.
MOST_UNFIT = 10_000


class Unfit(NamedTuple):
    """Why a row of the corpus is no document.

    Attributes:
        reason: Fixed words, so that equal reasons are counted together.
        detail: What this row has, to be read behind its id: `is int, not text`.
        remedy: What to do if all rows are like this one.
    """

    reason: str
    detail: str
    remedy: str

    @classmethod
    def empty(cls) -> Unfit:
        """A row without text."""
        return cls("empty", "is empty", "give a source with at least one document in it")


class DocumentCounts:
    """Counts of one reading of a corpus.

    Attributes:
        n_documents: Documents that gave a block.
        n_tails: Ends of such documents that were too short for a block of their own.
        n_mended: Documents with U+FFFD where half a surrogate pair stood.
    """

    def __init__(self) -> None:
        self.n_documents = 0
        self.n_tails = 0
        self.n_mended = 0
        self._n_rejected: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def reject(self, reason: str, example: str) -> None:
        """Count a document that is left out.

        Args:
            reason: Fixed words, so that equal reasons are counted together.
            example: Its id, and what is wrong in it; kept of the first one.
        """
        self._n_rejected[reason] += 1
        self._examples.setdefault(reason, example)

    @property
    def n_rejected(self) -> int:
        """Documents left out."""
        return self._n_rejected.total()

    @property
    def rejections(self) -> tuple[Rejection, ...]:
        """Why documents were left out, the most frequent reason first."""
        ordered = sorted(self._n_rejected.items(), key=lambda item: (-item[1], item[0]))
        return tuple(Rejection(reason, n, self._examples[reason]) for reason, n in ordered)
