"""The corpus stage: text to shards of token blocks, and a manifest that is written last."""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator

from autointerp.corpus import DocumentCounts, cut_shards, iter_documents, iter_tokenized, save_shard
from autointerp.corpus.special import describe_special_tokens
from autointerp.corpus.spellings import SpellingCounts
from autointerp.records import Document
from autointerp.records.corpus import TokenizedDocument
from autointerp.run.on_disk.manifest import CorpusManifest, has_manifest, read_manifest, write_manifest
from autointerp.run.progress import Reporter, StageSummary
from autointerp.run.session import Session
from autointerp.subject.limits import check_text, n_embedded


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
    tokenizer, prepend_bos, counts = session.tokenizer, session.prepends_bos, DocumentCounts()
    subject = session.subject_sources.subject
    check_text(subject, config.block_length)
    documents: Iterator[Document | TokenizedDocument] = (
        iter_documents(config, tokenizer, counts=counts)
        if config.token_column is None
        else iter_tokenized(config, tokenizer, counts=counts)
    )
    spellings = SpellingCounts()
    shards = cut_shards(
        spellings.passing(documents),
        tokenizer,
        config,
        prepend_bos=prepend_bos,
        counts=counts,
        n_embedded=n_embedded(subject),
    )
    for shard in shards:
        names.append(f"shard-{shard.shard_index:05d}.npz")
        save_shard(shard, folder / names[-1])
        digest.update(shard.token_ids.tobytes())
        digest.update(json.dumps([shard.document_ids, shard.group_ids, shard.document_index.tolist()]).encode())
        n_tokens += int(shard.counted.sum())
        n_blocks += len(shard.n_tokens)
        reporter.progress("corpus", n_tokens, config.n_tokens, "tokens")
    if config.token_column is None:
        spellings.spellings().save(folder)
    manifest = CorpusManifest(
        digest=digest.hexdigest(),
        n_tokens=n_tokens,
        n_blocks=n_blocks,
        shards=tuple(names),
        n_documents=counts.n_documents,
        n_tails=counts.n_tails,
        n_mended=counts.n_mended,
        rejections=counts.rejections,
        special_tokens=describe_special_tokens(tokenizer, config, prepend_bos=prepend_bos),
    )
    write_manifest(manifest, folder)
    seconds = time.monotonic() - started
    note = f"{n_tokens:,} tokens in {n_blocks:,} blocks"
    if config.token_column is not None:
        note += f"; nothing in {config.token_column!r} tells whose tokens they are: taken for the subject's"
    if counts.rejections:
        reasons = ", ".join(f"{rejection.n_documents:,} {rejection.reason}" for rejection in counts.rejections)
        note += f"; {counts.n_rejected:,} documents left out ({reasons})"
    if counts.n_mended:
        note += f"; half a surrogate pair is U+FFFD now (documents: {counts.n_mended:,})"
    reporter.finished(StageSummary("corpus", len(names), seconds=seconds, note=note))
