"""Detection: which held-out contexts does the label describe?

1. Questions: every context of the score split, the firing ones and the silent ones of every kind, unmarked, in hashed
   order.
2. The headline is balanced accuracy: the mean of the share of firing contexts that got a yes and the share of silent
   ones that got a no, so it does not depend on how many there are of each.

Eye on: at a feature's true firing rate a balanced accuracy of .9 may mean a precision of .05. `precision_at_base_rate`
and `f1_at_base_rate` in the detail say so, were all silent text like the silent contexts here; the scorer `recall`
grades it on text as it comes. After Bills et al. 2023 and Paulo et al. 2024 (2410.13928).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from autointerp.records import Explanation, FeatureContexts, Split
from autointerp.score import metrics
from autointerp.score.at_base_rate import chance_f1, estimate
from autointerp.score.base import BaseScorer
from autointerp.score.detail import Detail, add_by_kind, add_confusion, context_rate
from autointerp.score.judge import Question, Task
from autointerp.score.tools import ScoreTools
from autointerp.score.trials import Answered, Posed, ScoreContexts, shuffled

DETECTION = Task("detection", "judge_detection", yes_no="yes_no_detection")


class DetectionScorer(BaseScorer):
    """Grades by balanced accuracy on firing and silent contexts; see the module's steps."""

    name = "detection"
    version = 4
    task = DETECTION
    is_corrected = True
    is_refereed = True
    metric = "balanced accuracy"
    interval = "MOVER of neutral posterior intervals of sensitivity and specificity, at effective numbers of trials"
    stops_early = True

    def settings(self, tools: ScoreTools) -> Sequence[Any]:
        """The draws behind precision and F1 at the base rate."""
        return (tools.config.n_bootstrap,)

    def pose(self, explanation: Explanation, contexts: ScoreContexts, key: int) -> tuple[Posed, ...]:
        """Every context of the score split."""
        return build_questions(contexts.feature, "score", key)

    def measure(
        self, of: Answered, posed: Sequence[Posed], contexts: ScoreContexts, key: int
    ) -> tuple[metrics.Estimate, Detail]:
        """Balanced accuracy, and what else the answers tell."""
        rng = np.random.default_rng(key)
        return measure(of, context_rate(contexts, self.config.n_bootstrap, rng), rng)


def build_questions(contexts: FeatureContexts, split: Split, key: int) -> tuple[Posed, ...]:
    """Every context of one split, unmarked, in hashed order."""
    return shuffled([Posed(Question(c), c.is_active) for c in contexts.contexts if c.split == split], key)


def measure(of: Answered, base_rate: metrics.Rate, rng: np.random.Generator) -> tuple[metrics.Estimate, Detail]:
    """Balanced accuracy, and what else the answers tell.

    Args:
        of: Answered questions of both classes.
        base_rate: Share of the corpus's contexts in which the feature fires.
        rng: Of the draws behind precision and F1 at the base rate.
    """
    headline = metrics.balanced_accuracy(of.confusion)
    assert headline is not None, "both classes have answers"
    detail = Detail()
    add_confusion(detail, of)
    add_by_kind(detail, of)
    _add_at_base_rate(detail, of, base_rate, rng)
    return headline, detail


def _add_at_base_rate(detail: Detail, of: Answered, base_rate: metrics.Rate, rng: np.random.Generator) -> None:
    """Precision and F1 at the feature's own rate, and what a yes to everything would get."""
    counts = of.confusion
    hit = metrics.binomial_rate(
        counts.true_positive, counts.n_positive, base_rate.draws.size, rng, counts.positive_worth
    )
    worth = counts.negative_worth
    silent = metrics.Stratum(counts.n_negative, worth * counts.n_negative, worth * counts.false_positive)
    told = estimate(metrics.Recovered(hit, hit), (silent,), base_rate, rng)
    detail.add("base_rate", base_rate)
    detail.add("precision_at_base_rate", told.precision, "the judge never said yes")
    detail.add("f1_at_base_rate", told.f1)
    detail.add("chance_f1_at_base_rate", chance_f1(base_rate))
