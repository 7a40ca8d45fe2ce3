"""Puzzles planted on the demo's text, and their contexts: what a run would build, were they features of a coder.

1. The demo's text is cut into blocks with the tokenizer of the embedded model.
2. One pass over it, by the code that collects, finds the firings that the rules say.
3. The stage `contexts` builds contexts of them by a pipeline's own settings, with the same negatives and decoys, so
   that a judge is asked what it is asked in a run.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, Int64
from torch import Tensor

from autointerp.collect.merge import ShardPart, merge
from autointerp.collect.settings import CollectSettings
from autointerp.collect.stream import collect_shard
from autointerp.config import CollectConfig, ContextsConfig, CorpusConfig
from autointerp.contexts.build import ContextInputs, build_contexts
from autointerp.contexts.kept_embeddings import KeptEmbeddings
from autointerp.contexts.negatives import SilentPools
from autointerp.contexts.pool import PoolTiles
from autointerp.contexts.pool_blocks import PoolBlocks
from autointerp.contexts.windows import Pieces
from autointerp.corpus import cut_shards
from autointerp.corpus.reader import Blocks, make_blocks
from autointerp.corpus.sources.docstrings import iter_docstring_documents
from autointerp.embedder import TextEmbedder
from autointerp.puzzles.load import Puzzle
from autointerp.puzzles.text import RowText
from autointerp.puzzles.truth import planted_activations
from autointerp.records import BlockShard, Failure, FeatureContexts, RowFirings

SOURCE_ID = "demo-text@puzzles"
_N_TOKENS = 250_000
_EVERY_BLOCK = 1_000_000


@dataclass(frozen=True, eq=False)
class PlantedContexts:
    """Puzzles with their contexts.

    Attributes:
        puzzles: The puzzles; number i is feature i of `SOURCE_ID`.
        outcomes: Of each, its contexts, or why it has none.
        inputs: What these were built from.
    """

    puzzles: tuple[Puzzle, ...]
    outcomes: tuple[FeatureContexts | Failure, ...]
    inputs: ContextInputs

    @property
    def tiles(self) -> PoolTiles:
        """The text as it comes."""
        return self.inputs.pools.tiles


def cut_demo_text(tokenizer: object, block_length: int, n_tokens: int = _N_TOKENS) -> BlockShard:
    """The demo's text in blocks; or, where more tokens are asked for, that of the packages on this machine.

    Raises:
        CorpusError: If no package on this machine has documentation.
    """
    config = CorpusConfig(n_tokens=n_tokens, block_length=block_length, blocks_per_shard=_EVERY_BLOCK)
    (shard,) = cut_shards(iter_docstring_documents(), tokenizer, config)
    return shard


def plant(
    puzzles: tuple[Puzzle, ...],
    shard: BlockShard,
    pieces: Pieces,
    *,
    collect: CollectConfig,
    contexts: ContextsConfig,
    embedder: TextEmbedder,
    seed: int,
    kept: KeptEmbeddings | None = None,
) -> PlantedContexts:
    """Plant puzzles on a text, and build their contexts.

    Args:
        puzzles: What to plant.
        shard: The whole text.
        pieces: Of its tokenizer.
        collect: What a pass keeps.
        contexts: How many of which kinds; no select split is set apart, and silent neighbors, which only a coder's
            directions give, are left to the other kinds.
        embedder: Finds similar texts.
        seed: Of all random choices.
        kept: Where the embeddings of the windows of peaks are kept.
    """
    others = tuple(kind for kind in contexts.negatives if kind != "silent_neighbor")
    contexts = contexts.model_copy(update={"select_share": 0.0, "negatives": others or ContextsConfig().negatives})
    settings = CollectSettings(
        seed=seed,
        source_id=SOURCE_ID,
        pool_of=SOURCE_ID,
        n_top=collect.n_top,
        n_fired=collect.n_fired,
        n_pool_blocks=collect.n_pool_blocks,
        n_token_candidates=collect.n_token_candidates,
        n_top_tokens=collect.n_top_tokens,
        n_corpus_blocks=len(shard.token_ids),
        context_length=collect.context_length,
        peak_fraction=collect.peak_fraction,
        batch_size=len(shard.token_ids),  # how strongly a puzzle fires is drawn by its place in the batch
        histogram_low=-1,
        histogram_high=2,
    )
    (part,) = collect_shard(_PlantedPass(puzzles, pieces), shard, [settings])
    collected = merge([ShardPart(0, part)], settings)
    blocks = _OneShard(shard)
    pool = PoolBlocks.read(collected.pool, blocks)
    tiles, peaks = (
        PoolTiles.build(
            pool, pieces, contexts, collect, seed=seed, source_id=SOURCE_ID, n_active_blocks=counts, kept=where
        )
        for counts, where in ((None, None), (collected.statistics.n_active_blocks, kept))
    )
    inputs = ContextInputs(
        source_id=SOURCE_ID,
        collected=collected,
        blocks=blocks,
        pieces=pieces,
        pools=SilentPools(tiles, peaks),
        peak_fraction=collect.peak_fraction,
        embedder=embedder,
        config=contexts,
        seed=seed,
        fingerprint="",
    )
    outcomes = tuple(build_contexts(range(len(puzzles)), inputs))
    return PlantedContexts(puzzles, outcomes, inputs)


class _PlantedPass:
    """A pass and its one source in one: where each puzzle fires is read off the text."""

    is_signed = False

    def __init__(self, puzzles: Sequence[Puzzle], pieces: Pieces) -> None:
        self._puzzles = puzzles
        self._pieces = pieces

    @property
    def sources(self) -> "tuple[_PlantedPass]":
        return (self,)

    @property
    def n_features(self) -> int:
        return len(self._puzzles)

    def read_counted(
        self,
        token_ids: Int[Tensor, "block position"],
        attention_mask: Int[Tensor, "block position"],
        counted: Bool[Tensor, "block position"],
    ) -> list[Float[Tensor, "row feature"]]:
        """Each puzzle's activation on each counted piece."""
        rows = [self._pieces.pieces(ids[shown].tolist()) for ids, shown in zip(token_ids, counted, strict=True)]
        text = RowText.join(rows)
        return [torch.from_numpy(np.stack([planted_activations(p.fires, text, p.name) for p in self._puzzles], axis=1))]

    def encode_firings(self, activations: Float[Tensor, "row feature"]) -> Iterator[RowFirings]:
        """The entries above zero."""
        dense: Float32[np.ndarray, "row feature"] = activations.numpy()
        row, feature = np.nonzero(dense)
        yield RowFirings(row, feature, dense[row, feature])


class _OneShard:
    """A corpus of one shard that was never written."""

    def __init__(self, shard: BlockShard) -> None:
        self._shard = shard

    @property
    def n_blocks(self) -> int:
        return len(self._shard.token_ids)

    def read(self, block_indices: Int64[np.ndarray, " block"]) -> Blocks:
        shard = self._shard
        documents = shard.document_index[block_indices].tolist()
        return make_blocks(
            shard.token_ids[block_indices],
            shard.counted[block_indices],
            tuple(shard.document_ids[i] for i in documents),
            tuple(shard.group_ids[i] for i in documents),
        )
