"""Which features fire before a feature and which after it: its neighbors upstream and downstream.

Upstream are features of sources that are computed earlier, on the same token or among the `reach` tokens before; and
features of the same source, or of another at the same place of the model, on the tokens before. Downstream are features
of later sources, on the same token or among those after; and of the same place, on the tokens after. A later source
can't lead to an earlier one within a pass over a causal model, so neither are its features on earlier tokens upstream.

1. Firings are counted on the pool's blocks, those of the explain split alone: what an explainer reads of neighbors
   holds nothing of the text that grades its label.
2. The measure is the shrunk association of `association`: bits by which two features fire near each other more often
   than if they had nothing to do with each other. A feature that fires everywhere is expected everywhere, so it is no
   neighbor, and one seen twice by chance is shrunk to next to nothing.
3. Neighbors have at least one bit, in at least three blocks. The strongest are taken; ties go to the source that is
   computed first, then to the lower feature.

It is what happens together, and not what causes what: two features that both follow the same word are neighbors.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from autointerp.collect.firing_index import FiringIndex, Spans
from autointerp.config import ContextsConfig
from autointerp.contexts.pool_blocks import APART, PoolBlocks
from autointerp.contexts.splits import group_split
from autointerp.records import FiringNeighbor, FiringNeighbors, FiringPlace
from autointerp.subject.hooks import hook_place

_PRIOR = 4.0
"""Tokens that are added to what was counted and to what was expected."""
_LEAST_BITS = 1.0
_LEAST_BLOCKS = 3
_CANDIDATES_PER_NEIGHBOR = 4
"""Of the strongest so many are looked at for blocks: some were counted in one or two alone."""
_PLACES: tuple[FiringPlace, ...] = ("with", "before", "after")


@dataclass(frozen=True, slots=True)
class IndexedSource:
    """A source with its firings.

    Attributes:
        source_id: `model@source`.
        hook: Its hook point.
        index: On the blocks that all sources share.
    """

    source_id: str
    hook: str
    index: FiringIndex


def association(
    n_both: Int64[np.ndarray, " pair"], n_expected: Float64[np.ndarray, " pair"]
) -> Float64[np.ndarray, " pair"]:
    """Bits by which what was counted is more than what was expected, both shrunk: log2((n + 4) / (expected + 4)).

    Where much was counted this is the pointwise mutual information; where little was, it is near 0.
    """
    bits: Float64[np.ndarray, " pair"] = np.log2((n_both + _PRIOR) / (n_expected + _PRIOR))
    return bits


def index_explain_firings(
    pool: PoolBlocks, config: ContextsConfig, *, n_features: int, reach: int, seed: int
) -> FiringIndex:
    """Index a source's firings on the pool's blocks of the explain split.

    Args:
        pool: Sampled blocks with every firing.
        config: How documents are split.
        n_features: Features of the source.
        reach: Tokens before or after one that count as near.
        seed: Of the run.
    """
    blocks = pool.blocks
    is_explain = np.array(
        [group_split(g, seed, config.explain_share, config.select_share) == "explain" for g in blocks.group_ids],
        dtype=np.bool_,
    )
    row, position = np.divmod(pool.at, APART)
    kept = is_explain[row]
    return FiringIndex.build(
        (np.cumsum(is_explain) - 1)[row[kept]],
        position[kept],
        pool.feature[kept],
        Spans(blocks.span_start[is_explain], blocks.span_end[is_explain], blocks.token_ids.shape[1]),
        n_features=n_features,
        reach=reach,
    )


class BeforeAfter:
    """Finds the neighbors of features; see the module.

    Args:
        sources: Of one subject, indexed on the same blocks.
        n_neighbors: On either side, at most.

    Raises:
        SubjectError: If a hook point is none.
    """

    def __init__(self, sources: Sequence[IndexedSource], n_neighbors: int) -> None:
        self._sources = sorted(sources, key=lambda source: (hook_place(source.hook), source.source_id))
        self._n_neighbors = n_neighbors

    def of(self, source_id: str, feature_index: int) -> FiringNeighbors:
        """The neighbors of one feature; none where it never fires on the blocks."""
        own = next(source for source in self._sources if source.source_id == source_id)
        sides: dict[str, list[FiringNeighbor]] = {"upstream": [], "downstream": []}
        for other in self._sources:
            here, there = hook_place(own.hook), hook_place(other.hook)
            if there <= here:
                sides["upstream"] += self._at(own, feature_index, other, "before")
            if there < here:
                sides["upstream"] += self._at(own, feature_index, other, "with")
            if there >= here:
                sides["downstream"] += self._at(own, feature_index, other, "after")
            if there > here:
                sides["downstream"] += self._at(own, feature_index, other, "with")
        return FiringNeighbors(self._strongest(sides["upstream"]), self._strongest(sides["downstream"]))

    def _strongest(self, neighbors: list[FiringNeighbor]) -> tuple[FiringNeighbor, ...]:
        order = {source.source_id: number for number, source in enumerate(self._sources)}
        ranked = sorted(
            neighbors,
            key=lambda of: (-of.association, order[of.source_id], of.feature_index, _PLACES.index(of.place)),
        )
        # One that is near in two ways is named once, for the stronger.
        once = {(of.source_id, of.feature_index): of for of in reversed(ranked)}
        return tuple(of for of in ranked if once[of.source_id, of.feature_index] is of)[: self._n_neighbors]

    def _at(self, own: IndexedSource, feature: int, other: IndexedSource, place: FiringPlace) -> list[FiringNeighbor]:
        n_fired, near = own.index.n_fired(feature), other.index.n_near[place]
        n_both = own.index.count(feature, other.index, place)
        n_expected = n_fired * near / max(own.index.n_tokens, 1)
        bits = association(n_both, n_expected)
        if other is own:
            bits[feature] = 0.0
        strong = np.flatnonzero(bits >= _LEAST_BITS)
        strong = strong[np.argsort(-bits[strong], kind="stable")][: _CANDIDATES_PER_NEIGHBOR * self._n_neighbors]
        n_blocks = own.index.count_blocks(feature, other.index, place, strong)
        return [
            FiringNeighbor(
                source_id=other.source_id,
                feature_index=index,
                place=place,
                n_both=int(n_both[index]),
                n_fired=n_fired,
                n_expected=float(n_expected[index]),
                n_near=int(near[index]),
                n_blocks=n,
                association=float(bits[index]),
            )
            for index, n in zip(strong.tolist(), n_blocks.tolist(), strict=True)
            if n >= _LEAST_BLOCKS
        ]
