"""Natural: how closely do the judge's answers follow the feature over windows as they come?

The population is the held-out text cut into windows, most of them silent: what a label is used on. Windows are drawn by
importance, and each counts by one over the probability with which it was drawn (`trials.weight`, on one scale for all),
so that the measures are those of the population (`score.natural`), at a fraction of the windows.

1. Firing windows that hold the peak of their block: the firing contexts of the score split, a uniform sample of the
   blocks in which the feature fires, a weight for each activation quantile.
2. Firing windows elsewhere in such blocks: the pool's tiles of the score split in which the feature fires without its
   block's peak, drawn uniformly, as many for each context as the pool has for each peak. Few features have any.
3. Silent windows: the pool's silent tiles of the score split, as in recall, in the order of their closeness to the
   label. The closest fifth is cut into strata of growing size, each asked about as often; what lies behind makes one
   more, which gets half the questions. So of 1,000 windows and 40 questions the closest are asked about forty times as
   densely as those behind, and no window's chance is zero.
4. The base rate b, the share of windows in which the feature fires, is that of recall.
5. A judge who is free is asked about every tile of the score split. These then take the place of 2 and 3, and stand
   beside the contexts of 1. All of it can be computed again from the answers in the detail.

The headline is the correlation of firing (1 or 0) and the judge's yes (1 or 0), cut at 0: of a label that says what the
feature does it is 1, and of one that has nothing to do with it 0, at every base rate, "any text" included. It falls
both for labels too broad and for labels too narrow, as F1 and the area under the precision-recall curve do
(2506.05774); but a meaningless label has 2 b / (1 + b) of the one and b of the other, so these can't be compared
between features. They stand in the detail, with their chance values. The correlation is one of verdicts: a judge that
gives 5 % to one silent window and 10 % to another would else be marked down for it, the more the rarer the firing. That
of activation and probability, after Bills et al. 2023, stands in the detail too; a judge who gives verdicts only can't
reach 1 there.

A rare feature needs a tiny share of false alarms, which some dozen windows can't tell from none: the interval says so.
`benchmarks/natural.md` has the bias, the coverage and the windows that uniform drawing would need.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from autointerp.identity import in_keyed_order
from autointerp.records import Context, Explanation
from autointerp.score import metrics
from autointerp.score.at_base_rate import chance_f1
from autointerp.score.clusters import numbered
from autointerp.score.detail import Detail, context_rate
from autointerp.score.judge import Question
from autointerp.score.natural import Windows, tell
from autointerp.score.pool_scorer import PoolScorer, nearest_first
from autointerp.score.tools import ScoreTools
from autointerp.score.trials import Answered, Posed, ScoreContexts, shuffled

PEAK, ELSEWHERE, SILENT = "peak", "elsewhere", "silent"
_N_STRATA = 4
_LIKELY_SHARE = 0.2
# Tiles that say how many firing windows hold no peak are outweighed by as many that say none.
_PRIOR_TILES = 4.0
_STEPS_PER_UNIT = 10
_MIDDLE = 128


class NaturalScorer(PoolScorer):
    """Grades by the correlation of firing and yes over windows as they come; see the module's steps."""

    name = "natural"
    metric = "correlation of firing and yes at the natural base rate"
    interval = "Bayesian bootstrap by group of documents, of each part of the windows"

    def settings(self, tools: ScoreTools) -> Sequence[Any]:
        """How many silent tiles are asked about, the draws behind the intervals, and what retrieves."""
        return (tools.config.n_natural, tools.config.n_bootstrap, self.retrieved_by)

    def pose(self, explanation: Explanation, contexts: ScoreContexts, key: int) -> tuple[Posed, ...]:
        """Firing contexts of the score split, other firing tiles, and silent tiles."""
        return build_questions(contexts, self.closeness(explanation.label, contexts.pool), self.config.n_natural, key)

    def measure(
        self, of: Answered, posed: Sequence[Posed], contexts: ScoreContexts, key: int
    ) -> tuple[metrics.Estimate, Detail]:
        """The correlation of firing and yes, and what else the answers tell."""
        rng = np.random.default_rng(key)
        rate = context_rate(contexts, self.config.n_bootstrap, rng)
        counts = of.confusion
        windows = asked_windows(of, posed) if of.texts is None else every_window(of, contexts)
        headline, detail = measure(windows, rate, rng)
        detail.add("n_positive", counts.n_positive)
        detail.add("n_negative", counts.n_negative)
        detail.add("n_left_out", contexts.silent_tiles.n_left_out)
        if of.texts is not None:
            detail.add("n_tiles_judged", of.texts.size)
            detail.add_note("tile_verdicts", np.packbits(of.texts).tobytes().hex())
            if of.text_probabilities is not None:
                detail.add_note("tile_log_odds", log_odds(of.text_probabilities).tobytes().hex())
        return headline, detail


