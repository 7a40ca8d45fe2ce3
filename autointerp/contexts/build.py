"""Samples to contexts: the stage `contexts`, feature by feature.

For each feature:

1. Choose active contexts for both splits from the top set and the uniform sample (`choose`).
   In those that grade, the place of the peak is drawn (`place`).
2. Choose silent contexts for both splits from the pool (`negatives`): as many as there are active ones and of the same
   lengths, on the explain side at most `n_explain_silent`, for explainers that contrast. They are of blocks
   in which the feature is wholly silent, if these give the least that is needed; else silent windows of other blocks
   make up for what lacks. Where even these are fewer than the least, the feature has no silent contexts.
3. Where a select split is set apart, keep the score contexts of steps 1 and 2, which knew nothing of it, and choose the
   others again: explain contexts from what is left of the explain documents, select contexts from those set apart.
4. Check that the splits are apart (`splits.check_no_leak`).

A feature with few select contexts, or none, has those that there are: it can be explained and scored all the same. So
can one without silent contexts, by those scorers that don't need them.

A feature that can't have active contexts gives a `Failure` with the reason. Features go through in chunks, so that the
corpus is read and texts are embedded for many at a time; the result does not depend on the chunks.
"""

import itertools
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from jaxtyping import Float32, Int32

from autointerp.collect.windows import join_rows, narrowed, rows_of, take_rows
from autointerp.config import ContextsConfig
from autointerp.contexts.choose import ActiveChoices, ApartChoices, Choice, choose_active, choose_apart
from autointerp.contexts.chunk import Chunk
from autointerp.contexts.lacking import why_too_few
from autointerp.contexts.look_alikes import LookAlikes, spread
from autointerp.contexts.negatives import (
    NegativeHints,
    Ranking,
    SilentPools,
    choose_silent,
    rank_silent_tiles,
    rank_silent_windows,
)
from autointerp.contexts.place import Decoys, Places
from autointerp.contexts.splits import (
    DuplicateFilter,
    check_no_leak,
    context_trigrams,
    group_split,
    trigram_sets,
)
from autointerp.contexts.windows import Pieces, cut_windows, window_context
from autointerp.corpus.reader import BlockReader
from autointerp.embedder import TextEmbedder
from autointerp.identity import hash_key
from autointerp.records import Collected, Context, Failure, FeatureContexts, Split

logger = logging.getLogger(__name__)

_FEATURES_PER_CHUNK = 64

Neighbors = Mapping[int, Sequence[int]] | Int32[np.ndarray, "feature neighbor"]
# Chosen windows of one feature, by split.
_Sides = Mapping[Split, Sequence[Choice]]
_MUST_HAVE_SILENT: tuple[Split, ...] = ("explain", "score")


@dataclass(frozen=True, slots=True)
class ContextInputs:
    """What contexts are built from: the same for every feature of a source.

    Attributes:
        source_id: `model@source`.
        collected: Samples, statistics and pool of the source.
        blocks: The corpus they were collected from.
        pieces: Of the subject's vocabulary.
        pools: Made of `collected.pool` with the same `config` and `seed`.
        peak_fraction: Where the peak stands in what the explainer sees.
        embedder: Finds similar texts for `silent_similar`.
        config: How many contexts of which kinds.
        seed: Of all random choices.
        fingerprint: Stands in the failures.
        neighbors: For each feature the features with the closest decoder directions, closest first (-1 where there are
            no more); only `silent_neighbor` needs them.
    """

    source_id: str
    collected: Collected
    blocks: BlockReader
    pieces: Pieces
    pools: SilentPools
    peak_fraction: float
    embedder: TextEmbedder
    config: ContextsConfig
    seed: int
    fingerprint: str
    neighbors: Neighbors | None = None


