"""A scorer of one's own: is the one token in the middle of a mark what the label is about?"""

from collections.abc import Sequence
from pathlib import Path

from autointerp.records import Explanation, FeatureContexts, Split
from autointerp.score import metrics
from autointerp.score.base import BaseScorer
from autointerp.score.detail import Detail, add_confusion
from autointerp.score.judge import Question, Task
from autointerp.score.trials import Answered, Posed, ScoreContexts, shuffled


def marked(contexts: FeatureContexts, split: Split, key: int) -> tuple[Posed, ...]:
    """Each context with its token at three quarters marked: a peak where it fires, and never where it is silent."""
    posed = []
    for context in contexts.contexts:
        offset = 3 * len(context.tokens) // 4
        if context.split == split and (not context.is_active or context.peak == offset):
            posed.append(Posed(Question(context, (offset,)), context.is_active))
    return shuffled(posed, key)


class PeakScorer(BaseScorer):
    """Grades by balanced accuracy on marked peaks, and on tokens at the same place in silent contexts."""

    name = "peak"
    task = Task("peak", "example_scorer.txt", Path(__file__))  # the prompt lies beside this file
    metric = "balanced accuracy"
    interval = "MOVER"

    def pose(self, explanation: Explanation, contexts: ScoreContexts, key: int) -> tuple[Posed, ...]:
        return marked(contexts.feature, "score", key)

    def solve(self, contexts: FeatureContexts, key: int) -> tuple[Posed, ...]:
        return marked(contexts, "explain", key)

    def measure(
        self, of: Answered, posed: Sequence[Posed], contexts: ScoreContexts, key: int
    ) -> tuple[metrics.Estimate, Detail]:
        headline = metrics.balanced_accuracy(of.confusion)
        assert headline is not None, "both classes have answers"
        detail = Detail()
        add_confusion(detail, of)
        return headline, detail
