"""Contexts in which a feature is silent, and which of them are hard.

All are windows of the pool, which keeps every firing, so each is proven silent on every token. Of the kinds that a
config asks for the whole block is silent. Text as it comes differs from text in which a feature peaks, whatever feature
it is (it has more function words, for one): so all kinds but `silent_random` are windows around the peak of some other
feature, placed like those that fire. They differ in the order in which windows are considered:

- `silent_peak`: by keyed hash of feature and window, a uniform sample.
- `silent_similar`: by how much the window looks like one of the feature's explain contexts (`look_alikes`), first of a
  quarter of the windows that is drawn for each feature, so that none serves everywhere.
- `silent_neighbor`: windows where a feature with a close decoder direction fires, strongest first, neighbors in turn.
- `silent_token`: windows that hold a token on which this feature peaks most, in random order.
- `silent_random`: tiles, the corpus as it comes, by keyed hash.

Each kind gives an equal share. One that runs short is made up for by `silent_peak`, then by `silent_random`, and the
contexts say so by their kind. No window serves twice, and none nearly repeats another context of the feature.

A frequent feature has few blocks that are silent, or none. What it lacks is then made up for by `silent_window`: tiles
on which it is silent, in blocks where it fires elsewhere. Those with at least half a context of silence on either side
go first, since a text that leads up to a firing holds much of what it is about, then those with less, the more the
earlier; one of each block before a second. They share no token with an active context of the feature, and are cut to
the length asked for: none of another length stands in, which would tell them.

Silent contexts have the lengths of the active ones, since otherwise the number of tokens tells them apart: features
seldom fire in short documents. For each full-length active context a kind gives its next full-length tile, for each
shorter one the short tile closest in length, the better one of equally close ones. Where the pool has too few tiles of
one sort left, tiles of the other, again the closest in length, stand in.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt64

from autointerp.config import NegativeKind
from autointerp.contexts.pool import PoolTiles
from autointerp.contexts.splits import DuplicateFilter, context_trigrams
from autointerp.identity import keyed_hash
from autointerp.records import Context, Split

SilentKind = NegativeKind | Literal["silent_window"]
Ranking = Mapping[SilentKind, Int64[np.ndarray, " candidate"]]

# Beyond the third the token is no longer one that the feature peaks on most.
_N_PEAK_TOKENS = 3
_SIMILAR_PARTS = 4
_FILL: tuple[SilentKind, ...] = ("silent_peak", "silent_random")


@dataclass(frozen=True, slots=True)
class SilentPools:
    """What negatives are chosen from.

    Attributes:
        tiles: The corpus as it comes.
        peaks: Windows in which some feature peaks.
    """

    tiles: PoolTiles
    peaks: PoolTiles

    def of(self, kind: SilentKind) -> PoolTiles:
        """The windows of a kind."""
        return self.tiles if kind in ("silent_random", "silent_window") else self.peaks

    def without_select(self) -> "SilentPools":
        """The same windows, those of the select split given back to the explain split."""
        return SilentPools(self.tiles.without_select(), self.peaks.without_select())


@dataclass(frozen=True, slots=True)
class NegativeHints:
    """What is known of a feature from its explain split and its decoder, for finding hard negatives.

    Attributes:
        similarity: How much each window of `peaks` looks like the feature's explain contexts; None unless asked for.
        neighbors: Features with a close decoder direction, closest first.
        peak_tokens: Tokens on which the feature peaks, most often first.
    """

    similarity: Float32[np.ndarray, " tile"] | None = None
    neighbors: Sequence[int] = ()
    peak_tokens: Sequence[int] = ()


def rank_silent_tiles(
    pools: SilentPools, feature_index: int, kinds: Sequence[NegativeKind], hints: NegativeHints, key: int
) -> Ranking:
    """Order the windows on which a feature is silent, for each kind of negative.

    Args:
        pools: Windows with every feature's firings.
        feature_index: The feature.
        kinds: Kinds asked for; `silent_peak` and `silent_random` are ranked in any case.
        hints: What the kinds need.
        key: Of random orders, from `hash_key`.

    Returns:
        Windows of each kind, best first. All are silent in their whole block; `silent_neighbor` and `silent_token` hold
        only windows that are what they say.
    """
    peaks = pools.peaks
    silent, hashes = peaks.block_is_silent(feature_index), _hashes(peaks, feature_index, key)
    by_hash = np.argsort(hashes, kind="stable")
    tiles_by_hash = np.argsort(_hashes(pools.tiles, feature_index, key), kind="stable")
    ranked: dict[SilentKind, Int64[np.ndarray, " candidate"]] = {
        "silent_peak": by_hash[silent[by_hash]],
        "silent_random": tiles_by_hash[pools.tiles.block_is_silent(feature_index)[tiles_by_hash]],
    }
    if "silent_similar" in kinds:
        assert hints.similarity is not None, "silent_similar needs embeddings"
        # By the lowest bits, as the highest decide the random order.
        is_last = hashes % np.uint64(_SIMILAR_PARTS) != 0
        by_similarity = np.lexsort((-hints.similarity, is_last))
        ranked["silent_similar"] = by_similarity[silent[by_similarity]]
    if "silent_neighbor" in kinds:
        ranked["silent_neighbor"] = _neighbor_tiles(peaks, feature_index, hints.neighbors, silent)
    if "silent_token" in kinds:
        holders = [by_hash[(peaks.holds(token) & silent)[by_hash]] for token in hints.peak_tokens[:_N_PEAK_TOKENS]]
        ranked["silent_token"] = _first_occurrences(np.concatenate([np.empty(0, dtype=np.int64), *holders]))
    return ranked


def rank_silent_windows(
    pool: PoolTiles, feature_index: int, active: Sequence[Context], key: int
) -> Int64[np.ndarray, " candidate"]:
    """Order the tiles on which a feature is silent though it fires elsewhere in their blocks, for `silent_window`.

    Args:
        pool: Tiles with every feature's firings.
        feature_index: The feature.
        active: Its active contexts, with none of which a tile may share a token.
        key: Of random orders, from `hash_key`.
    """
    margin = pool.silent_margin(feature_index)
    fits = (margin >= 0) & ~pool.block_is_silent(feature_index)
    for context in active:
        end = context.start + len(context.tokens)
        meets = (pool.start < end) & (context.start < pool.start + pool.length)
        fits &= ~(meets & (pool.block_index == context.block_index))
    ordered = np.lexsort((_hashes(pool, feature_index, key), -margin))
    ordered = ordered[fits[ordered]]
    n_before: Counter[int] = Counter()
    turns: list[int] = []  # of each tile among those of its block
    for block in pool.block_index[ordered].tolist():
        turns.append(n_before[block])
        n_before[block] += 1
    in_turn: Int64[np.ndarray, " candidate"] = ordered[np.argsort(turns, kind="stable")]
    return in_turn


def choose_silent(
    pools: SilentPools,
    feature_index: int,
    split: Split,
    lengths: Sequence[int],
    kinds: Sequence[NegativeKind],
    ranked: Ranking,
    seen: DuplicateFilter,
) -> list[Context]:
    """Choose silent contexts of one split, in equal shares over kinds and of given lengths.

    Args:
        pools: Windows with every feature's firings.
        feature_index: The feature.
        split: Only windows of documents of this split are chosen.
        lengths: Tokens that each chosen context should have; fewer are chosen if fewer tiles are silent.
        kinds: Kinds to choose from; the first ones get one more where the number of lengths does not divide.
        ranked: From `rank_silent_tiles`; with `silent_window` too, these make up for what the others lack, cut to the
            lengths asked for, and no tile of another length stands in.
        seen: Holds the feature's contexts so far; gets the chosen ones.

    Returns:
        Silent contexts, by kind.
    """
    full_length = pools.tiles.context_length
    # Dealt in turn from the longest on, so that the kinds have like lengths.
    longest_first = sorted(lengths, reverse=True)
    shares = {kind: longest_first[place :: len(kinds)] for place, kind in enumerate(kinds)}
    # Uniform samples go first: after the others they would be some of what these left over.
    first = sorted(kinds, key=lambda kind: kind not in ("silent_peak", "silent_random"))
    contexts: list[Context] = []

    def choose(kind: SilentKind, wanted: Sequence[int], is_full: bool | None = None) -> list[int]:
        """Choose a window for each length, and give back the lengths for which there was none."""
        pool = pools.of(kind)
        among = pool.of(split)
        if is_full is not None:
            among = among & ((pool.length == full_length) == is_full)
        candidates = ranked[kind][among[ranked[kind]]]
        unmet: list[int] = []
        for length, n_wanted in Counter(wanted).items():
            n_left = n_wanted
            closest_first = candidates[np.argsort(np.abs(pool.length[candidates] - length), kind="stable")]
            for tile in closest_first.tolist():
                if n_left == 0:
                    break
                # A tile that was taken before is refused here too: it repeats itself.
                if seen.admit(pool.trigrams[tile]):
                    contexts.append(pool.context(tile, feature_index, kind))
                    n_left -= 1
            unmet += [length] * n_left
        return unmet

    def choose_alike(kind: SilentKind, wanted: Sequence[int]) -> list[int]:
        full = [length for length in wanted if length == full_length]
        short = [length for length in wanted if length < full_length]
        return choose(kind, full, True) + choose(kind, short, False)

    unmet = [length for kind in first for length in choose_alike(kind, shares[kind])]
    for kind in _FILL:
        unmet = choose_alike(kind, unmet)
    if "silent_window" in ranked:
        windows = ranked["silent_window"]
        contexts += _cut_windows(pools.tiles, feature_index, unmet, windows[pools.tiles.of(split)[windows]], seen)
    else:
        for kind in _FILL:
            unmet = choose(kind, unmet)
    return contexts


def _cut_windows(
    pool: PoolTiles,
    feature_index: int,
    lengths: Sequence[int],
    candidates: Int64[np.ndarray, " candidate"],
    seen: DuplicateFilter,
) -> Iterator[Context]:
    """Silent windows of exactly these lengths, as far as there are any, the longest first."""
    left = candidates.tolist()
    for length in sorted(lengths, reverse=True):
        for tile in [tile for tile in left if pool.length[tile] >= length]:
            left.remove(tile)
            context = pool.context(tile, feature_index, "silent_window", n_tokens=length)
            if seen.admit(context_trigrams([context])[0]):
                yield context
                break


def _hashes(pool: PoolTiles, feature_index: int, key: int) -> UInt64[np.ndarray, " tile"]:
    return keyed_hash(key, np.array([feature_index]), pool.block_index, pool.start)


def _neighbor_tiles(
    pool: PoolTiles, feature_index: int, neighbors: Sequence[int], silent: Bool[np.ndarray, " tile"]
) -> Int64[np.ndarray, " candidate"]:
    """Silent tiles on which neighbors fire: each neighbor's strongest, then each one's next."""
    places: list[Int64[np.ndarray, " candidate"]] = []
    tiles: list[Int64[np.ndarray, " candidate"]] = []
    for neighbor in neighbors:
        if neighbor == feature_index:
            continue
        peaks = pool.peaks(neighbor)
        strongest = np.argsort(-peaks, kind="stable")
        strongest = strongest[silent[strongest] & (peaks[strongest] > 0)]
        places.append(np.arange(strongest.size))
        tiles.append(strongest)
    if not tiles:
        return np.empty(0, dtype=np.int64)
    in_turn = np.argsort(np.concatenate(places), kind="stable")
    return _first_occurrences(np.concatenate(tiles)[in_turn])


def _first_occurrences(tiles: Int64[np.ndarray, " candidate"]) -> Int64[np.ndarray, " candidate"]:
    return np.array(list(dict.fromkeys(tiles.tolist())), dtype=np.int64)
