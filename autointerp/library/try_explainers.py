"""Several explainers' labels of a few features side by side, with their scores on the same trials.

from autointerp import load_pipeline, try_explainers

found = try_explainers(load_pipeline("demo"), [162, 650], ["keywords", "rules"])
for feature in found.features:
    for label in feature.labels:
        print(feature.feature_index, label.explainer, label.label, label.scores)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autointerp.config import Pipeline
from autointerp.config.file import load_pipeline
from autointerp.identity import FeatureKey
from autointerp.library.compare import PairedValues, ScorerComparison
from autointerp.records import Failure
from autointerp.run.missing import tells_of_feature
from autointerp.run.progress import Reporter
from autointerp.run.try_explainers import Tried, TriedExplainer, write_and_score
from autointerp.score.paired import Difference
from autointerp.score.same_trials import compare_scores
from autointerp.store.compared import ComparedStore, LabelSet, ScoredFeature, ScoreSet
from autointerp.store.reader import Reader


@dataclass(frozen=True, slots=True)
class TriedScore:
    """One label's value by one scorer.

    Attributes:
        metric: What the value is.
        value: In [0, 1].
        low: Lower end of its 95 % interval.
        high: Upper end.
        difference: This value less that of the first explainer's label; None of the first, and where it has none.
        by_trials: Whether the difference is from pairs of the same trials; else from the two intervals, and too wide.
    """

    metric: str
    value: float
    low: float
    high: float
    difference: Difference | None = None
    by_trials: bool = False


@dataclass(frozen=True, slots=True)
class TriedLabel:
    """What one explainer says of one feature.

    Attributes:
        explainer: As it was asked for.
        label: The text; None where there is none.
        explanation_id: Of the label, in the run's store.
        scores: By scorer.
        problems: Why there is no label, or no score, by stage: `explain`, `score:detection`, …
        findings: The stages of those problems that tell of the feature in this corpus, and are nobody's failure.
    """

    explainer: str
    label: str | None
    explanation_id: str | None
    scores: Mapping[str, TriedScore] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TriedFeature:
    """One feature with what each explainer says of it, in the order in which they were asked for."""

    source_id: str
    feature_index: int
    labels: tuple[TriedLabel, ...]


@dataclass(frozen=True, slots=True)
class TriedExplainers:
    """Explainers that were tried on some features.

    Attributes:
        run: The run's folder.
        explainers: As they were asked for; the others are compared with the first.
        features: By source and index.
        overall: Of each other explainer, by each scorer: its labels held against the first's, over the features that
            have both.
    """

    run: str
    explainers: tuple[str, ...]
    features: tuple[TriedFeature, ...]
    overall: Mapping[str, tuple[ScorerComparison, ...]]

    @property
    def n_failed(self) -> int:
        """Labels and scores that are not there, but for findings (no rule fits a feature, it has too few contexts)."""
        labels = [label for feature in self.features for label in feature.labels]
        return sum(len(label.problems.keys() - set(label.findings)) for label in labels)


def try_explainers(
    pipeline: Pipeline | str | Path,
    features: Sequence[FeatureKey],
    explainers: Sequence[str],
    reporter: Reporter | None = None,
) -> TriedExplainers:
    """Have several explainers label some features of a run, and compare their labels on the same trials.

    What the features need and the run lacks is made first. Labels and scores are kept in the run, and stay beside its
    own; to try again costs nothing. See `run.try_explainers`.

    Args:
        pipeline: The run's, or its file.
        features: Indices, or `model@source:index`.
        explainers: Two or more, as `explain.explainer` names them; the others are compared with the first.
        reporter: Told of progress; by default the log.

    Raises:
        AutointerpError: What a user can cause; what is finished stays.
    """
    if not isinstance(pipeline, Pipeline):
        pipeline = load_pipeline(pipeline)
    return read_tried(write_and_score(pipeline, features, explainers, reporter))


def read_tried(tried: Tried) -> TriedExplainers:
    """What the store holds of explainers that were tried."""
    folder = tried.folder.path
    store = ComparedStore(folder)
    with store.session():
        known = {(of.fingerprint, of.explainer): of for of in store.label_sets()}
        sides = [_Side.read(store, of, known.get((of.fingerprint, of.name)), tried) for of in tried.explainers]
    failures = _failures(folder, tried)
    features = tuple(
        TriedFeature(source_id, index, tuple(side.label((source_id, index), sides[0], failures) for side in sides))
        for source_id, indices in tried.features.items()
        for index in indices
    )
    overall = {side.tried.asked: _compared(sides[0], side, tried) for side in sides[1:]}
    return TriedExplainers(str(folder), tuple(of.asked for of in tried.explainers), features, overall)


_Feature = tuple[str, int]


@dataclass(frozen=True, slots=True)
class _Side:
    """One explainer's labels and scores, by feature."""

    tried: TriedExplainer
    scores: Mapping[str, ScoreSet]
    scored: Mapping[_Feature, ScoredFeature]
    labels: Mapping[_Feature, tuple[str, str]]

    @classmethod
    def read(cls, store: ComparedStore, tried: TriedExplainer, labels: LabelSet | None, of: Tried) -> "_Side":
        if labels is None:
            return cls(tried, {}, {}, {})
        sets = [one for one in store.score_sets(labels) if of.scorers.get(one.scorer) == one.fingerprint]
        scored = {
            (source_id, index): one
            for source_id, indices in of.features.items()
            for index in indices
            for one in store.scored_features(labels, sets, source_id, index, index)
        }
        reader = Reader(store.path)
        written = {
            (e.source_id, e.feature_index): (e.explanation_id, e.label)
            for source_id, indices in of.features.items()
            for e in reader.explanations(indices, source_id, fingerprint=tried.fingerprint)
        }
        return cls(tried, {one.scorer: one for one in sets}, scored, written)

    def label(
        self, feature: _Feature, first: "_Side", failures: Mapping[tuple[_Feature, str], Mapping[str, Failure]]
    ) -> TriedLabel:
        explanation_id, text = self.labels.get(feature, (None, None))
        scores = {}
        for scorer, of in (self.scored[feature].scores if feature in self.scored else {}).items():
            score = TriedScore(of.metric, *of.interval)
            if self is not first and feature in first.scored and scorer in first.scored[feature].scores:
                found = compare_scores(first.scored[feature].scores[scorer], of)
                score = TriedScore(of.metric, *of.interval, found.difference, found.by_trials)
            scores[scorer] = score
        of_label = failures.get((feature, explanation_id or self.tried.fingerprint), {})
        if text is None and not of_label:
            of_label = failures.get((feature, ""), {})
        problems = {stage: f"{of.error_type}: {of.message}" for stage, of in of_label.items()}
        if text is None and not problems:
            problems = {"explain": "it has no label"}
        findings = tuple(stage for stage, of in of_label.items() if tells_of_feature(stage, of.error_type))
        return TriedLabel(self.tried.asked, text, explanation_id, scores, problems, findings)


