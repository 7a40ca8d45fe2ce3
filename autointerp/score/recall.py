"""Recall: how much of what the feature does does the label cover, and how much does it claim beside?

1. Firing contexts: all of the score split. They come from the uniform sample of the blocks in which the feature fires,
   equally many from each of quantiles that hold equally many blocks, so they follow the natural distribution over
   firing blocks and need no weights. Recall of mass is the sum of activations in those that got a yes over the sum in
   all.
2. Silent contexts: tiles of the pool, a uniform sample of the corpus, of the score split, on which the feature is
   known to be silent, without those that nearly repeat a context of the explain split. Those closest to the label by
   embedding are the likely false positives: all of them are judged (inclusion probability 1). Of the rest a uniform
   draw is judged, each standing for N / n of them. The share of silent text that gets a yes, f, is the
   Horvitz-Thompson estimate over both parts. That a tile fires is known without a judge, so no question is spent on
   it.
3. The base rate b, the share of contexts in which the feature fires, comes from the whole pool and the feature's exact
   density. Precision among contexts as they come is b h / (b h + (1 - b) f), h being the share of firing contexts
   with a yes.
4. The headline is F1, the harmonic mean of that precision and of the recall of mass. Recall alone would give 1 to the
   label "any text"; F1 gives it 2 b / (1 + b). Of the measures that 2506.05774 tests, F1 at the natural base rate is
   one of the few that mark down labels that are too broad and labels that are too narrow. Both components stand in the
   detail with their intervals.

There is one firing context a block, the one around the block's peak, while the base rate and f are shares of tiles.
Where a feature fires several times a block, its weaker windows are therefore never asked about, and a label that
describes the strong ones only loses nothing by them: recall, h and so precision come out too high. How much depends on
the feature; for one that fires once a block there is no such bias. Firing text is weighed block by block, not window by
window, for the same reason.

A rare feature needs a tiny f, which a few dozen judged tiles can't tell from 0: the interval says so, and it is wide.
Compare F1 between labels of one feature, not between features of different density.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from autointerp.config import ScoreConfig
from autointerp.contexts.pool import PoolTiles, TextEmbedder
from autointerp.identity import fingerprint, keyed_hash
from autointerp.records import Explanation, Failure, FeatureContexts, Graded
from autointerp.score import metrics
from autointerp.score.detection import build_questions as build_detection_questions
from autointerp.score.protocol import Judge, Question, ScoreEvidence
from autointerp.score.trials import (
    Answered,
    Detail,
    Posed,
    Undefined,
    add_by_quantile,
    answered,
    as_solved,
    context_rate,
    feature_key,
    missing_class,
    shuffled,
    to_failure,
    to_score,
    to_trials,
)

NAME = "recall"
FIRING, LIKELY, REST = "firing", "likely", "rest"


class RecallScorer:
    """Grades by F1 of activation-mass recall and precision at the natural base rate.

    Args:
        judge: Answers the questions.
        embedder: Retrieves likely false positives.
        config: How many pool tiles are judged, and draws behind the intervals.
        seed: Of the tiles drawn, the questions' order and the intervals.
    """

    name = NAME

    def __init__(self, judge: Judge, embedder: TextEmbedder, config: ScoreConfig, seed: int) -> None:
        self._judge = judge
        self._embedder = embedder
        self._config = config
        self._seed = seed
        counts = (config.n_recall_candidates, config.n_recall_random, config.n_bootstrap)
        self.fingerprint = fingerprint("score", NAME, 2, seed, counts, embedder.name, judge.fingerprint)

    async def score(self, explanation: Explanation, evidence: ScoreEvidence) -> Graded | Failure:
        """Grade one label; see the module's steps."""
        key = feature_key(self._seed, NAME, explanation.source_id, explanation.feature_index)
        pool = evidence.pool
        similarity = pool.embeddings(self._embedder) @ self._embedder.embed([explanation.label])[0]
        silent = silent_tiles(evidence.contexts, pool)
        posed = build_questions(evidence.contexts, pool, silent.eligible, similarity, self._config, key)
        if missing := missing_class(posed, "firing contexts", "pool contexts in which the feature is silent"):
            return to_failure(explanation, NAME, self.fingerprint, missing)
        solved = as_solved(build_detection_questions(evidence.contexts, "explain", key))
        answers = await self._judge.answer(explanation.label, "detection", [p.question for p in posed], solved)
        of = answered(posed, answers)
        if isinstance(of, Undefined):
            return to_failure(explanation, NAME, self.fingerprint, of)
        rng = np.random.default_rng(key)
        strata = build_strata(posed, of)
        headline, detail = measure(of, strata, context_rate(evidence, self._config.n_bootstrap, rng), rng)
        detail.add("n_left_out", silent.n_left_out)
        detail.add("n_firing_tiles", int(np.sum(pool.peaks(explanation.feature_index) > 0)))
        detail.add("n_tiles", pool.n_tiles)
        trials = to_trials(explanation, NAME, self._judge.name, posed, answers)
        drawn = tuple(p.question.context for p in posed if p.part != FIRING)
        score = to_score(explanation, NAME, self._judge.name, headline, trials, detail, self.fingerprint)
        return Graded(score=score, trials=trials, contexts=drawn)