class _Builder:
    """Builds the contexts of one source's features."""

    def __init__(self, inputs: ContextInputs) -> None:
        self._inputs = inputs
        self._config = inputs.config
        self._statistics = inputs.collected.statistics
        self._pools_without_select = inputs.pools.without_select()
        self._look_alikes = LookAlikes(inputs.pools.peaks, inputs.embedder)
        self._places = Places.of_source(
            inputs.collected,
            inputs.pools.tiles.pool_blocks,
            inputs.pieces,
            inputs.config,
            inputs.peak_fraction,
            seed=inputs.seed,
            source_id=inputs.source_id,
        )

    def chunk(self, features: Sequence[int]) -> Iterator[FeatureContexts | Failure]:
        """Build the contexts of some features, in their order."""
        n_active = self._statistics.n_active
        outcomes: dict[int, FeatureContexts | Failure] = {
            feature: self._failure(feature, "DeadFeature", "it never fires in this corpus")
            for feature in features
            if n_active[feature] == 0
        }
        alive = [feature for feature in features if feature not in outcomes]
        chunk = self._read(alive)
        outcomes |= self._explain_and_score(alive, chunk)
        if self._config.select_share > 0.0:
            built = {f: outcome for f in alive if isinstance(outcome := outcomes[f], FeatureContexts)}
            outcomes |= self._set_apart(built, chunk)
        for feature in features:
            if isinstance(outcome := outcomes[feature], FeatureContexts):
                check_no_leak(outcome, self._config.near_duplicate)
            yield outcome

    def _explain_and_score(self, features: Sequence[int], chunk: Chunk) -> dict[int, FeatureContexts | Failure]:
        """Steps 1 and 2 of the module."""
        active: dict[int, ActiveChoices] = {}
        for feature in features:
            candidates = chunk.of(feature, chunk.splits)
            active[feature] = choose_active(candidates, self._config, self._key("active contexts"))
        choices: dict[int, _Sides] = {f: {"explain": of.explain, "score": of.score} for f, of in active.items()}
        return self._finish_all(chunk, chunk.splits, self._pools_without_select, choices, dict.fromkeys(choices, ()))

    def _set_apart(self, built: Mapping[int, FeatureContexts], chunk: Chunk) -> dict[int, FeatureContexts | Failure]:
        """Step 3 of the module, for features that have score contexts."""
        config, seed = self._config, self._inputs.seed
        splits = [
            group_split(name, seed, config.explain_share, config.select_share) for name in chunk.windows.group_ids
        ]
        score = {f: tuple(c for c in contexts.contexts if c.split == "score") for f, contexts in built.items()}
        active: dict[int, ApartChoices] = {}
        for feature in built:
            scored = context_trigrams(score[feature])
            active[feature] = choose_apart(chunk.of(feature, splits), config, self._key("active contexts"), scored)
        choices: dict[int, _Sides] = {f: {"explain": of.explain, "select": of.select} for f, of in active.items()}
        return self._finish_all(chunk, splits, self._inputs.pools, choices, score)

    def _finish_all(
        self,
        chunk: Chunk,
        splits: Sequence[Split],
        pools: SilentPools,
        choices: Mapping[int, _Sides],
        score: Mapping[int, Sequence[Context]],
    ) -> dict[int, FeatureContexts | Failure]:
        """Add the negatives of features that have enough active contexts.

        Args:
            chunk: Their windows.
            splits: Of each of the chunk's windows.
            pools: Tiles, split as the documents of the choices were.
            choices: Their active contexts, by feature and split.
            score: Their score contexts, where these were made before.
        """
        outcomes: dict[int, FeatureContexts | Failure] = {}
        for feature, sides in choices.items():
            n_explain = len(sides["explain"])
            n_score = len(sides.get("score", ())) + sum(context.is_active for context in score[feature])
            if n_explain < self._config.min_explain or n_score < self._config.min_score:
                n_blocks = int(self._statistics.n_active_blocks[feature])
                lack = why_too_few(chunk.of(feature, splits), n_explain, n_score, n_blocks, self._config)
                outcomes[feature] = self._failure(feature, lack.error_type, lack.message)
        able = {feature: sides for feature, sides in choices.items() if feature not in outcomes}
        similarity = self._similarities(chunk, {feature: sides["explain"] for feature, sides in able.items()})
        for feature, sides in able.items():
            outcomes[feature] = self._with_silent(feature, chunk, pools, sides, score[feature], similarity.get(feature))
        return outcomes

    def _read(self, features: Sequence[int]) -> Chunk:
        """Cut all sampled windows of some features, top sets first."""
        inputs = self._inputs
        top, fired = inputs.collected.top, inputs.collected.fired
        top_rows, top_places = rows_of(top, features)
        fired_rows, fired_places = rows_of(fired, features)
        top, fired = take_rows(top, top_rows), take_rows(fired, fired_rows)
        blocks = inputs.blocks.read(np.concatenate([top.block_index, fired.block_index]))
        splits = [group_split(name, inputs.seed, self._config.explain_share) for name in blocks.group_ids]
        grades = np.array([split == "score" for split in splits[top_rows.size :]], dtype=np.bool_)
        in_fired, starts = self._places.drawn(fired, blocks.take(np.arange(top_rows.size, len(splits))), grades)
        windows = cut_windows(join_rows([top, narrowed(fired, starts, top.context_length)]), blocks)
        return Chunk(
            windows=windows,
            decoys=self._places.offsets(Decoys.none(top_rows.size).joined(in_fired), windows),
            trigrams=trigram_sets(windows.token_ids, windows.length),
            splits=splits,
            top_rows=dict(zip(features, top_places, strict=True)),
            fired_rows={f: places + top_rows.size for f, places in zip(features, fired_places, strict=True)},
            pieces=inputs.pieces,
        )

    def _similarities(
        self, chunk: Chunk, explain: Mapping[int, Sequence[Choice]]
    ) -> dict[int, Float32[np.ndarray, " tile"]]:
        """How much each window of a peak looks like some of each feature's explain contexts."""
        if "silent_similar" not in self._config.negatives or not explain:
            return {}
        return self._look_alikes.of(
            {
                feature: [chunk.text(choice.row) for choice in spread(choices, self._config.n_similar_to)]
                for feature, choices in explain.items()
            }
        )

    def _with_silent(
        self,
        feature: int,
        chunk: Chunk,
        pools: SilentPools,
        sides: _Sides,
        score: Sequence[Context],
        similarity: Float32[np.ndarray, " tile"] | None,
    ) -> FeatureContexts:
        """Put the contexts of a feature together, with its negatives, or without any if there are too few."""
        config = self._config
        seen = DuplicateFilter(config.near_duplicate)
        for trigrams in context_trigrams(score):
            seen.admit(trigrams)
        active = {split: self._contexts(chunk, choices, split, seen) for split, choices in sides.items()}
        hints = NegativeHints(
            similarity=similarity,
            neighbors=self._neighbors_of(feature),
            peak_tokens=_peak_tokens(active["explain"]),
        )
        key = self._key("silent contexts")
        ranked = rank_silent_tiles(pools, feature, config.negatives, hints, key)
        built = self._choose_silent(feature, pools, active, score, ranked, seen.copy())
        if not self._has_enough_silent(built):
            every_active = [*itertools.chain.from_iterable(active.values()), *(c for c in score if c.is_active)]
            windows = rank_silent_windows(pools.tiles, feature, every_active, key)
            built = self._choose_silent(feature, pools, active, score, {**ranked, "silent_window": windows}, seen)
        if not self._has_enough_silent(built):
            # What grades stays as it is, whatever the documents set apart leave for the other splits.
            active_only = itertools.chain.from_iterable(active.values())
            built = replace(built, contexts=(*active_only, *score))
        return built

    def _choose_silent(
        self,
        feature: int,
        pools: SilentPools,
        active: Mapping[Split, Sequence[Context]],
        score: Sequence[Context],
        ranked: Ranking,
        seen: DuplicateFilter,
    ) -> FeatureContexts:
        """The contexts of a feature, with silent ones as far as the ranked tiles go."""
        contexts: list[Context] = []
        for split, of_split in active.items():
            lengths = _spread_lengths(of_split, self._n_silent_wanted(split, len(of_split)))
            silent = choose_silent(pools, feature, split, lengths, self._config.negatives, ranked, seen)
            contexts += [*of_split, *silent]
        return FeatureContexts(self._inputs.source_id, feature, (*contexts, *score))

    def _n_silent_wanted(self, split: Split, n_active: int) -> int:
        return min(n_active, self._config.n_explain_silent) if split == "explain" else n_active

    def _has_enough_silent(self, contexts: FeatureContexts) -> bool:
        n_explain = self._n_silent_wanted("explain", len(contexts.of("explain", active=True)))
        n_least = {"explain": min(self._config.min_explain, n_explain), "score": self._config.min_score}
        return all(len(contexts.of(split, active=False)) >= n_least[split] for split in _MUST_HAVE_SILENT)

    def _contexts(self, chunk: Chunk, choices: Sequence[Choice], split: Split, seen: DuplicateFilter) -> list[Context]:
        contexts: list[Context] = []
        for row, kind, quantile in choices:
            is_distinct = seen.admit(chunk.trigrams[row])
            assert is_distinct, "near-duplicates among the active contexts"
            contexts.append(
                window_context(
                    chunk.windows,
                    row,
                    source_id=self._inputs.source_id,
                    kind=kind,
                    split=split,
                    quantile=quantile,
                    tokens=chunk.tokens(row),
                    decoy=chunk.decoys[row],
                )
            )
        return contexts

    def _neighbors_of(self, feature: int) -> Sequence[int]:
        if "silent_neighbor" not in self._config.negatives:
            return ()
        neighbors = self._inputs.neighbors
        assert neighbors is not None, "silent_neighbor needs the decoder's neighbors"
        if isinstance(neighbors, np.ndarray):
            return [neighbor for neighbor in neighbors[feature].tolist() if neighbor >= 0]
        return neighbors.get(feature, ())

    def _key(self, purpose: str) -> int:
        return hash_key(self._inputs.seed, purpose, self._inputs.source_id)

    def _failure(self, feature: int, error_type: str, message: str) -> Failure:
        return Failure(
            stage="contexts",
            source_id=self._inputs.source_id,
            feature_index=feature,
            error_type=error_type,
            message=message,
            raw=None,
            retry=False,
            created_at=datetime.now(UTC),
            fingerprint=self._inputs.fingerprint,
        )


