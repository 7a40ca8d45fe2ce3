"""What a feature's labels were tried on: each trial with its context, as the judge saw it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autointerp.contexts.render import marked_text
from autointerp.errors import FilterError
from autointerp.records import MADE_KINDS, Context, Explanation, Score, Trial
from autointerp.store.known import check_name
from autointerp.store.reader import Reader
from autointerp.store.results import ScoredLabel


@dataclass(frozen=True, slots=True)
class TrialChoice:
    """Which trials are asked for.

    Attributes:
        scorer: Only of this scorer; None for all.
        errors: Only those that were answered wrong, or not answered.
    """

    scorer: str | None = None
    errors: bool = False


EVERY_TRIAL = TrialChoice()
_NONE: Mapping[str, Sequence[Trial]] = {}


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

    @property
    def is_wrong(self) -> bool:
        """Whether the judge answered, and not what is true."""
        return self.trial.verdict is not None and self.trial.verdict != self.trial.truth


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


def read_trials(
    store: Reader, labels: Sequence[ScoredLabel], choice: TrialChoice, own: Mapping[str, Sequence[Trial]] = _NONE
) -> tuple[LabelTrials, ...]:
    """Read the trials of a feature's labels.

    Args:
        store: The run's.
        labels: Of one feature.
        choice: Which trials are asked for.
        own: Those of labels that the store does not have, by their ids.

    Raises:
        FilterError: If no label has a score by that scorer.
    """
    known = sorted({score.scorer for scored in labels for score in scored.scores})
    if not known:
        raise FilterError("the feature has no score, so no trials", "look at its failures with `autointerp show`")
    if choice.scorer is not None:
        check_name(choice.scorer, known, "scorer", FilterError)
    found = []
    with store.session() as reader:
        of = labels[0].explanation
        kinds = (None, *sorted(MADE_KINDS))
        drawn = (reader.contexts(of.feature_index, kind=kind, source_id=of.source_id) for kind in kinds)
        contexts = {context.context_id: context for some in drawn for context in some}
        for scored in labels:
            for score in scored.scores:
                if choice.scorer in (None, score.scorer):
                    name = scored.explanation.explanation_id
                    trials: Sequence[Trial] = (
                        [trial for trial in own[name] if trial.scorer == score.scorer]
                        if name in own
                        else reader.trials(name, score.scorer)
                    )
                    found.append(_label_trials(scored.explanation, score, trials, contexts, choice))
    return tuple(found)


def _label_trials(
    explanation: Explanation,
    score: Score,
    trials: Sequence[Trial],
    contexts: dict[str, Context],
    choice: TrialChoice,
) -> LabelTrials:
    has_verdicts = any(trial.verdict is not None for trial in trials)
    chosen = [
        t for t in trials if not choice.errors or t.unanswered is not None or (has_verdicts and t.verdict != t.truth)
    ]
    shown = tuple(ShownTrial(t, c := contexts.get(t.context_id), _asked(t, c)) for t in chosen)
    n_right = sum(trial.verdict == trial.truth for trial in trials) if has_verdicts else None
    return LabelTrials(explanation, score, shown, n_right)


def _asked(trial: Trial, context: Context | None) -> str:
    if context is None:
        return ""
    if trial.simulated is None:
        return marked_text(context, trial.marked)
    from autointerp.score.judge import MOST_ACTIVATION  # brings the clients of language models with it

    # Of a simulated activation, half of the most is where its token is marked.
    return marked_text(context, [o for o, told in enumerate(trial.simulated) if told >= MOST_ACTIVATION / 2])
