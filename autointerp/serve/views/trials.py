"""The trials behind the scores of a feature: what was asked, what is true, and what the judge said."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Query

from autointerp.errors import FilterError
from autointerp.library.trials import LabelTrials, ShownTrial, TrialChoice
from autointerp.serve.serving import Serving
from autointerp.serve.views.contexts import ShownContext, shown_context
from autointerp.serve.views.served import named_source, run_of

_MOST = 500


@dataclass(frozen=True, slots=True)
class TrialView:
    """One trial.

    Attributes:
        truth: What a perfect judge of a perfect label would say.
        verdict: What the judge said; None where it did not answer, or gives no verdicts.
        probability: The judge's probability, or the similarity, that the label describes the context.
        is_wrong: Whether it answered, and not what is true.
        unanswered: Why there is no answer; None where there is one.
        marked: Offsets of the tokens that were marked.
        simulated: What the judge took the activation at each token to be, from 0 to 10; None where it was not asked.
        weight: 1 / probability with which the context was drawn.
        asked: What the judge was shown besides the label.
        context: The context; None where the store no longer has it.
    """

    truth: bool
    verdict: bool | None
    probability: float | None
    is_wrong: bool
    unanswered: str | None
    marked: tuple[int, ...]
    simulated: tuple[float, ...] | None
    weight: float
    asked: str
    context: ShownContext | None


@dataclass(frozen=True, slots=True)
class TriedLabel:
    """The trials of one label by one scorer.

    Attributes:
        label: The label.
        explanation_id: Of it.
        null: For a null, what it is; None for a true label.
        scorer: Who scored.
        judge: Who judged.
        metric: What the value is.
        value: In [0, 1].
        low: Lower end of the 95 % interval.
        high: Upper end.
        n_trials: How many there are.
        n_right: Of these, those whose verdict is right; None where the judge gives no verdicts.
        trials: Those that were asked for, in the order in which they were put.
    """

    label: str
    explanation_id: str
    null: str | None
    scorer: str
    judge: str
    metric: str
    value: float
    low: float
    high: float
    n_trials: int
    n_right: int | None
    trials: tuple[TrialView, ...]


@dataclass(frozen=True, slots=True)
class TrialsView:
    """What the page of a feature's trials says.

    Attributes:
        id: `model@source:index`.
        source_id: `model@source`.
        index: The feature.
        max_activation: Its largest activation in the corpus.
        label: Its first true label; None where it has none.
        scorers: Those by which it has scores.
        scorer: The one that was asked for; None for all.
        errors: Whether only errors were asked for.
        explanation: The label that was asked for; None for all.
        tried: The trials.
        problem: Why there are none; None where there may be.
    """

    id: str
    source_id: str
    index: int
    max_activation: float
    label: str | None
    scorers: tuple[str, ...]
    scorer: str | None
    errors: bool
    explanation: str | None
    tried: tuple[TriedLabel, ...]
    problem: str | None


def trials(
    serving: Serving,
    model: str,
    source: str,
    index: int,
    scorer: Annotated[str | None, Query(max_length=100, description="only trials of this scorer")] = None,
    explanation: Annotated[str | None, Query(max_length=100, description="only trials of this label")] = None,
    errors: Annotated[bool, Query(description="only those that were answered wrong, or not answered")] = False,
) -> TrialsView:
    """What the labels of a feature were tried on."""
    of = named_source(serving, model, source)
    run = run_of(serving, of)
    view = run.feature(index, of)
    scorers = sorted({score.scorer for scored in view.labels for score in scored.scores})
    tried: tuple[TriedLabel, ...] = ()
    problem = None
    try:
        found = run.trials(index, TrialChoice(scorer, errors), of)
        tried = tuple(_tried(some) for some in found if explanation in (None, some.explanation.explanation_id))
    except FilterError as error:
        problem = error.problem
    return TrialsView(
        id=f"{of}:{index}",
        source_id=of,
        index=index,
        max_activation=view.feature.max_activation,
        label=next((s.explanation.label for s in view.labels if not s.explanation.is_baseline), None),
        scorers=tuple(scorers),
        scorer=scorer,
        errors=errors,
        explanation=explanation,
        tried=tried,
        problem=problem,
    )


def _tried(of: LabelTrials) -> TriedLabel:
    score, explanation = of.score, of.explanation
    return TriedLabel(
        label=explanation.label,
        explanation_id=explanation.explanation_id,
        null=explanation.explainer if explanation.is_baseline else None,
        scorer=score.scorer,
        judge=score.judge,
        metric=score.metric,
        value=score.value,
        low=score.ci_low,
        high=score.ci_high,
        n_trials=score.n_trials,
        n_right=of.n_right,
        trials=tuple(map(_trial, of.trials[:_MOST])),
    )


def _trial(shown: ShownTrial) -> TrialView:
    trial = shown.trial
    return TrialView(
        truth=trial.truth,
        verdict=trial.verdict,
        probability=trial.probability,
        is_wrong=shown.is_wrong,
        unanswered=trial.unanswered,
        marked=trial.marked,
        simulated=trial.simulated,
        weight=trial.weight,
        asked=shown.asked,
        context=None if shown.context is None else shown_context(shown.context),
    )