def build_questions(
    contexts: ScoreContexts, closeness: Float32[np.ndarray, " tile"], n_silent: int, key: int
) -> tuple[Posed, ...]:
    """Windows of each part, with their weights, unmarked, in hashed order.

    Args:
        contexts: Of the feature.
        closeness: Of the label and each tile.
        n_silent: Silent tiles that are drawn.
        key: Of the draws and the order.
    """
    feature, pool, silent = contexts.feature.feature_index, contexts.pool, contexts.silent_tiles.eligible
    firing = contexts.feature.of("score", active=True)
    closest = nearest_first(silent, closeness)
    posed = []
    for number, (first, last, n) in enumerate(silent_strata(silent.size, n_silent)):
        drawn = in_keyed_order(key, closest[first:last])[:n]
        weight, part = (last - first) / drawn.size, f"{SILENT} {number}"
        posed += [Posed(Question(c), False, weight, part) for c in pool.silent_contexts(drawn, feature)]
    rate = context_rate(contexts, 1, np.random.default_rng(0)).value
    n_firing = silent.size * rate / (1 - rate)
    others = np.flatnonzero(pool.is_score & (pool.peaks(feature) > 0) & ~pool.holds_peak(feature))
    share = elsewhere_share(contexts) if others.size else 0.0
    drawn = in_keyed_order(key, others)[: round(len(firing) * min(1.0, share / (1 - share)))]
    share = share if drawn.size else 0.0
    posed += [
        Posed(Question(pool.context(int(tile), feature)), True, n_firing * share / drawn.size, ELSEWHERE)
        for tile in drawn
    ]
    weights = n_firing * (1 - share) * quantile_weights(firing)
    posed += [Posed(Question(c), True, float(weight), PEAK) for c, weight in zip(firing, weights, strict=True)]
    return shuffled(posed, key)


def silent_strata(n_tiles: int, n_asked: int) -> list[tuple[int, int, int]]:
    """Cut silent tiles, the closest first, into strata; see step 3 of the module.

    Args:
        n_tiles: Tiles.
        n_asked: Of these, so many are drawn.

    Returns:
        The first tile of each stratum, the first behind it, and how many of it are drawn: at least one.
    """
    n_each = n_asked // (2 * _N_STRATA)
    if n_tiles <= n_asked or n_each == 0:
        return [(0, n_tiles, min(n_tiles, n_asked))] if n_tiles else []
    growth = max(1.0, _LIKELY_SHARE * n_tiles / n_each) ** (1 / (_N_STRATA - 1))
    strata, first = [], 0
    for turn in range(_N_STRATA):
        last = max(first + n_each, round(n_each * growth**turn))
        strata.append((first, last, n_each))
        first = last
    return [*strata, (first, n_tiles, n_asked - _N_STRATA * n_each)]


def elsewhere_share(contexts: ScoreContexts) -> float:
    """Share of the feature's firing windows that do not hold the peak of their block, below 1; from the whole pool."""
    feature = contexts.feature.feature_index
    n_firing = int(np.sum(contexts.pool.peaks(feature) > 0))
    return (n_firing - int(contexts.pool.holds_peak(feature).sum())) / (n_firing + _PRIOR_TILES)


def quantile_weights(contexts: Sequence[Context]) -> Float64[np.ndarray, " context"]:
    """A weight for each context, all of a quantile together as much as of another; their sum is 1."""
    quantiles = [context.quantile for context in contexts]
    weights = np.array([1 / quantiles.count(quantile) for quantile in quantiles])
    normed: Float64[np.ndarray, " context"] = weights / weights.sum()
    return normed


