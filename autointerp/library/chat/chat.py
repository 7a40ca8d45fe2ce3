"""`client.chat`: answers, and what the model expects to come next."""

from collections.abc import Sequence

from autointerp.library.backend import Backend
from autointerp.library.chat.asking import Asker
from autointerp.library.chat.completions import Completions


class Chat:
    """Asks the runs' models, plain or as variants.

    Attributes:
        completions: Answers to conversations.

    Args:
        runs: Whose models answer; each is loaded when it is first asked.
    """

    def __init__(self, runs: Sequence[Backend]) -> None:
        self._asker = Asker(runs)
        self.completions = Completions(self._asker)

    @property
    def template(self) -> str | None:
        """File of a chat template (Jinja), for a model without one of its own; None for the corpus's or the model's.

        Example:
            >>> client.chat.template is None
            True
        """
        return self._asker.template

    @template.setter
    def template(self, file: str | None) -> None:
        self._asker.template = file
