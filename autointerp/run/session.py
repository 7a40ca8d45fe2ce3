"""What the stages of one run share, each part loaded when a stage first asks for it.

A rerun whose collecting is done therefore loads neither the subject nor the coder.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, Int64

from autointerp.collect.firing_index import FiringIndex
from autointerp.collect.shards import load_part
from autointerp.config import Pipeline
from autointerp.contexts.before_after import index_explain_firings
from autointerp.contexts.kept_embeddings import KeptEmbeddings
from autointerp.contexts.place import Places
from autointerp.contexts.pool import PoolTiles
from autointerp.contexts.pool_blocks import PoolBlocks
from autointerp.contexts.pool_windows import draw_windows_of
from autointerp.contexts.together import Together
from autointerp.corpus.nature import Nature, nature_of
from autointerp.corpus.pieces import TokenPieces
from autointerp.corpus.reader import ShardReader
from autointerp.corpus.special import find_special_tokens
from autointerp.embedder import Embedder
from autointerp.errors import RunError, SubjectError
from autointerp.identity import hash_key
from autointerp.live.subject import LiveSubject
from autointerp.records import Collected
from autointerp.run.fingerprints import contexts_fingerprint
from autointerp.run.on_disk.folder import RunFolder, read_pipeline, read_run_file
from autointerp.run.on_disk.manifest import CorpusManifest, read_manifest
from autointerp.store.reader import Reader
from autointerp.store.writer import Writer
from autointerp.subject.model import load_tokenizer
from autointerp.subject.source import Sources, load_sources

# Of both splits together: some are of documents of another, or hold a firing of the feature they are set against.
_WINDOWS_OF_A_FEATURE = 64
_BLOCKS_OF_NATURE = 256


class Session:
    """One run under way in one process.

    Attributes:
        pipeline: What is run.
        folder: Where it lies.

    Args:
        store: A folder with another store than the run's own.
    """

    def __init__(self, pipeline: Pipeline, folder: RunFolder, store: Path | None = None) -> None:
        self.pipeline = pipeline
        self.folder = folder
        self._store = store or folder.path

    @cached_property
    def subject_sources(self) -> Sources:
        """The subject and its coders."""
        return load_sources(self.pipeline.subject, self.pipeline.coder)

    @cached_property
    def live_subject(self) -> LiveSubject:
        """The subject and its coders, to be asked about texts that are not in the corpus.

        Raises:
            SubjectError: If they can't be loaded.
        """
        corpus, sources = self.pipeline.corpus, self.subject_sources
        special = find_special_tokens(self.tokenizer, corpus, prepend_bos=self.prepends_bos)
        return LiveSubject(
            sources,
            replace(special, uncounted=frozenset()) if corpus.count_special else special,
            self.pieces,
            corpus.block_length,
            n_tokens_at_once=self.pipeline.collect.batch_size * corpus.block_length,
            chat_template=corpus.chat_template,
        )

    @property
    def prepends_bos(self) -> bool | None:
        """Whether the coders were trained on text that begins with the BOS token; None where none says, or is asked.

        Raises:
            SubjectError: If they are asked, and disagree.
        """
        if self.pipeline.corpus.special_tokens != "tokenizer":
            return None
        said = {source.coder.prepends_bos for source in self.subject_sources.sources} - {None}
        if len(said) > 1:
            raise SubjectError(
                "some of the coders were trained with a BOS token in front of each block, and some without",
                "run them apart, or set corpus.special_tokens to bos or none",
            )
        return said.pop() if said else None

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
        return Writer(self._store)

    @cached_property
    def reader(self) -> Reader:
        """The store."""
        return Reader(self._store)

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

    @cached_property
    def blocks(self) -> ShardReader:
        """The corpus."""
        return ShardReader(self.folder.corpus)

    @cached_property
    def nature(self) -> Nature:
        """What the corpus is made of, told from blocks that lie evenly over it."""
        n = min(_BLOCKS_OF_NATURE, self.blocks.n_blocks)
        of = self.blocks.read(np.linspace(0, self.blocks.n_blocks - 1, n).astype(np.int64))
        return nature_of(
            "".join(self.pieces.pieces(row[first:end]))
            for row, first, end in zip(of.token_ids.tolist(), of.span_start, of.span_end, strict=True)
        )

    @cached_property
    def pieces(self) -> TokenPieces:
        """The text of each token."""
        return TokenPieces(self.tokenizer)

    @property
    def source_ids(self) -> tuple[str, ...]:
        """The sources that the store holds; the collect stage writes them last."""
        return tuple(s.source_id for s in self.reader.sources()) if self.folder.store.exists() else ()

    @property
    def is_collected(self) -> bool:
        """Whether the collect stage has finished."""
        files = [self.folder.collect / "finished", *map(self.folder.collected_file, self.source_ids)]
        return len(self.source_ids) == len(self.pipeline.coder) and all(file.exists() for file in files)

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

    def each_source(self) -> Iterator["SourceSession"]:
        """The run's sources, one after another.

        What was loaded of a source is given up with it, since the samples of many sources may be more than memory
        holds; the one source of a run is kept.

        Raises:
            RunError: If the collect stage has not finished.
        """
        self.require_collected()
        if len(self.source_ids) == 1:
            yield self._only_source
        else:
            for source_id in self.source_ids:
                yield SourceSession(self, source_id)

    @cached_property
    def _only_source(self) -> "SourceSession":
        return SourceSession(self, self.source_ids[0])


def open_session(folder: Path) -> Session:
    """The session of a run that is there, to read what it made.

    Raises:
        RunError: If there is no run in the folder, or one of another version.
    """
    return Session(read_pipeline(folder), RunFolder(folder, read_run_file(folder)["settings"]))


class SourceSession:
    """What the stages of a run share of one source, each part loaded when a stage first asks for it.

    Attributes:
        run: The run.
        source_id: `model@source`.
    """

    def __init__(self, run: Session, source_id: str) -> None:
        self.run = run
        self.source_id = source_id

    @cached_property
    def collected(self) -> Collected:
        """What the pass over the corpus kept.

        Raises:
            ShardError: If the file is missing or damaged.
        """
        return load_part(self.run.folder.collected_file(self.source_id), self.run.contexts_fingerprint).collected

    @cached_property
    def pool(self) -> PoolTiles:
        """Windows of the pool, of the corpus as it comes."""
        return self._windows("tiles", None)

    @cached_property
    def peak_windows(self) -> PoolTiles:
        """Windows of the pool in which features peak."""
        return self._windows("peaks", self.collected.statistics.n_active_blocks)

    def windows_of(self, feature_index: int) -> PoolTiles | None:
        """Windows of the pool around the peaks of one feature; None where it fires nowhere in the pool."""
        pipeline, pool = self.run.pipeline, self._pool_blocks
        firings = pool.of(feature_index)
        if firings.start == firings.stop:
            return None
        length, key = pipeline.collect.context_length, hash_key(pipeline.seed, "windows of a feature", self.source_id)
        drawn = draw_windows_of(pool, feature_index, _WINDOWS_OF_A_FEATURE, self._places, length, key)
        return PoolTiles.of_windows(
            drawn, pool, self.run.pieces, pipeline.contexts, length, seed=pipeline.seed, source_id=self.source_id
        )

    def explain_firings(self, n_features: int, reach: int) -> FiringIndex:
        """The source's firings on the pool's blocks of the explain split, to count what fires near each other.

        Args:
            n_features: Of the source.
            reach: Tokens before or after one that count as near.
        """
        pipeline = self.run.pipeline
        return index_explain_firings(
            self._pool_blocks, pipeline.contexts, n_features=n_features, reach=reach, seed=pipeline.seed
        )

    def together(self, n_features: int) -> Together:
        """What fires on the same tokens, on the pool's blocks.

        Args:
            n_features: Of the source.
        """
        return Together(self.collected.pool, n_features)

    @cached_property
    def _places(self) -> Places:
        """Where windows of features begin, as in the contexts that grade."""
        pipeline = self.run.pipeline
        return Places.of_source(
            self.collected,
            self._pool_blocks,
            self.run.pieces,
            pipeline.contexts,
            pipeline.collect.peak_fraction,
            seed=pipeline.seed,
            source_id=self.source_id,
        )

    @cached_property
    def _pool_blocks(self) -> PoolBlocks:
        return PoolBlocks.read(self.collected.pool, self.run.blocks)

    def _windows(self, name: str, n_active_blocks: Int64[np.ndarray, " feature"] | None) -> PoolTiles:
        pipeline, file = self.run.pipeline, self.run.folder.pool_file(self.source_id, name)
        return PoolTiles.build(
            self._pool_blocks,
            self.run.pieces,
            pipeline.contexts,
            pipeline.collect,
            seed=pipeline.seed,
            source_id=self.source_id,
            n_active_blocks=n_active_blocks,
            kept=KeptEmbeddings(file, self.run.contexts_fingerprint, self.run.embedder),
        )

    def decoder_neighbors(self) -> Int32[np.ndarray, "feature rank"]:
        """Features with the closest decoder directions, as the collect stage stored them; -1 where there are none."""
        return self.run.reader.neighbor_matrix(self.source_id, "decoder")
