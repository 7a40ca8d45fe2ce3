"""What a pass over the corpus keeps, and what it asks of sources."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from autointerp.identity import hash_key, keyed_hash
from autointerp.records import RowFirings


@dataclass(frozen=True, slots=True)
class CollectSettings:
    """Everything besides source and corpus that decides what is collected.

    Attributes:
        seed: Of the uniform samples.
        source_id: `model@source`, part of the samples' keys.
        pool_of: In place of it in the pool's key: sources with one name here have the same blocks in their pools, so
            that what fires together in two of them can be told.
        n_top: Blocks with the highest peaks kept per feature.
        n_fired: Blocks kept per feature as a uniform sample of those in which it fires.
        n_pool_blocks: Blocks of which every firing is kept.
        n_token_candidates: Tokens kept per feature of those it fires on, the most frequent, when shards are joined.
        n_top_tokens: Of these tokens, those kept per feature in the end, the most frequent and the most telling.
        n_corpus_blocks: Blocks in the whole corpus. The pool is known from it before the model runs, so that a shard
            keeps firings of the pool's blocks only.
        context_length: Tokens in a window of the top set.
        peak_fraction: Where in the window of the top set the peak stands, from 0 to 1.
        batch_size: Blocks in one forward pass; changes results by rounding only.
        histogram_low: Exponent of two of the lowest bin edge.
        histogram_high: Exponent of two of the highest bin edge.
    """

    seed: int
    source_id: str
    pool_of: str
    n_top: int
    n_fired: int
    n_pool_blocks: int
    n_token_candidates: int
    n_top_tokens: int
    n_corpus_blocks: int
    context_length: int
    peak_fraction: float
    batch_size: int
    histogram_low: int
    histogram_high: int

    @property
    def reach_length(self) -> int:
        """Tokens in a window of the uniform sample: it holds every window of `context_length` around the peak."""
        return 2 * self.context_length - 1

    @property
    def n_bins(self) -> int:
        """Bins of the histogram."""
        return self.histogram_high - self.histogram_low

    @property
    def bin_edges(self) -> Float64[np.ndarray, " edge"]:
        """Powers of two, one more than there are bins."""
        return np.exp2(np.arange(self.histogram_low, self.histogram_high + 1, dtype=np.float64))

    @property
    def fired_key(self) -> int:
        """The key that orders (feature, block) for the uniform sample of firing blocks."""
        return hash_key(self.seed, self.source_id, "fired")

    def pool_blocks(self) -> Int[np.ndarray, " pool_block"]:
        """The pool's blocks, ascending: those of the corpus with the smallest keyed hashes."""
        blocks = np.arange(self.n_corpus_blocks, dtype=np.int64)
        hashes = keyed_hash(hash_key(self.seed, self.pool_of, "pool"), blocks)
        if self.n_pool_blocks >= len(blocks):
            return blocks
        # The hash of one index is a bijection, so there are no ties to break.
        return np.sort(np.argpartition(hashes, self.n_pool_blocks)[: self.n_pool_blocks])


class Encodes(Protocol):
    """What `collect` needs of a source; `subject.source.Source` is one."""

    @property
    def n_features(self) -> int:
        """Features of the coder."""

    @property
    def is_signed(self) -> bool:
        """Whether activations may be below zero; of such a coder only those above zero are given."""

    def encode_firings(self, activations: Float[Tensor, "row d_in"]) -> Iterator[RowFirings]:
        """The entries of each row that are not zero, in consecutive pieces of bounded size."""


class SharedPass(Protocol):
    """Sources that share a forward pass; `subject.source.Sources` is one."""

    @property
    def sources(self) -> Sequence[Encodes]:
        """The sources."""

    def read_counted(
        self,
        token_ids: Int[Tensor, "block position"],
        attention_mask: Int[Tensor, "block position"],
        counted: Bool[Tensor, "block position"],
    ) -> Sequence[Float[Tensor, "row d_in"]]:
        """For each source the activations it reads at the counted positions, rows by (block, position)."""
