"""The index stage: embeddings of the current labels, for search; of many labels an index folder beside the store."""

import time

from autointerp.errors import RunError
from autointerp.identity import fingerprint
from autointerp.run.progress import Reporter, StageSummary
from autointerp.run.session import Session
from autointerp.search.embed_labels import index_labels
from autointerp.search.open_labels import EXACT_BELOW


def run_index(session: Session, reporter: Reporter) -> None:
    """Embed the current labels that this embedder has not embedded yet."""
    started = time.monotonic()
    if not session.reader.n_labels():
        raise RunError(f"there are no labels in {session.folder.path} yet", "run `autointerp explain` first")
    made_by = fingerprint("index", session.pipeline.embedder.model)
    session.writer.set_stage("index", made_by, "running", cost_usd=0.0)
    indexed = index_labels(session.reader, session.writer, session.embedder)
    if indexed.n_labels >= EXACT_BELOW:
        from autointerp.search.indexes.update import update_index  # few runs need it

        update_index(session.reader, session.embedder.name)
    session.writer.set_stage("index", made_by, "done", n_asked=indexed.n_labels, cost_usd=0.0)
    n_skipped = indexed.n_labels - indexed.n_added
    reporter.finished(StageSummary("index", indexed.n_added, n_skipped=n_skipped, seconds=time.monotonic() - started))
