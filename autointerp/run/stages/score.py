"""The score stage: shuffled labels beside the true ones, and every scorer on both, as far as not yet done.

A judge that is paid for is asked about the labels of several features together, so that its prompts mix them
(`score.judges.llm`). Who is asked about together, and so every prompt, does not depend on how many workers there are,
nor on when a run was killed:

1. For each scorer, what is left to do is put in a keyed order of the features, and cut into *mixing groups* of as many
   labels as a prompt holds questions: then a prompt holds about one of each. True labels make groups of their own, and
   so do shuffled ones, and labels whose score failed before. Where labels are asked about until they are known well
   enough (`score.stop`), groups are larger, so that those which take long are mixed too.
2. A group is kept whole, in one transaction, or not at all. What a killed run leaves is therefore whole groups, and the
   next run cuts them in the same places; answers that were paid for and not kept are found in the journal. Only where
   the labels have changed in between are they cut elsewhere, and what was paid for unfinished groups is paid again.

Where asking is free every label is scored by itself, or as many together as the scorer wants (`n_together`). A scorer
that does not look at labels scores no shuffled one, and a label whose feature it has scored before takes over that
score.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autointerp.errors import LanguageModelError
from autointerp.identity import hash_key, in_keyed_order
from autointerp.plugins import called_by_us
from autointerp.records import Explanation, Failure, ScoreWithTrials, Usage
from autointerp.run.asking import ask_all
from autointerp.run.features import ChosenFeatures
from autointerp.run.language_models import Spending
from autointerp.run.participants import Participants
from autointerp.run.progress import Reporter, StageSummary, told_meanwhile
from autointerp.run.session import Session, SourceSession
from autointerp.run.stage_row import StageRow
from autointerp.run.stages.baseline import with_nulls
from autointerp.score.base import BaseScorer
from autointerp.score.null_kinds import is_asked_about
from autointerp.score.others import OtherFeatures
from autointerp.score.referee import Referees
from autointerp.score.trials import ScoreContexts
from autointerp.store.results import StageState

_FEATURES_PER_READ = 128
_SCORES_PER_TRANSACTION = 512
_PROMPTS_TOGETHER_IN_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Group:
    """Labels that a scorer asks its judge about together.

    Attributes:
        scorer: The scorer.
        explanations: Of one source, in the order of their features.
    """

    scorer: BaseScorer
    explanations: Sequence[Explanation]


@dataclass(frozen=True, slots=True)
class _Job:
    """A group whose contexts are read."""

    scorer: BaseScorer
    labels: Sequence[tuple[Explanation, ScoreContexts]]


class _Rows:
    """The stage's rows in the store, one a scorer, each with what its own questions cost.

    What nobody has asked for yet, though it is paid (calls of a batch that an earlier process sent), stands with the
    first scorer that asks the judge, so that the rows together are what was paid.
    """

    def __init__(
        self, session: Session, participants: Participants, spending: Spending, explanations: Sequence[Explanation]
    ) -> None:
        self._participants = participants
        self._spending = spending
        self._rows = [
            StageRow(
                session.writer,
                session.reader,
                f"score:{scorer.name}",
                scorer.fingerprint,
                len(_scored_by(scorer, explanations)),
            )
            for scorer in participants.scorers
        ]

    def record(self, status: StageState) -> None:
        scorers = self._participants.scorers
        paid = [self._participants.paid(scorer) for scorer in scorers]
        asking = next((place for place, scorer in enumerate(scorers) if scorer.asks_judge), 0)
        paid[asking] = paid[asking] + (self._spending.usage("score") - sum(paid, Usage()))
        for row, of_scorer in zip(self._rows, paid, strict=True):
            row.record(status, of_scorer)


async def run_score(
    session: Session, participants: Participants, spending: Spending, chosen: ChosenFeatures, reporter: Reporter
) -> None:
    """Score the current labels of the features, and the baseline's, with every scorer."""
    started = time.monotonic()
    scorers = participants.scorers
    explanations = with_nulls(session, chosen)
    every = [explanation for of_source in explanations.values() for explanation in of_source]
    if not every:  # the run's end says why, and whether that is a failure (`run.missing`)
        reporter.finished(StageSummary("score", 0))
        return
    rows = _Rows(session, participants, spending, every)
    pending = {
        source_id: find_pending(session, participants, of_source) for source_id, of_source in explanations.items()
    }
    asked = {group.scorer.name: group.scorer for groups in pending.values() for group in groups}
    participants.check_subject(asked.values())
    _announce(session, pending, reporter)
    n_pending = sum(len(group.explanations) for groups in pending.values() for group in groups)
    counts = {"done": 0, "failed": 0}

    def tell() -> None:
        reporter.progress("score", counts["done"] + counts["failed"], n_pending, spending.spent("score"))

    def keep(of_groups: list[list[ScoreWithTrials | Failure]]) -> None:
        outcomes = [outcome for of_group in of_groups for outcome in of_group]
        scores = [o for o in outcomes if isinstance(o, ScoreWithTrials)]
        failures = [o for o in outcomes if isinstance(o, Failure)]
        session.writer.add_scores(scores, failures)
        rows.record("running")
        counts["done"] += len(scores)
        counts["failed"] += len(failures)
        tell()

    try:
        async with told_meanwhile(tell):
            for source in session.each_source():
                if pending.get(source.source_id):
                    await score_source(source, participants, pending[source.source_id], keep)
    except LanguageModelError:
        rows.record("running")  # with calls that were paid for and came too late for a score
        raise
    rows.record("done")
    n_skipped = sum(len(_scored_by(scorer, every)) for scorer in scorers) - n_pending
    seconds = time.monotonic() - started
    cost_usd = spending.usage("score").cost_usd
    reporter.finished(
        StageSummary("score", counts["done"], counts["failed"], n_skipped, seconds, cost_usd, spending.used("score"))
    )


