"""Planted features with their contexts, through the stage `contexts`; an oracle judges their labels for each scorer."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from autointerp.config import CollectConfig, ContextsConfig, ScoreConfig
from autointerp.contexts.place import Places
from autointerp.contexts.pool import PoolTiles
from autointerp.contexts.pool_windows import draw_windows_of
from autointerp.puzzles.load import Fault
from autointerp.puzzles.plant import SOURCE_ID, PlantedContexts, plant
from autointerp.records import Failure, FeatureContexts, ScoreWithTrials
from autointerp.score.base import BaseScorer
from autointerp.score.others import OtherFeatures
from autointerp.score.trials import ScoreContexts
from tests.contexts.world import BagOfWords as AnyWords
from tests.puzzles.oracle import Oracle
from tests.puzzles.planted import Planted
from tests.score.world import BagOfWords, explanation_of, tools


@dataclass(frozen=True, eq=False)
class Built:
    """Planted features with their contexts.

    Attributes:
        planted: The features and the corpus, with the truth.
        made: The features' contexts.
        given: What scorers may use, of each feature that has contexts of every kind.
        config: What scorers are made with.
    """

    planted: Planted
    made: PlantedContexts
    given: Mapping[int, ScoreContexts]
    config: ScoreConfig
    _scored: dict[tuple[object, ...], dict[int, ScoreWithTrials]] = field(default_factory=dict)

    @classmethod
    def build(cls, planted: Planted, collect: CollectConfig, contexts: ContextsConfig, score: ScoreConfig) -> Self:
        """The contexts of every planted feature."""
        made = plant(
            planted.puzzles,
            planted.shard,
            planted.pieces,
            collect=collect,
            contexts=contexts,
            embedder=BagOfWords(),
            seed=0,
        )
        collected, pool = made.inputs.collected, made.tiles.pool_blocks
        statistics = collected.statistics
        density = (statistics.n_active / statistics.n_tokens).tolist()
        places = Places.of_source(
            collected, pool, planted.pieces, contexts, collect.peak_fraction, seed=0, source_id=SOURCE_ID
        )

        def windows_of(feature: int) -> PoolTiles | None:
            if statistics.n_active_blocks[feature] == 0:
                return None
            drawn = draw_windows_of(pool, feature, 64, places, collect.context_length, 0)
            return PoolTiles.of_windows(
                drawn, pool, planted.pieces, contexts, collect.context_length, seed=0, source_id=SOURCE_ID
            )

        labels = {f: puzzle.label("true").text for f, puzzle in enumerate(planted.puzzles)}
        others = OtherFeatures(lambda: labels, windows_of, AnyWords())
        given = {
            f: ScoreContexts(outcome, made.tiles, density[f], others)
            for f, outcome in enumerate(made.outcomes)
            if isinstance(outcome, FeatureContexts)
        }
        return cls(planted, made, given, score)

    @property
    def failures(self) -> dict[int, Failure]:
        """Of the features that have too few contexts."""
        return {f: outcome for f, outcome in enumerate(self.made.outcomes) if isinstance(outcome, Failure)}

    def scores(
        self, scorer_class: type[BaseScorer], fault: Fault, *, false_yes: float = 0.0, false_no: float = 0.0
    ) -> dict[int, ScoreWithTrials]:
        """The score of each feature's label of one fault, by an oracle that errs so often."""
        key = (scorer_class, fault, false_yes, false_no)
        if key not in self._scored:
            oracle = Oracle.of(self.planted.puzzles, false_yes=false_yes, false_no=false_no)
            labels = {f: self.planted.puzzles[f].label(fault).text for f in self.given}
            jobs = [(explanation_of(f, labels[f], SOURCE_ID), given) for f, given in self.given.items()]
            outcomes = asyncio.run(scorer_class(tools(oracle, self.config)).score_all(jobs))
            pairs = zip(self.given, outcomes, strict=True)
            self._scored[key] = {f: o for f, o in pairs if isinstance(o, ScoreWithTrials)}
        return self._scored[key]