@dataclass(frozen=True, slots=True)
class SilentTiles:
    """The silent text of the score split that a label can be tried on.

    Attributes:
        eligible: Tiles, ascending.
        n_left_out: Silent tiles of the score split that nearly repeat a context of another split.
    """

    eligible: Int64[np.ndarray, " eligible"]
    n_left_out: int


def silent_tiles(contexts: FeatureContexts, pool: PoolTiles) -> SilentTiles:
    """The tiles of the score split on which a feature is silent, without near-duplicates of its other splits."""
    silent = pool.is_score & (pool.peaks(contexts.feature_index) <= 0)
    seen = [context for context in contexts.contexts if context.split != "score"]
    repeated = silent & pool.repeats(seen)
    return SilentTiles(np.flatnonzero(silent & ~repeated), int(repeated.sum()))


def build_questions(
    contexts: FeatureContexts,
    pool: PoolTiles,
    silent: Int64[np.ndarray, " eligible"],
    similarity: Float32[np.ndarray, " tile"],
    config: ScoreConfig,
    key: int,
) -> tuple[Posed, ...]:
    """The firing contexts of the score split and silent pool tiles, in hashed order, unmarked.

    Args:
        contexts: Of the feature.
        pool: Tiles with the truth.
        silent: Tiles to choose from, from `silent_tiles`.
        similarity: Of the label and each tile.
        config: How many tiles are retrieved, and how many drawn from the rest.
        key: Of the draw and the order.
    """
    feature = contexts.feature_index
    posed = [Posed(Question(c), True, part=FIRING) for c in contexts.of("score", active=True)]
    nearest_first = silent[np.lexsort((silent, -similarity[silent]))]
    likely, rest = np.split(nearest_first, [config.n_recall_candidates])
    drawn = rest[np.argsort(keyed_hash(key, rest), kind="stable")][: config.n_recall_random]
    posed += [Posed(Question(pool.context(int(t), feature)), False, part=LIKELY) for t in likely]
    posed += [
        Posed(Question(pool.context(int(t), feature)), False, weight=rest.size / drawn.size, part=REST) for t in drawn
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


def measure(
    of: Answered, strata: tuple[metrics.Stratum, ...], base_rate: metrics.Rate, rng: np.random.Generator
) -> tuple[metrics.Estimate, Detail]:
    """F1 at the natural base rate, its components, and recall by quantile.

    Args:
        of: Answered questions, firing and silent.
        strata: The parts of the silent text.
        base_rate: Share of the corpus's contexts in which the feature fires.
        rng: Of the draws behind the intervals.
    """
    firing = of.where(of.truth)
    mass = np.array([sum(p.question.context.activations) for p in firing.posed], dtype=np.float64)
    recovered = metrics.recovered(firing.verdict, mass, base_rate.draws.size, rng)
    false_alarm = metrics.stratified_rate(strata, base_rate.draws.size, rng)
    headline = metrics.f1_at_base_rate(recovered.mass, recovered.contexts, false_alarm, base_rate)
    precision = metrics.precision_at_base_rate(recovered.contexts, false_alarm, base_rate)

    detail = Detail(
        "F1 at the natural base rate, of activation-mass recall and precision",
        "Bayesian bootstrap of firing contexts, neutral posteriors of the other rates",
    )
    detail.add("mass_recall", recovered.mass)
    detail.add("context_recall", recovered.contexts)
    detail.add("precision", precision, "the judge never said yes")
    detail.add("false_alarm_rate", false_alarm)
    detail.add("base_rate", base_rate)
    detail.add("n_positive", of.confusion.n_positive)
    detail.add("n_negative", of.confusion.n_negative)
    detail.add("n_silent_tiles", sum(s.size for s in strata))
    add_by_quantile(detail, of)
    detail.add_numbers("mass_recall_by_quantile", mass_recall_by_quantile(firing, mass))
    return headline.estimate, detail


def mass_recall_by_quantile(firing: Answered, mass: Float64[np.ndarray, " trial"]) -> dict[str, float]:
    """Share of activation mass recovered in each activation quantile, 0 lowest."""
    quantiles = np.array([-1 if (q := p.question.context.quantile) is None else q for p in firing.posed])
    return {
        str(q): float(mass[(quantiles == q) & firing.verdict].sum() / mass[quantiles == q].sum())
        for q in np.unique(quantiles[quantiles >= 0])
    }