def _scored_by(scorer: BaseScorer, explanations: Sequence[Explanation]) -> list[Explanation]:
    """Those of the explanations that a scorer scores."""
    judge, sees_label, n_partly_wrong = scorer.judge, scorer.sees_label, scorer.config.n_partly_wrong
    return [
        of
        for of in explanations
        if not of.is_baseline
        or is_asked_about(of.explainer, judge, sees_label=sees_label, n_partly_wrong=n_partly_wrong)
    ]


def find_pending(session: Session, participants: Participants, explanations: Sequence[Explanation]) -> list[Group]:
    """The groups that are left to do of one source, those of the same features beside each other."""
    if not explanations:
        return []
    by_id = {explanation.explanation_id: explanation for explanation in explanations}
    scorers, source_id = participants.scorers, explanations[0].source_id
    features = np.array(sorted({explanation.feature_index for explanation in explanations}))
    sizes = [_labels_together(participants, scorer) for scorer in scorers]
    failed: set[tuple[str | None, str]] = set()
    if max(sizes) > 1:
        key = hash_key(session.pipeline.seed, "mixing", source_id)
        features = in_keyed_order(key, features)
        failed = {(f.explanation_id, f.fingerprint) for f in session.reader.failures(source_id=source_id)}
    rank = {int(feature): place for place, feature in enumerate(features)}
    groups: list[Group] = []
    for scorer, size in zip(scorers, sizes, strict=True):
        kinds: dict[tuple[str, bool], list[Explanation]] = {}
        wanted = [explanation.explanation_id for explanation in _scored_by(scorer, explanations)]
        if not scorer.sees_label:
            session.writer.take_over_scores(scorer.name, scorer.fingerprint, wanted)
        for name in session.writer.pending_explanations(scorer.name, scorer.fingerprint, wanted):
            null = by_id[name].explainer if by_id[name].is_baseline else ""
            kind = (null, (name, scorer.fingerprint) in failed)
            kinds.setdefault(kind, []).append(by_id[name])
        for _, of_kind in sorted(kinds.items()):
            in_order = sorted(of_kind, key=lambda e: (rank[e.feature_index], e.explanation_id))
            groups += [Group(scorer, in_order[i : i + size]) for i in range(0, len(in_order), size)]
    return sorted(groups, key=lambda group: rank[group.explanations[0].feature_index])


