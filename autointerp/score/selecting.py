"""The grader that chooses among labels: detection on the select split, by the run's judge.

What it says decides which label a feature gets, and is reported nowhere as a score: scorers use the score split, of
which nothing is asked here.
"""

from autointerp.explain.grading import Grade, Ungraded
from autointerp.identity import fingerprint
from autointerp.llm.metering import tally
from autointerp.records import FeatureContexts, FeatureEvidence
from autointerp.score import metrics
from autointerp.score.detection import build_questions
from autointerp.score.protocol import Judge
from autointerp.score.trials import Undefined, answered, as_solved, feature_key, missing_class

_PURPOSE = "select"


class SelectGrader:
    """A `LabelGrader` that asks a judge.

    Args:
        judge: Answers; what it costs is known if the language model that it asks is a `MeteredModel`.
        seed: Of the questions' order.
    """

    def __init__(self, judge: Judge, seed: int) -> None:
        self._judge = judge
        self._seed = seed
        self.fingerprint = fingerprint(_PURPOSE, 1, seed, judge.fingerprint)

    @property
    def name(self) -> str:
        """The judge's name."""
        return self._judge.name

    async def grade(self, label: str, evidence: FeatureEvidence) -> Grade | Ungraded:
        """Grade one label.

        Raises:
            LanguageModelError: If no further call can succeed.
        """
        contexts = FeatureContexts(
            evidence.source_id,
            evidence.feature_index,
            (*evidence.active, *evidence.silent, *evidence.select_active, *evidence.select_silent),
        )
        key = feature_key(self._seed, _PURPOSE, evidence.source_id, evidence.feature_index)
        posed = build_questions(contexts, "select", key)
        if missing := missing_class(posed, "firing select contexts", "silent select contexts"):
            return Ungraded(missing.message, retry=False)
        solved = as_solved(build_questions(contexts, "explain", key))
        with tally() as spent:
            answers = await self._judge.answer(label, "detection", [p.question for p in posed], solved)
        of = answered(posed, answers)
        if isinstance(of, Undefined):
            reason = of.message if of.raw is None else f"{of.message} ({of.raw})"
            return Ungraded(reason, of.retry, spent.usage.cost_usd)
        accuracy = metrics.balanced_accuracy(of.confusion)
        assert accuracy is not None, "both classes have answers"
        auroc = None if of.probability is None else metrics.auroc(of.truth, of.probability)
        return Grade(
            balanced_accuracy=accuracy.value,
            auroc=None if auroc is None else auroc.value,
            n_trials=len(posed),
            n_unanswered=len(posed) - len(of.posed),
            cost_usd=spent.usage.cost_usd,
        )
