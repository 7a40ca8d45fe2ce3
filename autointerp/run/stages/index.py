"""The index stage: embeddings of the current labels, for search."""

import time

from autointerp.identity import fingerprint
from autointerp.run.progress import Reporter, StageSummary
from autointerp.run.session import Session
from autointerp.search.index import index_labels


def run_index(session: Session, reporter: Reporter) -> None:
    """Embed the current labels that this embedder has not embedded yet."""
    started = time.monotonic()
    mark = fingerprint("index", session.pipeline.embedder.model)
    session.writer.set_stage("index", mark, "running")
    indexed = index_labels(session.reader, session.writer, session.embedder)
    session.writer.set_stage("index", mark, "done", n_asked=indexed.n_labels)
    n_skipped = indexed.n_labels - indexed.n_added
    reporter.finished(StageSummary("index", indexed.n_added, n_skipped=n_skipped, seconds=time.monotonic() - started))
