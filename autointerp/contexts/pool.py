"""The pool as windows: a uniform sample of the corpus, with the truth about every feature at every token.

1. The counted span of each of the pool's blocks is cut into windows of `context_length` tokens, one after the other;
   the last one is shifted back so that it ends with the span. Every counted token of the pool lies in a window, those
   on which the last window meets the one before in both. Only a span shorter than `context_length` makes a shorter
   window. The windows around a feature's peaks have the same lengths, so that length tells nothing about firing.
2. The `n_pool_tiles` windows of smallest keyed hash are the tiles. All features share them.
3. The pool's firings are sorted by feature once, so that one feature's are a slice.

A tile is silent for a feature in the strong sense if its whole block is: `block_is_silent`. How far a tile that is
silent itself lies from a firing of its block says `silent_margin`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64

from autointerp.config import CollectConfig, ContextsConfig
from autointerp.contexts.kept_embeddings import KeptEmbeddings
from autointerp.contexts.pool_windows import PeakSettings, PoolWindows, cut_spans, draw_peak_windows
from autointerp.contexts.splits import DuplicateIndex, context_trigrams, group_split, trigram_sets
from autointerp.contexts.windows import Pieces, make_context
from autointerp.corpus.reader import BlockReader, Blocks
from autointerp.embedder import TextEmbedder
from autointerp.identity import hash_key, keyed_hash
from autointerp.records import Context, ContextKind, Pool, Split


@dataclass(frozen=True, slots=True)
class _Firings:
    """The pool's firings by feature; one that lies in two tiles stands here twice.

    Attributes:
        feature: Ascending.
        pool_block: Row of `Pool.block_index`.
        position: Position in the block.
        tile: Tile that holds the firing, -1 where none does.
        activation: Above 0.
    """

    feature: Int32[np.ndarray, " firing"]
    pool_block: Int32[np.ndarray, " firing"]
    position: Int32[np.ndarray, " firing"]
    tile: Int32[np.ndarray, " firing"]
    activation: Float32[np.ndarray, " firing"]

    def of(self, feature_index: int) -> slice:
        """The firings of one feature."""
        # Of the array's own dtype: otherwise each look-up would convert, and so copy, the whole array.
        ends = np.array([feature_index, feature_index + 1], dtype=self.feature.dtype)
        first, last = np.searchsorted(self.feature, ends)
        return slice(int(first), int(last))


@dataclass(frozen=True, eq=False)
class PoolTiles:
    """Windows of the pool's blocks, with every feature's activations on them.

    Tiles are in corpus order. Make one with `PoolTiles.build`, which draws them uniformly, or `PoolTiles.build_peaks`.

    Attributes:
        source_id: `model@source`.
        n_blocks: Blocks in the pool.
        n_windows: Windows into which the pool's blocks are cut; the tiles are a uniform sample of them.
        block_index: Block of each tile.
        start: Position of each tile's first token in its block.
        length: Tokens of each tile.
        token_ids: Tokens; 0 past the tile's end.
        document_ids: Document of each tile.
        group_ids: Group of each tile's document.
        is_score: True for tiles of the score split.
        is_select: True for tiles of the select split; those of neither are of the explain split.
        tokens: Text pieces of each tile.
        texts: Text of each tile, without leading or trailing space.
        trigrams: Hashed token trigrams of each tile, for finding near-duplicates.
        context_length: Tokens of a tile, unless its block's counted span is shorter.
        near_duplicate: Overlap of token trigrams from which on two contexts count as duplicates.
    """

    source_id: str
    n_blocks: int
    n_windows: int
    block_index: Int64[np.ndarray, " tile"]
    start: Int32[np.ndarray, " tile"]
    length: Int32[np.ndarray, " tile"]
    token_ids: Int32[np.ndarray, "tile offset"]
    document_ids: tuple[str, ...]
    group_ids: tuple[str, ...]
    is_score: Bool[np.ndarray, " tile"]
    is_select: Bool[np.ndarray, " tile"]
    tokens: tuple[tuple[str, ...], ...]
    texts: list[str]
    trigrams: tuple[frozenset[int], ...]
    context_length: int
    near_duplicate: float
    _pool_block: Int32[np.ndarray, " tile"]
    _firings: _Firings
    _duplicates: DuplicateIndex
    _kept: KeptEmbeddings | None
    _embeddings: list[tuple[TextEmbedder, Float32[np.ndarray, "tile dim"]]] = field(default_factory=list)

    @classmethod
    def build(
        cls,
        pool: Pool,
        reader: BlockReader,
        pieces: Pieces,
        config: ContextsConfig,
        collect: CollectConfig,
        *,
        seed: int,
        source_id: str,
        kept: KeptEmbeddings | None = None,
    ) -> "PoolTiles":
        """Cut the pool's blocks into windows, draw the tiles, and index the firings by feature.

        Costs a read of the pool's blocks and one sort of its firings; a later stage builds it again from what `collect`
        kept. Only the embeddings, which cost more than all else, are written, and read again.

        Args:
            pool: Sampled blocks with every firing.
            reader: The corpus that the pool was sampled from.
            pieces: Of the subject's vocabulary.
            config: Number of tiles, split of documents, what a near-duplicate is.
            collect: Length of a context.
            seed: Of the draw and of the split.
            source_id: `model@source`.
            kept: Where the run's embedder's embeddings of the tiles are kept; None keeps them in memory alone.

        Raises:
            ShardError: If a block is not in the corpus.
        """
        blocks = reader.read(pool.block_index)
        cut = cut_spans(blocks, collect.context_length)
        key = hash_key(seed, "pool tiles")
        order = np.argsort(keyed_hash(key, pool.block_index[cut.pool_block], cut.start), kind="stable")
        drawn = cut.take(np.sort(order[: config.n_pool_tiles]))
        return cls._of(drawn, cut.start.size, pool, blocks, pieces, config, collect, seed, source_id, kept)

    @classmethod
    def build_peaks(
        cls,
        pool: Pool,
        reader: BlockReader,
        pieces: Pieces,
        config: ContextsConfig,
        collect: CollectConfig,
        *,
        seed: int,
        source_id: str,
        n_active_blocks: Int64[np.ndarray, " feature"],
        kept: KeptEmbeddings | None = None,
    ) -> "PoolTiles":
        """Draw windows of the pool in which features peak, and index the firings by feature; see `pool_windows`.

        Args:
            pool: Sampled blocks with every firing.
            reader: The corpus that the pool was sampled from.
            pieces: Of the subject's vocabulary.
            config: Number of windows, at most; split of documents.
            collect: Length of a context.
            seed: Of the draw and of the split.
            source_id: `model@source`.
            n_active_blocks: Blocks of the corpus in which each feature fires.
            kept: Where the run's embedder's embeddings of these windows are kept.

        Raises:
            ShardError: If a block is not in the corpus.
        """
        blocks = reader.read(pool.block_index)
        settings = PeakSettings(
            context_length=collect.context_length,
            is_alike=n_active_blocks >= config.min_explain + config.min_score,
            n_per_feature=max(1, round(collect.n_fired * pool.block_index.size / reader.n_blocks)),
        )
        drawn = draw_peak_windows(pool, blocks, pieces, config.n_pool_tiles, settings, seed)
        return cls._of(drawn, drawn.start.size, pool, blocks, pieces, config, collect, seed, source_id, kept)

    @classmethod
    def _of(
        cls,
        drawn: PoolWindows,
        n_windows: int,
        pool: Pool,
        blocks: Blocks,
        pieces: Pieces,
        config: ContextsConfig,
        collect: CollectConfig,
        seed: int,
        source_id: str,
        kept: KeptEmbeddings | None,
    ) -> "PoolTiles":
        pool_block, start, length = drawn.pool_block, drawn.start, drawn.length
        offsets = np.arange(collect.context_length)[None, :]
        inside = offsets < length[:, None]
        positions = np.where(inside, start[:, None] + offsets, 0)
        token_ids = np.where(inside, blocks.token_ids[pool_block[:, None], positions], 0).astype(np.int32)
        drawn_blocks = blocks.take(pool_block)
        tokens = tuple(
            tuple(pieces.pieces(row[:n])) for row, n in zip(token_ids.tolist(), length.tolist(), strict=True)
        )
        splits = [group_split(name, seed, config.explain_share, config.select_share) for name in drawn_blocks.group_ids]
        trigrams = tuple(trigram_sets(token_ids, length))
        return cls(
            source_id=source_id,
            n_blocks=pool.block_index.size,
            n_windows=n_windows,
            block_index=pool.block_index[pool_block],
            start=start,
            length=length,
            token_ids=token_ids,
            document_ids=drawn_blocks.document_ids,
            group_ids=drawn_blocks.group_ids,
            is_score=np.array([split == "score" for split in splits], dtype=np.bool_),
            is_select=np.array([split == "select" for split in splits], dtype=np.bool_),
            tokens=tokens,
            texts=["".join(row).strip() for row in tokens],
            trigrams=trigrams,
            context_length=collect.context_length,
            near_duplicate=config.near_duplicate,
            _pool_block=pool_block,
            _firings=_index(pool, pool_block, start, length, blocks.token_ids.shape[1]),
            _duplicates=DuplicateIndex(trigrams),
            _kept=kept,
        )

    @property
    def n_tiles(self) -> int:
        """Number of tiles, at most `n_pool_tiles`."""
        return self.start.size

    @property
    def is_explain(self) -> Bool[np.ndarray, " tile"]:
        """True for tiles of the explain split: the only ones that what writes a label may be made of."""
        explain: Bool[np.ndarray, " tile"] = ~(self.is_score | self.is_select)
        return explain

    def split(self, tile: int) -> Split:
        """The split of a tile's document."""
        if self.is_score[tile]:
            return "score"
        return "select" if self.is_select[tile] else "explain"

    def of(self, split: Split) -> Bool[np.ndarray, " tile"]:
        """Whether each tile is of a split."""
        return {"explain": self.is_explain, "select": self.is_select, "score": self.is_score}[split]

    def without_select(self) -> "PoolTiles":
        """The same tiles, those of the select split given back to the explain split."""
        return replace(self, is_select=np.zeros_like(self.is_select))

    def peaks(self, feature_index: int) -> Float32[np.ndarray, " tile"]:
        """A feature's largest activation in each tile, 0 where it does not fire."""
        firings = self._firings.of(feature_index)
        tile = self._firings.tile[firings]
        inside = tile >= 0
        peaks = np.zeros(self.n_tiles, dtype=np.float32)
        np.maximum.at(peaks, tile[inside], self._firings.activation[firings][inside])
        return peaks

    def masses(self, feature_index: int) -> Float64[np.ndarray, " tile"]:
        """The sum of a feature's activations in each tile, 0 where it does not fire."""
        firings = self._firings.of(feature_index)
        tile = self._firings.tile[firings]
        inside = tile >= 0
        activations = self._firings.activation[firings][inside]
        masses: Float64[np.ndarray, " tile"] = np.bincount(tile[inside], activations, minlength=self.n_tiles)
        return masses

    @cached_property
    def score_texts(self) -> list[str]:
        """Texts of the tiles of the score split, in order."""
        return [text for text, is_score in zip(self.texts, self.is_score, strict=True) if is_score]

    def block_is_silent(self, feature_index: int) -> Bool[np.ndarray, " tile"]:
        """Whether a feature is silent on every counted token of each tile's whole block."""
        silent = np.ones(self.n_blocks, dtype=np.bool_)
        silent[self._firings.pool_block[self._firings.of(feature_index)]] = False
        tiles: Bool[np.ndarray, " tile"] = silent[self._pool_block]
        return tiles

    def silent_margin(self, feature_index: int) -> Int64[np.ndarray, " tile"]:
        """Tokens between each tile and the nearest firing of its block, at most half a context; -1 where it fires.

        The edge of a block is no firing.
        """
        reach = self.context_length // 2
        firings = self._firings.of(feature_index)
        # One line of positions for all blocks, on which no two blocks come near each other.
        apart = np.int64(1 << 32)
        at = np.sort(self._firings.pool_block[firings] * apart + self._firings.position[firings])
        first = self._pool_block * apart + self.start
        end = first + self.length
        following = np.searchsorted(at, first)
        far = np.array([-apart]), np.array([apart * (self.n_blocks + 1)])
        bounded = np.concatenate([far[0], at, far[1]])
        before, after = first - bounded[following] - 1, bounded[following + 1] - end
        margin: Int64[np.ndarray, " tile"] = np.where(after < 0, -1, np.minimum(np.minimum(before, after), reach))
        return margin

    def holds(self, token_id: int) -> Bool[np.ndarray, " tile"]:
        """Whether each tile holds a token."""
        inside = np.arange(self.token_ids.shape[1]) < self.length[:, None]
        held: Bool[np.ndarray, " tile"] = ((self.token_ids == token_id) & inside).any(axis=1)
        return held

    def repeats(self, contexts: Sequence[Context]) -> Bool[np.ndarray, " tile"]:
        """Whether each tile nearly repeats one of some contexts."""
        return self._duplicates.repeats(context_trigrams(contexts), self.near_duplicate)

    def activations(self, tile: int, feature_index: int) -> Float32[np.ndarray, " offset"]:
        """A feature's activation at each token of a tile."""
        firings = self._firings.of(feature_index)
        here = self._firings.tile[firings] == tile
        activations = np.zeros(int(self.length[tile]), dtype=np.float32)
        offsets = self._firings.position[firings][here] - self.start[tile]
        activations[offsets] = self._firings.activation[firings][here]
        return activations

    def context(
        self, tile: int, feature_index: int, kind: ContextKind = "pool", *, n_tokens: int | None = None
    ) -> Context:
        """A tile as a context of a feature, with the feature's true activations.

        Args:
            tile: The tile.
            feature_index: The feature.
            kind: How it was chosen.
            n_tokens: Only so many tokens of it, from its first on.

        Raises:
            AssertionError: If `kind` is a silent one and the feature fires in the tile.
        """
        n = int(self.length[tile]) if n_tokens is None else n_tokens
        return make_context(
            self.token_ids[tile, :n].tolist(),
            self.activations(tile, feature_index)[:n].tolist(),
            source_id=self.source_id,
            feature_index=feature_index,
            kind=kind,
            split=self.split(tile),
            quantile=None,
            document_id=self.document_ids[tile],
            group_id=self.group_ids[tile],
            block_index=int(self.block_index[tile]),
            start=int(self.start[tile]),
            tokens=self.tokens[tile][:n],
        )

    def embeddings(self, embedder: TextEmbedder) -> Float32[np.ndarray, "tile dim"]:
        """This embedder's embeddings of the tiles' texts, unit rows; computed, or read, at its first call and kept."""
        for known, embeddings in self._embeddings:
            if known is embedder:  # two models in folders of one name have one name
                return embeddings
        kept = self._kept
        computed = embedder.embed(self.texts) if kept is None else kept.of(self.texts, embedder)
        self._embeddings.append((embedder, computed))
        return computed


