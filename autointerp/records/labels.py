"""Records of explaining and scoring: what is shown, labels, trials, scores, failures, and what they cost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from autointerp.records.contexts import Context

Side = Literal["input", "output"]


@dataclass(frozen=True, slots=True)
class TokenCount:
    """A token that a feature fires on; `records.tokens` tells how telling it is.

    Attributes:
        token: Its text.
        n_active: Counted tokens of it on which the feature fires.
        mean_activation: The feature's mean activation on these.
        n_occurrences: Counted tokens of it in the corpus; None in a store of before, where nobody counted them.
    """

    token: str
    n_active: int
    mean_activation: float
    n_occurrences: int | None = None


@dataclass(frozen=True, slots=True)
class FollowingToken:
    """A token that follows a feature's sampled peaks.

    Attributes:
        token: Its text.
        n_peaks: Sampled peaks that it follows.
        lift: Its share among the sampled peaks that a token follows, over its share of the corpus.
    """

    token: str
    n_peaks: int
    lift: float


@dataclass(frozen=True, slots=True)
class TokenLogit:
    """A token, and by how much a step of length 1 along a feature's direction raises its logit above the mean."""

    token: str
    logit: float


@dataclass(frozen=True, slots=True)
class FeatureEvidence:
    """What an explainer may use of one feature: no context of the score split.

    Attributes:
        source_id: `model@source`.
        feature_index: The feature.
        density: Share of counted tokens on which it fires.
        max_activation: Largest activation in the corpus.
        active: Explain contexts in which it fires.
        silent: Explain contexts in which it is silent.
        top_tokens: The tokens it fires on most, and the most telling of the others, most often first.
        following_tokens: The tokens that follow its sampled peaks, most often first.
        n_followed_peaks: Sampled peaks that a token follows: what `FollowingToken.n_peaks` is a part of.
        top_logits: The tokens whose logits it raises most, highest first; empty where the source has no logits.
        bottom_logits: The tokens whose logits it lowers most, lowest first.
        select_active: Select contexts in which it fires; empty where `contexts.select_share` is 0. No explainer may see
            one, and none may go into a prompt for a label: they only choose among labels that are written.
        select_silent: Select contexts in which it is silent; the same holds.
    """

    source_id: str
    feature_index: int
    density: float
    max_activation: float
    active: tuple[Context, ...]
    silent: tuple[Context, ...]
    top_tokens: tuple[TokenCount, ...]
    following_tokens: tuple[FollowingToken, ...] = ()
    n_followed_peaks: int = 0
    top_logits: tuple[TokenLogit, ...] = ()
    bottom_logits: tuple[TokenLogit, ...] = ()
    select_active: tuple[Context, ...] = ()
    select_silent: tuple[Context, ...] = ()


@dataclass(frozen=True, slots=True)
class Sibling:
    """A feature whose label is nearly that of another.

    Attributes:
        feature_index: The feature.
        label: Its first label.
        similarity: Cosine of the two labels.
        active: Its explain contexts, in which it fires; the other feature may or may not.
        max_activation: Its largest activation in the corpus.
    """

    feature_index: int
    label: str
    similarity: float
    active: tuple[Context, ...]
    max_activation: float


@dataclass(frozen=True, slots=True, repr=False)
class Explanation:
    """One label of one feature.

    Attributes:
        explanation_id: UUID from the feature and `fingerprint`.
        source_id: `model@source`.
        feature_index: The feature the label is about.
        label: The text.
        explainer: Name of the explainer, for example `keywords`; `shuffled` for the baseline, or another null's name.
        model: The language model's name, or `local`.
        prompt_sha256: Hash of the prompt's text; None for an explainer without a prompt.
        cost_usd: What it cost; None where the price is unknown; 0.0 where local.
        created_at: UTC.
        fingerprint: Of everything that decides the label.
        label_from: For the baseline, the feature whose label this is; for other nulls (`score.nulls`), which nobody
            wrote, the feature itself; None for a true label.
        side: Which side of the feature the label is about: `input`, what it fires on, or `output`, what it promotes;
            None where the explainer does not say.
        n_contexts: Contexts in which the feature fires that were shown to the language model: fewer than asked for
            where more do not fit into its window. None for an explainer that shows none.
        excludes: What the label's own text rules out; None where the explainer names nothing.
        detail: What else the explainer has to say of the label, as JSON has it.
    """

    explanation_id: str
    source_id: str
    feature_index: int
    label: str
    explainer: str
    model: str
    prompt_sha256: str | None
    cost_usd: float | None
    created_at: datetime
    fingerprint: str
    label_from: int | None = None
    side: Side | None = None
    n_contexts: int | None = None
    excludes: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_baseline(self) -> bool:
        """Whether this is a null: no explanation of the feature, but there to see what scores without one."""
        return self.label_from is not None

    def __repr__(self) -> str:
        return (
            f"<Explanation of {self.source_id}:{self.feature_index} {self.label!r} by {self.explainer} ({self.model})>"
        )


