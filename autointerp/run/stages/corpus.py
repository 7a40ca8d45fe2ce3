"""The corpus stage: text to shards of token blocks, and a manifest that is written last."""

import hashlib
import json
import shutil
import time

from autointerp.corpus import cut_shards, iter_documents, save_shard
from autointerp.run.manifest import CorpusManifest, has_manifest, read_manifest, write_manifest
from autointerp.run.progress import Reporter, StageSummary
from autointerp.run.session import Session


def run_corpus(session: Session, reporter: Reporter) -> None:
    """Cut the corpus into blocks, unless an earlier run did.

    A corpus that was left unfinished is cut again from the start: it costs seconds, and the shards come out the same.
    """
    started = time.monotonic()
    config, folder = session.pipeline.corpus, session.folder.corpus
    if has_manifest(folder):
        reporter.finished(StageSummary("corpus", 0, n_skipped=len(read_manifest(folder).shards)))
        return
    shutil.rmtree(folder, ignore_errors=True)
    digest = hashlib.sha256()
    names: list[str] = []
    n_tokens = n_blocks = 0
    prepend_bos = bool(session.source.coder.prepends_bos)
    for shard in cut_shards(iter_documents(config), session.tokenizer, config, prepend_bos=prepend_bos):
        names.append(f"shard-{shard.shard_index:05d}.npz")
        save_shard(shard, folder / names[-1])
        digest.update(shard.token_ids.tobytes())
        digest.update(json.dumps([shard.document_ids, shard.document_index.tolist()]).encode())
        n_tokens += int(shard.counted.sum())
        n_blocks += len(shard.n_tokens)
        reporter.progress("corpus", n_tokens, config.n_tokens, "tokens")
    write_manifest(CorpusManifest(digest.hexdigest(), n_tokens, n_blocks, tuple(names)), folder)
    seconds = time.monotonic() - started
    note = f"{n_tokens:,} tokens in {n_blocks:,} blocks"
    reporter.finished(StageSummary("corpus", len(names), seconds=seconds, note=note))
