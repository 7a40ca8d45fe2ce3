"""Two runs, or two explainers or judges of one run, held against each other on the same features and trials.

from autointerp import compare_runs

found = compare_runs("runs/demo", "runs/demo-text")
found = compare_runs("runs/demo", explainer=("keywords", "shuffled"))
for of in found.scorers:
    print(of.scorer, of.overall.mean, len(of.better), len(of.worse))
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from autointerp.library.sides import (
    Side,
    choose_sides,
    common_scorers,
    each_read,
    has_same_text,
    what_differs,
    what_to_know,
)
from autointerp.score.compare import FALSE_DISCOVERY_RATE, Comparison, compare_pairs, compare_samples, q_values
from autointerp.score.paired import Difference
from autointerp.score.same_trials import compare_scores
from autointerp.store.compared import ScoredFeature, ScoreSet


@dataclass(frozen=True, slots=True)
class FeatureDifference:
    """One feature's two scores by one scorer.

    Attributes:
        source_id: `model@source`.
        feature_index: The feature.
        first_label: The first's label.
        second_label: The second's.
        first_value: What the first's scores.
        second_value: What the second's scores.
        difference: The second less the first.
        by_trials: Whether it is from pairs of the same trials; else from the two intervals, and too wide.
        q_value: The false discovery rate at which it is one; see `score.compare`.
    """

    source_id: str
    feature_index: int
    first_label: str
    second_label: str
    first_value: float
    second_value: float
    difference: Difference
    by_trials: bool
    q_value: float


@dataclass(frozen=True, slots=True)
class ScorerComparison:
    """Two sides by one scorer.

    Attributes:
        scorer: The scorer.
        metric: What its values are.
        first_judge: The first's judge.
        second_judge: The second's.
        is_paired: Whether the same features are compared; else two samples of other features.
        overall: Over all features.
        features: Each feature, by source and index; none of two samples.
    """

    scorer: str
    metric: str
    first_judge: str
    second_judge: str
    is_paired: bool
    overall: Comparison
    features: tuple[FeatureDifference, ...]

    @property
    def better(self) -> tuple[FeatureDifference, ...]:
        """The features whose second score is higher beyond chance, the largest difference first."""
        return self._beyond_chance(1)

    @property
    def worse(self) -> tuple[FeatureDifference, ...]:
        """The features whose second score is lower beyond chance, the largest difference first."""
        return self._beyond_chance(-1)

    @property
    def n_by_trials(self) -> int:
        """Features whose difference is from pairs of the same trials."""
        return sum(of.by_trials for of in self.features)

    def _beyond_chance(self, sign: int) -> tuple[FeatureDifference, ...]:
        found = [of for of in self.features if of.q_value <= FALSE_DISCOVERY_RATE and of.difference.value * sign > 0]
        return tuple(sorted(found, key=lambda of: -abs(of.difference.value)))


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Two runs, explainers or judges, compared.

    Attributes:
        first: The first side.
        second: The second; every difference is its value less the first's.
        differs: What differs between the two, in words.
        warnings: What is to be known of what they have not in common.
        scorers: By scorer.
    """

    first: Side
    second: Side
    differs: tuple[str, ...]
    warnings: tuple[str, ...]
    scorers: tuple[ScorerComparison, ...]


def compare_runs(
    first: str | Path,
    second: str | Path | None = None,
    *,
    explainer: str | Sequence[str | None] = (),
    judge: str | Sequence[str | None] = (),
    scorers: Sequence[str] | None = None,
) -> RunComparison:
    """Compare two runs, or two explainers or judges within one.

    Labels and scores of earlier settings stay in a run, and can be named too.

    Args:
        first: A run folder.
        second: Another one; the same where None, and then two explainers or two judges are named.
        explainer: Whose labels: an explainer's name, its model's, or the beginning of the labels' fingerprint. Of two
            the first is the first run's, and None what counts there now. By default each run's current labels.
        judge: Whose scores: the judge's name, or the beginning of the scores' fingerprint. Of two the first is the
            first run's. By default each run's current scores. One name of either kind, where one run is given, is
            compared with what is current.
        scorers: By these; by default by all that both have.

    Raises:
        CompareError: If there are no such labels or scores, more than one kind, or nothing that both have.
        StoreError: If there is no run in a folder.
    """
    one, other = choose_sides(first, second, explainer, judge)
    names = common_scorers(one, other, scorers)
    warnings = list(what_to_know(one, other))
    values = {name: PairedValues() for name in names}
    for source, of_one, of_other in each_read(one, other):
        for name, of in values.items():
            of.add(name, of_one, of_other, same_text=has_same_text(one, other, source))
    found = []
    for name, of in values.items():
        metrics = one.scored_by(name).metric, other.scored_by(name).metric
        if metrics[0] != metrics[1]:
            warnings.append(f"{name} measures {metrics[0]} in one and {metrics[1]} in the other, and is left out")
        else:
            found.append(of.compared(one.scored_by(name), other.scored_by(name)))
    is_other_source = not set(one.sources) & set(other.sources)
    if not is_other_source and (apart := [of.scorer for of in found if not of.is_paired]):
        warnings.append(f"no feature is scored in both by {', '.join(apart)}: two samples are compared, not pairs")
    return RunComparison(one, other, what_differs(one, other), tuple(warnings), tuple(found))


@dataclass(slots=True)
class PairedValues:
    """What one scorer gave to either side, as it is read.

    Attributes:
        first: The first side's values.
        second: The second side's.
        pairs: Features that both have.
    """

    first: list[float] = field(default_factory=list)
    second: list[float] = field(default_factory=list)
    pairs: list[FeatureDifference] = field(default_factory=list)

    def add(
        self, scorer: str, first: Sequence[ScoredFeature], second: Sequence[ScoredFeature], *, same_text: bool
    ) -> None:
        """Take in features of one source; of other texts a context's id names another place in each."""
        others = {of.feature_index: of for of in second if scorer in of.scores}
        self.second += [of.scores[scorer].value for of in others.values()]
        for of in first:
            if scorer not in of.scores:
                continue
            self.first.append(of.scores[scorer].value)
            if of.feature_index not in others:
                continue
            other = others[of.feature_index]
            of_first = of.scores[scorer] if same_text else of.scores[scorer].without_trials
            compared = compare_scores(of_first, other.scores[scorer])
            self.pairs.append(
                FeatureDifference(
                    source_id=of.source_id,
                    feature_index=of.feature_index,
                    first_label=of.label,
                    second_label=other.label,
                    first_value=of.scores[scorer].value,
                    second_value=other.scores[scorer].value,
                    difference=compared.difference,
                    by_trials=compared.by_trials,
                    q_value=1.0,
                )
            )

    def compared(self, first: ScoreSet, second: ScoreSet) -> ScorerComparison:
        """All features together, with q-values now that all are known."""
        corrected = q_values(np.array([of.difference.p_value for of in self.pairs]))
        if self.pairs:
            overall = compare_pairs(
                np.array([of.first_value for of in self.pairs]), np.array([of.second_value for of in self.pairs])
            )
        else:
            overall = compare_samples(np.array(self.first), np.array(self.second))
        return ScorerComparison(
            scorer=first.scorer,
            metric=first.metric,
            first_judge=first.judge,
            second_judge=second.judge,
            is_paired=bool(self.pairs),
            overall=overall,
            features=tuple(replace(of, q_value=float(q)) for of, q in zip(self.pairs, corrected, strict=True)),
        )
