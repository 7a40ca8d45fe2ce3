"""Notes, as runs give them."""

from functools import cached_property
from typing import TYPE_CHECKING

from autointerp.library.conditioning import ConditioningRun
from autointerp.store.notes.notes import Notes

if TYPE_CHECKING:
    from autointerp.export.neuronpedia import FeatureLines


class NotedRun(ConditioningRun):
    """A run beside which notes are kept."""

    @cached_property
    def notes(self) -> Notes:
        """What people have written about its features."""
        return Notes(self.reader.path)

    def feature_of_label(self, explanation_id: str) -> tuple[str, int] | None:
        """The source and index of the feature that a label is of; None where there is no such label here."""
        return self.reader.feature_of_label(explanation_id)

    def neuronpedia_lines(self, feature_index: int, source_id: str) -> "FeatureLines":
        """A feature as the lines of an export for Neuronpedia say it; see `export.neuronpedia.feature_lines`."""
        from autointerp.export.neuronpedia import feature_lines  # pyarrow is slow to import

        return feature_lines(self.reader, source_id, feature_index)
