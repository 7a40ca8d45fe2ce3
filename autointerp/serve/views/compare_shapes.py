"""What the page of comparisons says, as plain values."""

from typing import Literal

from autointerp.records import InputToken, TokenLogit
from autointerp.serve.views.asked import Asked, OneOf, Texts
from autointerp.serve.views.shown import Chip, FeatureLine, Snippet, View


class CompareAsked(Asked):
    """What is compared.

    Attributes:
        of: Two `features`, two `labels` of one feature, or two `runs`.
        a: The first feature, by `model@source:index`, or by its index where there is one source.
        b: The second.
        feature: The feature whose labels are compared.
        label: Two explanations' ids, or their beginnings; its first two where there are none.
        run: Two runs by name; of one, two explainers or judges.
        explainer: Whose labels: of two the first side's first, an empty one for what counts now; of one the second's.
        judge: Whose scores, likewise.
    """

    of: Literal["features", "labels", "runs"] = "features"
    a: OneOf = None
    b: OneOf = None
    feature: OneOf = None
    label: Texts = ()
    run: Texts = ()
    explainer: Texts = ()
    judge: Texts = ()


class OwnLabel(View):
    """A label of a feature with its scores.

    Attributes:
        id: Its explanation's.
        label: The text.
        explainer: Who wrote it.
        model: By which language model, or `local`.
        null: What null it is; None for a true label.
        chips: Its scores.
    """

    id: str
    label: str
    explainer: str
    model: str
    null: str | None
    chips: tuple[Chip, ...]


class ComparedFeature(View):
    """One of two features.

    Attributes:
        line: The feature.
        status: `ok`, `dead`, `dense` or `few_contexts`.
        n_active: Tokens on which it fires.
        mean_activation: Of these.
        max_activation: The largest.
        labels: Its true labels.
        tokens: Tokens on which it fires, the most telling first.
        top_logits: Tokens whose logits it raises most.
        bottom_logits: Tokens whose logits it lowers most.
        snippets: Where it fires most.
    """

    line: FeatureLine
    status: str
    n_active: int
    mean_activation: float
    max_activation: float
    labels: tuple[OwnLabel, ...]
    tokens: tuple[InputToken, ...]
    top_logits: tuple[TokenLogit, ...]
    bottom_logits: tuple[TokenLogit, ...]
    snippets: tuple[Snippet, ...]


class Closeness(View):
    """How close two features are in one space.

    Attributes:
        space: `label`, `decoder`, `coactivation` or another that the run has stored.
        similarity: None where neither is among the nearest of the other that are known.
        n_known: Neighbors of each that are known.
    """

    space: str
    similarity: float | None
    n_known: int


class FeaturesCompared(View):
    """Two features.

    Attributes:
        first: The first.
        second: The second.
        closeness: By space; none of features of two sources.
        shared_tokens: Tokens among the most telling of both.
    """

    first: ComparedFeature
    second: ComparedFeature
    closeness: tuple[Closeness, ...]
    shared_tokens: tuple[str, ...]


class ScoreDifference(View):
    """Two labels of one feature by one scorer.

    Attributes:
        scorer: The scorer.
        metric: What the values are.
        first: The first label's score.
        second: The second's.
        value: The second's value less the first's.
        low: Lower end of its 95 % interval.
        high: Upper end.
        p_value: Of a test of no difference.
        by_trials: Whether it is from pairs of the same trials; else from the two intervals, and too wide.
    """

    scorer: str
    metric: str
    first: Chip
    second: Chip
    value: float
    low: float
    high: float
    p_value: float
    by_trials: bool


class SaidTwice(View):
    """A trial that was put to the judge with either label.

    Attributes:
        scorer: The scorer.
        truth: What a perfect judge of a perfect label would say.
        first: What was said with the first label: a verdict, or a probability; None where nothing was.
        second: The same with the second.
        snippet: The context; None where the store no longer has it.
    """

    scorer: str
    truth: bool
    first: bool | float | None
    second: bool | float | None
    snippet: Snippet | None


