"""Records of the corpus: documents, what was rejected, special tokens, and blocks of tokens in shards."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int32


@dataclass(frozen=True, slots=True)
class Document:
    """One text of the corpus.

    Attributes:
        document_id: Stable and readable, for example `notes/a.txt` or `json.decoder:JSONDecoder.decode`.
        text: The text, never empty.
        group_id: What it belongs to (source file, conversation, a column's value), the unit by which contexts are
            split; by default the document itself.
    """

    document_id: str
    text: str
    group_id: str = ""

    def __post_init__(self) -> None:
        """A document of which nothing is known is a group of its own."""
        if not self.group_id:
            object.__setattr__(self, "group_id", self.document_id)


@dataclass(frozen=True, slots=True)
class TokenizedDocument:
    """One row of a corpus that was tokenized before; as a `Document` is one text.

    Attributes:
        document_id: Stable and readable, for example `a.parquet#12`.
        token_ids: Each in the subject's vocabulary, never empty.
        group_id: As a document's.
    """

    document_id: str
    token_ids: tuple[int, ...]
    group_id: str = ""

    def __post_init__(self) -> None:
        """A document of which nothing is known is a group of its own."""
        if not self.group_id:
            object.__setattr__(self, "group_id", self.document_id)


@dataclass(frozen=True, slots=True)
class Rejection:
    """One reason for which documents were left out.

    Attributes:
        reason: A few fixed words, for example `too short`.
        n_documents: Documents left out for it.
        example: The first of them, and what it had, for example `a.jsonl#3: 2 tokens`.
    """

    reason: str
    n_documents: int
    example: str


@dataclass(frozen=True, slots=True)
class SpecialToken:
    """One special token of the subject's vocabulary.

    Attributes:
        token_id: Its place in the vocabulary.
        text: As the vocabulary has it, for example `<|endoftext|>`.
    """

    token_id: int
    text: str


@dataclass(frozen=True, slots=True)
class SpecialTokenRule:
    """Which special tokens stand around each block and why, and which tokens don't count.

    Attributes:
        setting: `corpus.special_tokens`.
        coder_prepends_bos: Whether the coder was trained on blocks that begin with BOS; None where it does not say.
        reason: Why `before` is what it is, in words.
        before: First in every block.
        after: Last in every block.
        counts_special: `corpus.count_special`; where it is set, special tokens count all the same.
        uncounted: Tokens that don't count wherever they stand, unless `counts_special`.
    """

    setting: Literal["tokenizer", "bos", "none"]
    coder_prepends_bos: bool | None
    reason: str
    before: tuple[SpecialToken, ...]
    after: tuple[SpecialToken, ...]
    counts_special: bool
    uncounted: tuple[SpecialToken, ...]


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
        group_ids: The group of each of these documents; by default the document itself.
    """

    shard_index: int
    first_block: int
    token_ids: Int32[np.ndarray, "block position"]
    n_tokens: Int32[np.ndarray, " block"]
    counted: Bool[np.ndarray, "block position"]
    document_index: Int32[np.ndarray, " block"]
    document_ids: tuple[str, ...]
    group_ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Documents of which nothing is known are groups of their own."""
        if not self.group_ids:
            object.__setattr__(self, "group_ids", self.document_ids)
        assert len(self.group_ids) == len(self.document_ids), "one group a document"
