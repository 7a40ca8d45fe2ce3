"""Rule: what a label that can be executed is truly worth on the windows of the score split. No judge, no LLM.

1. The label is read as a rule (`rules.sentence`), and the rule is carried out on every held-out tile of the pool and on
   every held-out firing context. Nothing is estimated but the corpus: there is no judge whose errors could be in it.
2. The headline is F1 at the natural base rate, put together as in `recall`, so the two can be compared.
3. Beside it stands the correlation, over the tiles, of firing and of the rule (Matthews, of which 2506.05774 says that
   it marks down labels that are too broad and labels that are too narrow).

A label that is no rule has the failure `NoRule`, which no further try can mend.
"""

from collections.abc import Sequence

from autointerp.records import Explanation
from autointerp.rules.sentence import read_rule
from autointerp.score import metrics
from autointerp.score.confusion import confusion
from autointerp.score.detail import Detail
from autointerp.score.judge import Judge
from autointerp.score.judges.rule import NO_RULE, RuleJudge
from autointerp.score.scorers.recall import RecallScorer
from autointerp.score.tools import ScoreTools
from autointerp.score.trials import Answered, Posed, ScoreContexts, Undefined


class RuleScorer(RecallScorer):
    """Grades labels of the explainer `rules` by carrying them out; see the module."""

    name = "rule"
    version = 1
    metric = "F1 at the natural base rate, of activation-mass recall and precision of a rule"
    asks_judge = False

    def make_judge(self, tools: ScoreTools) -> Judge:
        """The judge that carries rules out."""
        return RuleJudge()

    def pose(self, explanation: Explanation, contexts: ScoreContexts, key: int) -> tuple[Posed, ...] | Undefined:
        """As in recall, of a label that is a rule."""
        if read_rule(explanation.label) is None:
            return Undefined("NoRule", f"{NO_RULE}: {explanation.label!r}", retry=False)
        return super().pose(explanation, contexts, key)

    def measure(
        self, of: Answered, posed: Sequence[Posed], contexts: ScoreContexts, key: int
    ) -> tuple[metrics.Estimate, Detail]:
        """As in recall, and the correlation over the tiles."""
        headline, detail = super().measure(of, posed, contexts, key)
        assert of.texts is not None, "the judge is free"
        pool = contexts.pool
        fires = pool.peaks(contexts.feature.feature_index)[pool.is_score] > 0
        detail.add("correlation", metrics.matthews(confusion(fires, of.texts)), "it holds of all tiles, or of none")
        return headline, detail
