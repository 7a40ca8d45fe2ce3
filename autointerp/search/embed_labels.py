"""Building the search index: an embedding of every current label that has none yet."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autointerp.embedder import TextEmbedder

if TYPE_CHECKING:
    from autointerp.store.reader import Reader
    from autointerp.store.writer import Writer

logger = logging.getLogger(__name__)

LABELS_PER_TRANSACTION = 4096


@dataclass(frozen=True, slots=True)
class Indexed:
    """What one call of `index_labels` did.

    Attributes:
        n_added: Labels embedded now.
        n_labels: Current true labels, all of which are embedded now.
    """

    n_added: int
    n_labels: int


def index_labels(
    reader: "Reader", writer: "Writer", embedder: TextEmbedder, progress: Callable[[int], None] = lambda n_labels: None
) -> Indexed:
    """Embed the current true labels that this embedder has not embedded, and store the embeddings.

    Some thousand labels a transaction: killed in between, the next call goes on from there.

    Args:
        reader: Of the run's store.
        writer: Of the same store.
        embedder: Its name is stored with each embedding; embeddings of other embedders stay as they are.
        progress: Called after each transaction with the labels embedded so far.
    """
    explanations = reader.explanations()
    known = reader.embedded_ids(embedder.name)
    missing = [e for e in explanations if e.explanation_id not in known]
    for first in range(0, len(missing), LABELS_PER_TRANSACTION):
        some = missing[first : first + LABELS_PER_TRANSACTION]
        vectors = embedder.embed([e.label for e in some])
        writer.add_label_embeddings([e.explanation_id for e in some], embedder.name, vectors)
        progress(first + len(some))
    logger.info("embedded %d labels with %s, %d in all", len(missing), embedder.name, len(explanations))
    return Indexed(len(missing), len(explanations))
