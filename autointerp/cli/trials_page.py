"""What a feature's labels were tried on: what `autointerp show --trials` prints."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from autointerp.cli.tables import number, with_interval
from autointerp.contexts.render import marked_text
from autointerp.errors import FilterError
from autointerp.library.run import Run
from autointerp.records import MADE_KINDS, Context, Explanation, Score, Trial
from autointerp.score.judge import MOST_ACTIVATION
from autointerp.store.known import check_name
from autointerp.store.results import ScoredLabel

_TOLD = MOST_ACTIVATION / 2
"""Of a simulated activation, from which on its token is marked."""
_ANSWERS = {True: "yes", False: "no", None: "-"}


@dataclass(frozen=True, slots=True)
class TrialChoice:
    """Which trials are asked for.

    Attributes:
        scorer: Only of this scorer; None for all.
        errors: Only those that were answered wrong, or not answered.
    """

    scorer: str | None = None
    errors: bool = False


@dataclass(frozen=True, slots=True)
class ShownTrial:
    """One trial with its context.

    Attributes:
        trial: What was asked, answered and true.
        context: The context; None where the store no longer has it.
        asked: What the judge was shown besides the label.
    """

    trial: Trial
    context: Context | None
    asked: str


@dataclass(frozen=True, slots=True)
class LabelTrials:
    """The trials of one label by one scorer.

    Attributes:
        explanation: The label.
        score: What they came to.
        trials: Those that were asked for, in the order in which they were put.
        n_right: Of all its trials, those whose verdict is right; None where the judge gives no verdicts.
    """

    explanation: Explanation
    score: Score
    trials: tuple[ShownTrial, ...]
    n_right: int | None


def read_trials(run: Run, labels: Sequence[ScoredLabel], choice: TrialChoice) -> tuple[LabelTrials, ...]:
    """Read the trials of a feature's labels.

    Args:
        run: The run.
        labels: Of one feature.
        choice: Which trials are asked for.

    Raises:
        FilterError: If no label has a score by that scorer.
    """
    known = sorted({score.scorer for scored in labels for score in scored.scores})
    if not known:
        raise FilterError("the feature has no score, so no trials", "look at its failures with `autointerp show`")
    if choice.scorer is not None:
        check_name(choice.scorer, known, "scorer", FilterError)
    found = []
    with run.reader.session() as reader:
        of = labels[0].explanation
        kinds = (None, *sorted(MADE_KINDS))
        drawn = (reader.contexts(of.feature_index, kind=kind, source_id=of.source_id) for kind in kinds)
        contexts = {context.context_id: context for some in drawn for context in some}
        for scored in labels:
            for score in scored.scores:
                if choice.scorer in (None, score.scorer):
                    trials = reader.trials(scored.explanation.explanation_id, score.scorer)
                    found.append(_label_trials(scored.explanation, score, trials, contexts, choice))
    return tuple(found)


def trial_lines(of_labels: Sequence[LabelTrials]) -> Iterator[str]:
    """Lines about trials: truth, answer and what was asked."""
    for of in of_labels:
        label = of.explanation
        by = label.explainer
        if label.is_baseline and label.label_from != label.feature_index:
            by = f"shuffled, of feature {label.label_from}"
        right = "" if of.n_right is None else f", {of.n_right} of {of.score.n_trials} right"
        yield ""
        yield f"{of.score.scorer} of {label.label!r} ({by}), judge {of.score.judge}: {with_interval(of.score)}{right}"
        yield f"  truth  {_answers_of(of)}"
        for shown in of.trials:
            yield _line(shown)
        if not of.trials:
            yield "  none is wrong" if of.n_right is not None else "  a similarity is neither right nor wrong"


def _answers_of(of: LabelTrials) -> str:
    """What the trials' answers are, for the line above them."""
    if of.n_right is not None:
        return "answer"
    is_simulated = any(shown.trial.simulated is not None for shown in of.trials)
    return "most told, told from 5 on marked" if is_simulated else "similarity"


def _label_trials(
    explanation: Explanation,
    score: Score,
    trials: Sequence[Trial],
    contexts: dict[str, Context],
    choice: TrialChoice,
) -> LabelTrials:
    has_verdicts = any(trial.verdict is not None for trial in trials)
    chosen = [t for t in trials if not choice.errors or (has_verdicts and t.verdict != t.truth)]
    shown = tuple(ShownTrial(t, c := contexts.get(t.context_id), _asked(t, c)) for t in chosen)
    n_right = sum(trial.verdict == trial.truth for trial in trials) if has_verdicts else None
    return LabelTrials(explanation, score, shown, n_right)


def _asked(trial: Trial, context: Context | None) -> str:
    if context is None:
        return ""
    if trial.simulated is None:
        return marked_text(context, trial.marked)
    return marked_text(context, [offset for offset, told in enumerate(trial.simulated) if told >= _TOLD])


def _line(shown: ShownTrial) -> str:
    trial, context = shown.trial, shown.context
    told = number(trial.probability) if trial.probability is not None else ""
    if trial.simulated is not None:
        told = f"{max(trial.simulated, default=0.0):.1f}"
    answer = f"{_ANSWERS[trial.verdict]:<3} {told:>4}"
    is_wrong = trial.verdict is not None and trial.verdict != trial.truth
    if trial.unanswered is not None:
        answer = f"none: {trial.unanswered}"
    where = [] if context is None else [context.kind, context.document_id]
    if trial.weight != 1.0:
        where.append(f"weight {trial.weight:.3g}")
    if trial.prompt is not None:
        where.append(f"prompt {trial.prompt}")
    flag = "wrong" if is_wrong else ""
    text = shown.asked if context is not None else "(the store no longer has this context)"
    return f"  {_ANSWERS[trial.truth]:<5}  {answer}  {flag:<5}  {text}  ({', '.join(where)})"
