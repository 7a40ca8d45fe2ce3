"""The contexts stage: chosen features' contexts, from what the pass kept, into the store."""

import time
from collections.abc import Iterator, Sequence

from autointerp.contexts.build import ContextInputs, build_contexts
from autointerp.contexts.negatives import SilentPools
from autointerp.records import Failure, FeatureContexts
from autointerp.run.features import ChosenFeatures, count_features
from autointerp.run.progress import Reporter, StageSummary
from autointerp.run.session import Session, SourceSession

_FEATURES_PER_TRANSACTION = 128


def run_contexts(session: Session, chosen: ChosenFeatures, reporter: Reporter) -> None:
    """Build the contexts of those features that have none yet; those that can't have any are recorded as failures."""
    started = time.monotonic()
    writer, fingerprint = session.writer, session.contexts_fingerprint
    pending = {
        source_id: writer.pending_features("contexts", fingerprint, features, source_id)
        for source_id, features in chosen.items()
    }
    n_asked, n_pending = count_features(chosen), count_features(pending)
    writer.set_stage("contexts", fingerprint, "running", n_asked=n_asked, cost_usd=0.0)
    n_done = n_failed = n_never_silent = 0
    built: list[FeatureContexts] = []
    failed: list[Failure] = []
    for source in session.each_source():
        if "silent_similar" in session.pipeline.contexts.negatives:
            reporter.progress("contexts", n_done + n_failed, n_pending, "embedding the pool")
        for outcome in build_for(source, pending.get(source.source_id, ())):
            if isinstance(outcome, Failure):
                failed.append(outcome)
                n_failed += 1
            else:
                built.append(outcome)
                n_done += 1
                n_never_silent += not outcome.of("score", active=False)
            if len(built) + len(failed) == _FEATURES_PER_TRANSACTION:
                writer.add_contexts(built, fingerprint)
                writer.add_failures(failed)
                built, failed = [], []
            reporter.progress("contexts", n_done + n_failed, n_pending, "features")
        writer.add_contexts(built, fingerprint)
        writer.add_failures(failed)
        built, failed = [], []
    writer.set_stage("contexts", fingerprint, "done", n_asked=n_asked, cost_usd=0.0)
    note = f"{n_never_silent} fire nearly everywhere and have no silent contexts" if n_never_silent else ""
    reporter.finished(
        StageSummary("contexts", n_done, n_failed, n_asked - n_pending, seconds=time.monotonic() - started, note=note)
    )


def build_for(source: SourceSession, features: Sequence[int]) -> Iterator[FeatureContexts | Failure]:
    """Build the contexts of some of a source's features, or say why one has none; nothing is stored.

    Args:
        source: The source; what has to be loaded of it is loaded if there are features.
        features: Distinct.
    """
    if not features:
        return
    run, config = source.run, source.run.pipeline.contexts
    inputs = ContextInputs(
        source_id=source.source_id,
        collected=source.collected,
        blocks=run.blocks,
        pieces=run.pieces,
        pools=SilentPools(source.pool, source.peak_windows),
        peak_fraction=run.pipeline.collect.peak_fraction,
        embedder=run.embedder,
        config=config,
        seed=run.pipeline.seed,
        fingerprint=run.contexts_fingerprint,
        neighbors=source.decoder_neighbors() if "silent_neighbor" in config.negatives else None,
    )
    yield from build_contexts(features, inputs)
