"""The score stage: shuffled labels beside the true ones, and every scorer on both, as far as not yet done."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from autointerp.errors import RunError
from autointerp.identity import feature_id, fingerprint, stable_uuid
from autointerp.records import Explanation, Failure, Graded, Usage
from autointerp.run.asking import ask_all
from autointerp.run.models import Models
from autointerp.run.progress import Reporter, StageSummary
from autointerp.run.session import Session
from autointerp.run.spending import StageLedger, tokens_used
from autointerp.score.baseline import shuffled_explanations
from autointerp.score.protocol import ScoreEvidence, Scorer

_FEATURES_PER_READ = 128
_SCORES_PER_TRANSACTION = 512


@dataclass(frozen=True, slots=True)
class _Job:
    scorer: Scorer
    mark: str
    explanation: Explanation
    evidence: ScoreEvidence


async def run_score(session: Session, models: Models, features: Sequence[int], reporter: Reporter) -> None:
    """Score the current labels of the features, and the baseline's, with every configured scorer."""
    started = time.monotonic()
    scorers = models.scorers()
    marks = {s.name: fingerprint("score", session.contexts_fingerprint, s.name, s.fingerprint) for s in scorers}
    explanations = _with_baseline(session, features)
    if not explanations:
        raise RunError(
            f"none of the {len(features)} features asked for has a label in {session.folder.path}",
            "run `autointerp explain` first; `autointerp status` says why a feature has none",
        )
    by_id = {explanation.explanation_id: explanation for explanation in explanations}
    pending: dict[int, list[tuple[Scorer, str]]] = {}
    n_pending = 0
    ledgers: list[StageLedger] = []
    for scorer in scorers:
        stage, mark = f"score:{scorer.name}", marks[scorer.name]
        ledgers.append(StageLedger(session.writer, session.reader, stage, mark, len(by_id)))
        for explanation_id in session.writer.pending_explanations(scorer.name, marks[scorer.name], list(by_id)):
            pending.setdefault(by_id[explanation_id].feature_index, []).append((scorer, explanation_id))
            n_pending += 1
    counts = {"done": 0, "failed": 0}

    async def grade(job: _Job) -> Graded | Failure:
        outcome = await job.scorer.score(job.explanation, job.evidence)
        if isinstance(outcome, Failure):
            return replace(outcome, fingerprint=job.mark)
        return replace(outcome, score=replace(outcome.score, fingerprint=job.mark))

    def keep(outcomes: list[Graded | Failure]) -> None:
        graded = [o for o in outcomes if isinstance(o, Graded)]
        failures = [o for o in outcomes if isinstance(o, Failure)]
        session.writer.add_graded(graded)
        session.writer.add_failures(failures)
        ledgers[0].record("running", models.usage("score"))
        counts["done"] += len(graded)
        counts["failed"] += len(failures)
        reporter.progress("score", counts["done"] + counts["failed"], n_pending, models.spent("score"))

    waiting = sorted(pending)
    for first in range(0, len(waiting), _FEATURES_PER_READ):
        jobs: list[_Job] = []
        chunk = session.reader.feature_contexts(waiting[first : first + _FEATURES_PER_READ], session.source_id)
        labels = [by_id[name].label for of in chunk for _, name in pending[of.feature_index]]
        models.prepare(sorted(set(labels)), chunk)
        for contexts in chunk:
            n_active = int(session.collected.statistics.n_active[contexts.feature_index])
            evidence = ScoreEvidence(contexts, session.pool, n_active / session.collected.statistics.n_tokens)
            jobs += [
                _Job(scorer, marks[scorer.name], by_id[explanation_id], evidence)
                for scorer, explanation_id in pending[contexts.feature_index]
            ]
        await ask_all(jobs, grade, keep, n_at_once=models.n_judged_at_once, batch_size=_SCORES_PER_TRANSACTION)
    usage = models.usage("score")
    # One judge serves several scorers, so what it cost stands with the first of them.
    for place, ledger in enumerate(ledgers):
        ledger.record("done", usage if place == 0 else Usage())
    n_skipped = len(by_id) * len(scorers) - n_pending
    seconds = time.monotonic() - started
    reporter.finished(
        StageSummary("score", counts["done"], counts["failed"], n_skipped, seconds, usage.cost_usd, tokens_used(usage))
    )


def _with_baseline(session: Session, features: Sequence[int]) -> list[Explanation]:
    """The current labels of the features, and shuffled labels for the baseline, made where they are missing."""
    chosen = set(features)
    labels = session.reader.explanations(source_id=session.source_id)
    true_labels = [label for label in labels if label.feature_index in chosen]
    config, seed = session.pipeline.score, session.pipeline.seed
    if not config.baseline or not labels:
        return true_labels
    mark = fingerprint("baseline", seed, sorted({label.fingerprint for label in labels}))
    session.writer.set_stage("baseline", mark, "running", cost_usd=0.0)
    existing = [e for e in session.reader.explanations(source_id=session.source_id, baselines=True) if e.is_baseline]
    rows = shuffled_explanations(labels, seed, existing, config.n_baseline)
    baseline = [
        replace(
            row, fingerprint=mark, explanation_id=stable_uuid(f"{feature_id(row.source_id, row.feature_index)}/{mark}")
        )
        for row in rows
    ]
    session.writer.add_explanations(baseline)
    session.writer.set_stage("baseline", mark, "done", n_asked=len(baseline), cost_usd=0.0)
    return [*true_labels, *(row for row in baseline if row.feature_index in chosen)]
