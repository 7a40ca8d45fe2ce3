"""What a writer is: it gives texts that a label describes, and others like them that it doesn't."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from autointerp.records import Explanation, Usage
from autointerp.score.trials import ScoreContexts, Undefined

FEWEST_TEXTS = 3
"""Of each sort, below which there is no score."""


@dataclass(frozen=True, slots=True)
class MadeText:
    """One text.

    Attributes:
        text: The text.
        fits: Whether the label describes it.
        document_id: The document that it is made of; empty where it is of none.
        group_id: That document's group.
    """

    text: str
    fits: bool
    document_id: str = ""
    group_id: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """What a writer gives.

    Attributes:
        texts: Of both sorts.
        usage: Of the calls that they took, whenever these were paid.
    """

    texts: Sequence[MadeText]
    usage: Usage = field(default_factory=Usage)


class Writer(Protocol):
    """Writes texts for and against labels.

    Attributes:
        name: `local`, or the language model's name.
        is_free: Whether it costs nothing.
    """

    @property
    def name(self) -> str: ...

    @property
    def is_free(self) -> bool: ...

    def fingerprint(self) -> str:
        """Of all that decides its texts."""
        ...

    async def write(self, explanation: Explanation, contexts: ScoreContexts, key: int) -> Written | Undefined:
        """Write texts for and against one label.

        Args:
            explanation: The label.
            contexts: Of its feature.
            key: Of every choice about this feature.

        Raises:
            LanguageModelError: If no further call can succeed: the run stops.
        """
        ...