@dataclass(frozen=True, slots=True)
class Trial:
    """One context put to a judge, and what came back.

    Attributes:
        explanation_id: The explanation on trial.
        scorer: `detection`, `fuzzing`, `embedding` or `recall`.
        judge: Name of the judge.
        context_id: The context.
        truth: What a perfect judge of a perfect label would say.
        verdict: What the judge said; None where it failed to answer, or only gives a probability or similarity.
        probability: The judge's probability, or the similarity, that the label describes the context; None where it
            gives none.
        marked: Offsets of the marked tokens (fuzzing); empty elsewhere.
        weight: 1 / probability with which the context was drawn (recall); 1 elsewhere.
        unanswered: Why there is no answer; None where there is one.
        prompt: Names the prompt that it was put in; None where no language model was asked.
        simulated: What the judge took the activation at each token to be, from 0 to 10; None where it was not asked.
    """

    explanation_id: str
    scorer: str
    judge: str
    context_id: str
    truth: bool
    verdict: bool | None
    probability: float | None
    marked: tuple[int, ...] = ()
    weight: float = 1.0
    unanswered: str | None = None
    prompt: str | None = None
    simulated: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Score:
    """One scorer's grade of one explanation.

    Attributes:
        explanation_id: The explanation.
        scorer: Name of the scorer.
        judge: Name of the judge.
        metric: What `value` is, for example `balanced accuracy`.
        value: Headline in [0, 1].
        ci_low: Lower end of the 95 % interval.
        ci_high: Upper end.
        n_trials: Contexts put to the judge.
        n_unanswered: Trials without an answer, part of `n_trials`, in no rate.
        detail: Further measures by name: numbers, or mappings of names to numbers; None for one that is undefined.
        fingerprint: Of everything that decides the score.
    """

    explanation_id: str
    scorer: str
    judge: str
    metric: str
    value: float
    ci_low: float
    ci_high: float
    n_trials: int
    n_unanswered: int
    detail: Mapping[str, Any]
    fingerprint: str

    def __repr__(self) -> str:
        told = f"{self.value:.2f} [{self.ci_low:.2f} {self.ci_high:.2f}]"
        return f"<Score {self.scorer} {told}, {self.metric} of {self.n_trials} trials by {self.judge}>"


@dataclass(frozen=True, slots=True)
class ScoreWithTrials:
    """What a scorer returns: the score, its trials, and contexts it drew itself (from the pool)."""

    score: Score
    trials: tuple[Trial, ...]
    contexts: tuple[Context, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """One feature for which one stage has no result.

    Attributes:
        stage: `contexts`, `explain`, `score:detection`, …
        source_id: `model@source`.
        feature_index: The feature.
        error_type: Short name in CamelCase, for example `TooFewContexts`, `Refusal`, `ParseFailure`.
        message: One line.
        raw: The judge's or the explainer's answer, where there was one.
        retry: Whether another run may fare better (a refusal, a timeout); False where it would only repeat itself.
        created_at: UTC.
        fingerprint: Of what was tried.
        explanation_id: The explanation, for a failure of `score`.
        cost_usd: What the calls that came to nothing cost; None where the price is unknown.
    """

    stage: str
    source_id: str
    feature_index: int
    error_type: str
    message: str
    raw: str | None
    retry: bool
    created_at: datetime
    fingerprint: str
    explanation_id: str | None = None
    cost_usd: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What one language-model call, or a sum of calls, used.

    Attributes:
        n_calls: Calls that were paid for.
        input_tokens: All input tokens, cached ones included.
        cached_input_tokens: Input tokens read from the provider's cache.
        output_tokens: Output tokens.
        cost_usd: None where a price is unknown.
    """

    n_calls: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            n_calls=self.n_calls + other.n_calls,
            input_tokens=self.input_tokens + other.input_tokens,
            cached_input_tokens=self.cached_input_tokens + other.cached_input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost_usd=total_cost((self.cost_usd, other.cost_usd)),
        )

    def __sub__(self, other: "Usage") -> "Usage":
        unknown = self.cost_usd is None or other.cost_usd is None
        return Usage(
            n_calls=self.n_calls - other.n_calls,
            input_tokens=self.input_tokens - other.input_tokens,
            cached_input_tokens=self.cached_input_tokens - other.cached_input_tokens,
            output_tokens=self.output_tokens - other.output_tokens,
            cost_usd=None if unknown else (self.cost_usd or 0.0) - (other.cost_usd or 0.0),
        )

    def shared(self, weights: Sequence[int]) -> list["Usage"]:
        """Parts of it, one a weight and in proportion to them; calls and tokens are whole, and add up to it.

        Args:
            weights: Not negative, and not all 0.
        """
        ends = [sum(weights[: n + 1]) / sum(weights) for n in range(len(weights))]
        reached = [
            Usage(
                n_calls=round(end * self.n_calls),
                input_tokens=round(end * self.input_tokens),
                cached_input_tokens=round(end * self.cached_input_tokens),
                output_tokens=round(end * self.output_tokens),
                cost_usd=None if self.cost_usd is None else end * self.cost_usd,
            )
            for end in ends
        ]
        return [after - before for before, after in zip([Usage(), *reached], reached, strict=False)]


def total_cost(costs_usd: Iterable[float | None]) -> float | None:
    """What all cost together; None where one is unknown."""
    total = 0.0
    for cost_usd in costs_usd:
        if cost_usd is None:
            return None
        total += cost_usd
    return total