class LabelsCompared(View):
    """Two labels of one feature.

    Attributes:
        line: The feature.
        options: All of its labels.
        first: The first.
        second: The second.
        differences: By scorer, as far as both have scores by it.
        trials: Trials of both on which the judge's verdict is another with the second; and where it gives probabilities
            or similarities, those where these are furthest apart.
        n_same: Trials of both on which its verdict is the same.
    """

    line: FeatureLine
    options: tuple[OwnLabel, ...]
    first: OwnLabel
    second: OwnLabel
    differences: tuple[ScoreDifference, ...]
    trials: tuple[SaidTwice, ...]
    n_same: int


class FeatureChange(View):
    """A feature whose score differs beyond chance between two runs.

    Attributes:
        id: `model@source:index`.
        path: Of its page.
        first_label: The first's label.
        second_label: The second's.
        first_value: What the first's scores.
        second_value: What the second's scores.
        value: The second less the first.
        low: Lower end of its 95 % interval.
        high: Upper end.
        q_value: The false discovery rate at which it is one.
    """

    id: str
    path: str
    first_label: str
    second_label: str
    first_value: float
    second_value: float
    value: float
    low: float
    high: float
    q_value: float


class ScorerChange(View):
    """Two sides by one scorer, over all features.

    Attributes:
        scorer: The scorer.
        metric: What its values are.
        first_judge: The first's judge.
        second_judge: The second's.
        is_paired: Whether the same features are compared; else two samples of other features.
        n_first: Features with a score of the first.
        n_second: Features with a score of the second.
        first_mean: Of the first's values.
        second_mean: Of the second's.
        value: Mean difference, the second less the first.
        low: Lower end of its 95 % interval; None where there is none.
        high: Upper end; None likewise.
        is_settled: Whether the interval lies wholly on one side of 0.
        n_to_settle: Features with which such a difference would be seen; None where nobody can tell.
        won: Share of features that the second wins, ties counting half.
        n_better: Features whose second score is higher beyond chance.
        n_worse: Features whose second score is lower beyond chance.
        better: The largest of these.
        worse: The largest of those.
    """

    scorer: str
    metric: str
    first_judge: str
    second_judge: str
    is_paired: bool
    n_first: int
    n_second: int
    first_mean: float
    second_mean: float
    value: float
    low: float | None
    high: float | None
    is_settled: bool
    n_to_settle: int | None
    won: float
    n_better: int
    n_worse: int
    better: tuple[FeatureChange, ...]
    worse: tuple[FeatureChange, ...]


class LabelSetLine(View):
    """Labels of a run that one explainer wrote under one setting.

    Attributes:
        run: The run.
        explainer: Its name.
        model: Its language models, or `local`.
        fingerprint: The beginning of the setting's.
        is_current: Whether they count as the run's labels now.
        n: Labels.
    """

    run: str
    explainer: str
    model: str
    fingerprint: str
    is_current: bool
    n: int


class RunsCompared(View):
    """Two runs, or two explainers or judges of one.

    Attributes:
        first: The first side, in words.
        second: The second.
        differs: What differs between them.
        warnings: What they have not in common.
        scorers: By scorer.
    """

    first: str
    second: str
    differs: tuple[str, ...]
    warnings: tuple[str, ...]
    scorers: tuple[ScorerChange, ...]


class CompareView(View):
    """What the page says.

    Attributes:
        asked: What is compared.
        runs: The runs that are served, by name.
        label_sets: Whose labels they hold.
        explainers: Whose labels are compared, of either side; empty for what counts now.
        features: Two features, where two are named.
        labels: Two labels, where a feature is named.
        compared_runs: Two runs, where they are named.
    """

    asked: CompareAsked
    runs: tuple[str, ...]
    label_sets: tuple[LabelSetLine, ...] = ()
    explainers: tuple[str, str] = ("", "")
    features: FeaturesCompared | None = None
    labels: LabelsCompared | None = None
    compared_runs: RunsCompared | None = None
