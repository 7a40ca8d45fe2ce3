"""The score stage: shuffled labels beside the true ones, and every scorer on both, as far as not yet done."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from autointerp.errors import LanguageModelError
from autointerp.identity import fingerprint
from autointerp.plugins import called_by_us
from autointerp.records import Explanation, Failure, ScoreWithTrials, Usage
from autointerp.run.asking import ask_all
from autointerp.run.features import ChosenFeatures
from autointerp.run.language_models import Spending
from autointerp.run.participants import Participants
from autointerp.run.progress import Reporter, StageSummary, told_meanwhile
from autointerp.run.session import Session, SourceSession
from autointerp.run.stage_row import StageRow
from autointerp.score.base import BaseScorer
from autointerp.score.baseline import shuffled_explanations
from autointerp.score.trials import ScoreContexts
from autointerp.store.results import StageState

_FEATURES_PER_READ = 128
_SCORES_PER_TRANSACTION = 512


@dataclass(frozen=True, slots=True)
class _Job:
    scorer: BaseScorer
    explanation: Explanation
    contexts: ScoreContexts


@dataclass(frozen=True, slots=True)
class _Pending:
    """What is left to do of one source.

    Attributes:
        by_feature: Scorer and explanation, by feature.
        explanations: By id.
    """

    by_feature: dict[int, list[tuple[BaseScorer, str]]]
    explanations: dict[str, Explanation]

    @property
    def n_scores(self) -> int:
        return sum(len(of_feature) for of_feature in self.by_feature.values())


class _Rows:
    """The stage's rows in the store, one a scorer, each with what its own questions cost.

    What nobody has asked for yet, though it is paid (calls of a batch that an earlier process sent), stands with the
    first scorer that asks the judge, so that the rows together are what was paid.
    """

    def __init__(self, session: Session, participants: Participants, spending: Spending, n_explanations: int) -> None:
        self._participants = participants
        self._spending = spending
        self._rows = [
            StageRow(session.writer, session.reader, f"score:{scorer.name}", scorer.fingerprint, n_explanations)
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
    explanations = _with_baseline(session, chosen)
    n_explanations = sum(len(of_source) for of_source in explanations.values())
    if n_explanations == 0:  # the run's end says why, and whether that is a failure (`run.missing`)
        reporter.finished(StageSummary("score", 0))
        return
    rows = _Rows(session, participants, spending, n_explanations)
    pending = {source_id: _find_pending(session, scorers, of_source) for source_id, of_source in explanations.items()}
    n_pending = sum(of_source.n_scores for of_source in pending.values())
    counts = {"done": 0, "failed": 0}

    def tell() -> None:
        reporter.progress("score", counts["done"] + counts["failed"], n_pending, spending.spent("score"))

    def keep(outcomes: list[ScoreWithTrials | Failure]) -> None:
        scores = [o for o in outcomes if isinstance(o, ScoreWithTrials)]
        failures = [o for o in outcomes if isinstance(o, Failure)]
        session.writer.add_scores(scores)
        session.writer.add_failures(failures)
        rows.record("running")
        counts["done"] += len(scores)
        counts["failed"] += len(failures)
        tell()

    try:
        async with told_meanwhile(tell):
            for source in session.each_source():
                if source.source_id in pending:
                    await _score_source(source, participants, pending[source.source_id], keep)
    except LanguageModelError:
        rows.record("running")  # with calls that were paid for and came too late for a score
        raise
    rows.record("done")
    n_skipped = n_explanations * len(scorers) - n_pending
    seconds = time.monotonic() - started
    cost_usd = spending.usage("score").cost_usd
    reporter.finished(
        StageSummary("score", counts["done"], counts["failed"], n_skipped, seconds, cost_usd, spending.used("score"))
    )


def _find_pending(session: Session, scorers: Sequence[BaseScorer], explanations: Sequence[Explanation]) -> _Pending:
    by_id = {explanation.explanation_id: explanation for explanation in explanations}
    by_feature: dict[int, list[tuple[BaseScorer, str]]] = {}
    for scorer in scorers:
        for explanation_id in session.writer.pending_explanations(scorer.name, scorer.fingerprint, list(by_id)):
            by_feature.setdefault(by_id[explanation_id].feature_index, []).append((scorer, explanation_id))
    return _Pending(by_feature, by_id)


async def _score_source(
    source: SourceSession,
    participants: Participants,
    pending: _Pending,
    keep: Callable[[list[ScoreWithTrials | Failure]], None],
) -> None:
    async def score(job: _Job) -> ScoreWithTrials | Failure:
        feature = job.explanation.feature_index
        with called_by_us(job.scorer, f"the scorer {job.scorer.name!r} on feature {feature}"):
            return await job.scorer.score(job.explanation, job.contexts)

    def chunks() -> Iterator[list[_Job]]:
        by_feature, by_id, statistics = pending.by_feature, pending.explanations, source.collected.statistics
        waiting = sorted(by_feature)
        for first in range(0, len(waiting), _FEATURES_PER_READ):
            chunk = source.run.reader.feature_contexts(waiting[first : first + _FEATURES_PER_READ], source.source_id)
            labels = [by_id[name].label for of in chunk for _, name in by_feature[of.feature_index]]
            participants.prepare(sorted(set(labels)), chunk, source.pool)
            jobs: list[_Job] = []
            for of_feature in chunk:
                n_active = int(statistics.n_active[of_feature.feature_index])
                contexts = ScoreContexts(of_feature, source.pool, n_active / statistics.n_tokens)
                jobs += [
                    _Job(scorer, by_id[explanation_id], contexts)
                    for scorer, explanation_id in by_feature[of_feature.feature_index]
                ]
            yield jobs

    n_at_once = participants.n_judged_at_once
    await ask_all(chunks(), score, keep, n_at_once=n_at_once, batch_size=_SCORES_PER_TRANSACTION)


def _with_baseline(session: Session, chosen: ChosenFeatures) -> dict[str, list[Explanation]]:
    """The current explanations of the features, and shuffled labels for the baseline, made where they are missing."""
    current = {source_id: session.reader.explanations(source_id=source_id) for source_id in chosen}
    explanations = {
        source_id: [e for e in current[source_id] if e.feature_index in set(features)]
        for source_id, features in chosen.items()
    }
    config, seed = session.pipeline.score, session.pipeline.seed
    made_from = {e.fingerprint for of_source in current.values() for e in of_source}
    if not config.baseline or not made_from:
        return explanations
    baseline_fingerprint = fingerprint("baseline", seed, sorted(made_from))
    session.writer.set_stage("baseline", baseline_fingerprint, "running", cost_usd=0.0)
    n_baseline = 0
    for source_id, features in chosen.items():
        existing = [e for e in session.reader.explanations(source_id=source_id, baselines=True) if e.is_baseline]
        baseline = shuffled_explanations(current[source_id], seed, baseline_fingerprint, existing, config.n_baseline)
        session.writer.add_explanations(baseline)
        n_baseline += len(baseline)
        wanted = set(features)
        explanations[source_id] += [row for row in baseline if row.feature_index in wanted]
    session.writer.set_stage("baseline", baseline_fingerprint, "done", n_asked=n_baseline, cost_usd=0.0)
    return explanations
