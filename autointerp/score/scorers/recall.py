"""Recall: how much of what the feature does does the label cover, and how much does it claim beside?

1. Firing contexts: all of the score split. They come from the uniform sample of the blocks in which the feature fires,
   equally many from each of quantiles that hold equally many blocks: one window a block, around its peak.
2. Silent contexts: tiles of the pool, a uniform sample of the corpus, of the score split, on which the feature is
   known to be silent, without those that nearly repeat a context of the explain split. Those closest to the label are
   the likely false positives: all of them are judged (inclusion probability 1). Of the rest a uniform
   draw is judged, each standing for N / n of them. The share of silent text that gets a yes, f, is the
   Horvitz-Thompson estimate over both parts.
3. A judge who is free is asked about every tile of the score split besides, firing or silent, without a trial each.
   Then f is the share of all silent tiles. The firing tiles are windows as they come, also the weak ones that no trial
   is made of, so they take the place of the firing contexts as far as they reach: of n firing tiles, n_c contexts
   together weigh as n_c * 4 / (4 + n) tiles. All of it can be computed again from the verdicts in the detail.
4. Recall of mass is the sum of activations in firing windows that got a yes over the sum in all.
5. The base rate b, the share of contexts in which the feature fires, comes from the whole pool and the feature's exact
   density. Precision among contexts as they come is b h / (b h + (1 - b) f), h being the share of firing windows with
   a yes.
6. The headline is F1, the harmonic mean of that precision and of the recall of mass: an estimate, not the best case
   (`at_base_rate`), as is the precision in the detail. Recall alone would give 1 to the label "any text"; F1 gives it
   2 b / (1 + b), which stands beside it as `chance`. Of the measures that 2506.05774 tests, F1 at the natural base rate
   is one of the few that mark down labels that are too broad and labels that are too narrow.

Where a judge is paid, recall and h are those of the window around a block's peak; what few questions leave open of f is
filled in by a prior, which tells poor labels too high (`benchmarks/recall_bias.md`).

A rare feature needs a tiny f, which a few dozen judged tiles can't tell from 0: the interval says so, and it is wide.
Compare F1 between labels of one feature, not between features of different density.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64

from autointerp.config import ScoreConfig
from autointerp.identity import in_keyed_order
from autointerp.records import Context, Explanation
from autointerp.score import metrics
from autointerp.score.at_base_rate import chance_f1, estimate
from autointerp.score.clusters import effective_share, numbered
from autointerp.score.detail import Detail, add_by_quantile, context_rate
from autointerp.score.judge import Question
from autointerp.score.pool_scorer import PoolScorer, nearest_first
from autointerp.score.tools import ScoreTools
from autointerp.score.trials import Answered, Posed, ScoreContexts, Undefined, shuffled

FIRING, LIKELY, REST = "firing", "likely", "rest"
# Firing tiles from which on they outweigh as many contexts.
_PRIOR_TILES = 4.0


class RecallScorer(PoolScorer):
    """Grades by F1 of activation-mass recall and precision at the natural base rate; see the module's steps."""

    name = "recall"
    version = 7
    metric = "F1 at the natural base rate, of activation-mass recall and precision"
    interval = "Bayesian bootstrap of firing windows by group of documents, posteriors of the other rates"

    def settings(self, tools: ScoreTools) -> Sequence[Any]:
        """How many pool tiles are judged, the draws behind the intervals, and what retrieves."""
        config = tools.config
        counts = (config.n_recall_candidates, config.n_recall_random, config.n_bootstrap)
        return (counts, self.retrieved_by)

    def pose(self, explanation: Explanation, contexts: ScoreContexts, key: int) -> tuple[Posed, ...] | Undefined:
        """Firing contexts of the score split, and silent tiles of the pool."""
        return build_questions(contexts, self.closeness(explanation.label, contexts.pool), self.config, key)

    def measure(
        self, of: Answered, posed: Sequence[Posed], contexts: ScoreContexts, key: int
    ) -> tuple[metrics.Estimate, Detail]:
        """F1 at the natural base rate, and what it is made of."""
        rng = np.random.default_rng(key)
        rate = context_rate(contexts, self.config.n_bootstrap, rng)
        asked = firing_contexts(of)
        if of.texts is None:
            headline, detail = measure(of, asked, build_strata(posed, of), rate, rng)
        else:
            yes = np.zeros(contexts.pool.n_tiles, dtype=bool)
            yes[contexts.pool.is_score] = of.texts
            silent = contexts.silent_tiles.eligible
            windows = with_firing_tiles(asked, contexts, yes)
            headline, detail = measure(of, windows, (silent_stratum(contexts, yes),), rate, rng)
            detail.add("n_tiles_judged", of.texts.size)
            detail.add("n_firing_tiles_judged", windows.verdict.size - asked.verdict.size)
            detail.add("n_silent_yes", int(yes[silent].sum()))
            detail.add_note("tile_verdicts", np.packbits(of.texts).tobytes().hex())
        detail.add("n_left_out", contexts.silent_tiles.n_left_out)
        detail.add("n_firing_tiles", int(np.sum(contexts.pool.peaks(contexts.feature.feature_index) > 0)))
        detail.add("n_tiles", contexts.pool.n_tiles)
        return headline, detail


