"""What people write about features, as runs give it: beside the run's own labels, those of people's own."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from autointerp.identity import FeatureKey
from autointerp.library.conditioning import ConditioningRun
from autointerp.library.feature_view import FeatureView
from autointerp.library.trials import EVERY_TRIAL, LabelTrials, TrialChoice, read_trials
from autointerp.records.notes import OWN, OwnLabel
from autointerp.store.notes.notes import Notes
from autointerp.store.results import ScoredLabel, with_scores

if TYPE_CHECKING:
    from autointerp.export.neuronpedia import FeatureLines
    from autointerp.run.own_labels import OwnLabels


class NotedRun(ConditioningRun):
    """A run beside which notes are kept.

    Attributes:
        can_run: Whether there is a model to be run: not where features were uploaded.
    """

    can_run = True

    @cached_property
    def notes(self) -> Notes:
        """What people have written about its features."""
        return Notes(self.reader.path)

    def feature_of_label(self, explanation_id: str) -> tuple[str, int] | None:
        """The source and index of the feature that a label is of; None where there is no such label here."""
        return self.reader.feature_of_label(explanation_id) or self.notes.feature_of_label(explanation_id)

    def write_label(self, feature: FeatureKey, label: str, author: str = "", source_id: str | None = None) -> OwnLabel:
        """Write a label of one's own: it is scored at once, and kept beside the run; see `run.own_labels`.

        Args:
            feature: Its index, or `model@source:index`.
            label: One line.
            author: Who writes it.
            source_id: Its source; the run's only one where nothing names it.

        Raises:
            UnknownFeatureError: If there is no such feature.
            NoteError: If the label is no line of some length, or the run's folder can't be written.
            RunError: If the run's folder is not whole.
        """
        record = self.reader.feature(feature, source_id)
        own = self._own_labels.scored(record.source_id, record.feature_index, label, author)
        self.notes.keep_label(own)
        return own

    @cached_property
    def _own_labels(self) -> "OwnLabels":
        from autointerp.run.own_labels import OwnLabels  # looking a feature up needs no scorers

        return OwnLabels(self.reader.path.parent)

    def feature(self, feature: FeatureKey, source_id: str | None = None) -> FeatureView:
        """All that is known of one feature; labels that people wrote stand behind the run's own.

        Args:
            feature: Its index, or `model@source:index`.
            source_id: Its source; the run's only one where nothing names it.

        Raises:
            UnknownFeatureError: If there is no such feature; the message states the range.
        """
        with self.reader.session() as reader:
            record = reader.feature(feature, source_id)
            own, source = [record.feature_index], record.source_id
            view = FeatureView(
                feature=record,
                neighbors=tuple(reader.stored_neighbors(record.feature_index, source)),
                labels=tuple(
                    with_scores(reader.explanations(own, source, baselines=True), reader.scores(own, source_id=source))
                ),
                contexts=tuple(reader.contexts(record.feature_index, source_id=source)),
                failures=tuple(reader.failures(own, source_id=source)),
            )
        written = self.notes.of_feature((source, record.feature_index)).labels
        return replace(view, labels=_with_own(view.labels, written)) if written else view

    def trials(
        self, feature: FeatureKey, choice: TrialChoice = EVERY_TRIAL, source_id: str | None = None
    ) -> tuple[LabelTrials, ...]:
        """What each label of a feature was tried on: asked, answered and true; see `library.trials.read_trials`."""
        labels = self.feature(feature, source_id).labels
        own = {of.explanation.explanation_id for of in labels if of.explanation.explainer == OWN}
        written = self.notes.of_feature(_named(labels)).labels if own else ()
        return read_trials(self.reader, labels, choice, {of.explanation_id: of.trials for of in written})

    def neuronpedia_lines(self, feature_index: int, source_id: str) -> "FeatureLines":
        """A feature as the lines of an export for Neuronpedia say it; see `export.neuronpedia.feature_lines`."""
        from autointerp.export.neuronpedia import feature_lines  # pyarrow is slow to import

        return feature_lines(self.reader, source_id, feature_index)


def _with_own(labels: Sequence[ScoredLabel], written: Sequence[OwnLabel]) -> tuple[ScoredLabel, ...]:
    """A feature's labels with those that people wrote: before the nulls."""
    from autointerp.run.own_labels import as_explanation

    first = [of for of in labels if not of.explanation.is_baseline]
    own = [ScoredLabel(as_explanation(of), tuple(sorted(of.scores, key=lambda s: s.scorer))) for of in written]
    return (*first, *own, *labels[len(first) :])


def _named(labels: Sequence[ScoredLabel]) -> tuple[str, int]:
    return labels[0].explanation.source_id, labels[0].explanation.feature_index
