"""What the store answers beyond the records of the stages: its run, its stages, and summaries."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

from autointerp.records import Explanation, Failure, FeatureRecord, Score, SourceRecord, Usage
from autointerp.score.baseline import EXPLAINER as SHUFFLED
from autointerp.score.dispute import Refereed, refereed
from autointerp.score.tier import Tier, tier_of

StageState = Literal["running", "done", "stopped"]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The run that a store belongs to.

    Attributes:
        name: Name of the pipeline.
        pipeline: The pipeline file's content, with overrides.
        program_version: Version of autointerp that wrote last.
        created_at: UTC, of the first run.
    """

    name: str
    pipeline: Mapping[str, Any]
    program_version: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StageRecord:
    """A row of `stages`: what counts as the stage's result now.

    Attributes:
        stage: `collect`, `contexts`, `explain`, `baseline`, `score:detection`, …, `index`.
        fingerprint: The fingerprint that the stage's current records carry.
        status: `running`, `done`, or `stopped` (budget, interrupt, error).
        n_asked: Features or explanations that the stage was asked for, where it said.
        cost_usd: What the stage cost, where it said.
        usage: What its calls of language models used, that cost among it; None where it asks none.
        finished_at: UTC; None while it is running.
    """

    stage: str
    fingerprint: str
    status: StageState
    n_asked: int | None
    cost_usd: float | None
    usage: Usage | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, repr=False)
class StageStatus:
    """How far a stage is.

    Attributes:
        stage: As in `StageRecord`.
        status: As in `StageRecord`; `killed` where it is running by the store, and no process is; None where it has not
            begun.
        n_done: Features (or explanations, for `score:…` and `index`) with a current result.
        n_failed: Those with a failure instead.
        n_pending: Those upstream that have neither.
        cost_usd: Known cost; None where unknown.
        finished_at: UTC; None while it is running.
    """

    stage: str
    status: StageState | Literal["killed"] | None
    n_done: int
    n_failed: int
    n_pending: int
    cost_usd: float | None
    finished_at: datetime | None

    def __repr__(self) -> str:
        cost = "cost unknown" if self.cost_usd is None else f"${self.cost_usd:.2f}"
        counts = f"{self.n_done} done, {self.n_failed} failed, {self.n_pending} pending, {cost}"
        return f"<StageStatus {self.stage} ({self.status or 'not begun'}): {counts}>"


class Author(NamedTuple):
    """Who wrote labels, and how many: an explainer with a model and a prompt, None for an explainer without one."""

    explainer: str
    model: str
    prompt_sha256: str | None
    n: int


@dataclass(frozen=True, slots=True)
class ValueSummary:
    """One scorer's values over all labels of a kind.

    A median hides what a few labels get by luck or by a leak, so the mean and the share that lies wholly above chance
    stand beside it. Of shuffled labels 2.5 % should, the upper tail of a 95 % interval.

    Attributes:
        kind: `true`, or the null that they are (`score.nulls`): `shuffled`, `too_broad`, …
        n: Labels with this score.
        mean: Of the values.
        lower_quartile: Of the values.
        median: Of the values.
        upper_quartile: Of the values.
        share_above_chance: Share whose interval lies wholly above chance; None where chance is unknown.
        n_uninformative: Those on which the judge said the same to every question.
        share_below_true: Of a null, share of features where its value lies below the true label's interval; None of
            true labels, and where no feature has both.
    """

    kind: str
    n: int
    mean: float
    lower_quartile: float
    median: float
    upper_quartile: float
    share_above_chance: float | None
    n_uninformative: int
    share_below_true: float | None = None


