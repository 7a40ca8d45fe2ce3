"""What features do on texts of the run's own corpus, drawn anew: blocks of different documents."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int64

from autointerp.identity import hash_key, in_keyed_order
from autointerp.records import SourceRecord
from autointerp.records.on_texts import OnTexts
from autointerp.run.doses import CorpusBlocks
from autointerp.run.live import LiveRun

# Blocks that are read at once, of which some are of documents that were drawn before.
_READ_AT_ONCE = 256


def draw_documents(blocks: CorpusBlocks, seed: int, n: int) -> Int64[np.ndarray, " block"]:
    """Blocks of as many documents, or of all where there are fewer, in an order as good as random.

    Args:
        blocks: Of the corpus.
        seed: Of the draw.
        n: Blocks wanted.

    Raises:
        ShardError: If the corpus is not there any more, or damaged.
    """
    order = in_keyed_order(hash_key(seed, "conditions"), np.arange(blocks.n_blocks))
    found: dict[str, int] = {}
    for start in range(0, len(order), _READ_AT_ONCE):
        some = order[start : start + _READ_AT_ONCE]
        read = blocks.read(some)
        for index, document, counted in zip(some.tolist(), read.document_ids, read.counted, strict=True):
            if counted.any():
                found.setdefault(document, index)
        if len(found) >= n:
            break
    return np.array(list(found.values())[:n], dtype=np.int64)


def on_own_texts(live: LiveRun, source: SourceRecord, features: Sequence[int], n: int, seed: int) -> OnTexts:
    """Run blocks of different documents, and read some features.

    Args:
        live: The run's subject.
        source: Whose features.
        features: Their indices.
        n: Blocks, or fewer where there are no more documents.
        seed: Of the draw.

    Raises:
        As `LiveRun.run_blocks`.
    """
    drawn = draw_documents(live.blocks, seed, n)
    counted = live.blocks.read(drawn).counted
    columns = {feature: column for column, feature in enumerate(features)}
    values: Float32[np.ndarray, "block position feature"] = np.zeros((*counted.shape, len(features)), dtype=np.float32)
    for block, firings in enumerate(live.run_blocks(source, drawn)):
        for feature, column in columns.items():
            ours = firings.feature == feature
            values[block, firings.position[ours], column] = firings.activation[ours]
    return OnTexts(len(drawn), np.nonzero(counted)[0].astype(np.int64), tuple(features), values[counted])
