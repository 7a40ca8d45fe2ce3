"""Conditions that are chosen from words, as runs and clients give them."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from autointerp.library.attributing import AttributingFeatures, AttributingRun
from autointerp.library.backend import Backend
from autointerp.library.feature import FeatureGroup
from autointerp.records.on_texts import OnTexts
from autointerp.store.known import check_seed

if TYPE_CHECKING:
    from autointerp.library.contrast.result import Contrast
    from autointerp.library.steer.conditional_receipt import AutoCondition
    from autointerp.live.read import Readable
    from autointerp.run.own_texts import OwnTexts


class ConditioningRun(AttributingRun):
    """A run whose features are read on texts of its own corpus."""

    def on_own_texts(self, features: Sequence[int], n: int, seed: int = 0, source_id: str | None = None) -> OnTexts:
        """What some features do on blocks of different documents of the run's corpus.

        They are run once, which may take minutes, and kept beside the run, of one seed a source, if it can be written.

        Args:
            features: Indices.
            n: Blocks; fewer where there are no more documents.
            seed: Of the draw.
            source_id: The source; the run's only one where None.

        Raises:
            RunError: If the run's folder is not whole.
            SubjectError: If the model or a coder can't be loaded any more or is another one.
            ShardError: If the corpus is not there any more, or damaged.
        """
        return self._own_texts.of(self.reader.source(source_id), features, n, seed)

    @cached_property
    def _own_texts(self) -> "OwnTexts":
        from autointerp.run.own_texts import OwnTexts  # looking a feature up needs no torch

        return OwnTexts(self.live)


class ConditioningFeatures(AttributingFeatures, ABC):
    """Features that are asked which of them tell when a text is about something."""

    @abstractmethod
    def search(self, query: str, top_k: int = 10, *, source: str | Iterable[str] | None = None) -> FeatureGroup:
        """Find features by their labels."""

    @abstractmethod
    def contrast(
        self,
        dataset_1: "Iterable[Readable]",
        dataset_2: "Iterable[Readable]",
        top_k: int | None = 10,
        *,
        source: str | None = None,
        aggregate_by: str = "mean",
    ) -> "Contrast":
        """Find features that tell two sets of texts apart."""

    def AutoConditional(
        self,
        specification: str,
        positives: "Sequence[Readable]" = (),
        negatives: "Sequence[Readable]" = (),
        *,
        false_alarms: float = 0.02,
        n_texts: int = 400,
        source: str | None = None,
        seed: int = 0,
    ) -> "AutoCondition":
        """Choose features and thresholds that tell when a text is about something; docs/steer.md goes on from here.

        Thresholds are chosen on half of some texts of the run's own corpus, so that the condition holds in no more of
        them than is allowed; how often it holds in the other half, and in examples, is measured and said, with
        intervals. There may be no feature that tells it: then there is no condition, and the reasons are told.

        Args:
            specification: What a text is about, in words.
            positives: Texts that are about it, at least 8: half of them are chosen by, the others reported on.
            negatives: Texts that are not, at least 8 or none.
            false_alarms: Share of the corpus's texts in which the condition may hold at any token.
            n_texts: Texts of the corpus, which the model reads.
            source: The source; the only one where None.
            seed: Of the texts that are drawn.

        Raises:
            SearchError: If the specification is empty, a number makes no sense, or examples are too few.
            SubjectError: If the model can't be loaded any more.
            ShardError: If the corpus is not there any more.

        Example:
            >>> found = client.features.AutoConditional("river", false_alarms=0.2)
            >>> found.condition.names()[0] == client.features.get(1).names()[0]
            True
            >>> found.receipt.false_alarms.n
            180
            >>> client.features.AutoConditional("zzgrk").condition is None
            True
        """
        from autointerp.library.steer import conditional  # slow to import

        conditional.check_asked(specification, false_alarms, n_texts)
        check_seed(seed)
        examples = conditional.split_examples(positives, negatives, seed)
        run, of, _ = self._names.one("0", source)
        by_contrast = FeatureGroup()
        if examples is not None and examples.negative[0]:
            found = self.contrast(examples.positive[0], examples.negative[0], source=of, aggregate_by="max")
            by_contrast = next(iter(found))
        candidates = conditional.candidates_of(
            self.search(specification, conditional.N_CANDIDATES, source=of), by_contrast, of
        )

        def largest(indices: Sequence[int]) -> np.ndarray:
            histograms = run.activation_histograms(sorted(indices), of)
            at = np.searchsorted(histograms.feature_index, indices)
            return histograms.max_activation[at].astype(np.float32)

        readings = conditional.Readings(
            own=lambda indices, n: run.on_own_texts(indices, n, seed, of),
            of=lambda texts, indices: _on_texts(run, of, texts, indices),
        )
        return conditional.choose_condition(
            specification, candidates, readings, examples, largest, allowed=false_alarms, n_texts=n_texts
        )


def _on_texts(run: Backend, source: str, texts: "Sequence[Readable]", features: Sequence[int]) -> OnTexts:
    """What some features do on texts that are given."""
    text, values = [], []
    for number, firings in enumerate(run.firings(texts, source)):
        of_text = np.zeros((len(firings.token_ids), len(features)), dtype=np.float32)
        for column, feature in enumerate(features):
            ours = firings.feature == feature
            of_text[firings.token[ours], column] = firings.activation[ours]
        values.append(of_text[firings.counted])
        text.append(np.full(firings.n_counted, number, dtype=np.int64))
    return OnTexts(len(texts), np.concatenate(text), tuple(features), np.concatenate(values))
