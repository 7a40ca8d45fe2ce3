"""The collect stage: one pass over the corpus, shard by shard, then what was kept of all shards put together."""

import logging
import time
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from autointerp.collect.effects import SourceEffects, gather_effects, token_texts
from autointerp.collect.merge import ShardPart
from autointerp.collect.neighbors import coactivation_neighbors, decoder_neighbors
from autointerp.collect.shards import load_part, save_part
from autointerp.collect.tokens import top_tokens
from autointerp.collect.windows import without_entries
from autointerp.corpus import load_shard
from autointerp.errors import ShardError
from autointerp.records import Collected, SampledWindows, SourceRecord
from autointerp.run.feature_table import FeatureColumns
from autointerp.run.progress import Reporter, StageSummary
from autointerp.run.session import Session
from autointerp.run.workers.executor import CollectProgress, collect_shards
from autointerp.subject.source import Source

_LOG = logging.getLogger(__name__)
_N_NEIGHBORS = 20
_FEATURES_PER_TRANSACTION = 50_000


def run_collect(session: Session, reporter: Reporter) -> None:
    """Collect, unless an earlier run did; a run that was killed goes on from the shards that are finished.

    The shards' own files are removed once all of them together are safely in the store and in one file: what stays on
    disk does not grow with the corpus.
    """
    started = time.monotonic()
    manifest, folder = session.manifest, session.folder
    if session.is_collected:
        _remove_parts(session)
        reporter.finished(StageSummary("collect", 0, n_skipped=len(manifest.shards)))
        return
    if (fired := _kept_firings(session)) is not None:
        _store(session, fired)
        seconds, note = time.monotonic() - started, "put into a new store"
        reporter.finished(StageSummary("collect", 0, n_skipped=len(manifest.shards), seconds=seconds, note=note))
        return
    n_tokens = n_resumed = 0

    def tell(progress: CollectProgress) -> None:
        nonlocal n_tokens, n_resumed
        n_tokens += 0 if progress.is_resumed else progress.n_tokens
        n_resumed += progress.is_resumed
        note, seconds_left = "", None
        if n_tokens:
            tokens_per_s = n_tokens / (time.monotonic() - started)
            note, seconds_left = f"{tokens_per_s:,.0f} tokens/s", progress.n_tokens_left / tokens_per_s
        reporter.progress("collect", progress.n_done, progress.n_shards, note, seconds_left=seconds_left)

    sources = session.subject_sources
    parts = collect_shards(
        session.pipeline,
        manifest.paths(folder.corpus),
        [folder.source_folder(source.source_id) for source in sources.sources],
        tell,
        sources=sources,
    )
    seconds = time.monotonic() - started
    fired = []
    for source, of_source in zip(sources.sources, parts, strict=True):
        part = ShardPart(0, of_source.result())
        save_part(folder.collected_file(source.source_id), part, session.contexts_fingerprint)
        fired.append(without_entries(part.collected.fired))
        del part  # samples of many sources may be more than memory holds
    _store(session, fired)
    (folder.collect / "finished").touch()
    _remove_parts(session)
    note = f"{n_tokens:,} tokens now, {n_tokens / seconds:,.0f} a second" if n_tokens else "all shards were there"
    n_done = len(manifest.shards) - n_resumed
    seconds = time.monotonic() - started
    reporter.finished(StageSummary("collect", n_done, n_skipped=n_resumed, seconds=seconds, note=note))


def _remove_parts(session: Session) -> None:
    """Remove what is in the sources' folders besides what was kept of the whole corpus."""
    for source_id in session.source_ids:
        kept = session.folder.collected_file(source_id)
        for file in kept.parent.iterdir():
            if file != kept:
                file.unlink()


def _kept_firings(session: Session) -> list[SampledWindows] | None:
    """Where each source's features fire, if an earlier run has kept all that a pass keeps: only the store was lost."""
    if not session.folder.keeps_pass(len(session.pipeline.coder)):
        return None
    files = [session.folder.collected_file(source.source_id) for source in session.subject_sources.sources]
    try:
        return [without_entries(load_part(file, session.contexts_fingerprint).collected.fired) for file in files]
    except ShardError as error:
        _LOG.warning("%s; what the pass keeps is collected again", error.problem)
        return None


def _store(session: Session, fired: Sequence[SampledWindows]) -> None:
    """Put what the pass has kept of all sources into the store.

    Args:
        session: The run.
        fired: Where each source's features fire, in the order of the sources, without the activations.
    """
    fingerprint, writer, sources = session.contexts_fingerprint, session.writer, session.subject_sources
    files = {source.source_id: session.folder.collected_file(source.source_id) for source in sources.sources}
    writer.set_stage("collect", fingerprint, "running", cost_usd=0.0)
    texts = token_texts(session.pieces)
    effects = gather_effects(
        sources.subject,
        [source.coder for source in sources.sources],
        fired,
        (load_shard(path) for path in session.manifest.paths(session.folder.corpus)),
        len(texts),
        session.pipeline.collect,
    )
    for source, its_effects in zip(sources.sources, effects, strict=True):
        collected = load_part(files[source.source_id], fingerprint).collected
        _store_source(session, source, collected, its_effects, texts)
    n_features = sum(source.n_features for source in sources.sources)
    writer.set_stage("collect", fingerprint, "done", n_asked=n_features, cost_usd=0.0)


def _store_source(
    session: Session, source: Source, collected: Collected, effects: SourceEffects, texts: Sequence[str]
) -> None:
    manifest, writer = session.manifest, session.writer
    tokens = top_tokens(collected.token_counts, source.n_features, session.pipeline.collect.n_top_tokens)
    columns = FeatureColumns(source.source_id, collected, tokens, effects, texts, session.pipeline)
    for first in range(0, source.n_features, _FEATURES_PER_TRANSACTION):
        writer.add_feature_table(columns.table(first, min(first + _FEATURES_PER_TRANSACTION, source.n_features)))
    every = np.arange(source.n_features, dtype=np.int32)
    spaces = {
        "decoder": decoder_neighbors(source.coder.decoder, _N_NEIGHBORS),
        "coactivation": coactivation_neighbors(collected.pool, source.n_features, _N_NEIGHBORS),
    }
    for space, lists in spaces.items():
        writer.add_neighbors(source.source_id, space, every, lists.feature, lists.similarity)
    record = SourceRecord(
        source_id=source.source_id,
        model=session.pipeline.subject.model,
        hook=source.hook.name,
        coder=source.coder.origin,
        n_features=source.n_features,
        corpus=_corpus_name(session),
        n_tokens=manifest.n_tokens,
        no_logits=effects.no_logits,
    )
    # Last, because the store holds a source's features once it holds the source.
    edges: Float64[np.ndarray, " edge"] = collected.statistics.bin_edges
    writer.add_source(record, edges.tolist())


def _corpus_name(session: Session) -> str:
    corpus = session.pipeline.corpus
    name = corpus.kind if corpus.path is None else f"{corpus.kind}:{corpus.path}"
    return f"{name} (sha256 {session.manifest.digest[:12]})"
