"""Labels and their scores as pages show them, each score beside what nothing gets."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from autointerp.records import Explanation, Score
from autointerp.score.dispute import refereed
from autointerp.score.tier import CHANCE_OF
from autointerp.store.results import ScoredLabel, StageRecord, shuffled_means
from autointerp.text_table import number

SIDES = {"input": "what it fires on", "output": "what it promotes"}


@dataclass(frozen=True, slots=True)
class ShownScore:
    """A score of a label.

    Attributes:
        scorer: Its name.
        judge: Who judged.
        metric: What the value is.
        value: In [0, 1].
        low: Lower end of the 95 % interval.
        high: Upper end.
        shuffled: What labels of other features get on the same trials, on the mean; None without that null.
        chance: What a label that says nothing gets; None where it is unknown.
        n_trials: Contexts put to the judge.
        n_unanswered: Of these, without an answer.
        scored_at: UTC, when its scoring last ended; None while it is under way.
        notes: What else has to be known of it.
    """

    scorer: str
    judge: str
    metric: str
    value: float
    low: float
    high: float
    shuffled: float | None
    chance: float | None
    n_trials: int
    n_unanswered: int
    scored_at: datetime | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShownLabel:
    """A label, true or a null.

    Attributes:
        id: UUID of the explanation.
        label: The text.
        explainer: Who wrote it.
        written_by: Whom a choice among explainers chose; None where there was none.
        model: The language model, or `local`.
        created_at: UTC.
        n_contexts: Contexts shown to the language model; None for an explainer that shows none.
        side: What it is about: `input`, `output` or None.
        excludes: What its own text rules out.
        notes: What else its explainer has to say.
        null: For a null, what it is; None for a true label.
        label_from: For a shuffled label, the feature whose label it is.
        scores: Its scores.
    """

    id: str
    label: str
    explainer: str
    written_by: str | None
    model: str
    created_at: datetime
    n_contexts: int | None
    side: str | None
    excludes: str | None
    notes: tuple[str, ...]
    null: str | None
    label_from: int | None
    scores: tuple[ShownScore, ...]


def shown_labels(labels: Sequence[ScoredLabel], stages: Iterable[StageRecord]) -> tuple[ShownLabel, ...]:
    """Labels of one feature, true ones first.

    Args:
        labels: With their scores.
        stages: Of the run.
    """
    ended = {of.stage.removeprefix("score:"): of.finished_at for of in stages if of.stage.startswith("score:")}
    shuffled = shuffled_means((scored.explanation, scored.scores) for scored in labels)
    return tuple(_shown(scored.explanation, scored.scores, shuffled, ended) for scored in labels)


def _shown(
    of: Explanation,
    scores: Sequence[Score],
    shuffled: Mapping[str, float],
    ended: Mapping[str, datetime | None],
) -> ShownLabel:
    chosen, note = of.detail.get("chosen"), of.detail.get("note")
    return ShownLabel(
        id=of.explanation_id,
        label=of.label,
        explainer=of.explainer,
        written_by=str(chosen) if chosen else None,
        model=of.model,
        created_at=of.created_at,
        n_contexts=of.n_contexts,
        side=of.side,
        excludes=of.excludes,
        notes=(str(note),) if note else (),
        null=of.explainer if of.is_baseline else None,
        label_from=of.label_from,
        scores=tuple(
            _shown_score(score, None if of.is_baseline else shuffled.get(score.scorer), ended.get(score.scorer))
            for score in scores
        ),
    )


def _shown_score(score: Score, shuffled: float | None, scored_at: datetime | None) -> ShownScore:
    chance = CHANCE_OF.get(score.metric, score.detail.get("chance"))
    return ShownScore(
        scorer=score.scorer,
        judge=score.judge,
        metric=score.metric,
        value=score.value,
        low=score.ci_low,
        high=score.ci_high,
        shuffled=shuffled,
        chance=chance,
        n_trials=score.n_trials,
        n_unanswered=score.n_unanswered,
        scored_at=scored_at,
        notes=tuple(_notes(score)),
    )


def _notes(score: Score) -> list[str]:
    found = []
    if note := score.detail.get("uninformative"):
        found.append(f"uninformative: {note}")
    if (said := refereed(score.detail)) is not None and said.is_disputed:
        found.append(
            f"a rule of precision {number(said.referee.precision)} and recall {number(said.referee.recall)} says "
            f"otherwise: {said.referee.rule}"
        )
    if note := score.detail.get("alone"):
        found.append(f"prompts of one feature: {note}")
    return found
