"""Planted features with their contexts, through the stage `contexts`; an oracle judges their labels for each scorer."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from autointerp.config import CollectConfig, ContextsConfig, ScoreConfig
from autointerp.contexts.build import ContextInputs, build_contexts
from autointerp.contexts.negatives import SilentPools
from autointerp.contexts.place import OtherPeaks, Places
from autointerp.contexts.pool import PoolTiles
from autointerp.contexts.pool_blocks import PoolBlocks
from autointerp.contexts.pool_windows import draw_windows_of
from autointerp.puzzles.load import Fault
from autointerp.records import Failure, FeatureContexts, ScoreWithTrials
from autointerp.score.base import BaseScorer
from autointerp.score.others import OtherFeatures
from autointerp.score.trials import ScoreContexts
from tests.contexts.world import SOURCE
from tests.contexts.world import BagOfWords as AnyWords
from tests.puzzles.oracle import Oracle
from tests.puzzles.planted import Planted
from tests.score.world import BagOfWords, explanation_of, tools


@dataclass(frozen=True, eq=False)
class Built:
    """Planted features with their contexts.

    Attributes:
        planted: The features and the corpus.
        given: What scorers may use, of each feature that has contexts of every kind.
        failures: Of the features that have too few contexts.
        config: What scorers are made with.
    """

    planted: Planted
    given: Mapping[int, ScoreContexts]
    failures: Mapping[int, Failure]
    config: ScoreConfig
    _scored: dict[tuple[object, ...], dict[int, ScoreWithTrials]] = field(default_factory=dict)

    @classmethod
    def build(cls, planted: Planted, collect: CollectConfig, contexts: ContextsConfig, score: ScoreConfig) -> Self:
        """The contexts of every planted feature."""
        world, pieces = planted.world, planted.pieces
        collected = world.collected(collect)
        statistics = collected.statistics
        n_active_blocks = statistics.n_active_blocks
        pool = PoolBlocks.read(collected.pool, world)
        tiles, peaks = (
            PoolTiles.build(pool, pieces, contexts, collect, seed=0, source_id=SOURCE, n_active_blocks=counts)
            for counts in (None, n_active_blocks)
        )
        pools = SilentPools(tiles, peaks)
        inputs = ContextInputs(
            SOURCE, collected, world, pieces, pools, collect.peak_fraction, BagOfWords(), contexts, 0, ""
        )
        outcomes = list(enumerate(build_contexts(range(len(planted.puzzles)), inputs)))
        density = (statistics.n_active / statistics.n_tokens).tolist()
        n_needed = contexts.min_explain + contexts.min_score
        places = Places(
            OtherPeaks(collected.fired, n_active_blocks >= n_needed, pool, collect.context_length),
            pieces,
            collect.context_length,
            collect.peak_fraction,
            0,
        )

        def windows_of(feature: int) -> PoolTiles | None:
            if n_active_blocks[feature] == 0:
                return None
            drawn = draw_windows_of(pool, feature, 64, places, collect.context_length, 0)
            return PoolTiles.of_windows(drawn, pool, pieces, contexts, collect.context_length, seed=0, source_id=SOURCE)

        labels = {f: puzzle.label("true").text for f, puzzle in enumerate(planted.puzzles)}
        others = OtherFeatures(lambda: labels, windows_of, AnyWords())
        return cls(
            planted,
            {f: ScoreContexts(o, tiles, density[f], others) for f, o in outcomes if isinstance(o, FeatureContexts)},
            {f: o for f, o in outcomes if isinstance(o, Failure)},
            score,
        )

    def scores(
        self, scorer_class: type[BaseScorer], fault: Fault, *, false_yes: float = 0.0, false_no: float = 0.0
    ) -> dict[int, ScoreWithTrials]:
        """The score of each feature's label of one fault, by an oracle that errs so often."""
        key = (scorer_class, fault, false_yes, false_no)
        if key not in self._scored:
            oracle = Oracle.of(self.planted.puzzles, false_yes=false_yes, false_no=false_no)
            labels = {f: self.planted.puzzles[f].label(fault).text for f in self.given}
            jobs = [(explanation_of(f, labels[f], SOURCE), given) for f, given in self.given.items()]
            outcomes = asyncio.run(scorer_class(tools(oracle, self.config)).score_all(jobs))
            pairs = zip(self.given, outcomes, strict=True)
            self._scored[key] = {f: o for f, o in pairs if isinstance(o, ScoreWithTrials)}
        return self._scored[key]
