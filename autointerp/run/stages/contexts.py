"""The contexts stage: chosen features' contexts, from what the pass kept, into the store."""

import time
from collections.abc import Sequence

from autointerp.contexts.build import build_contexts
from autointerp.records import Failure, FeatureContexts
from autointerp.run.progress import Reporter, StageSummary
from autointerp.run.session import Session

_FEATURES_PER_TRANSACTION = 128


def run_contexts(session: Session, features: Sequence[int], reporter: Reporter) -> None:
    """Build the contexts of those features that have none yet; those that can't have any are recorded as failures."""
    started = time.monotonic()
    pipeline, writer = session.pipeline, session.writer
    fingerprint = session.contexts_fingerprint
    pending = writer.pending_features("contexts", fingerprint, features, session.source_id)
    writer.set_stage("contexts", fingerprint, "running", n_asked=len(features), cost_usd=0.0)
    n_done = n_failed = 0
    if pending:
        outcomes = build_contexts(
            pending,
            session.collected,
            session.blocks,
            session.pieces,
            session.pool,
            session.embedder,
            pipeline.contexts,
            pipeline.collect,
            pipeline.seed,
            session.source_id,
            session.decoder_neighbors() if "silent_neighbour" in pipeline.contexts.negatives else None,
            fingerprint,
        )
        built: list[FeatureContexts] = []
        failed: list[Failure] = []
        for number, outcome in enumerate(outcomes, start=1):
            if isinstance(outcome, Failure):
                failed.append(outcome)
                n_failed += 1
            else:
                built.append(outcome)
                n_done += 1
            if number % _FEATURES_PER_TRANSACTION == 0 or number == len(pending):
                writer.add_contexts(built, fingerprint)
                writer.add_failures(failed)
                built, failed = [], []
            reporter.progress("contexts", number, len(pending), "features")
    writer.set_stage("contexts", fingerprint, "done", n_asked=len(features), cost_usd=0.0)
    seconds = time.monotonic() - started
    reporter.finished(StageSummary("contexts", n_done, n_failed, len(features) - len(pending), seconds))
