"""The collect stage: one pass over the corpus, shard by shard, then what was kept of all shards put together."""

import time

import numpy as np
from jaxtyping import Float64

from autointerp.collect.merge import ShardPart, merge
from autointerp.collect.neighbors import coactivation_neighbors, decoder_neighbors
from autointerp.collect.shards import load_part, save_part
from autointerp.records import Collected, FeatureRecord, FeatureStatistics, FeatureStatus, SourceRecord
from autointerp.run.executor import CollectProgress, collect_settings, collect_shards
from autointerp.run.progress import Reporter, StageSummary
from autointerp.run.session import Session

_N_NEIGHBORS = 20
_FEATURES_PER_TRANSACTION = 50_000


def run_collect(session: Session, reporter: Reporter) -> None:
    """Collect, unless an earlier run did; a run that was killed goes on from the shards that are finished.

    The shards' own files are removed once all of them together are safely in the store and in one file: what stays on
    disk does not grow with the corpus.
    """
    started = time.monotonic()
    pipeline, manifest, folder = session.pipeline, session.manifest, session.folder.collect
    fingerprint = session.contexts_fingerprint
    if (folder / "finished").exists() and session.collected_file.exists() and session.is_collected:
        reporter.finished(StageSummary("collect", 0, n_skipped=len(manifest.shards)))
        return
    shards = manifest.paths(session.folder.corpus)
    n_tokens = 0

    def tell(progress: CollectProgress) -> None:
        nonlocal n_tokens
        n_tokens += 0 if progress.is_resumed else progress.n_tokens
        speed = f"{n_tokens / (time.monotonic() - started):,.0f} tokens/s"
        reporter.progress("collect", progress.n_done, progress.n_shards, speed)

    parts = collect_shards(pipeline, shards, folder, tell, source=session.source)
    seconds = time.monotonic() - started
    settings = collect_settings(pipeline, shards, session.source.source_id)
    collected = merge((load_part(path) for path in parts), settings)
    save_part(session.collected_file, ShardPart(0, collected), fingerprint)
    _store(session, collected, fingerprint)
    (folder / "finished").touch()
    for path in parts:
        path.unlink()
    note = f"{n_tokens:,} tokens now, {n_tokens / seconds:,.0f} a second" if n_tokens else "all shards were there"
    reporter.finished(StageSummary("collect", len(parts), seconds=time.monotonic() - started, note=note))


def _store(session: Session, collected: Collected, fingerprint: str) -> None:
    source, manifest, writer = session.source, session.manifest, session.writer
    record = SourceRecord(
        source_id=source.source_id,
        model=session.pipeline.subject.model,
        hook=source.hook.name,
        coder=source.coder.origin,
        n_features=source.n_features,
        corpus=_corpus_name(session),
        n_tokens=manifest.n_tokens,
    )
    writer.set_stage("collect", fingerprint, "running", cost_usd=0.0)
    edges: Float64[np.ndarray, " edge"] = collected.statistics.bin_edges
    writer.add_source(record, edges.tolist())
    for first in range(0, source.n_features, _FEATURES_PER_TRANSACTION):
        last = min(first + _FEATURES_PER_TRANSACTION, source.n_features)
        writer.add_features(_feature_records(session, collected, range(first, last)))
    every = np.arange(source.n_features, dtype=np.int32)
    spaces = {
        "decoder": decoder_neighbors(source.coder.decoder, _N_NEIGHBORS),
        "coactivation": coactivation_neighbors(collected.pool, source.n_features, _N_NEIGHBORS),
    }
    for space, lists in spaces.items():
        writer.add_neighbors(source.source_id, space, every, lists.feature, lists.similarity)
    writer.set_stage("collect", fingerprint, "done", n_asked=source.n_features, cost_usd=0.0)


def _feature_records(session: Session, collected: Collected, features: range) -> list[FeatureRecord]:
    statistics = collected.statistics
    n_active = statistics.n_active
    return [
        FeatureRecord(
            source_id=session.source.source_id,
            feature_index=index,
            n_active=int(n_active[index]),
            density=int(n_active[index]) / statistics.n_tokens,
            max_activation=float(statistics.max_activation[index]),
            mean_activation=float(statistics.activation_sum[index] / max(n_active[index], 1)),
            histogram=tuple(statistics.histogram[index].tolist()),
            status=_status(session, statistics, index),
            top_tokens=session.top_tokens(index),
        )
        for index in features
    ]


def _status(session: Session, statistics: FeatureStatistics, index: int) -> FeatureStatus:
    pipeline = session.pipeline
    if statistics.n_active[index] == 0:
        return "dead"
    if statistics.n_active[index] > pipeline.collect.dense_above * statistics.n_tokens:
        return "dense"
    n_needed = pipeline.contexts.min_explain + pipeline.contexts.min_score
    return "few_contexts" if statistics.n_active_blocks[index] < n_needed else "ok"


def _corpus_name(session: Session) -> str:
    corpus = session.pipeline.corpus
    name = corpus.kind if corpus.path is None else f"{corpus.kind}:{corpus.path}"
    return f"{name} (sha256 {session.manifest.digest[:12]})"