def build_contexts(features: Sequence[int], inputs: ContextInputs) -> Iterator[FeatureContexts | Failure]:
    """Build the contexts of features, or say why one has none.

    Args:
        features: Distinct feature indices, in any order; the contexts of a feature don't depend on the others.
        inputs: What they are built from.

    Yields:
        One outcome a feature, in the order of `features`: its contexts (explain, select, score, in each active before
        silent), or a failure `DeadFeature` or one of `lacking`.

    Raises:
        LeakError: If two contexts of different splits share their group, or nearly their text.
        ShardError: If the samples are of another corpus.
    """
    assert inputs.collected.top.context_length == inputs.pools.tiles.context_length, "samples of another context length"
    builder = _Builder(inputs)
    n_failed = 0
    for first in range(0, len(features), _FEATURES_PER_CHUNK):
        for outcome in builder.chunk(features[first : first + _FEATURES_PER_CHUNK]):
            n_failed += isinstance(outcome, Failure)
            yield outcome
    logger.info("contexts: %d features, %d of them without", len(features), n_failed)


def _spread_lengths(contexts: Sequence[Context], n_wanted: int) -> list[int]:
    """Lengths of some of the contexts, distributed as those of all: the middles of `n_wanted` equal parts."""
    ordered = sorted(len(context.tokens) for context in contexts)
    return [ordered[(2 * place + 1) * len(ordered) // (2 * n_wanted)] for place in range(n_wanted)]


def _peak_tokens(contexts: Sequence[Context]) -> list[int]:
    """Tokens at the peaks of contexts, most often first, ties by id."""
    counts = Counter(context.token_ids[context.peak] for context in contexts)
    return sorted(counts, key=lambda token_id: (-counts[token_id], token_id))
