"""Doses, as runs and clients give them."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from autointerp.identity import FeatureKey
from autointerp.library.names import AnyFeature, Names, SomeFeatures, by_source
from autointerp.records.dose import Dose
from autointerp.store.known import feature_keys
from autointerp.store.reader import Reader

if TYPE_CHECKING:
    from autointerp.run.doses import Doses
    from autointerp.run.live import LiveRun


class DosedRun:
    """A run that knows the doses of its features.

    Attributes:
        reader: Its store.
    """

    reader: Reader

    @cached_property
    def live(self) -> "LiveRun":
        """The run's subject, loaded at the first question."""
        from autointerp.run.live import LiveRun  # looking a feature up needs no torch

        return LiveRun(self.reader.path.parent)

    def doses(self, features: Sequence[FeatureKey], source: str | None = None) -> list[Dose]:
        """What strength 1 is for features of one source, in their order; docs/steer.md says how it is found.

        What the store has not yet is found, which loads the model at the first time, and is kept there if it can be
        written.

        Args:
            features: Indices, or `model@source:index`.
            source: Their source; the run's only one where nothing names it.

        Raises:
            UnknownFeatureError: If there is no such feature.
            RunError: If the run's folder is not whole.
            SubjectError: If the model or a coder can't be loaded any more or is another one, the model has no
                language-model head, or its features can't be edited.
            ShardError: If the corpus is not there any more, or damaged.
        """
        records = {record.feature_index: record for record in self.reader.features(features, source)}
        return self._doses.of([records[index] for index in feature_keys(features, source)[1]])

    @cached_property
    def _doses(self) -> "Doses":
        from autointerp.run.doses import Doses  # looking a feature up needs no torch

        return Doses(self.reader, self.live)


class DosedFeatures:
    """Features whose doses can be asked for."""

    _names: Names

    def doses(self, features: AnyFeature | SomeFeatures, source: str | None = None) -> list[Dose]:
        """What strength 1 is for each feature: the dose that moves the model's next tokens by one nat.

        At `unit` the 95th percentile over tokens of KL(steered || plain) is one nat; beside it stands the same edit in
        multiples of the feature's largest activation, and of the stream's length. A dose that nobody asked for yet is
        found by running the model, and kept in the run's store.

        Args:
            features: One feature, or several.
            source: Their source, where they don't name it; the only one where None.

        Returns:
            In the order in which they are named.

        Raises:
            UnknownFeatureError: If there is no such feature.
            SubjectError: If the model can't be loaded any more, or has no language-model head.

        Example:
            >>> dose = client.features.doses(7)[0]
            >>> dose.unit > 0, 0.98 <= dose.kl_p95 <= 1.02
            (True, True)
        """
        named = self._names.all(features, source)
        found = {
            (dose.source_id, dose.feature_index): dose
            for run, of, indices in by_source(named)
            for dose in run.doses(indices, of)
        }
        return [found[of, index] for _, of, index in named]