def build_questions(
    contexts: ScoreContexts, similarity: Float32[np.ndarray, " tile"], config: ScoreConfig, key: int
) -> tuple[Posed, ...]:
    """The firing contexts of the score split and silent pool tiles, in hashed order, unmarked.

    Args:
        contexts: Of the feature.
        similarity: Of the label and each tile.
        config: How many tiles are retrieved, and how many drawn from the rest.
        key: Of the draw and the order.
    """
    feature, pool, silent = contexts.feature.feature_index, contexts.pool, contexts.silent_tiles.eligible
    posed = [Posed(Question(c), True, part=FIRING) for c in contexts.feature.of("score", active=True)]
    likely, rest = np.split(nearest_first(silent, similarity), [config.n_recall_candidates])
    drawn = in_keyed_order(key, rest)[: config.n_recall_random]
    posed += [Posed(Question(c), False, part=LIKELY) for c in pool.silent_contexts(likely, feature)]
    posed += [
        Posed(Question(c), False, weight=rest.size / drawn.size, part=REST)
        for c in pool.silent_contexts(drawn, feature)
    ]
    return shuffled(posed, key)


def build_strata(posed: Sequence[Posed], of: Answered) -> tuple[metrics.Stratum, ...]:
    """The parts of the silent text that were asked about, and what came back; each has an answer."""
    return tuple(
        metrics.Stratum(
            size=round(sum(p.weight for p in posed if p.part == part)),
            n_judged=sum(p.part == part for p in of.posed),
            n_yes=int(of.where(p.part == part for p in of.posed).verdict.sum()),
        )
        for part in (LIKELY, REST)
        if any(p.part == part for p in posed)
    )


@dataclass(frozen=True, slots=True)
class FiringWindows:
    """Windows in which the feature fires, as judged.

    Attributes:
        verdict: The judge's.
        mass: Sum of the feature's activations, above 0.
        weight: Windows of the corpus's own mix that each is worth.
        group: Of each one's document.
    """

    verdict: Bool[np.ndarray, " window"]
    mass: Float64[np.ndarray, " window"]
    weight: Float64[np.ndarray, " window"]
    group: tuple[str, ...]


def firing_contexts(of: Answered) -> FiringWindows:
    """The answered contexts in which the feature fires."""
    firing = of.where(of.truth)
    return firing_windows([p.question.context for p in firing.posed], firing.verdict)


def firing_windows(contexts: Sequence[Context], verdict: Bool[np.ndarray, " window"]) -> FiringWindows:
    """Contexts in which the feature fires, each worth one window, with the judge's verdicts."""
    return FiringWindows(
        verdict,
        np.array([sum(c.activations) for c in contexts], dtype=np.float64),
        np.ones(len(contexts)),
        tuple(c.group_id for c in contexts),
    )


def with_firing_tiles(asked: FiringWindows, contexts: ScoreContexts, yes: Bool[np.ndarray, " tile"]) -> FiringWindows:
    """Firing contexts and the pool's firing tiles, which outweigh them where there are many; see step 3."""
    pool = contexts.pool
    masses = pool.masses(contexts.feature.feature_index)
    tiles = np.flatnonzero(pool.is_score & (masses > 0))
    return FiringWindows(
        np.concatenate([asked.verdict, yes[tiles]]),
        np.concatenate([asked.mass, masses[tiles]]),
        np.concatenate([asked.weight * _PRIOR_TILES / (_PRIOR_TILES + tiles.size), np.ones(tiles.size)]),
        (*asked.group, *(pool.group_ids[t] for t in tiles)),
    )


def silent_stratum(contexts: ScoreContexts, yes: Bool[np.ndarray, " tile"]) -> metrics.Stratum:
    """All silent tiles as one part of the silent text, worth fewer judged ones where groups have several."""
    silent, groups = contexts.silent_tiles.eligible, contexts.pool.group_ids
    share = effective_share(yes[silent].astype(np.float64), numbered(groups[t] for t in silent.tolist()))
    return metrics.Stratum(silent.size, share * silent.size, share * int(yes[silent].sum()))


def measure(
    of: Answered,
    windows: FiringWindows,
    strata: tuple[metrics.Stratum, ...],
    base_rate: metrics.Rate,
    rng: np.random.Generator,
) -> tuple[metrics.Estimate, Detail]:
    """F1 at the natural base rate, its components, and recall by quantile.

    Args:
        of: Answered questions, firing and silent.
        windows: What recall and hits are estimated from.
        strata: The parts of the silent text.
        base_rate: Share of the corpus's contexts in which the feature fires.
        rng: Of the draws behind the intervals.
    """
    firing = of.where(of.truth)
    mass = np.array([sum(p.question.context.activations) for p in firing.posed], dtype=np.float64)
    recovered = metrics.recovered(
        windows.verdict, windows.mass, base_rate.draws.size, rng, numbered(windows.group), windows.weight
    )
    told = estimate(recovered, strata, base_rate, rng)

    detail = Detail()
    detail.add("mass_recall", recovered.mass)
    detail.add("context_recall", recovered.contexts)
    detail.add("precision", told.precision, "the judge never said yes")
    detail.add("chance", chance_f1(base_rate))
    detail.add("false_alarm_rate", told.false_alarm)
    detail.add("base_rate", base_rate)
    detail.add("n_positive", of.confusion.n_positive)
    detail.add("n_negative", of.confusion.n_negative)
    detail.add("n_silent_tiles", sum(s.size for s in strata))
    add_by_quantile(detail, of)
    detail.add_numbers("mass_recall_by_quantile", mass_recall_by_quantile(firing, mass))
    return told.f1, detail


def mass_recall_by_quantile(firing: Answered, mass: Float64[np.ndarray, " trial"]) -> dict[str, float]:
    """Share of activation mass recovered in each activation quantile, 0 lowest."""
    quantiles = np.array([-1 if (q := p.question.context.quantile) is None else q for p in firing.posed])
    return {
        str(q): float(mass[(quantiles == q) & firing.verdict].sum() / mass[quantiles == q].sum())
        for q in np.unique(quantiles[quantiles >= 0])
    }
