"""A scorer of one's own: is the one marked token what the label is about?"""

from collections.abc import Sequence
from pathlib import Path

from autointerp.records import Explanation, FeatureContexts
from autointerp.score import metrics
from autointerp.score.base import BaseScorer
from autointerp.score.detail import Detail, add_confusion
from autointerp.score.judge import Question, Task
from autointerp.score.trials import Answered, Posed, ScoreContexts, shuffled


def marked(contexts: FeatureContexts, key: int) -> tuple[Posed, ...]:
    """Each firing context with one mark, by turns on its peak and on a token on which another feature fires instead."""
    fit = [context for context in contexts.of("score", active=True) if context.decoy]
    posed = []
    for turn, context in enumerate(fit):
        is_peak = turn % 2 == 0
        posed.append(Posed(Question(context, (context.peak if is_peak else context.decoy[0],)), is_peak))
    return shuffled(posed, key)


class PeakScorer(BaseScorer):
    """Grades by balanced accuracy on marked peaks, and on marked decoys."""

    name = "peak"
    task = Task("peak", "example_scorer.txt", Path(__file__))  # the prompt lies beside this file
    metric = "balanced accuracy"
    interval = "MOVER"
    classes = ("contexts with a marked peak", "contexts with a marked decoy")
    needs_silence = False

    def pose(self, explanation: Explanation, contexts: ScoreContexts, key: int) -> tuple[Posed, ...]:
        return marked(contexts.feature, key)

    def measure(
        self, of: Answered, posed: Sequence[Posed], contexts: ScoreContexts, key: int
    ) -> tuple[metrics.Estimate, Detail]:
        headline = metrics.balanced_accuracy(of.confusion)
        assert headline is not None, "both classes have answers"
        detail = Detail()
        add_confusion(detail, of)
        return headline, detail
