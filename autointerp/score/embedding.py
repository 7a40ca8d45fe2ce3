"""Embedding: does the label lie closer to the contexts in which the feature fires? No language model.

The headline is the AUROC of the similarity of label and context, over the firing and the silent contexts of the score
split: the probability that a firing context is closer to the label than a silent one. A trial has the similarity as its
`probability` and no verdict. Paulo et al. 2024 (2410.13928): the weakest of the scorers against human ratings
(Spearman .32), and the cheapest.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float32

from autointerp.config import ScoreConfig
from autointerp.identity import fingerprint
from autointerp.records import SILENT_KINDS, Explanation, Failure, FeatureContexts, Graded
from autointerp.score import metrics
from autointerp.score.protocol import Answer, Question, ScoreEvidence
from autointerp.score.trials import (
    Detail,
    Posed,
    feature_key,
    missing_class,
    shuffled,
    to_failure,
    to_score,
    to_trials,
)

NAME = "embedding"


class SimilarityEmbedder(Protocol):
    """What tells how close a label and texts are (`embedder.Embedder`)."""

    @property
    def name(self) -> str:
        """Of the model; stands in `trials.judge`."""
        ...

    @property
    def fingerprint(self) -> str:
        """Of the model and of the way in which similarity is computed."""
        ...

    def similarity(self, label: str, texts: Sequence[str]) -> Float32[np.ndarray, " text"]:
        """One number a text, larger where the label describes it better."""
        ...


class EmbeddingScorer:
    """Grades by AUROC of the similarity of label and context.

    Args:
        embedder: Gives the similarities; stands as the judge.
        config: Of the scorers; nothing in it changes this one.
        seed: Of the trials' order.
    """

    name = NAME

    def __init__(self, embedder: SimilarityEmbedder, config: ScoreConfig, seed: int) -> None:
        self._embedder = embedder
        self._seed = seed
        self.fingerprint = fingerprint("score", NAME, 1, seed, embedder.fingerprint)

    async def score(self, explanation: Explanation, evidence: ScoreEvidence) -> Graded | Failure:
        """Grade one label; see the module's docstring."""
        key = feature_key(self._seed, NAME, explanation.source_id, explanation.feature_index)
        posed = build_questions(evidence.contexts, key)
        if missing := missing_class(posed, "firing contexts", "silent contexts"):
            return to_failure(explanation, NAME, self.fingerprint, missing)
        similarity = self._embedder.similarity(explanation.label, [p.question.context.text for p in posed])
        answers = [Answer(verdict=None, probability=float(s)) for s in similarity]
        trials = to_trials(explanation, NAME, self._embedder.name, posed, answers)
        headline, detail = measure(posed, similarity)
        score = to_score(explanation, NAME, self._embedder.name, headline, trials, detail, self.fingerprint)
        return Graded(score=score, trials=trials)


def build_questions(contexts: FeatureContexts, key: int) -> tuple[Posed, ...]:
    """Every context of the score split, in hashed order."""
    return shuffled([Posed(Question(c), c.is_active) for c in contexts.contexts if c.split == "score"], key)


def measure(posed: tuple[Posed, ...], similarity: Float32[np.ndarray, " trial"]) -> tuple[metrics.Estimate, Detail]:
    """AUROC over all silent contexts, and against each kind of them alone."""
    truth = np.array([p.truth for p in posed], dtype=bool)
    kind = np.array([p.question.context.kind for p in posed])
    headline = metrics.auroc(truth, similarity)
    assert headline is not None, "both classes have trials"
    detail = Detail("AUROC", "Newcombe's score interval on Hanley and McNeil's variance")
    detail.add("n_positive", int(truth.sum()))
    detail.add("n_negative", int((~truth).sum()))
    detail.add("mean_similarity_positive", float(similarity[truth].mean(dtype=np.float64)))
    detail.add("mean_similarity_negative", float(similarity[~truth].mean(dtype=np.float64)))
    cells: dict[str, Bool[np.ndarray, " trial"]] = {
        name: ~truth & (kind == name) for name in sorted(SILENT_KINDS) if bool(np.any(~truth & (kind == name)))
    }
    detail.add_by(
        "auroc_by_kind",
        {name: metrics.auroc(truth[truth | of_kind], similarity[truth | of_kind]) for name, of_kind in cells.items()},
        {name: int(of_kind.sum()) for name, of_kind in cells.items()},
    )
    return headline, detail
