"""The labels of a store as it now stands: read into memory, or found in the index folder beside it.

Up to `EXACT_BELOW` labels are read from the store and compared one by one. Of more the index folder is used; one that
lies behind the store is extended first, where it can be written. Without one that can be used all labels are read and
compared, which takes its time and memory, and is told.
"""

import logging

from autointerp.errors import SearchError
from autointerp.search.indexes.manifest import UnusableIndexError
from autointerp.search.labels import Labels, LabelsInMemory
from autointerp.store.reader import Reader

logger = logging.getLogger(__name__)

EXACT_BELOW = 200_000
MOST_IN_MEMORY = 2_000_000
"""Labels that are read into memory where there is no index: some 4 GB."""


def open_labels(reader: Reader, embedder: str, exact_below: int = EXACT_BELOW) -> Labels:
    """The labels of a store that an embedder has embedded, as the store now stands.

    Args:
        reader: Of the store.
        embedder: Name of the embedder.
        exact_below: So many labels or more are searched by the index folder.

    Raises:
        SearchError: If there are none, or too many to do without an index.
    """
    n_embedded = reader.n_embedded(embedder)
    if n_embedded >= exact_below:
        from autointerp.search.indexes.folder import open_folder

        try:
            return open_folder(reader, embedder)
        except UnusableIndexError as error:
            if n_embedded > MOST_IN_MEMORY:
                raise
            logger.warning("%s: %s; until then all %d labels are compared", error.problem, error.remedy, n_embedded)
    table = reader.label_table(embedder)
    if table.labels:
        return LabelsInMemory(table)
    if not reader.n_labels():
        raise SearchError(
            f"{reader.path} has no labels",
            "run `autointerp explain` first; `autointerp status` says why it wrote none",
        )
    raise SearchError(f"{reader.path} has no labels embedded with {embedder}", "run `autointerp index` first")
