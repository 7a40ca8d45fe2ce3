"""What a feature's labels were tried on: what `autointerp show --trials` prints."""

from collections.abc import Iterator, Sequence

from autointerp.cli.tables import with_interval
from autointerp.library.trials import LabelTrials, ShownTrial
from autointerp.text_table import number

_ANSWERS = {True: "yes", False: "no", None: "-"}


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


def _line(shown: ShownTrial) -> str:
    trial, context = shown.trial, shown.context
    told = number(trial.probability) if trial.probability is not None else ""
    if trial.simulated is not None:
        told = f"{max(trial.simulated, default=0.0):.1f}"
    answer = f"{_ANSWERS[trial.verdict]:<3} {told:>4}"
    if trial.unanswered is not None:
        answer = f"none: {trial.unanswered}"
    where = [] if context is None else [context.kind, context.document_id]
    if trial.weight != 1.0:
        where.append(f"weight {trial.weight:.3g}")
    if trial.prompt is not None:
        where.append(f"prompt {trial.prompt}")
    flag = "wrong" if shown.is_wrong else ""
    text = shown.asked if context is not None else "(the store no longer has this context)"
    return f"  {_ANSWERS[trial.truth]:<5}  {answer}  {flag:<5}  {text}  ({', '.join(where)})"