def asked_windows(of: Answered, posed: Sequence[Posed]) -> Windows:
    """The windows that were asked about one by one, and answered.

    Args:
        of: The answers; each part has one.
        posed: All that were asked, whose weights say what share each part has.
    """
    parts = sorted({p.part for p in posed})
    truth = {p.part: p.truth for p in posed}
    total = {part: sum(p.weight for p in posed if p.part == part) for part in parts}
    class_total = {one: sum(total[part] for part in parts if truth[part] == one) for one in (True, False)}
    contexts = [p.question.context for p in of.posed]
    return Windows(
        is_firing=of.truth,
        verdict=of.verdict,
        belief=of.verdict.astype(np.float64) if of.probability is None else of.probability,
        activation=np.array([sum(c.activations) for c in contexts], dtype=np.float64),
        part=np.array([parts.index(p.part) for p in of.posed], dtype=np.int64),
        weight=np.array([p.weight for p in of.posed]),
        group=of.cluster,
        share=np.array([total[part] / class_total[truth[part]] for part in parts]),
    )


def every_window(of: Answered, contexts: ScoreContexts) -> Windows:
    """The firing contexts that were answered, and every tile of the score split that repeats no other split."""
    assert of.texts is not None
    pool, feature = contexts.pool, contexts.feature.feature_index
    asked = of.where(p.part == PEAK for p in of.posed)
    tiles = np.flatnonzero(pool.is_score)
    masses = pool.masses(feature)[tiles]
    kept = (masses > 0) | np.isin(tiles, contexts.silent_tiles.eligible)
    tiles, masses, verdict = tiles[kept], masses[kept], of.texts[kept]
    belief = verdict.astype(np.float64)
    of_context = asked.verdict.astype(np.float64)
    if of.text_probabilities is not None and asked.probability is not None:
        belief, of_context = (rounded(p) for p in (of.text_probabilities[kept], asked.probability))
    part = np.where(masses <= 0, 2, np.where(pool.holds_peak(feature)[tiles], 0, 1))
    share = elsewhere_share(contexts) if np.any(part == 1) else 0.0
    firing = [p.question.context for p in asked.posed]
    n = len(firing)
    return Windows(
        is_firing=np.concatenate([np.ones(n, dtype=bool), masses > 0]),
        verdict=np.concatenate([asked.verdict, verdict]),
        belief=np.concatenate([of_context, belief]),
        activation=np.concatenate([[sum(c.activations) for c in firing], masses]),
        part=np.concatenate([np.zeros(n, dtype=np.int64), part if share else np.minimum(part, 1)]),
        weight=np.concatenate([n * quantile_weights(firing), np.ones(tiles.size)]),
        group=numbered([*(c.group_id for c in firing), *(pool.group_ids[t] for t in tiles)]),
        share=np.array([1 - share, share, 1.0] if share else [1.0, 1.0]),
    )


def log_odds(probability: Float64[np.ndarray, " text"]) -> UInt8[np.ndarray, " text"]:
    """Log odds in tenths, as a byte each, 128 being even ones."""
    with np.errstate(divide="ignore"):
        steps = np.round(_STEPS_PER_UNIT * (np.log(probability) - np.log1p(-probability)))
    in_a_byte: UInt8[np.ndarray, " text"] = np.clip(steps + _MIDDLE, 0, 255).astype(np.uint8)
    return in_a_byte


def rounded(probability: Float64[np.ndarray, " text"]) -> Float64[np.ndarray, " text"]:
    """Probabilities as they come back from what the detail keeps of them."""
    steps = log_odds(probability).astype(np.float64) - _MIDDLE
    return np.asarray(1.0 / (1.0 + np.exp(-steps / _STEPS_PER_UNIT)), dtype=np.float64)


def measure(windows: Windows, base_rate: metrics.Rate, rng: np.random.Generator) -> tuple[metrics.Estimate, Detail]:
    """The correlation of firing and yes, the other measures, and each as it is of the weighted windows.

    Args:
        windows: At least one firing and one silent.
        base_rate: Share of windows in which the feature fires.
        rng: Of the draws behind the intervals.
    """
    seen, told = tell(windows, base_rate, rng)
    detail = Detail()
    detail.add("chance", 0.0)
    for name, one in told.items():
        if name != "correlation":
            detail.add(name, one)
    detail.add("chance_f1", chance_f1(base_rate))
    detail.add("chance_auprc", base_rate.value)
    detail.add("base_rate", base_rate)
    detail.add_numbers("as_weighted", {name: getattr(seen, name).value for name in told})
    return told["correlation"], detail
