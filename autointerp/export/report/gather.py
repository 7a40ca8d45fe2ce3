"""What a report is made of, read from the stores of runs: all that is drawn is a number here first."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64

from autointerp.export.report.floor import Floor, floors
from autointerp.records import Failure
from autointerp.score.dispute import Refereed
from autointerp.store.reader import Reader
from autointerp.store.results import ScorerSummary, StageStatus

TRUE = "true"


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of one kind of labels by one scorer.

    Attributes:
        features: `model@source:index` of each label's feature.
        labels: The labels.
        densities: Share of tokens on which each feature fires.
        values: The scores.
        lows: Lower ends of their intervals.
        highs: Upper ends.
    """

    features: tuple[str, ...]
    labels: tuple[str, ...]
    densities: Float64[np.ndarray, " label"]
    values: Float64[np.ndarray, " label"]
    lows: Float64[np.ndarray, " label"]
    highs: Float64[np.ndarray, " label"]


@dataclass(frozen=True, slots=True)
class Quantile:
    """Sensitivity in one quantile of activation, over labels.

    Attributes:
        quantile: 0 lowest.
        mean: Over the labels that have trials in it.
        error: Standard error of that mean; 0 of one label.
        n: Labels.
    """

    quantile: int
    mean: float
    error: float
    n: int


@dataclass(frozen=True, slots=True)
class Dispute:
    """A label that a rule which is as good as the truth disputes.

    Attributes:
        feature: `model@source:index`.
        label: The label.
        said: What the rule says of it.
    """

    feature: str
    label: str
    said: Refereed


@dataclass(frozen=True, slots=True)
class ReportedRun:
    """One run.

    Attributes:
        name: Its name, with a number behind it where several runs have one name.
        model: The subject's name, or the names of several sources' subjects.
        explainers: Who wrote the labels, with the models.
        n_features: Features by state: labelled, dead, without a label for a reason.
        scored: By scorer and kind of labels: `true`, or a null.
        chance: What a label that says nothing gets from each scorer, where that is known.
        sensitivity: By scorer, over true labels, the quantiles ascending.
        summaries: Each scorer over all labels.
        floors: How well scorers' trials are solved without labels; none where that was not asked for.
        stages: How far each is and what it cost.
        failures: Counted by stage and reason, each with an example.
        n_refereed: True labels of features with a rule that is as good as the truth.
        disputes: Those that it disputes, the least agreement first.
    """

    name: str
    model: str
    explainers: tuple[str, ...]
    n_features: Mapping[str, int]
    scored: Mapping[str, Mapping[str, Scored]]
    chance: Mapping[str, float]
    sensitivity: Mapping[str, tuple[Quantile, ...]]
    summaries: tuple[ScorerSummary, ...]
    floors: tuple[Floor, ...]
    stages: tuple[StageStatus, ...]
    failures: tuple[tuple[str, str, int, str], ...]
    n_refereed: int
    disputes: tuple[Dispute, ...]


@dataclass
class _Growing:
    features: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    densities: list[float] = field(default_factory=list)
    # Of a score no more than this: its detail, a verdict on each tile of the pool perhaps, takes kilobytes.
    values: list[tuple[float, float, float]] = field(default_factory=list)

    def done(self) -> Scored:
        ends = np.array(self.values, dtype=np.float64).reshape(-1, 3)
        return Scored(tuple(self.features), tuple(self.labels), np.array(self.densities), *ends.T)


def gather(reader: Reader, stages: tuple[StageStatus, ...], name: str, n_floor_features: int = 0) -> ReportedRun:
    """Read what is drawn of one run.

    Args:
        reader: Of its store.
        stages: How far each stage is.
        name: What the run is called in the report.
        n_floor_features: Features whose trials are solved without labels, at most.
    """
    scored: dict[str, dict[str, _Growing]] = defaultdict(lambda: defaultdict(_Growing))
    quantiles: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    explainers: Counter[str] = Counter()
    states: Counter[str] = Counter()
    failures: dict[tuple[str, str], tuple[int, str]] = {}
    disputes: list[Dispute] = []
    n_refereed = 0
    models = set()
    seen: set[str] = set()
    with reader.session():
        summaries = tuple(reader.score_summary())
        for failure in reader.failures():
            reason = (failure.stage, failure.error_type)
            n, example = failures.get(reason, (0, failure.message))
            failures[reason] = n + 1, example
        for labelled in reader.labelled_features(baselines=True):
            feature, explanation = labelled.feature, labelled.explanation
            models.add(labelled.source.model)
            own = f"{feature.source_id}:{feature.feature_index}"
            if own not in seen:
                seen.add(own)
                states[_state(labelled.feature.status, explanation is not None, labelled.failures)] += 1
            if explanation is None:
                continue
            kind = explanation.explainer if explanation.is_baseline else TRUE
            if kind == TRUE and (said := labelled.refereed) is not None:
                n_refereed += 1
                disputes += [Dispute(own, explanation.label, said)] if said.is_disputed else []
            explainers[f"{explanation.explainer} ({explanation.model})"] += kind == TRUE
            for score in labelled.scores:
                of = scored[score.scorer][kind]
                of.features.append(own)
                of.labels.append(explanation.label)
                of.densities.append(feature.density)
                of.values.append((score.value, score.ci_low, score.ci_high))
                if kind == TRUE:
                    for quantile, value in (score.detail.get("sensitivity_by_quantile") or {}).items():
                        if value is not None:
                            quantiles[score.scorer][int(quantile)].append(value)
    return ReportedRun(
        name=name,
        model=", ".join(sorted(models)),
        explainers=tuple(explainer for explainer, n in explainers.most_common() if n),
        n_features=dict(states.most_common()),
        scored={scorer: {kind: of.done() for kind, of in kinds.items()} for scorer, kinds in sorted(scored.items())},
        chance={s.scorer: s.chance for s in summaries if s.chance is not None},
        sensitivity={scorer: _quantiles(of) for scorer, of in sorted(quantiles.items())},
        summaries=summaries,
        floors=floors(reader, n_floor_features) if n_floor_features else (),
        stages=stages,
        failures=tuple(
            (*reason, *told) for reason, told in sorted(failures.items(), key=lambda item: (item[0][0], -item[1][0]))
        ),
        n_refereed=n_refereed,
        disputes=tuple(sorted(disputes, key=lambda of: (of.said.agreement, of.feature))),
    )


def _state(status: str, has_label: bool, failures: tuple[Failure, ...]) -> str:
    if has_label:
        return "labelled"
    if failures:
        return f"no label: {failures[0].error_type}"
    return "no label was asked for" if status == "ok" else status.replace("_", " ")


def _quantiles(values: Mapping[int, list[float]]) -> tuple[Quantile, ...]:
    return tuple(
        Quantile(q, float(np.mean(of)), float(np.std(of, ddof=1) / np.sqrt(len(of))) if len(of) > 1 else 0.0, len(of))
        for q, of in sorted(values.items())
    )
