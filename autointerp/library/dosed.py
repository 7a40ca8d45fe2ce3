"""Doses, as runs and clients give them."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, get_args

from autointerp.errors import SearchError
from autointerp.identity import FeatureKey
from autointerp.library.names import AnyFeature, Names, SomeFeatures, by_source
from autointerp.records.dose import Dose, DoseTexts
from autointerp.store.known import check_name, feature_keys
from autointerp.store.reader import Reader

if TYPE_CHECKING:
    from autointerp.run.doses import Doses
    from autointerp.run.live import LiveRun


class DosedRun:
    """A run that knows the doses of its features.

    Attributes:
        reader: Its store.
        dose_texts: On which texts doses are found: its own `corpus`, or, of a chat model, `mixed` with prompts. To be
            set before a dose is asked for: strengths in doses are of it.

    Example:
        >>> run = autointerp.open_run("runs/demo")
        >>> run.dose_texts = "mixed"
        >>> run.doses([7])[0].found_on
        'mixed'
    """

    reader: Reader
    dose_texts: DoseTexts = "corpus"

    @cached_property
    def live(self) -> "LiveRun":
        """The run's subject, loaded at the first question."""
        from autointerp.run.live import LiveRun  # looking a feature up needs no torch

        return LiveRun(self.reader.path.parent)

    def doses(self, features: Sequence[FeatureKey], source: str | None = None, *, roughly: bool = False) -> list[Dose]:
        """What strength 1 is for features of one source, in their order; docs/steer.md says how it is found.

        What the store has not yet is found, which loads the model at the first time, and is kept there if it can be
        written.

        Args:
            features: Indices, or `model@source:index`.
            source: Their source; the run's only one where nothing names it.
            roughly: Find them on few tokens, in a tenth of the time, and don't keep them.

        Raises:
            UnknownFeatureError: If there is no such feature.
            SearchError: If `dose_texts` is none of the kinds that there are.
            RunError: If the run's folder is not whole.
            SubjectError: If the model or a coder can't be loaded any more or is another one, the model has no
                language-model head, its features can't be edited, or it has no chat template and doses are to be found
                on prompts, too.
            ShardError: If the corpus is not there any more, or damaged.
        """
        records = {record.feature_index: record for record in self.reader.features(features, source)}
        check_name(self.dose_texts, get_args(DoseTexts), "kind of text to find doses on", SearchError)
        if self.dose_texts not in self._doses_on:
            self._doses_on[self.dose_texts] = self._seek_on(self.dose_texts)
        wanted = [records[index] for index in feature_keys(features, source)[1]]
        return self._doses_on[self.dose_texts].of(wanted, roughly=roughly)

    @cached_property
    def _doses_on(self) -> "dict[DoseTexts, Doses]":
        return {}

    def _seek_on(self, texts: DoseTexts) -> "Doses":
        from autointerp.library.steer.material import shipped_instructions, shipped_questions
        from autointerp.live.dose import USUAL_METHOD  # looking a feature up needs no torch
        from autointerp.run.doses import Doses

        said = [*shipped_instructions(), *(of.question for of in shipped_questions().questions)]
        return Doses(self.reader, self.live, replace(USUAL_METHOD, texts=texts), said)


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
