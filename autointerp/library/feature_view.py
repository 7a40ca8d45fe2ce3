"""All that a run knows of one feature."""

from dataclasses import dataclass

from autointerp.records import Context, Failure, FeatureRecord, Neighbor
from autointerp.score.dispute import Refereed
from autointerp.score.tier import Tier, tier_of
from autointerp.store.results import ScoredLabel, said_by_referee, shuffled_means


@dataclass(frozen=True, slots=True, repr=False)
class FeatureView:
    """All that a run knows of one feature.

    Attributes:
        feature: Its statistics.
        neighbors: Its stored neighbors in each space, closest first.
        labels: Its current labels with their scores, true ones first, then baselines.
        contexts: The contexts that were built to explain and score it. `Run.contexts` has all that the pass kept, also
            before any are built.
        failures: What could not be done for it, and why.
    """

    feature: FeatureRecord
    neighbors: tuple[Neighbor, ...]
    labels: tuple[ScoredLabel, ...]
    contexts: tuple[Context, ...]
    failures: tuple[Failure, ...]

    @property
    def tier(self) -> Tier | None:
        """On which side of the feature scores carry its true label; None without scores (`score.tier`)."""
        own = next((scored for scored in self.labels if not scored.explanation.is_baseline), None)
        return tier_of(own.scores, shuffled_means((s.explanation, s.scores) for s in self.labels)) if own else None

    @property
    def refereed(self) -> Refereed | None:
        """What a rule that is as good as the truth says of its true label (`score.dispute`); None where none is."""
        return next((said for s in self.labels if (said := said_by_referee(s.scores)) is not None), None)

    def __repr__(self) -> str:
        lines = [f"<FeatureView of {self.feature!r}"]
        for scored in self.labels:
            by = scored.explanation.explainer
            scores = "".join(f", {score.scorer} {score.value:.2f}" for score in scored.scores)
            lines.append(f"  label {scored.explanation.label!r} ({by}){scores}")
        lines += [f"  failure {failure.stage}: {failure.error_type}: {failure.message}" for failure in self.failures]
        return "\n".join([*lines, f"  {len(self.contexts)} contexts, {len(self.neighbors)} neighbors>"])
