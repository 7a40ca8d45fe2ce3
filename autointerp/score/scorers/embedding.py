"""Embedding: does the label lie closer to the contexts in which the feature fires? No language model.

The headline is the AUROC of the similarity of label and context, over the firing and the silent contexts of the score
split: the probability that a firing context is closer to the label than a silent one. A trial has the similarity as its
`probability` and no verdict. Paulo et al. 2024 (2410.13928): the weakest of the scorers against human ratings
(Spearman .32), and the cheapest.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from autointerp.embedder import LabelEmbedder
from autointerp.records import SILENT_KINDS, Explanation
from autointerp.score import metrics
from autointerp.score.base import BaseScorer
from autointerp.score.detail import Detail
from autointerp.score.judge import Answer, Answers, Case, Task
from autointerp.score.scorers.detection import build_questions
from autointerp.score.tools import ScoreTools
from autointerp.score.trials import Answered, Posed, ScoreContexts


class SimilarityJudge:
    """A `Judge` that gives the similarity of label and context, and no verdict.

    Args:
        embedder: Gives the similarities; its name is the judge's.
    """

    is_free = True

    def __init__(self, embedder: LabelEmbedder) -> None:
        self._embedder = embedder
        self.name = embedder.name

    def fingerprint(self, task: Task) -> str:
        """Of the embedder."""
        return self._embedder.fingerprint

    def prepare(self, labels: Sequence[str], texts: Sequence[str]) -> None:
        """Embed the words that are new, all at once."""
        self._embedder.learn_words([*labels, *texts])

    async def answer(self, task: Task, cases: Sequence[Case]) -> list[Answers]:
        """The similarity of each context."""
        return [self._answer(case) for case in cases]

    def _answer(self, case: Case) -> Answers:
        similarity = self._embedder.similarity(case.label, [q.context.text for q in case.questions])
        return Answers([Answer(verdict=None, probability=float(s)) for s in similarity])


class EmbeddingScorer(BaseScorer):
    """Grades by AUROC of the similarity of label and context; see the module's docstring."""

    name = "embedding"
    version = 3
    task = Task("embedding", "judge_detection")
    metric = "AUROC"
    interval = "Newcombe's score interval on Hanley and McNeil's variance, at effective numbers of trials"
    asks_judge = False

    def make_judge(self, tools: ScoreTools) -> SimilarityJudge:
        """The embedder."""
        return SimilarityJudge(tools.embedder())

    def pose(self, explanation: Explanation, contexts: ScoreContexts, key: int) -> tuple[Posed, ...]:
        """Every context of the score split."""
        return build_questions(contexts.feature, "score", key)

    def measure(
        self, of: Answered, posed: Sequence[Posed], contexts: ScoreContexts, key: int
    ) -> tuple[metrics.Estimate, Detail]:
        """AUROC over all silent contexts, and against each kind of them alone."""
        assert of.probability is not None, "every question has a similarity"
        return measure(of, of.probability)


def measure(
    of: Answered, similarity: Float64[np.ndarray, " trial"], name: str = "similarity"
) -> tuple[metrics.Estimate, Detail]:
    """AUROC over all silent contexts, and against each kind of them alone; the means under the similarity's name."""
    truth = of.truth
    kind = np.array([p.question.context.kind for p in of.posed])
    headline = metrics.auroc(truth, similarity, of.cluster)
    assert headline is not None, "both classes have trials"
    detail = Detail()
    detail.add("n_positive", int(truth.sum()))
    detail.add("n_negative", int((~truth).sum()))
    detail.add(f"mean_{name}_positive", float(similarity[truth].mean(dtype=np.float64)))
    detail.add(f"mean_{name}_negative", float(similarity[~truth].mean(dtype=np.float64)))
    kinds = sorted(SILENT_KINDS & set(kind[~truth].tolist()))
    against = {silent: truth | (kind == silent) for silent in kinds}
    detail.add_by(
        "auroc_by_kind",
        {silent: metrics.area(truth[these], similarity[these]) for silent, these in against.items()},
        {silent: int(np.sum(these & ~truth)) for silent, these in against.items()},
    )
    return headline, detail
