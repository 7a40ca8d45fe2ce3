"""How far two judges agree about the same labels, or one judge with itself, from runs as they lie.

from autointerp import judge_agreement

found = judge_agreement("runs/demo", judge=("gpt-5-mini", "claude-haiku-5-5"))
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from autointerp.errors import CompareError
from autointerp.identity import hash_key
from autointerp.library.sides import Side, choose_sides, common_scorers, each_read, has_same_text
from autointerp.score.agreement import Agreed, VerdictAgreement, score_agreement, verdict_agreement
from autointerp.score.same_trials import ScoredTrials
from autointerp.store.compared import ScoredFeature


@dataclass(frozen=True, slots=True)
class ScorerAgreement:
    """Agreement about one scorer's questions.

    Attributes:
        scorer: The scorer.
        first_judge: The first's judge.
        second_judge: The second's.
        n_features: Features with the same label that both scored.
        n_same_trials: Of these, those whose trials are the very same.
        n_unanswered: Trials of these that either left unanswered; they count for nothing here.
        verdicts: Agreement trial by trial; None where there are no verdicts on the same trials.
        scores: Intraclass correlation of the features' scores.
    """

    scorer: str
    first_judge: str
    second_judge: str
    n_features: int
    n_same_trials: int
    n_unanswered: int
    verdicts: VerdictAgreement | None
    scores: Agreed


@dataclass(frozen=True, slots=True)
class RunAgreement:
    """Agreement of two sides.

    Attributes:
        first: The first side.
        second: The second side.
        n_other_labels: Features that both scored under other labels, which are left out.
        scorers: By scorer.
    """

    first: Side
    second: Side
    n_other_labels: int
    scorers: tuple[ScorerAgreement, ...]


def judge_agreement(
    first: str | Path,
    second: str | Path | None = None,
    *,
    explainer: str | Sequence[str] = (),
    judge: str | Sequence[str] = (),
    scorers: Sequence[str] | None = None,
) -> RunAgreement:
    """How far two judges agree, or one with itself, about labels that are the same.

    Args:
        first: A run folder.
        second: Another one, in which the same labels were judged again; the same where None, and then two judges are
            named, or one that is not the current.
        explainer: Whose labels; as in `compare_runs`.
        judge: Whose scores; as in `compare_runs`.
        scorers: By these; by default by all that both have.

    Raises:
        CompareError: If there are no such scores, or no feature has the same label on both sides.
        StoreError: If there is no run in a folder.
    """
    one, other = choose_sides(first, second, explainer, judge)
    gathered = {name: _Gathered() for name in common_scorers(one, other, scorers)}
    n_other_labels = 0
    for source, of_one, of_other in each_read(one, other):
        others = {of.feature_index: of for of in of_other}
        for feature in of_one:
            pair = others.get(feature.feature_index)
            if pair is None:
                continue
            if pair.label != feature.label:
                n_other_labels += 1
                continue
            for name, of in gathered.items():
                of.add(name, feature, pair, same_text=has_same_text(one, other, source))
    if not any(of.values for of in gathered.values()):
        raise CompareError(
            f"no feature has the same label in {one.name} and {other.name}",
            "judge the same labels twice; two sets of labels are compared by `autointerp compare`",
        )
    found = [
        of.agreement(name, one.scored_by(name).judge, other.scored_by(name).judge)
        for name, of in gathered.items()
        if of.values
    ]
    return RunAgreement(one, other, n_other_labels, tuple(found))


@dataclass(slots=True)
class _Gathered:
    """What two judges said of one scorer's questions, as it is read."""

    values: list[tuple[float, float]] = field(default_factory=list)
    tables: list[list[int]] = field(default_factory=list)
    n_same_trials: int = 0
    n_unanswered: int = 0

    def add(self, scorer: str, first: ScoredFeature, second: ScoredFeature, *, same_text: bool) -> None:
        """Take in a feature, if both have scored it."""
        if scorer not in first.scores or scorer not in second.scores:
            return
        one, other = first.scores[scorer], second.scores[scorer]
        self.values.append((one.value, other.value))
        if same_text and one.keys and one.keys == other.keys:
            self.n_same_trials += 1
            self._add_trials(one, other)

    def _add_trials(self, one: ScoredTrials, other: ScoredTrials) -> None:
        pairs = list(zip(one.verdicts, other.verdicts, strict=True))
        table = [pairs.count(said) for said in ((True, True), (True, False), (False, True), (False, False))]
        if sum(table):
            self.tables.append(table)
        self.n_unanswered += len(pairs) - sum(table)

    def agreement(self, scorer: str, first_judge: str, second_judge: str) -> ScorerAgreement:
        """All features together."""
        rng = np.random.default_rng(hash_key(0, "agreement", scorer))
        return ScorerAgreement(
            scorer=scorer,
            first_judge=first_judge,
            second_judge=second_judge,
            n_features=len(self.values),
            n_same_trials=self.n_same_trials,
            n_unanswered=self.n_unanswered if self.tables else 0,  # a similarity has no verdict to leave out
            verdicts=verdict_agreement(np.array(self.tables, dtype=np.float64), rng) if self.tables else None,
            scores=score_agreement(np.array(self.values, dtype=np.float64), rng),
        )
