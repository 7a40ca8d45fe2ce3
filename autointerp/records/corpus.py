"""Records of the corpus: documents, and blocks of tokens in shards."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int32


@dataclass(frozen=True, slots=True)
class Document:
    """One text of the corpus; the unit by which contexts are split.

    Attributes:
        document_id: Stable and readable, for example `notes/a.txt` or `json.decoder:JSONDecoder.decode`.
        text: The text, never empty.
    """

    document_id: str
    text: str


@dataclass(frozen=True, slots=True)
class BlockShard:
    """A run of consecutive blocks: the unit of work of `collect`, and of its resuming.

    Attributes:
        shard_index: Position of the shard in the corpus.
        first_block: `block_index` of row 0; row i is block `first_block + i`.
        token_ids: Token of each position, padded on the right.
        n_tokens: Tokens in each block with its special tokens; positions from there on are padding.
        counted: True where a token counts in statistics: neither padding nor special (unless asked for).
        document_index: For each block, the place of its document in `document_ids`.
        document_ids: The documents of this shard.
    """

    shard_index: int
    first_block: int
    token_ids: Int32[np.ndarray, "block position"]
    n_tokens: Int32[np.ndarray, " block"]
    counted: Bool[np.ndarray, "block position"]
    document_index: Int32[np.ndarray, " block"]
    document_ids: tuple[str, ...]