def _index(
    pool: Pool,
    pool_block: Int32[np.ndarray, " tile"],
    start: Int32[np.ndarray, " tile"],
    length: Int32[np.ndarray, " tile"],
    n_positions: int,
) -> _Firings:
    """Sort the firings by feature and find the tiles of each: none, one, or the last two of its block."""
    n_blocks = pool.block_index.size
    row = np.repeat(np.arange(n_blocks, dtype=np.int32), np.diff(pool.offsets))
    # Tiles are in corpus order, so one that meets another comes right behind it; a third never meets the two.
    meets = np.zeros(start.size, dtype=np.bool_)
    meets[1:] = (pool_block[1:] == pool_block[:-1]) & (start[1:] < (start + length)[:-1])
    firing_of: list[Int64[np.ndarray, " firing"]] = []
    tile_of: list[Int32[np.ndarray, " firing"]] = []
    for apart in (~meets, meets):
        tile_at = np.full((n_blocks, n_positions), -1, dtype=np.int32)
        tile = np.repeat(np.flatnonzero(apart).astype(np.int32), length[apart])
        offset = np.arange(tile.size) - np.repeat(np.cumsum(length[apart]) - length[apart], length[apart])
        tile_at[pool_block[tile], start[tile] + offset] = tile
        here = tile_at[row, pool.position]
        # A firing outside all tiles stays, once: it tells that its block is not silent.
        kept = np.flatnonzero(here >= 0) if firing_of else np.arange(here.size)
        firing_of.append(kept)
        tile_of.append(here[kept])

    firing, tile = np.concatenate(firing_of), np.concatenate(tile_of)
    order = np.argsort(pool.feature[firing], kind="stable")
    firing, tile = firing[order], tile[order]
    return _Firings(
        feature=pool.feature[firing],
        pool_block=row[firing],
        position=pool.position[firing],
        tile=tile,
        activation=pool.activation[firing],
    )
