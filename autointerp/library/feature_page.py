"""All that a run tells of one feature at once, for those that show it: `autointerp show`, pages, agents."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import groupby, islice
from typing import Any

from autointerp.errors import AutointerpError
from autointerp.export.token_lists import token_lists
from autointerp.identity import FeatureKey
from autointerp.library.run import Run
from autointerp.records import Context, Failure, FeatureRecord, Neighbor, SourceRecord
from autointerp.score.tier import Tier
from autointerp.store.results import ScoredLabel

_NEIGHBORS_READ = 20


@dataclass(frozen=True, slots=True)
class ContextChoice:
    """Which contexts are asked for: `n` of the strongest, of a kind, a split, a quantile; None leaves each free."""

    n: int | None = None
    kind: Any = None
    split: Any = None
    quantile: int | None = None


@dataclass(frozen=True, slots=True)
class FeaturePage:
    """All that `show` tells of a feature; its JSON has these fields.

    Attributes:
        source: The source.
        histogram_edges: Edges of the bins of `feature.histogram`; the first and the last bin are open-ended.
        feature: Statistics, and the tokens it fires on, is followed by and promotes.
        neighbors: Its stored neighbors in each space, closest first.
        neighbor_labels: Their true labels, by feature, where they have one.
        labels: Its labels with their scores, true ones first.
        tier: On which side of the feature scores carry its true label; None without scores.
        same_label: Other features of the source that carry its true label, to the letter.
        contexts: Those that were asked for; else those that were built, or where none are, those that the pass kept.
        failures: What could not be done for it, and why.
        no_contexts: Why what the pass kept can't be read; None where it was, or was not looked for.
    """

    source: SourceRecord
    histogram_edges: tuple[float, ...]
    feature: FeatureRecord
    neighbors: tuple[Neighbor, ...]
    neighbor_labels: Mapping[int, str]
    labels: tuple[ScoredLabel, ...]
    tier: Tier | None
    same_label: tuple[int, ...]
    contexts: tuple[Context, ...]
    failures: tuple[Failure, ...]
    no_contexts: str | None

    @property
    def why_no_label(self) -> str | None:
        """Why it has no true label; None where it has one."""
        if any(not scored.explanation.is_baseline for scored in self.labels):
            return None
        if self.feature.status == "dead":
            return "it is dead: it never fires in this corpus"
        if self.failures:
            first = self.failures[0]
            return f"{first.message} ({first.stage}: {first.error_type})"
        return f"nobody asked for one yet; run the pipeline with --features {self.feature.feature_index}"


def read_page(run: Run, feature: FeatureKey, choice: ContextChoice, *, name_neighbors: bool = True) -> FeaturePage:
    """Read all that is known of one feature.

    Args:
        run: The run.
        feature: Its index, or `model@source:index`.
        choice: The contexts that are asked for.
        name_neighbors: Whether the labels of neighbors are read too; else there are none of them.

    Raises:
        UnknownFeatureError: If there is no such feature.
    """
    are_chosen, no_contexts = choice != ContextChoice(), None
    view = run.feature(feature)
    source, index = view.feature.source_id, view.feature.feature_index
    contexts = view.contexts
    try:
        if are_chosen or not contexts:
            contexts = tuple(
                run.contexts(
                    index, choice.n, kind=choice.kind, split=choice.split, quantile=choice.quantile, source_id=source
                )
            )
    except AutointerpError as error:
        if are_chosen:
            raise
        no_contexts = str(error)
    with run.reader.session() as reader:
        neighbors = tuple(
            neighbor
            for _, near in groupby(view.neighbors, key=lambda neighbor: neighbor.space)
            for neighbor in islice(near, _NEIGHBORS_READ)
        )
        indices = sorted({neighbor.feature_index for neighbor in neighbors}) if name_neighbors else []
        texts = {scored.explanation.label for scored in view.labels if not scored.explanation.is_baseline}
        same_label = {other for text in texts for other in reader.features_with_label(text, source)} - {index}
        return FeaturePage(
            source=reader.source(source),
            histogram_edges=reader.histogram_edges(source),
            feature=view.feature,
            neighbors=neighbors,
            neighbor_labels=(
                {e.feature_index: e.label for e in reader.explanations(indices, source)} if indices else {}
            ),
            labels=view.labels,
            tier=view.tier,
            same_label=tuple(sorted(same_label)),
            contexts=contexts,
            failures=view.failures,
            no_contexts=no_contexts,
        )


def page_as_json(page: FeaturePage) -> dict[str, Any]:
    """A page as plain values but for moments, each token with its measures, in the order in which they are stored."""
    content = asdict(page)
    content["feature"] |= token_lists(page.feature)
    return content
