"""Notes, as runs give them."""

from functools import cached_property

from autointerp.library.conditioning import ConditioningRun
from autointerp.store.notes.notes import Notes


class NotedRun(ConditioningRun):
    """A run beside which notes are kept."""

    @cached_property
    def notes(self) -> Notes:
        """What people have written about its features."""
        return Notes(self.reader.path)
