"""The pool as windows, with the truth about every feature at every token.

Which windows are drawn says `pool_windows`; all features share them. Where the corpus comes as it is, they are called
tiles. Windows of either sort have the lengths of those around a feature's peaks, so that length tells nothing about
firing.

A tile is silent for a feature in the strong sense if its whole block is: `block_is_silent`. How far a tile that is
silent itself lies from a firing of its block says `silent_margin`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64

from autointerp.config import CollectConfig, ContextsConfig
from autointerp.contexts.kept_embeddings import KeptEmbeddings
from autointerp.contexts.pool_blocks import APART, PoolBlocks
from autointerp.contexts.pool_windows import PeakSettings, PoolWindows, draw_peak_windows, draw_tiles
from autointerp.contexts.splits import DuplicateIndex, group_split, padded, trigram_sets
from autointerp.contexts.windows import Pieces, make_context
from autointerp.embedder import TextEmbedder
from autointerp.records import Context, ContextKind, Split

_N_BACKGROUND = 128


@dataclass(frozen=True, eq=False)
class PoolTiles:
    """Windows of the pool's blocks, with every feature's activations on them.

    Tiles are in corpus order. Make one with `PoolTiles.build`.

    Attributes:
        source_id: `model@source`.
        n_blocks: Blocks in the pool.
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
        pool_blocks: The blocks that they are cut from.
    """

    source_id: str
    n_blocks: int
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
    pool_blocks: PoolBlocks
    _kept: KeptEmbeddings | None
    _embeddings: list[tuple[TextEmbedder, Float32[np.ndarray, "tile dim"]]] = field(default_factory=list)
    _duplicates: dict[Split, DuplicateIndex] = field(default_factory=dict)

    @classmethod
    def build(
        cls,
        pool: PoolBlocks,
        pieces: Pieces,
        config: ContextsConfig,
        collect: CollectConfig,
        *,
        seed: int,
        source_id: str,
        n_active_blocks: Int64[np.ndarray, " feature"] | None = None,
        kept: KeptEmbeddings | None = None,
    ) -> "PoolTiles":
        """Draw windows of the pool's blocks: of the corpus as it comes, or around features' peaks; see `pool_windows`.

        A later stage draws them again from what `collect` kept. Only the embeddings, which cost more than all else, are
        written, and read again.

        Args:
            pool: Sampled blocks with every firing.
            pieces: Of the subject's vocabulary.
            config: Number of windows, split of documents, what a near-duplicate is.
            collect: Length of a context.
            seed: Of the draw and of the split.
            source_id: `model@source`.
            n_active_blocks: Blocks of the corpus in which each feature fires: for windows around peaks; None for the
                corpus as it comes.
            kept: Where the run's embedder's embeddings of the windows are kept; None keeps them in memory alone.
        """
        length, n_wanted = collect.context_length, config.n_pool_tiles
        if n_active_blocks is None:
            drawn = draw_tiles(pool, length, n_wanted, seed)
        else:
            settings = PeakSettings(
                context_length=length,
                is_alike=n_active_blocks >= config.min_explain + config.min_score,
                n_per_feature=max(1, round(collect.n_fired * pool.block_index.size / pool.n_corpus_blocks)),
            )
            drawn = draw_peak_windows(pool, pieces, n_wanted, settings, seed)
        return cls.of_windows(drawn, pool, pieces, config, length, seed=seed, source_id=source_id, kept=kept)

    @classmethod
    def of_windows(
        cls,
        drawn: PoolWindows,
        pool: PoolBlocks,
        pieces: Pieces,
        config: ContextsConfig,
        context_length: int,
        *,
        seed: int,
        source_id: str,
        kept: KeptEmbeddings | None = None,
    ) -> "PoolTiles":
        """Windows that are drawn already, in corpus order, no token in more than two; the arguments are `build`'s."""
        pool_block, start, length_of = drawn.pool_block, drawn.start, drawn.length
        offsets = np.arange(context_length)[None, :]
        inside = offsets < length_of[:, None]
        positions = np.where(inside, start[:, None] + offsets, 0)
        token_ids = np.where(inside, pool.blocks.token_ids[pool_block[:, None], positions], 0).astype(np.int32)
        drawn_blocks = pool.blocks.take(pool_block)
        tokens = tuple(
            tuple(pieces.pieces(row[:n])) for row, n in zip(token_ids.tolist(), length_of.tolist(), strict=True)
        )
        splits = [group_split(name, seed, config.explain_share, config.select_share) for name in drawn_blocks.group_ids]
        trigrams = tuple(trigram_sets(token_ids, length_of))
        return cls(
            source_id=source_id,
            n_blocks=pool.block_index.size,
            block_index=pool.block_index[pool_block],
            start=start,
            length=length_of,
            token_ids=token_ids,
            document_ids=drawn_blocks.document_ids,
            group_ids=drawn_blocks.group_ids,
            is_score=np.array([split == "score" for split in splits], dtype=np.bool_),
            is_select=np.array([split == "select" for split in splits], dtype=np.bool_),
            tokens=tokens,
            texts=["".join(row).strip() for row in tokens],
            trigrams=trigrams,
            context_length=context_length,
            near_duplicate=config.near_duplicate,
            _pool_block=pool_block,
            pool_blocks=pool,
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

    @cached_property
    def firing_features(self) -> Int64[np.ndarray, " feature"]:
        """The features that fire somewhere in the pool, ascending."""
        return np.unique(self.pool_blocks.feature).astype(np.int64)

    def spread_over_groups(self, tiles: Int64[np.ndarray, " tile"]) -> list[int]:
        """Tiles in their order, but each group's second after all first ones, and so on."""
        seen: Counter[str] = Counter()
        turns: list[tuple[int, int]] = []
        for tile in tiles.tolist():
            group = self.group_ids[tile]
            turns.append((seen[group], tile))
            seen[group] += 1
        return [tile for _, tile in sorted(turns, key=lambda turn: turn[0])]

    def without_select(self) -> "PoolTiles":
        """The same tiles, those of the select split given back to the explain split."""
        return replace(self, is_select=np.zeros_like(self.is_select), _duplicates={})

    def peaks(self, feature_index: int) -> Float32[np.ndarray, " tile"]:
        """A feature's largest activation in each tile, 0 where it does not fire."""
        tile, activation = self._firings_in_tiles(feature_index)
        peaks = np.zeros(self.n_tiles, dtype=np.float32)
        np.maximum.at(peaks, tile, activation)
        return peaks

    def masses(self, feature_index: int) -> Float64[np.ndarray, " tile"]:
        """The sum of a feature's activations in each tile, 0 where it does not fire."""
        tile, activation = self._firings_in_tiles(feature_index)
        masses: Float64[np.ndarray, " tile"] = np.bincount(tile, activation, minlength=self.n_tiles)
        return masses

    @cached_property
    def _first(self) -> Int64[np.ndarray, " tile"]:
        """Where each tile begins on the line of `PoolBlocks.at`, ascending."""
        first: Int64[np.ndarray, " tile"] = self._pool_block * APART + self.start
        return first

    def _firings_in_tiles(
        self, feature_index: int
    ) -> tuple[Int64[np.ndarray, " firing"], Float32[np.ndarray, " firing"]]:
        """Tile and activation of each of a feature's firings that lies in one; one that lies in two comes twice."""
        firings = self.pool_blocks.of(feature_index)
        # Of the tiles that begin at or before a firing, it may lie in the last two: a third never meets them. -1 and -2
        # stand for no tile, and the two ends after the tiles' own are theirs.
        at, end = self.pool_blocks.at[firings], np.append(self._first + self.length, [0, 0])
        last = np.searchsorted(self._first, at, side="right") - 1
        tile = np.concatenate([last, last - 1])
        inside = np.tile(at, 2) < end[tile]
        return tile[inside], np.tile(self.pool_blocks.activation[firings], 2)[inside]

    @cached_property
    def score_texts(self) -> list[str]:
        """Texts of the tiles of the score split, in order."""
        return [text for text, is_score in zip(self.texts, self.is_score, strict=True) if is_score]

    @cached_property
    def background(self) -> tuple[str, ...]:
        """Texts of the explain split, `_N_BACKGROUND` at most, spread evenly over its tiles."""
        tiles = np.flatnonzero(self.is_explain)
        places = np.linspace(0, tiles.size - 1, min(_N_BACKGROUND, tiles.size)).astype(int)
        return tuple(self.texts[tile] for tile in tiles[places])

    def block_is_silent(self, feature_index: int) -> Bool[np.ndarray, " tile"]:
        """Whether a feature is silent on every counted token of each tile's whole block."""
        silent = np.ones(self.n_blocks, dtype=np.bool_)
        silent[self.pool_blocks.at[self.pool_blocks.of(feature_index)] // APART] = False
        tiles: Bool[np.ndarray, " tile"] = silent[self._pool_block]
        return tiles

    def holds_peak(self, feature_index: int) -> Bool[np.ndarray, " tile"]:
        """Whether each tile holds the largest activation of a feature in its whole block."""
        firings = self.pool_blocks.of(feature_index)
        of_block = np.zeros(self.n_blocks, dtype=np.float32)
        np.maximum.at(of_block, self.pool_blocks.at[firings] // APART, self.pool_blocks.activation[firings])
        peaks = self.peaks(feature_index)
        held: Bool[np.ndarray, " tile"] = (peaks > 0) & (peaks == of_block[self._pool_block])
        return held

    def silent_margin(self, feature_index: int) -> Int64[np.ndarray, " tile"]:
        """Tokens between each tile and the nearest firing of its block, at most half a context; -1 where it fires.

        The edge of a block is no firing.
        """
        reach = self.context_length // 2
        at, first = self.pool_blocks.at[self.pool_blocks.of(feature_index)], self._first
        end = first + self.length
        following = np.searchsorted(at, first)
        bounded = np.concatenate([[-APART], at, [APART * (self.n_blocks + 1)]])
        before, after = first - bounded[following] - 1, bounded[following + 1] - end
        margin: Int64[np.ndarray, " tile"] = np.where(after < 0, -1, np.minimum(np.minimum(before, after), reach))
        return margin

    def holds(self, token_id: int) -> Bool[np.ndarray, " tile"]:
        """Whether each tile holds a token."""
        inside = np.arange(self.token_ids.shape[1]) < self.length[:, None]
        held: Bool[np.ndarray, " tile"] = ((self.token_ids == token_id) & inside).any(axis=1)
        return held

    def repeats(self, contexts: Sequence[Context], split: Split) -> Bool[np.ndarray, " tile"]:
        """Whether each tile is of a split and nearly repeats one of some contexts."""
        repeated = self.of(split).copy()
        if split not in self._duplicates:
            self._duplicates[split] = DuplicateIndex([self.trigrams[tile] for tile in np.flatnonzero(repeated)])
        repeated[repeated] = self._duplicates[split].repeats(*padded(contexts), self.near_duplicate)
        return repeated

    def activations(self, tile: int, feature_index: int) -> Float32[np.ndarray, " offset"]:
        """A feature's activation at each token of a tile."""
        activations = np.zeros(int(self.length[tile]), dtype=np.float32)
        firings, first, last = self._firings_of(np.array([tile]), feature_index)
        inside = slice(firings.start + int(first[0]), firings.start + int(last[0]))
        activations[self.pool_blocks.at[inside] - self._first[tile]] = self.pool_blocks.activation[inside]
        return activations

    def _firings_of(
        self, tiles: Int64[np.ndarray, " some"], feature_index: int
    ) -> tuple[slice, Int64[np.ndarray, " some"], Int64[np.ndarray, " some"]]:
        """A feature's firings, and which of them, first and last, lie in each of some tiles."""
        firings = self.pool_blocks.of(feature_index)
        at, begin = self.pool_blocks.at[firings], self._first[tiles]
        return firings, np.searchsorted(at, begin), np.searchsorted(at, begin + self.length[tiles])

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
        return self._context(tile, feature_index, kind, self.activations(tile, feature_index)[:n_tokens].tolist())

    def silent_contexts(self, tiles: Int64[np.ndarray, " some"], feature_index: int) -> list[Context]:
        """Tiles as contexts of a feature that is silent on every token of them.

        Raises:
            AssertionError: If the feature fires in one.
        """
        _, first, last = self._firings_of(tiles, feature_index)
        assert np.array_equal(first, last), f"feature {feature_index} fires in one of the tiles"
        lengths = self.length[tiles].tolist()
        return [
            self._context(tile, feature_index, "pool", (0.0,) * n)
            for tile, n in zip(tiles.tolist(), lengths, strict=True)
        ]

    def _context(self, tile: int, feature_index: int, kind: ContextKind, activations: Sequence[float]) -> Context:
        n = len(activations)
        return make_context(
            self._tokens_of_each[tile][:n],
            activations,
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

    @cached_property
    def _tokens_of_each(self) -> list[tuple[int, ...]]:
        """The tokens of each tile, which features share."""
        return [tuple(row[:n]) for row, n in zip(self.token_ids.tolist(), self.length.tolist(), strict=True)]

    def embeddings(self, embedder: TextEmbedder) -> Float32[np.ndarray, "tile dim"]:
        """This embedder's embeddings of the tiles' texts, unit rows; computed, or read, at its first call and kept."""
        for known, embeddings in self._embeddings:
            if known is embedder:  # two models in folders of one name have one name
                return embeddings
        kept = self._kept
        computed = embedder.embed(self.texts) if kept is None else kept.of(self.texts, embedder)
        self._embeddings.append((embedder, computed))
        return computed
