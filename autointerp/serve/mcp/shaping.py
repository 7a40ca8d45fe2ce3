"""Records of the library as the replies' shapes have them."""

from collections.abc import Iterable, Mapping

from autointerp.contexts.render import active_offsets, marked_text
from autointerp.identity import feature_id
from autointerp.library.feature import Feature
from autointerp.library.feature_view import FeatureView
from autointerp.library.inspector import ContextInspector, FeatureActivation, InspectedToken, RankBy
from autointerp.library.trials import LabelTrials, ShownTrial
from autointerp.records import Context, Explanation, FeatureRecord, Score, input_tokens
from autointerp.score.tier import CHANCE_OF
from autointerp.serve.mcp import replies
from autointerp.serve.mcp.replies import corpus_text, cut, label_text, measured, message_text
from autointerp.store.results import ScoredLabel

TOKENS_SHOWN = 10
_TOKEN = 60
_BEFORE, _AFTER = 12, 5


def found_feature(feature: Feature) -> replies.FoundFeature:
    """A feature with its best label."""
    return replies.FoundFeature(
        feature=feature.id,
        label=None if feature.label is None else label_text(feature.label),
        explainer=feature.explainer,
        relevance=measured(feature.relevance),
        density=measured(feature.density),
        scores={name: scored_shape(value, feature.intervals.get(name)) for name, value in feature.scores.items()},
        run=feature.run,
    )


def scored_shape(value: float, interval: tuple[float, float] | None) -> replies.Scored:
    """A score with its interval."""
    low, high = interval or (None, None)
    return replies.Scored(value=measured(value), ci_low=measured(low), ci_high=measured(high))


def label_shape(scored: ScoredLabel, shuffled: Mapping[str, float]) -> replies.Label:
    """A label that was written for the feature, beside what shuffled ones score."""
    explanation = scored.explanation
    return replies.Label(
        label=label_text(explanation.label),
        explainer=explanation.explainer,
        model=explanation.model,
        side=explanation.side,
        excludes=None if explanation.excludes is None else label_text(explanation.excludes),
        scores={score.scorer: full_score(score, shuffled.get(score.scorer)) for score in scored.scores},
    )


def full_score(score: Score, shuffled: float | None) -> replies.FullScore:
    """A score with how it was had."""
    uninformative = score.detail.get("uninformative")
    chance = CHANCE_OF.get(score.metric, score.detail.get("chance"))
    return replies.FullScore(
        value=measured(score.value),
        ci_low=measured(score.ci_low),
        ci_high=measured(score.ci_high),
        metric=score.metric,
        judge=score.judge,
        n_trials=score.n_trials,
        n_unanswered=score.n_unanswered,
        chance=measured(chance),
        shuffled=measured(shuffled),
        uninformative=message_text(str(uninformative)) if uninformative else None,
    )


def baseline_shape(scored: ScoredLabel) -> replies.Baseline:
    """A label that says nothing of the feature."""
    explanation = scored.explanation
    return replies.Baseline(
        kind=explanation.explainer,
        label=label_text(explanation.label),
        label_from=explanation.label_from,
        scores={s.scorer: scored_shape(s.value, (s.ci_low, s.ci_high)) for s in scored.scores},
    )


def disputed(view: FeatureView) -> str | None:
    """What a rule that is as good as the truth says otherwise; None where it does not, or there is none."""
    said = view.refereed
    if said is None or not said.is_disputed:
        return None
    return message_text(f"{said.referee.rule}: the judge agrees with it on {100 * said.agreement:.0f} % of trials")


def fires_on(record: FeatureRecord) -> list[replies.FiredToken]:
    """The tokens that tell most of the feature."""
    telling = sorted(input_tokens(record), key=lambda token: -(token.pmi or 0.0))
    return [
        replies.FiredToken(
            token=cut(token.token, _TOKEN),
            n_active=token.n_active,
            precision=measured(token.precision),
            pmi_bits=measured(token.pmi),
        )
        for token in telling[:TOKENS_SHOWN]
    ]


def moved(tokens: Iterable[tuple[str, float]]) -> list[replies.MovedToken]:
    """Tokens with what the feature does to their logits."""
    return [replies.MovedToken(token=cut(token, _TOKEN), logit=float(f"{logit:.4g}")) for token, logit in tokens]


def token_text(text: str) -> str:
    """A token as replies have it."""
    return cut(text, _TOKEN)


def fired_feature(fired: FeatureActivation, text: ContextInspector) -> replies.FiredFeature:
    """What a feature does on a text."""
    first, last = max(0, fired.peak - _BEFORE), fired.peak + _AFTER
    tokens = [token.text for token in text.tokens[first:last]]
    peak = tokens[fired.peak - first]
    tokens[fired.peak - first] = f"{peak[: len(peak) - len(peak.lstrip())]}<<{peak.lstrip()}>>"
    return replies.FiredFeature(
        **found_feature(fired.feature).model_dump(exclude={"relevance"}),
        activation=measured(fired.activation),
        percentile=measured(fired.percentile),
        surprise=measured(fired.surprise),
        n_tokens=fired.n_tokens,
        peak=fired.peak,
        around=corpus_text("".join(tokens)),
    )


def token_shape(token: InspectedToken, n_features: int, rank_by: RankBy) -> replies.ReadToken:
    """A token with the features that stand out on it."""
    return replies.ReadToken(
        position=token.position,
        token=token_text(token.text),
        fires=[
            replies.TokenFeature(
                feature=fired.feature.id,
                label=None if fired.feature.label is None else label_text(fired.feature.label),
                activation=measured(fired.activation),
                percentile=measured(fired.percentile),
            )
            for fired in token.inspect(n_features, rank_by)
        ],
    )


def context_shape(context: Context) -> replies.ShownContext:
    """A context as an agent reads it."""
    return replies.ShownContext(
        text=corpus_text(marked_text(context, active_offsets(context))),
        max_activation=float(f"{context.max_activation:.4g}"),
        peak_token=cut(context.tokens[context.peak], _TOKEN) if context.is_active else None,
        kind=context.kind,
        split=context.split,
        quantile=context.quantile,
        document=cut(context.document_id, _TOKEN * 2),
    )


def label_of(explanation: Explanation) -> str:
    """Whose label it is: the feature's own, or which baseline."""
    if not explanation.is_baseline:
        return "own"
    if explanation.label_from in (None, explanation.feature_index):
        return explanation.explainer
    return f"{explanation.explainer}, of {feature_id(explanation.source_id, explanation.label_from or 0)}"


def trials_summary(of: LabelTrials) -> replies.TrialsSummary:
    """What trials came to."""
    return replies.TrialsSummary(
        label=label_text(of.explanation.label),
        label_of=label_of(of.explanation),
        scorer=of.score.scorer,
        judge=of.score.judge,
        score=scored_shape(of.score.value, (of.score.ci_low, of.score.ci_high)),
        n_trials=of.score.n_trials,
        n_right=of.n_right,
    )


def trial_shape(of: LabelTrials, shown: ShownTrial) -> replies.ShownTrial:
    """One trial, as the judge saw it."""
    trial, context = shown.trial, shown.context
    return replies.ShownTrial(
        scorer=trial.scorer,
        label_of=label_of(of.explanation),
        truth=trial.truth,
        verdict=trial.verdict,
        probability=measured(trial.probability),
        unanswered=None if trial.unanswered is None else message_text(trial.unanswered),
        shown=None if context is None else corpus_text(shown.asked),
        kind=None if context is None else context.kind,
        document=None if context is None else cut(context.document_id, _TOKEN * 2),
    )
