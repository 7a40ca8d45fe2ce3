"""The judge without a language model: it says yes where label and text are similar enough.

1. Each question becomes texts. Detection: the context. Fuzzing: each run of marked tokens, widened to whole words.
   Examples that stand in place of a label are read as one: the words under their marks, each an item.
2. A question's similarity is the embedder's similarity of the label and its text; over several runs of marks, the mean.
3. On `solved`, questions of the explain split with known answers, a one-dimensional logistic regression is fitted, the
   two classes weighted alike. Where it gives 1/2 is the threshold: a smooth stand-in for the cut of best balanced
   accuracy, which jumps about when there are a few dozen questions. The weights are those of a Platt scaling (Platt,
   "Probabilistic outputs for support vector machines", 1999) with his targets, those of the smaller class for both, so
   that classes that are told apart perfectly don't give infinite slopes.

Where activations are asked for there is no threshold. A token's activation is the similarity of the label and the
token's word, put to the fourth power: unrelated words have cosines of about a third, and would drown the few that fit.

A label that is less similar to what it describes than to what it doesn't gets the slope that it deserves, 0: yes is
never said because of dissimilarity. Then every answer has probability 1/2, and the verdict is no.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate

import numpy as np
from jaxtyping import Bool, Float64

from autointerp.contexts.render import active_offsets
from autointerp.embedder import LabelEmbedder
from autointerp.identity import fingerprint
from autointerp.records import Context
from autointerp.score.judge import MOST_ACTIVATION, Answer, Answers, Case, Question, Task

_N_NEWTON_STEPS = 50
_SLOPE_PENALTY = 1e-3
_SHARPENING = 4


@dataclass(frozen=True, slots=True)
class Calibration:
    """A logistic regression on one similarity.

    Attributes:
        slope: Log odds per unit of similarity, >= 0.
        threshold: Similarity at which the odds are even; infinite where the slope is 0.
    """

    slope: float
    threshold: float

    def probability(self, similarity: Float64[np.ndarray, " question"]) -> Float64[np.ndarray, " question"]:
        """Probability of yes, were both answers equally frequent."""
        if self.slope == 0.0:
            return np.full(similarity.shape, 0.5)
        log_odds = np.clip(self.slope * (similarity - self.threshold), -30.0, 30.0)
        probability: Float64[np.ndarray, " question"] = 1.0 / (1.0 + np.exp(-log_odds))
        return probability


class LocalJudge:
    """Answers by similarity; see the module's steps.

    Args:
        embedder: Gives the similarities.
    """

    name = "local"
    is_free = True
    simulates = True

    def __init__(self, embedder: LabelEmbedder) -> None:
        self._embedder = embedder

    def fingerprint(self, task: Task) -> str:
        """Of the embedder; every task is answered alike."""
        return fingerprint("judge", self.name, 1, self._embedder.fingerprint)

    def prepare(self, labels: Sequence[str], texts: Sequence[str]) -> None:
        """Embed the words that are new, all at once."""
        self._embedder.learn_words([*labels, *texts])

    async def answer(self, task: Task, cases: Sequence[Case]) -> list[Answers]:
        """Answer every question, in order; none of a case whose `solved` lacks one of the two classes."""
        return [self._simulate(case) if task.wants_activations else self._answer(case) for case in cases]

    def _answer(self, case: Case) -> Answers:
        truth = np.array([s.truth for s in case.solved], dtype=bool)
        for kind, n in (("true", int(truth.sum())), ("false", int((~truth).sum()))):
            if n == 0:
                reason = f"no question of the explain split is {kind}, so there is no threshold"
                return Answers([Answer(verdict=None, unanswered=reason, retry=False)] * len(case.questions))
        similarity = self._similarities(case.label, [*(s.question for s in case.solved), *case.questions])
        calibration = calibrate(similarity[: truth.size], truth)
        probabilities = calibration.probability(similarity[truth.size :])
        answers = [Answer(verdict=bool(p > 0.5), probability=float(p)) for p in probabilities]
        if not case.texts:
            return Answers(answers)
        # Apart from the questions: the same texts under every label, which the embedder then cuts once.
        of_texts = self._embedder.similarity(case.label, case.texts).astype(np.float64)
        return Answers(answers, texts=calibration.probability(of_texts) > 0.5)

    def _simulate(self, case: Case) -> Answers:
        words = [token_words(question.context) for question in case.questions]
        distinct = sorted({word for of_context in words for word in of_context})
        similarity = self._embedder.similarity(case.label, distinct).astype(np.float64)
        activation = MOST_ACTIVATION * np.clip(similarity, 0.0, 1.0) ** _SHARPENING
        told = dict(zip(distinct, np.round(activation, 3).tolist(), strict=True))
        return Answers(
            [Answer(verdict=None, activations=tuple(told[word] for word in of_context)) for of_context in words]
        )

    def _similarities(self, label: str, questions: Sequence[Question]) -> Float64[np.ndarray, " question"]:
        if any(q.examples for q in questions):
            labels = [words_under_marks(q.examples) if q.examples else label for q in questions]
            bare = [[replace(q, examples=())] for q in questions]
            return np.concatenate([self._similarities(of, q) for of, q in zip(labels, bare, strict=True)])
        texts = [marked_texts(q.context, q.marked) if q.marked else (q.context.text,) for q in questions]
        similarity = self._embedder.similarity(label, [text for of_one in texts for text in of_one])
        if len(similarity) == len(texts):
            return similarity.astype(np.float64)
        ends = np.cumsum([len(of_one) for of_one in texts])[:-1]
        return np.array([part.mean(dtype=np.float64) for part in np.split(similarity, ends)], dtype=np.float64)


# A label and the shuffled one beside it are asked about the same contexts.
@lru_cache(maxsize=1024)
def token_words(context: Context) -> tuple[str, ...]:
    """For each token the word that it is part of, a punctuation mark, or nothing where it is white space."""
    text = "".join(context.tokens)
    ends = list(accumulate(len(token) for token in context.tokens))
    starts = [end - len(token) for end, token in zip(ends, context.tokens, strict=True)]
    return tuple(text[slice(*_widened(text, *span))] for span in zip(starts, ends, strict=True))


def words_under_marks(examples: Sequence[Context]) -> str:
    """What examples have marked, as a label: a list of the words on which the feature fires in them."""
    return "\n".join(text for context in examples for text in marked_texts(context, active_offsets(context)))


# A label and the shuffled one beside it are asked about the same marks.
@lru_cache(maxsize=1024)
def marked_texts(context: Context, marked: tuple[int, ...]) -> tuple[str, ...]:
    """The text of each run of marked tokens, widened to whole words.

    Args:
        context: The context.
        marked: Offsets of the marked tokens, at least one.

    Returns:
        One text a run, in order; runs in one word, or in words that touch, make one.
    """
    text = "".join(context.tokens)
    ends = np.cumsum([len(token) for token in context.tokens])
    spans: list[list[int]] = []
    for offset in sorted(marked):
        start, end = _widened(text, int(ends[offset]) - len(context.tokens[offset]), int(ends[offset]))
        if spans and not text[spans[-1][1] : start].strip():
            spans[-1][1] = max(end, spans[-1][1])
        else:
            spans.append([start, end])
    return tuple(text[start:end] for start, end in spans)


def _widened(text: str, start: int, end: int) -> tuple[int, int]:
    """A piece of a text without the space before it, widened to whole words."""
    while start < end and text[start].isspace():
        start += 1
    while start > 0 and start < len(text) and text[start - 1].isalnum() and text[start].isalnum():
        start -= 1
    while end < len(text) and text[end].isalnum() and text[end - 1].isalnum():
        end += 1
    return start, end


def calibrate(similarity: Float64[np.ndarray, " question"], truth: Bool[np.ndarray, " question"]) -> Calibration:
    """Fit the probability of yes to a similarity, by Newton's method, the two classes weighing alike.

    Args:
        similarity: Of each solved question.
        truth: Its answer; both classes appear.

    Returns:
        The calibration; slope 0 where yes does not go with a larger similarity.
    """
    n_true, n_false = int(truth.sum()), int((~truth).sum())
    assert min(n_true, n_false) > 0, "a threshold needs both classes"
    scale = float(similarity.std())
    if scale < 1e-9 or similarity[truth].mean() <= similarity[~truth].mean():
        return Calibration(0.0, np.inf)
    x = (similarity - similarity.mean()) / scale
    target = np.abs(truth - 1.0 / (min(n_true, n_false) + 2.0))
    weight = np.where(truth, 0.5 / n_true, 0.5 / n_false)
    slope, bias = 1.0, 0.0
    for _ in range(_N_NEWTON_STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(slope * x + bias, -30.0, 30.0)))
        error, curve = weight * (p - target), weight * p * (1.0 - p)
        gradient = np.array([(error * x).sum() + _SLOPE_PENALTY * slope, error.sum()])
        mixed = (curve * x).sum()
        hessian = np.array([[(curve * x * x).sum() + _SLOPE_PENALTY, mixed], [mixed, curve.sum() + 1e-9]])
        step = np.linalg.solve(hessian, gradient)
        slope, bias = slope - float(step[0]), bias - float(step[1])
        if np.abs(step).max() < 1e-10:
            break
    if slope <= 0.0:
        return Calibration(0.0, np.inf)
    return Calibration(slope / scale, float(similarity.mean()) - bias / slope * scale)
