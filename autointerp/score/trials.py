"""What the scorers share: questions with their truth, their order, and the trials, rates and failures they become.

The order and every other choice is by keyed hash of the feature, never of the label: a label and its shuffled baseline
face the same questions in the same order, so their scores can be compared pair by pair.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from autointerp.identity import hash_key, keyed_hash
from autointerp.records import Context, Explanation, Failure, Score, Trial
from autointerp.score import metrics
from autointerp.score.protocol import Answer, Question, ScoreEvidence, Solved


@dataclass(frozen=True, slots=True)
class Posed:
    """A question of the score split with its true answer.

    Attributes:
        question: What the judge sees.
        truth: What a perfect judge of a perfect label would say.
        weight: 1 / probability with which the context was drawn.
        part: The part of the population it was drawn from, where a scorer draws from several.
    """

    question: Question
    truth: bool
    weight: float = 1.0
    part: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """Questions that got an answer, as arrays.

    Attributes:
        posed: The questions.
        truth: Their true answers.
        verdict: The judge's answers.
        probability: That the answer is yes; None unless the judge gave one with every answer.
    """

    posed: tuple[Posed, ...]
    truth: Bool[np.ndarray, " trial"]
    verdict: Bool[np.ndarray, " trial"]
    probability: Float64[np.ndarray, " trial"] | None

    def where(self, keep: Iterable[Any]) -> "Answered":
        """The answered questions for which `keep` is true."""
        chosen = np.fromiter(keep, dtype=bool, count=len(self.posed))
        return Answered(
            posed=tuple(p for p, k in zip(self.posed, chosen, strict=True) if k),
            truth=self.truth[chosen],
            verdict=self.verdict[chosen],
            probability=None if self.probability is None else self.probability[chosen],
        )

    @property
    def confusion(self) -> metrics.Confusion:
        """Counts by truth and verdict."""
        return metrics.confusion(self.truth, self.verdict)


@dataclass(frozen=True, slots=True)
class Undefined:
    """Why a headline can't be computed; the scorer makes a `Failure` of it.

    Attributes:
        error_type: `AllUnanswered` or `OneClassOnly`.
        message: One line.
        retry: Whether another run may fare better.
        raw: The first reason given for no answer, where there is one.
    """

    error_type: str
    message: str
    retry: bool
    raw: str | None = None


def feature_key(seed: int, purpose: str, source_id: str, feature_index: int) -> int:
    """The key of one choice about one feature."""
    return hash_key(seed, purpose, source_id, str(feature_index))


def context_hashes(key: int, contexts: Sequence[Context]) -> list[int]:
    """A keyed hash of each context, by where it stands in the corpus."""
    blocks = np.array([c.block_index for c in contexts], dtype=np.int64)
    starts = np.array([c.start for c in contexts], dtype=np.int64)
    return [int(h) for h in keyed_hash(key, blocks, starts)]


def shuffled(posed: Sequence[Posed], key: int) -> tuple[Posed, ...]:
    """The questions in an order that tells nothing about their truth."""
    hashes = context_hashes(key, [p.question.context for p in posed])
    return tuple(posed[i] for i in sorted(range(len(posed)), key=lambda i: (hashes[i], i)))


def as_solved(posed: Iterable[Posed]) -> tuple[Solved, ...]:
    """Questions of the explain split in the form in which a judge may see their truth."""
    return tuple(Solved(question=p.question, truth=p.truth) for p in posed)


def missing_class(posed: Sequence[Posed], positives: str, negatives: str) -> Undefined | None:
    """`OneClassOnly` if there is no question of one class, which is named; None if there are questions of both."""
    for truth, name in ((True, positives), (False, negatives)):
        if not any(p.truth == truth for p in posed):
            return Undefined("OneClassOnly", f"there are no {name} to judge", retry=False)
    return None


def answered(posed: Sequence[Posed], answers: Sequence[Answer]) -> Answered | Undefined:
    """Keep the questions that got an answer; `AllUnanswered` if none of a class, or of a part, got one."""
    assert len(posed) == len(answers), "a judge answers every question, in order"
    pairs = [(p, a) for p, a in zip(posed, answers, strict=True) if a.verdict is not None]
    for truth, part in sorted({(p.truth, p.part) for p in posed}):
        if not any((p.truth, p.part) == (truth, part) for p, _ in pairs):
            # What no judge call can mend is not asked again.
            retry = any(a.retry for p, a in zip(posed, answers, strict=True) if (p.truth, p.part) == (truth, part))
            reason = next((a.unanswered for a in answers if a.unanswered is not None), None)
            n_asked = sum((p.truth, p.part) == (truth, part) for p in posed)
            which = f"{part} questions" if part else f"questions whose true answer is {'yes' if truth else 'no'}"
            return Undefined("AllUnanswered", f"none of the {n_asked} {which} was answered", retry=retry, raw=reason)
    probabilities = [a.probability for _, a in pairs if a.probability is not None]
    return Answered(
        posed=tuple(p for p, _ in pairs),
        truth=np.array([p.truth for p, _ in pairs], dtype=bool),
        verdict=np.array([a.verdict for _, a in pairs], dtype=bool),
        probability=np.array(probabilities, dtype=np.float64) if len(probabilities) == len(pairs) else None,
    )


# --- what goes into a score's detail --------------------------------------------------------------------------------


class Detail:
    """Collects measures by name; an undefined one is None, and its reason stands under `undefined`.

    Attributes:
        metric: What the headline is, for `Score.metric`.
    """

    def __init__(self, metric: str, interval: str) -> None:
        self.metric = metric
        self._measures: dict[str, Any] = {"interval": interval}
        self._reasons: dict[str, str] = {}

    def add(self, name: str, value: metrics.Estimate | metrics.Rate | float | None, reason: str = "") -> None:
        """Add a measure; its 95 % interval, where it has one, goes under `NAME_interval`."""
        if value is None:
            self._reasons[name] = reason
        if isinstance(value, metrics.Rate):
            value = value.estimate
        if isinstance(value, metrics.Estimate):
            self._measures[name] = value.value
            self._measures[f"{name}_interval"] = {"low": value.low, "high": value.high}
        else:
            self._measures[name] = value

    def add_by(self, name: str, estimates: Mapping[str, metrics.Estimate | None], counts: Mapping[str, int]) -> None:
        """Add a measure by cell as `NAME`, with the answered trials of each cell as `n_NAME`."""
        self._measures[name] = {cell: None if e is None else e.value for cell, e in estimates.items()}
        self._measures[f"n_{name}"] = dict(counts)

    def add_numbers(self, name: str, numbers: Mapping[str, float]) -> None:
        """Add a mapping of names to numbers."""
        self._measures[name] = dict(numbers)

    def done(self) -> Mapping[str, Any]:
        """The mapping for `Score.detail`."""
        done = {**self._measures, "undefined": self._reasons}
        json.dumps(done, allow_nan=False)  # an undefined measure that slipped through as NaN stops here
        return done


def add_confusion(detail: Detail, of: Answered) -> None:
    """Sensitivity, by activation quantile too, specificity, F1, Matthews and AUROC."""
    counts = of.confusion
    detail.add("sensitivity", metrics.sensitivity(counts), "no firing trial was answered")
    detail.add("specificity", metrics.specificity(counts), "no silent trial was answered")
    detail.add("n_positive", counts.n_positive)
    detail.add("n_negative", counts.n_negative)
    detail.add("f1", metrics.f1(counts), "there is neither a firing trial nor a yes")
    detail.add("matthews", metrics.matthews(counts), "the judge said the same of every trial")
    if of.probability is None:
        detail.add("auroc", None, "the judge gives no probabilities")
    else:
        detail.add("auroc", metrics.auroc(of.truth, of.probability), "one class has no answered trial")
    add_by_quantile(detail, of)


def add_by_quantile(detail: Detail, of: Answered) -> None:
    """Sensitivity for each activation quantile of the firing trials, 0 lowest."""
    firing = of.where(of.truth)
    quantiles = sorted({q for p in firing.posed if (q := p.question.context.quantile) is not None})
    cells = {str(q): firing.where(p.question.context.quantile == q for p in firing.posed).confusion for q in quantiles}
    detail.add_by(
        "sensitivity_by_quantile",
        {cell: metrics.sensitivity(c) for cell, c in cells.items()},
        {cell: c.n_positive for cell, c in cells.items()},
    )


def context_rate(evidence: ScoreEvidence, n_draws: int, rng: np.random.Generator) -> metrics.Rate:
    """Share of the corpus's contexts in which the feature fires: its base rate wherever a context is what is judged.

    From the share of pool tiles, of both splits, in which it fires, and from the feature's exact token density over
    the share of tokens it fires on inside its own contexts (see `metrics.firing_rate`).
    """
    firing = evidence.contexts.of("score", active=True)
    n_tokens = sum(len(c.tokens) for c in firing)
    n_active = sum(sum(a > 0 for a in c.activations) for c in firing)
    assert n_active > 0, "a feature without firing contexts is not scored"
    assert evidence.density > 0, "a feature that fires has a density above 0"
    expected = min(1.0, evidence.density * n_tokens / n_active)
    peaks = evidence.pool.peaks(evidence.contexts.feature_index)
    return metrics.firing_rate(int(np.sum(peaks > 0)), evidence.pool.n_tiles, expected, n_draws, rng)


# --- records --------------------------------------------------------------------------------------------------------


def to_trials(
    explanation: Explanation, scorer: str, judge: str, posed: Sequence[Posed], answers: Sequence[Answer]
) -> tuple[Trial, ...]:
    """The trials, in the order in which they were put."""
    return tuple(
        Trial(
            explanation_id=explanation.explanation_id,
            scorer=scorer,
            judge=judge,
            context_id=p.question.context.context_id,
            truth=p.truth,
            verdict=a.verdict,
            probability=a.probability,
            marked=p.question.marked,
            weight=p.weight,
            unanswered=a.unanswered,
        )
        for p, a in zip(posed, answers, strict=True)
    )


def to_score(
    explanation: Explanation,
    scorer: str,
    judge: str,
    headline: metrics.Estimate,
    trials: Sequence[Trial],
    detail: Detail,
    fingerprint: str,
) -> Score:
    """The score of these trials."""
    return Score(
        explanation_id=explanation.explanation_id,
        scorer=scorer,
        judge=judge,
        metric=detail.metric,
        value=headline.value,
        ci_low=headline.low,
        ci_high=headline.high,
        n_trials=len(trials),
        n_unanswered=sum(t.unanswered is not None for t in trials),
        detail=detail.done(),
        fingerprint=fingerprint,
    )


def to_failure(explanation: Explanation, scorer: str, fingerprint: str, undefined: Undefined) -> Failure:
    """The failure to record where a headline is undefined."""
    return Failure(
        stage=f"score:{scorer}",
        source_id=explanation.source_id,
        feature_index=explanation.feature_index,
        error_type=undefined.error_type,
        message=undefined.message,
        raw=undefined.raw,
        retry=undefined.retry,
        created_at=datetime.now(UTC),
        fingerprint=fingerprint,
        explanation_id=explanation.explanation_id,
    )