def _compared(first: _Side, other: _Side, tried: Tried) -> tuple[ScorerComparison, ...]:
    """Two explainers over the features that both have labelled, by each scorer of both."""
    found = []
    for scorer in sorted(set(first.scores) & set(other.scores)):
        values = PairedValues()
        for source_id in tried.features:
            ones, others = (
                [of for (source, _), of in side.scored.items() if source == source_id] for side in (first, other)
            )
            values.add(scorer, ones, others, same_text=True)
        if values.pairs:
            found.append(values.compared(first.scores[scorer], other.scores[scorer]))
    return tuple(found)


def _failures(folder: Path, tried: Tried) -> Mapping[tuple[_Feature, str], Mapping[str, Failure]]:
    """Why labels and scores are missing, by stage: of a feature and a label or, where there is none, a fingerprint.

    What is wrong with a feature itself (it has too few contexts) stands behind "".
    """
    reader = Reader(folder)
    failures: dict[tuple[_Feature, str], dict[str, Failure]] = {}
    with reader.session():
        for source_id, indices in tried.features.items():
            for of in reader.failures(indices, source_id=source_id, superseded=True):
                if of.stage == "contexts":
                    whose = ""
                elif of.stage == "explain":
                    whose = of.fingerprint
                elif of.explanation_id and tried.scorers.get(of.stage.removeprefix("score:")) == of.fingerprint:
                    whose = of.explanation_id
                else:
                    continue
                key = (of.source_id, of.feature_index), whose
                failures.setdefault(key, {})[of.stage] = of
    return failures
