"""Two scores of one feature as pairs of trials, where both were put to the very same ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64
from numpy.typing import NDArray

from autointerp.score.clusters import numbered
from autointerp.score.paired import (
    Difference,
    auroc_difference,
    balanced_accuracy_difference,
    interval_difference,
    with_unanswered,
)

_SAME = 1e-6


@dataclass(frozen=True, slots=True)
class ScoredTrials:
    """A score with its trials, in an order that is the same for all scores of the same trials.

    Attributes:
        metric: What the value is, as in `Score`.
        value: Of the score.
        low: Lower end of its interval.
        high: Upper end.
        keys: Each trial's context, marks and true answer.
        truth: The true answers.
        verdicts: The judge's; None where there is none.
        probabilities: The judge's, or similarities; None where there is none.
        groups: Groups of documents that the contexts are from.
        is_plain: Whether every trial counts alike, and all that were posed were asked.
    """

    metric: str
    value: float
    low: float
    high: float
    keys: Sequence[str] = ()
    truth: Sequence[bool] = ()
    verdicts: Sequence[bool | None] = ()
    probabilities: Sequence[float | None] = ()
    groups: Sequence[str] = ()
    is_plain: bool = False

    @property
    def interval(self) -> tuple[float, float, float]:
        """The value with the ends of its interval."""
        return self.value, self.low, self.high

    @property
    def without_trials(self) -> "ScoredTrials":
        """The score alone."""
        return ScoredTrials(self.metric, self.value, self.low, self.high)


@dataclass(frozen=True, slots=True)
class Compared:
    """How two scores of one feature differ.

    Attributes:
        difference: The second less the first.
        by_trials: Whether it is from pairs of trials; else from the two intervals, as if of trials apart, and too wide.
    """

    difference: Difference
    by_trials: bool


def compare_scores(first: ScoredTrials, second: ScoredTrials) -> Compared:
    """The difference of two scores of one feature and metric, from their trials where these are the same.

    Trials that either judge left unanswered widen it.
    """
    if first.is_plain and second.is_plain and first.keys and first.keys == second.keys:
        found = _by_trials(first, second)
        if found is not None:
            return Compared(found, by_trials=True)
    return Compared(interval_difference(first.interval, second.interval), by_trials=False)


def _by_trials(first: ScoredTrials, second: ScoredTrials) -> Difference | None:
    """None where the metric is of neither kind, or the trials do not give the scores that are told."""
    truth, groups = np.array(first.truth, dtype=bool), numbered(first.groups)
    if first.metric == "balanced accuracy":
        measure: _Measure = balanced_accuracy_difference
        said = [_Said.of_verdicts(side.verdicts) for side in (first, second)]
    elif first.metric == "AUROC":
        measure = auroc_difference
        said = [_Said.of_probabilities(side.probabilities) for side in (first, second)]
    else:
        return None
    both = ~(said[0].is_missing | said[1].is_missing)
    seen = measure(truth[both], said[0].values[both], said[1].values[both], groups[both])
    if seen is None:
        return None
    if both.all():
        return seen if abs(seen.value - (second.value - first.value)) < _SAME else None
    ends = [
        measure(truth, said[0].filled(truth, right=not right), said[1].filled(truth, right=right), groups)
        for right in (False, True)
    ]
    worst, best = ends
    assert worst is not None, "there are trials of both classes"
    assert best is not None, "there are trials of both classes"
    return with_unanswered(seen, (worst, best))


_Measure = Callable[[Any, Any, Any, Any], Difference | None]


@dataclass(frozen=True, slots=True)
class _Said:
    """What a judge said to each trial, as an array.

    Attributes:
        values: Verdicts, or probabilities; of no meaning where there is none.
        is_missing: Where there is none.
        utmost: What would be said of a trial of true answer no, and yes, by one who is certain and right.
    """

    values: Bool[np.ndarray, " trial"] | Float64[np.ndarray, " trial"]
    is_missing: Bool[np.ndarray, " trial"]
    utmost: tuple[float, float] | tuple[bool, bool]

    @classmethod
    def of_verdicts(cls, verdicts: Sequence[bool | None]) -> "_Said":
        return cls(np.array([v is True for v in verdicts]), np.array([v is None for v in verdicts]), (False, True))

    @classmethod
    def of_probabilities(cls, probabilities: Sequence[float | None]) -> "_Said":
        is_missing = np.array([p is None for p in probabilities])
        values = np.array([0.0 if p is None else p for p in probabilities], dtype=np.float64)
        known = values[~is_missing]
        utmost = (float(known.min()) - 1, float(known.max()) + 1) if known.size else (0.0, 1.0)
        return cls(values, is_missing, utmost)

    def filled(self, truth: Bool[np.ndarray, " trial"], *, right: bool) -> NDArray[Any]:
        """With what is missing taken to be right throughout, or wrong."""
        no, yes = self.utmost
        return np.where(self.is_missing, np.where(truth == right, yes, no), self.values)