@dataclass(frozen=True, slots=True, repr=False)
class ScorerSummary:
    """One scorer over all current labels, beside the same scorer on labels that say nothing of their features.

    Attributes:
        scorer: Name of the scorer.
        judge: Name of the judge.
        metric: What the value is, for example `balanced accuracy`.
        chance: What a label that says nothing gets: .5 of balanced accuracies and AUROCs, the mean of the features' own
            where the scorer puts `chance` into the detail; None where neither is known.
        true: The labels themselves; None where only nulls have this score.
        shuffled: Each other features' labels; None without that null.
        other_nulls: The others, by kind.
        n_paired: Features that have both a true and a shuffled label's score.
        win_rate: Share of these where the true label's value is higher, ties counting half; None without a pair.
        share_above_shuffled: Share of these where the true label's interval lies wholly above the shuffled one's value.
    """

    scorer: str
    judge: str
    metric: str
    chance: float | None
    true: ValueSummary | None
    shuffled: ValueSummary | None
    other_nulls: tuple[ValueSummary, ...]
    n_paired: int
    win_rate: float | None
    share_above_shuffled: float | None

    @property
    def rows(self) -> tuple[ValueSummary, ...]:
        """All that have values: the true labels, the shuffled ones, other nulls."""
        return tuple(of for of in (self.true, self.shuffled, *self.other_nulls) if of is not None)

    def __repr__(self) -> str:
        medians = "".join(f", median of {of.n} {of.kind} {of.median:.2f}" for of in self.rows)
        return f"<ScorerSummary {self.scorer} by {self.judge}{medians}>"


@dataclass(frozen=True, slots=True)
class RefereeCounts:
    """Labels whose feature has a rule that is as good as the truth (`score.referee`).

    Attributes:
        n: True labels with a current score that was set against such a rule.
        n_disputed: Those which it disputes (`score.dispute`), by any such score.
        of_rules: Those of `n` that the rule itself is.
    """

    n: int
    n_disputed: int
    of_rules: int


@dataclass(frozen=True, slots=True)
class LabelledFeature:
    """One feature with one of its labels and that label's scores; or without a label, and why.

    Attributes:
        source: The feature's source.
        feature: Its statistics.
        explanation: One current explanation; None where the feature has none.
        scores: Current scores of the explanation, by scorer.
        failures: Current failures of the feature, in every stage; of scoring, those of this explanation.
        shuffled: By scorer what the feature's shuffled label scores, the mean where there are several.
    """

    source: SourceRecord
    feature: FeatureRecord
    explanation: Explanation | None
    scores: tuple[Score, ...]
    failures: tuple[Failure, ...]
    shuffled: Mapping[str, float] = field(default_factory=dict)

    @property
    def tier(self) -> Tier | None:
        """On which side its scores carry the label; None of a shuffled label, and of one without scores."""
        if self.explanation is None or self.explanation.is_baseline:
            return None
        return tier_of(self.scores, self.shuffled)

    @property
    def refereed(self) -> Refereed | None:
        """What a rule that is as good as the truth says of the label (`score.dispute`); None where there is none."""
        return said_by_referee(self.scores)


def said_by_referee(scores: Iterable[Score]) -> Refereed | None:
    """What a rule that is as good as the truth says of a label with these scores; None where there is none.

    Of several scores that were set against it, the one that it is the most at odds with: a label is disputed if it is
    by any.
    """
    said = (refereed(score.detail) for score in scores)
    return min((of for of in said if of is not None), key=lambda of: of.high, default=None)


@dataclass(frozen=True, slots=True, repr=False)
class ScoredLabel:
    """An explanation with its current scores, ordered by scorer."""

    explanation: Explanation
    scores: tuple[Score, ...]

    def __repr__(self) -> str:
        scores = "".join(f", {of.scorer} {of.value:.2f}" for of in self.scores)
        return f"<ScoredLabel {self.explanation.label!r} by {self.explanation.explainer}{scores}>"


def shuffled_means(scored: Iterable[tuple[Explanation, Iterable[Score]]]) -> dict[str, float]:
    """By scorer what the shuffled ones among a feature's labels score, the mean where there are several."""
    values: dict[str, list[float]] = defaultdict(list)
    for explanation, scores in scored:
        if explanation.explainer == SHUFFLED:  # other nulls are no part of the rule
            for score in scores:
                values[score.scorer].append(score.value)
    return {scorer: sum(of) / len(of) for scorer, of in values.items()}


def with_scores(explanations: Iterable[Explanation], scores: Iterable[Score]) -> list[ScoredLabel]:
    """Put labels and their scores together, both in the order in which they are given."""
    scores_of: dict[str, list[Score]] = defaultdict(list)
    for score in scores:
        scores_of[score.explanation_id].append(score)
    return [ScoredLabel(label, tuple(scores_of.get(label.explanation_id, ()))) for label in explanations]
