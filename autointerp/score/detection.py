"""Detection: which held-out contexts does the label describe?

1. Questions: every context of the score split, the firing ones and the silent ones of every kind, unmarked, in hashed
   order. The judge may set a threshold on the explain split's contexts.
2. The headline is balanced accuracy: the mean of the share of firing contexts that got a yes and the share of silent
   ones that got a no, so it does not depend on how many there are of each.

Eye on: at a feature's true firing rate a balanced accuracy of .9 may mean a precision of .05; `precision_at_base_rate`
says so, and the scorer `recall` grades it. After Bills et al. 2023 and Paulo et al. 2024 (2410.13928).
"""

import numpy as np

from autointerp.config import ScoreConfig
from autointerp.identity import fingerprint
from autointerp.records import SILENT_KINDS, Explanation, Failure, FeatureContexts, Graded, Split
from autointerp.score import metrics
from autointerp.score.protocol import Judge, Question, ScoreEvidence
from autointerp.score.trials import (
    Answered,
    Detail,
    Posed,
    Undefined,
    add_confusion,
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

NAME = "detection"


class DetectionScorer:
    """Grades by balanced accuracy on firing and silent contexts.

    Args:
        judge: Answers the questions.
        config: Its `n_bootstrap` sets the draws behind the interval of the precision at the base rate.
        seed: Of the questions' order.
    """

    name = NAME

    def __init__(self, judge: Judge, config: ScoreConfig, seed: int) -> None:
        self._judge = judge
        self._n_draws = config.n_bootstrap
        self._seed = seed
        self.fingerprint = fingerprint("score", NAME, 1, seed, config.n_bootstrap, judge.fingerprint)

    async def score(self, explanation: Explanation, evidence: ScoreEvidence) -> Graded | Failure:
        """Grade one label; see the module's steps."""
        key = feature_key(self._seed, NAME, explanation.source_id, explanation.feature_index)
        posed = build_questions(evidence.contexts, "score", key)
        if missing := missing_class(posed, "firing contexts", "silent contexts"):
            return to_failure(explanation, NAME, self.fingerprint, missing)
        solved = as_solved(build_questions(evidence.contexts, "explain", key))
        answers = await self._judge.answer(explanation.label, "detection", [p.question for p in posed], solved)
        of = answered(posed, answers)
        if isinstance(of, Undefined):
            return to_failure(explanation, NAME, self.fingerprint, of)
        rng = np.random.default_rng(key)
        headline, detail = measure(of, context_rate(evidence, self._n_draws, rng), rng)
        trials = to_trials(explanation, NAME, self._judge.name, posed, answers)
        score = to_score(explanation, NAME, self._judge.name, headline, trials, detail, self.fingerprint)
        return Graded(score=score, trials=trials)


def build_questions(contexts: FeatureContexts, split: Split, key: int) -> tuple[Posed, ...]:
    """Every context of one split, unmarked, in hashed order."""
    return shuffled([Posed(Question(c), c.is_active) for c in contexts.contexts if c.split == split], key)


def measure(of: Answered, base_rate: metrics.Rate, rng: np.random.Generator) -> tuple[metrics.Estimate, Detail]:
    """Balanced accuracy, and what else the answers tell.

    Args:
        of: Answered questions of both classes.
        base_rate: Share of the corpus's contexts in which the feature fires.
        rng: Of the draws behind the interval of the precision at the base rate.
    """
    headline = metrics.balanced_accuracy(of.confusion)
    assert headline is not None, "both classes have answers"
    detail = Detail("balanced accuracy", "MOVER of neutral posterior intervals of sensitivity and specificity")
    add_confusion(detail, of)
    _add_by_kind(detail, of)
    _add_precision(detail, of, base_rate, rng)
    return headline, detail


def _add_by_kind(detail: Detail, of: Answered) -> None:
    kinds = sorted(SILENT_KINDS & {p.question.context.kind for p in of.posed})
    cells = {kind: of.where(p.question.context.kind == kind for p in of.posed).confusion for kind in kinds}
    detail.add_by(
        "specificity_by_kind",
        {kind: metrics.specificity(c) for kind, c in cells.items()},
        {kind: c.n_negative for kind, c in cells.items()},
    )


def _add_precision(detail: Detail, of: Answered, base_rate: metrics.Rate, rng: np.random.Generator) -> None:
    counts, n_draws = of.confusion, base_rate.draws.size
    precision = metrics.precision_at_base_rate(
        metrics.binomial_rate(counts.true_positive, counts.n_positive, n_draws, rng),
        metrics.binomial_rate(counts.false_positive, counts.n_negative, n_draws, rng),
        base_rate,
    )
    detail.add("base_rate", base_rate)
    detail.add("precision_at_base_rate", precision, "the judge never said yes")
