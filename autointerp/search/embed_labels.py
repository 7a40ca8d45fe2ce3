"""Building the search index: an embedding of every current label that has none yet."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autointerp.embedder import TextEmbedder
from autointerp.words import label_meaning

if TYPE_CHECKING:
    from autointerp.store.reader import Reader
    from autointerp.store.writer import Writer

logger = logging.getLogger(__name__)

LABELS_PER_TRANSACTION = 4096
LABELS_PER_READ = 65_536


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
    n_added = 0
    while missing := reader.labels_to_embed(embedder.name, LABELS_PER_READ):
        for first in range(0, len(missing), LABELS_PER_TRANSACTION):
            some = missing[first : first + LABELS_PER_TRANSACTION]
            vectors = embedder.embed([label_meaning(label) for _, label in some])
            writer.add_label_embeddings([explanation for explanation, _ in some], embedder.name, vectors)
            n_added += len(some)
            progress(n_added)
    n_labels = reader.n_labels()
    logger.info("embedded %d labels with %s, %d in all", n_added, embedder.name, n_labels)
    return Indexed(n_added, n_labels)