def _announce(session: Session, pending: Mapping[str, Sequence[Group]], reporter: Reporter) -> None:
    """Say what scorers have to say before they begin."""
    of_scorer: dict[str, list[Group]] = {}
    for group in (group for groups in pending.values() for group in groups):
        of_scorer.setdefault(group.scorer.name, []).append(group)
    for groups in of_scorer.values():
        scorer, first = groups[0].scorer, groups[0].explanations[0]
        contexts = session.reader.feature_contexts([first.feature_index], first.source_id)
        with called_by_us(scorer, f"the scorer {scorer.name!r}"):
            said = scorer.announce(sum(len(group.explanations) for group in groups), contexts[0]) if contexts else ""
        if said:
            reporter.say(said)


def _labels_together(participants: Participants, scorer: BaseScorer) -> int:
    """How many labels a scorer is given together."""
    with called_by_us(scorer, f"the scorer {scorer.name!r}"):
        n_prompts = 1 if scorer.stop is None else _PROMPTS_TOGETHER_IN_ROUNDS
        return scorer.n_together if scorer.judge.is_free else n_prompts * participants.contexts_per_prompt(scorer.task)


async def score_source(
    source: SourceSession,
    participants: Participants,
    pending: Sequence[Group],
    keep: Callable[[list[list[ScoreWithTrials | Failure]]], None],
) -> None:
    """Score groups of labels of one source.

    Args:
        source: The source.
        participants: Whose scorers the groups name.
        pending: As `find_pending` gives them, at least one.
        keep: Stores scores with their trials, and failures.
    """

    async def score(job: _Job) -> list[ScoreWithTrials | Failure]:
        with called_by_us(job.scorer, f"the scorer {job.scorer.name!r}"):
            return await job.scorer.score_all(job.labels)

    def read_labels() -> dict[int, str]:
        return {e.feature_index: e.label for e in source.run.reader.explanations(source_id=source.source_id)}

    others = OtherFeatures(read_labels, source.windows_of, source.run.embedder)
    referees = Referees(source.pool)

    def chunks() -> Iterator[list[_Job]]:
        statistics = source.collected.statistics
        for groups in _read_together(pending):
            features = sorted({e.feature_index for group in groups for e in group.explanations})
            chunk = source.run.reader.feature_contexts(features, source.source_id)
            labels = {e.label for group in groups for e in group.explanations}
            participants.prepare(sorted(labels), chunk, source.pool)
            contexts = {
                of.feature_index: ScoreContexts(
                    of,
                    source.pool,
                    int(statistics.n_active[of.feature_index]) / statistics.n_tokens,
                    others,
                    referees,
                )
                for of in chunk
            }
            yield [
                _Job(
                    of.scorer, [(e, contexts[e.feature_index]) for e in of.explanations if e.feature_index in contexts]
                )
                for of in groups
            ]

    size = max(len(group.explanations) for group in pending)
    await ask_all(
        chunks(),
        score,
        keep,
        n_at_once=-(-participants.n_judged_at_once // size) + (size > 1),
        batch_size=-(-_SCORES_PER_TRANSACTION // size),
    )


def _read_together(groups: Sequence[Group]) -> Iterator[list[Group]]:
    """Groups, in their order, whose contexts are read at one time."""
    together: list[Group] = []
    features: set[int] = set()
    for group in groups:
        of_group = {explanation.feature_index for explanation in group.explanations}
        if together and len(features) + len(of_group - features) > _FEATURES_PER_READ:
            yield together
            together, features = [], set()
        together.append(group)
        features |= of_group
    if together:
        yield together
