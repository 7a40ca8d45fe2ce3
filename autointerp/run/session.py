"""What the stages of one run share, each part loaded when a stage first asks for it.

A rerun whose collecting is done therefore loads neither the subject nor the coder.
"""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32

from autointerp.collect.shards import load_part
from autointerp.collect.tokens import TopTokens, top_tokens
from autointerp.config import Pipeline
from autointerp.contexts.pool import PoolTiles
from autointerp.corpus.pieces import TokenPieces
from autointerp.corpus.reader import BlockReader
from autointerp.embedder import Embedder
from autointerp.errors import RunError
from autointerp.records import Collected, SourceRecord, TokenCount
from autointerp.run.folder import RunFolder
from autointerp.run.manifest import CorpusManifest, read_manifest
from autointerp.run.plan import contexts_fingerprint
from autointerp.store.reader import Reader
from autointerp.store.writer import Writer
from autointerp.subject.model import load_tokenizer
from autointerp.subject.source import Source, load_source


class Session:
    """One run under way in one process.

    Attributes:
        pipeline: What is run.
        folder: Where it lies.
    """

    def __init__(self, pipeline: Pipeline, folder: RunFolder) -> None:
        self.pipeline = pipeline
        self.folder = folder

    @cached_property
    def source(self) -> Source:
        """The subject and the coder."""
        return load_source(self.pipeline.subject, self.pipeline.coder)

    @cached_property
    def tokenizer(self) -> Any:
        """The subject's tokenizer."""
        return load_tokenizer(self.pipeline.subject)

    @cached_property
    def embedder(self) -> Embedder:
        """The sentence embedder."""
        return Embedder(self.pipeline.embedder)

    @cached_property
    def writer(self) -> Writer:
        """The store's only writer."""
        return Writer(self.folder.path)

    @cached_property
    def reader(self) -> Reader:
        """The store."""
        return Reader(self.folder.path)

    @property
    def manifest(self) -> CorpusManifest:
        """What the corpus stage made.

        Raises:
            RunError: If it has not finished.
        """
        return read_manifest(self.folder.corpus)

    @cached_property
    def contexts_fingerprint(self) -> str:
        """Fingerprint of everything up to the contexts."""
        return contexts_fingerprint(self.folder.settings, self.manifest.digest)

    @property
    def is_collected(self) -> bool:
        """Whether the store holds the source, which the collect stage writes last."""
        return self.folder.store.exists() and bool(self.reader.sources())

    @cached_property
    def source_record(self) -> SourceRecord:
        """The source as the collect stage recorded it.

        Raises:
            RunError: If that stage has not finished.
        """
        self.require_collected()
        return self.reader.sources()[0]

    def require_collected(self) -> None:
        """See that the collect stage has finished.

        Raises:
            RunError: If it has not.
        """
        if not self.is_collected:
            raise RunError(
                f"the collect stage has not finished in {self.folder.path}",
                "run `autointerp collect` with the same pipeline first",
            )

    @property
    def source_id(self) -> str:
        """`model@source`."""
        return self.source_record.source_id

    @property
    def collected_file(self) -> Path:
        """What the pass over the corpus kept, as a file."""
        return self.folder.collect / "collected.safetensors"

    @cached_property
    def collected(self) -> Collected:
        """What the pass over the corpus kept.

        Raises:
            RunError: If the collect stage has not finished.
            ShardError: If the file is damaged.
        """
        self.require_collected()
        return load_part(self.collected_file, self.contexts_fingerprint).collected

    @cached_property
    def blocks(self) -> BlockReader:
        """The corpus."""
        return BlockReader(self.folder.corpus)

    @cached_property
    def pieces(self) -> TokenPieces:
        """The text of each token."""
        return TokenPieces(self.tokenizer)

    @cached_property
    def pool(self) -> PoolTiles:
        """Windows of the pool."""
        return PoolTiles.build(
            self.collected.pool,
            self.blocks,
            self.pieces,
            self.pipeline.contexts,
            self.pipeline.collect,
            seed=self.pipeline.seed,
            source_id=self.source_id,
        )

    @cached_property
    def _top_tokens(self) -> TopTokens:
        return top_tokens(
            self.collected.token_counts,
            self.collected.statistics.n_active.size,
            self.pipeline.collect.n_top_tokens,
        )

    def top_tokens(self, feature_index: int) -> tuple[TokenCount, ...]:
        """The tokens that a feature fires on most, most often first."""
        found = self._top_tokens
        rows = slice(int(found.offsets[feature_index]), int(found.offsets[feature_index + 1]))
        return tuple(
            TokenCount(self.pieces.pieces([token_id])[0], n_active, mean)
            for token_id, n_active, mean in zip(
                found.token_id[rows].tolist(),
                found.n_active[rows].tolist(),
                found.mean_activation[rows].tolist(),
                strict=True,
            )
        )

    def decoder_neighbors(self) -> Int32[np.ndarray, "feature rank"]:
        """Features with the closest decoder directions, as the collect stage stored them; -1 where there are none."""
        return self.reader.neighbor_matrix(self.source_id, "decoder")
