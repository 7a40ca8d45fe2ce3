"""What a client asks of a run, wherever the run is: the line between what is asked and where it is answered.

`library.run.Run` answers from a folder. What answers over a network speaks the same protocol.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from autointerp.embedder import TextEmbedder
from autointerp.identity import FeatureKey
from autointerp.library.trials import LabelTrials, TrialChoice
from autointerp.records import Context, FeatureFilter, SearchHit, SourceRecord
from autointerp.records.dose import Dose
from autointerp.records.live import EVERY_TOKEN, EditScope, SourceEdits

if TYPE_CHECKING:
    from autointerp.export.neuronpedia import FeatureLines
    from autointerp.library.feature_view import FeatureView
    from autointerp.live.read import Readable
    from autointerp.records.attribution import AskedToken, TokenAttribution
    from autointerp.records.live import ActivationHistograms, TextFirings
    from autointerp.records.notes import OwnLabel
    from autointerp.records.on_texts import OnTexts
    from autointerp.run.live import LiveRun
    from autointerp.store.notes.notes import Notes


class Backend(Protocol):
    """A run that answers. What each method means, takes and raises stands at `Run`'s."""

    @property
    def name(self) -> str:
        """Where the run is, as it was opened."""

    @property
    def embedder_name(self) -> str:
        """The model that its labels are embedded by."""

    @property
    def live(self) -> "LiveRun":
        """Its model, loaded when it is first asked."""

    @property
    def can_run(self) -> bool:
        """Whether there is a model to be run: not where features were uploaded."""

    @property
    def notes(self) -> "Notes":
        """What people have written about its features."""

    def sources(self) -> list[SourceRecord]: ...

    def write_label(self, feature: FeatureKey, label: str, author: str, source_id: str | None) -> "OwnLabel": ...

    def neuronpedia_lines(self, feature_index: int, source_id: str) -> "FeatureLines": ...

    def scorers(self) -> list[str]: ...

    def search(self, query: str, top_k: int, where: FeatureFilter, min_relevance: float | None) -> list[SearchHit]: ...

    def rerank(
        self, features: Sequence[FeatureKey], query: str, source_id: str | None, where: FeatureFilter
    ) -> list[SearchHit]: ...

    def neighbors(
        self, features: Sequence[FeatureKey], space: str, top_k: int, source_id: str | None, where: FeatureFilter
    ) -> list[SearchHit]: ...

    def describe(self, features: Sequence[FeatureKey], source_id: str | None) -> list[SearchHit]: ...

    def feature(self, feature: FeatureKey, source_id: str | None) -> "FeatureView": ...

    def contexts(self, feature: FeatureKey, n: int | None, *, source_id: str | None) -> list[Context]: ...

    def trials(self, feature: FeatureKey, choice: TrialChoice, source_id: str | None) -> Sequence[LabelTrials]: ...

    def strongest(self, features: Sequence[int], source_id: str, n: int) -> Mapping[int, list[Context]]: ...

    def firings(
        self,
        texts: "Iterable[Readable]",
        source_id: str | None,
        on_progress: Callable[[int], None] | None = None,
        edits: Sequence[SourceEdits] = (),
        scope: EditScope = EVERY_TOKEN,
    ) -> "Iterator[TextFirings]": ...

    def doses(self, features: Sequence[FeatureKey], source: str | None, *, roughly: bool = False) -> Sequence[Dose]: ...
    def on_own_texts(self, features: Sequence[int], n: int, seed: int, source_id: str | None) -> "OnTexts": ...

    def attribution(self, text: "Readable", asked: "AskedToken", source_id: str | None) -> "TokenAttribution": ...

    def activation_histograms(
        self, features: Sequence[FeatureKey] | None, source_id: str | None
    ) -> "ActivationHistograms": ...


class LocalBackend(Backend, Protocol):
    """A run that answers here: its models can be had."""

    @property
    def embedder(self) -> TextEmbedder:
        """The model that its labels are embedded by."""
