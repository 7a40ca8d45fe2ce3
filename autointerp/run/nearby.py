"""Which features fire near each other in a run, and what an explainer may know of those: `explain.base.Nearby`.

The firings of all sources are indexed once a run: some 16 bytes a firing of the pool's explain split, so .15 GB for a
source with 64 firings on each of 130,000 tokens. What else is needed of another source is loaded when it is asked for.
"""

from collections.abc import Callable, Sequence

from autointerp.contexts.before_after import BeforeAfter, IndexedSource
from autointerp.contexts.evidence import feature_evidence
from autointerp.explain.base import Tools
from autointerp.records import FeatureContexts, FeatureEvidence, FiringNeighbors
from autointerp.run.session import Session, SourceSession
from autointerp.run.stages.contexts import build_for


def count_before_after(session: Session) -> BeforeAfter:
    """Index the firings of all of a run's sources.

    Raises:
        ShardError: If what was collected is missing or damaged.
    """
    explain = session.pipeline.explain
    return BeforeAfter(
        [
            IndexedSource(
                source_id=of.source_id,
                hook=of.hook,
                # By a session of its own, so that the samples of no two sources are in memory together.
                index=SourceSession(session, of.source_id).explain_firings(of.n_features, explain.neighbor_reach),
            )
            for of in session.reader.sources()
        ],
        explain.n_neighbors,
    )


class NearbyInRun:
    """The features near those of one source.

    Args:
        source: The source whose features are explained.
        before_after: Finds neighbors.
        tools: Makes the tools of an explainer of a source.
    """

    def __init__(
        self, source: SourceSession, before_after: BeforeAfter, tools: Callable[[SourceSession], Tools]
    ) -> None:
        self._run = source.run
        self._sources = {source.source_id: source}
        self._before_after = before_after
        self._tools = tools

    def neighbors(self, source_id: str, feature_index: int) -> FiringNeighbors:
        """As `Nearby` has it."""
        return self._before_after.of(source_id, feature_index)

    def evidence(self, source_id: str, features: Sequence[int]) -> list[FeatureEvidence]:
        """As `Nearby` has it: contexts that the store lacks are built as the contexts stage would, and not kept."""
        reader = self._run.reader
        contexts = {of.feature_index: of for of in reader.feature_contexts(features, source_id)}
        failed = {f.feature_index for f in reader.failures(features, "contexts", source_id)}
        missing = [feature for feature in features if feature not in contexts and feature not in failed]
        for outcome in build_for(self._source(source_id), missing):
            if isinstance(outcome, FeatureContexts):
                contexts[outcome.feature_index] = outcome
        return [
            feature_evidence(
                contexts.get(record.feature_index) or FeatureContexts(source_id, record.feature_index, ()), record
            )
            for record in reader.features(features, source_id)
        ]

    def tools(self, source_id: str) -> Tools:
        """As `Nearby` has it."""
        return self._tools(self._source(source_id))

    def _source(self, source_id: str) -> SourceSession:
        if source_id not in self._sources:
            self._sources[source_id] = SourceSession(self._run, source_id)
        return self._sources[source_id]
