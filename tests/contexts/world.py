"""A small corpus with every activation known, and what a brute-force `collect` keeps of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64

from autointerp.config import CollectConfig, ContextsConfig
from autointerp.contexts.build import ContextInputs, Neighbors
from autointerp.contexts.negatives import SilentPools
from autointerp.contexts.pool import PoolTiles
from autointerp.contexts.pool_blocks import PoolBlocks
from autointerp.corpus.reader import Blocks, make_blocks
from autointerp.identity import hash_key, keyed_hash
from autointerp.records import Collected, FeatureStatistics, Pool, SampledWindows, TokenCounts

SOURCE = "tiny@0-res"
COLLECT = CollectConfig(n_top=12, n_fired=30, n_pool_blocks=60, context_length=8)
CONTEXTS = ContextsConfig(n_explain=10, n_score=8, min_explain=3, min_score=3, n_quantiles=4, n_pool_tiles=150)


class NumberedWords:
    """Token 7 is the piece " w7"."""

    def pieces(self, token_ids: Iterable[int]) -> list[str]:
        return [f" w{token_id}" for token_id in token_ids]


class BagOfWords:
    """Unit vectors of word counts, each word in a hashed direction; counts how many texts it was given."""

    name = "bag-of-words"

    def __init__(self) -> None:
        self.n_embedded = 0

    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "text dim"]:
        self.n_embedded += len(texts)
        rows = np.full((len(texts), 64), 1e-3, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.split():
                rows[row, hash_key(0, word) % 64] += 1.0
        unit: Float32[np.ndarray, "text dim"] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit


@dataclass(frozen=True)
class World:
    """Blocks of documents with the activation of every feature at every position.

    Attributes:
        token_ids: Tokens.
        counted: Where statistics count.
        document_ids: Document of each block.
        dense: Activations, 0 where nothing is counted.
    """

    token_ids: Int32[np.ndarray, "block position"]
    counted: Bool[np.ndarray, "block position"]
    document_ids: tuple[str, ...]
    dense: Float32[np.ndarray, "block position feature"]
    group_ids: tuple[str, ...] | None = None  # of each block's document; None: each by itself

    @property
    def n_blocks(self) -> int:
        return len(self.token_ids)

    def read(self, block_indices: Int64[np.ndarray, " block"]) -> Blocks:
        """The world is its own reader."""
        names = tuple(self.document_ids[block] for block in block_indices.tolist())
        groups = self.group_ids and tuple(self.group_ids[block] for block in block_indices.tolist())
        return make_blocks(self.token_ids[block_indices], self.counted[block_indices], names, groups)

    def collected(self, collect: CollectConfig = COLLECT) -> Collected:
        n_features = self.dense.shape[2]
        peaks = self.dense.max(axis=1)
        statistics = FeatureStatistics(
            n_tokens=int(self.counted.sum()),
            n_blocks=self.n_blocks,
            n_active=(self.dense > 0).sum(axis=(0, 1)).astype(np.int64),
            n_active_blocks=(peaks > 0).sum(axis=0).astype(np.int64),
            activation_sum=self.dense.sum(axis=(0, 1), dtype=np.float64),
            max_activation=self.dense.max(axis=(0, 1)),
            histogram=np.zeros((n_features, 1), dtype=np.int64),
            bin_edges=np.array([0.0, 1.0]),
        )
        top: list[tuple[int, int]] = []
        fired: list[tuple[int, int]] = []
        key = hash_key(0, "fired")
        for feature in range(n_features):
            firing = np.flatnonzero(peaks[:, feature] > 0)
            by_peak = sorted(firing.tolist(), key=lambda block: (-peaks[block, feature], block))
            top += [(feature, block) for block in by_peak[: collect.n_top]]
            hashes = keyed_hash(key, np.full(firing.size, feature), firing)
            by_hash = sorted(zip(hashes.tolist(), firing.tolist(), strict=True))
            fired += [(feature, block) for _, block in by_hash[: collect.n_fired]]
        none = np.empty(0, dtype=np.int32)
        return Collected(
            statistics=statistics,
            token_counts=TokenCounts(
                none, none, none.astype(np.int64), none.astype(np.float64), np.zeros(n_features, np.int64)
            ),
            top=self._windows(top, collect, collect.context_length, collect.peak_fraction),
            fired=self._windows(fired, collect, 2 * collect.context_length - 1, 0.5),
            pool=self.pool(collect),
        )

    def pool(self, collect: CollectConfig = COLLECT) -> Pool:
        hashes = keyed_hash(hash_key(0, "pool"), np.arange(self.n_blocks))
        chosen = np.sort(np.argsort(hashes)[: collect.n_pool_blocks])
        block, position, feature = np.nonzero(self.dense[chosen])
        counts = np.bincount(block, minlength=chosen.size)
        return Pool(
            block_index=chosen.astype(np.int64),
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            feature=feature.astype(np.int32),
            position=position.astype(np.int32),
            activation=self.dense[chosen][block, position, feature],
        )

    def tiles(self, config: ContextsConfig = CONTEXTS, collect: CollectConfig = COLLECT, *, seed: int = 0) -> PoolTiles:
        return self._pool_windows(config, collect, seed, None)

    def peaks(self, config: ContextsConfig = CONTEXTS, collect: CollectConfig = COLLECT, *, seed: int = 0) -> PoolTiles:
        return self._pool_windows(config, collect, seed, (self.dense > 0).any(axis=1).sum(axis=0))

    def _pool_windows(
        self,
        config: ContextsConfig,
        collect: CollectConfig,
        seed: int,
        n_active_blocks: Int64[np.ndarray, " feature"] | None,
    ) -> PoolTiles:
        return PoolTiles.build(
            PoolBlocks.read(self.pool(collect), self),
            NumberedWords(),
            config,
            collect,
            seed=seed,
            source_id=SOURCE,
            n_active_blocks=n_active_blocks,
        )

    def inputs(
        self,
        config: ContextsConfig = CONTEXTS,
        collect: CollectConfig = COLLECT,
        *,
        seed: int = 0,
        neighbors: Neighbors | None = None,
    ) -> ContextInputs:
        """What the contexts of all features are built from."""
        return ContextInputs(
            source_id=SOURCE,
            collected=self.collected(collect),
            blocks=self,
            pieces=NumberedWords(),
            pools=SilentPools(self.tiles(config, collect, seed=seed), self.peaks(config, collect, seed=seed)),
            peak_fraction=collect.peak_fraction,
            embedder=BagOfWords(),
            config=config,
            seed=seed,
            fingerprint="f" * 64,
            neighbors=neighbors,
        )

    def _windows(
        self, rows: list[tuple[int, int]], collect: CollectConfig, length: int, peak_fraction: float
    ) -> SampledWindows:
        block_length = self.token_ids.shape[1]
        feature = np.array([row[0] for row in rows], dtype=np.int32)
        block = np.array([row[1] for row in rows], dtype=np.int64)
        activations = self.dense[block, :, feature].reshape(len(rows), block_length)
        peak_position = activations.argmax(axis=1).astype(np.int32) if rows else np.empty(0, dtype=np.int32)
        first = self.counted[block].argmax(axis=1)
        end = first + self.counted[block].sum(axis=1)
        start = np.maximum(np.minimum(peak_position - int(peak_fraction * length), end - length), first)
        start = start.astype(np.int32)
        windows = np.array(
            [np.pad(row, (0, length))[at : at + length] for row, at in zip(activations, start, strict=True)],
            dtype=np.float32,
        )
        return sample_windows(
            windows.reshape(len(rows), length),
            feature=feature,
            block_index=block,
            peak_position=peak_position,
            peak=activations.max(axis=1, initial=0).astype(np.float32),
            window_start=start,
        )


def sample_windows(
    activations: Float32[np.ndarray, "row offset"],
    *,
    feature: Int32[np.ndarray, " row"],
    block_index: Int64[np.ndarray, " row"],
    peak_position: Int32[np.ndarray, " row"],
    peak: Float32[np.ndarray, " row"],
    window_start: Int32[np.ndarray, " row"],
) -> SampledWindows:
    """Windows of which the activation at each offset is known."""
    row, offset = np.nonzero(activations)
    return SampledWindows(
        context_length=activations.shape[1],
        feature=feature,
        block_index=block_index,
        peak_position=peak_position,
        peak=peak,
        window_start=window_start,
        n_entries=np.bincount(row, minlength=len(activations)).astype(np.int32),
        entry_offset=offset.astype(np.uint16),
        entry_activation=activations[row, offset],
    )


def make_world(
    seed: int,
    *,
    densities: Sequence[float] = (0.0, 0.002, 0.02, 0.05, 1.0),
    n_documents: int = 70,
    n_words: int = 400,
    n_levels: int = 6,
    duplicated: float = 0.2,
    short: float = 0.2,
) -> World:
    """Draw a world: documents of one to three blocks of 20 positions, with a special token at each end.

    Args:
        seed: Of the draw.
        densities: Share of counted tokens on which each feature fires; 1 is a feature that always fires.
        n_documents: Number of documents.
        n_words: Size of the vocabulary; a small one makes near-duplicates by chance.
        n_levels: Activations are whole numbers up to this, so that there are many ties.
        duplicated: Share of documents that repeat an earlier one but for a few words.
        short: Share of blocks of fewer words than there is room for, any number being equally likely.
    """
    rng = np.random.default_rng(seed)
    n_positions = 20
    token_rows: list[Int32[np.ndarray, " position"]] = []
    counted_rows: list[Bool[np.ndarray, " position"]] = []
    dense_rows: list[Float32[np.ndarray, "position feature"]] = []
    document_ids: list[str] = []
    for number in range(n_documents):
        for _ in range(int(rng.integers(1, 4))):
            n_words_here = int(rng.integers(1, n_positions - 1)) if rng.random() < short else n_positions - 2
            tokens = np.zeros(n_positions, dtype=np.int32)
            tokens[1 : n_words_here + 1] = rng.integers(3, n_words + 3, n_words_here)
            fires = rng.random((n_positions, len(densities))) < np.array(densities)
            level = rng.integers(1, n_levels + 1, fires.shape)
            if token_rows and rng.random() < duplicated:
                copied = int(rng.integers(len(token_rows)))
                tokens = token_rows[copied].copy()
                tokens[int(rng.integers(1, n_positions - 1))] = 3
                n_words_here = int(counted_rows[copied].sum())
                fires, level = dense_rows[copied] > 0, dense_rows[copied]
            counted = (np.arange(n_positions) >= 1) & (np.arange(n_positions) <= n_words_here)
            tokens[0], tokens[n_words_here + 1] = 1, 2
            tokens[n_words_here + 2 :] = 0
            token_rows.append(tokens)
            counted_rows.append(counted)
            dense_rows.append((fires * level * counted[:, None]).astype(np.float32))
            document_ids.append(f"document {number}")
    return World(np.array(token_rows), np.array(counted_rows), tuple(document_ids), np.array(dense_rows))


def jaccard(first: Sequence[int], second: Sequence[int]) -> float:
    """Overlap of trigram sets, by the definition."""
    sets = [
        {tuple(tokens[i : i + 3]) for i in range(len(tokens) - 2)} if len(tokens) >= 3 else {tuple(tokens)}
        for tokens in (list(first), list(second))
    ]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])
