"""The score stage: shuffled labels beside the true ones, and every scorer on both, as far as not yet done."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from autointerp.errors import RunError
from autointerp.identity import feature_id, fingerprint, stable_uuid
from autointerp.records import Explanation, Failure, Graded, Usage
from autointerp.run.asking import ask_all
from autointerp.run.participants import Models
from autointerp.run.progress import Reporter, StageSummary
from autointerp.run.selection import ChosenFeatures, count_features
from autointerp.run.session import Session, SourceSession
from autointerp.run.stage_record import StageLedger
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


@dataclass(frozen=True, slots=True)
class _Pending:
    """What is left to do of one source.

    Attributes:
        by_feature: Scorer and explanation, by feature.
        explanations: By id.
    """

    by_feature: dict[int, list[tuple[Scorer, str]]]
    explanations: dict[str, Explanation]

    @property
    def n_scores(self) -> int:
        return sum(len(of_feature) for of_feature in self.by_feature.values())


async def run_score(session: Session, models: Models, chosen: ChosenFeatures, reporter: Reporter) -> None:
    """Score the current labels of the features, and the baseline's, with every configured scorer."""
    started = time.monotonic()
    scorers = models.scorers()
    marks = {s.name: fingerprint("score", session.contexts_fingerprint, s.name, s.fingerprint) for s in scorers}
    explanations = _with_baseline(session, chosen)
    n_explanations = sum(len(of_source) for of_source in explanations.values())
    if n_explanations == 0:
        raise _no_label(session, chosen)
    ledgers = [
        StageLedger(session.writer, session.reader, f"score:{scorer.name}", marks[scorer.name], n_explanations)
        for scorer in scorers
    ]
    pending = {
        source_id: _find_pending(session, scorers, marks, of_source) for source_id, of_source in explanations.items()
    }
    n_pending = sum(of_source.n_scores for of_source in pending.values())
    counts = {"done": 0, "failed": 0}

    def keep(outcomes: list[Graded | Failure]) -> None:
        graded = [o for o in outcomes if isinstance(o, Graded)]
        failures = [o for o in outcomes if isinstance(o, Failure)]
        session.writer.add_graded(graded)
        session.writer.add_failures(failures)
        ledgers[0].record("running", models.language_models.usage("score"))
        counts["done"] += len(graded)
        counts["failed"] += len(failures)
        reporter.progress("score", counts["done"] + counts["failed"], n_pending, models.language_models.spent("score"))

    for source in session.each_source():
        if source.source_id in pending:
            await _score_source(source, models, pending[source.source_id], marks, keep)
    usage = models.language_models.usage("score")
    # One judge serves several scorers, so what it cost stands with the first of them.
    for place, ledger in enumerate(ledgers):
        ledger.record("done", usage if place == 0 else Usage())
    n_skipped = n_explanations * len(scorers) - n_pending
    seconds = time.monotonic() - started
    reporter.finished(
        StageSummary(
            "score",
            counts["done"],
            counts["failed"],
            n_skipped,
            seconds,
            usage.cost_usd,
            models.language_models.used("score"),
        )
    )


def _no_label(session: Session, chosen: ChosenFeatures) -> RunError:
    n_asked = count_features(chosen)
    failures = [
        failure
        for source_id, features in chosen.items()
        for failure in session.reader.failures(list(features), source_id=source_id)
        if failure.stage == "explain"
    ]
    if failures:
        last = max(failures, key=lambda failure: failure.created_at)
        return RunError(
            f"none of the {n_asked} features asked for could be labelled; the last: {last.error_type}: {last.message}",
            "mend the cause and run the same command again",
        )
    return RunError(
        f"none of the {n_asked} features asked for has a label in {session.folder.path}",
        "run `autointerp explain` first; `autointerp status` says why a feature has none",
    )


def _find_pending(
    session: Session, scorers: Sequence[Scorer], marks: Mapping[str, str], explanations: Sequence[Explanation]
) -> _Pending:
    by_id = {explanation.explanation_id: explanation for explanation in explanations}
    by_feature: dict[int, list[tuple[Scorer, str]]] = {}
    for scorer in scorers:
        for explanation_id in session.writer.pending_explanations(scorer.name, marks[scorer.name], list(by_id)):
            by_feature.setdefault(by_id[explanation_id].feature_index, []).append((scorer, explanation_id))
    return _Pending(by_feature, by_id)


async def _score_source(
    source: SourceSession,
    models: Models,
    pending: _Pending,
    marks: Mapping[str, str],
    keep: Callable[[list[Graded | Failure]], None],
) -> None:
    async def grade(job: _Job) -> Graded | Failure:
        outcome = await job.scorer.score(job.explanation, job.evidence)
        if isinstance(outcome, Failure):
            return replace(outcome, fingerprint=job.mark)
        return replace(outcome, score=replace(outcome.score, fingerprint=job.mark))

    def chunks() -> Iterator[list[_Job]]:
        by_feature, by_id, statistics = pending.by_feature, pending.explanations, source.collected.statistics
        waiting = sorted(by_feature)
        for first in range(0, len(waiting), _FEATURES_PER_READ):
            chunk = source.run.reader.feature_contexts(waiting[first : first + _FEATURES_PER_READ], source.source_id)
            labels = [by_id[name].label for of in chunk for _, name in by_feature[of.feature_index]]
            models.prepare(sorted(set(labels)), chunk, source.pool)
            jobs: list[_Job] = []
            for contexts in chunk:
                n_active = int(statistics.n_active[contexts.feature_index])
                evidence = ScoreEvidence(contexts, source.pool, n_active / statistics.n_tokens)
                jobs += [
                    _Job(scorer, marks[scorer.name], by_id[explanation_id], evidence)
                    for scorer, explanation_id in by_feature[contexts.feature_index]
                ]
            yield jobs

    await ask_all(chunks(), grade, keep, n_at_once=models.n_judged_at_once, batch_size=_SCORES_PER_TRANSACTION)


def _with_baseline(session: Session, chosen: ChosenFeatures) -> dict[str, list[Explanation]]:
    """The current labels of the features, and shuffled labels for the baseline, made where they are missing."""
    labels = {source_id: session.reader.explanations(source_id=source_id) for source_id in chosen}
    explanations = {
        source_id: [label for label in labels[source_id] if label.feature_index in set(features)]
        for source_id, features in chosen.items()
    }
    config, seed = session.pipeline.score, session.pipeline.seed
    marks = {label.fingerprint for of_source in labels.values() for label in of_source}
    if not config.baseline or not marks:
        return explanations
    mark = fingerprint("baseline", seed, sorted(marks))
    session.writer.set_stage("baseline", mark, "running", cost_usd=0.0)
    n_baseline = 0
    for source_id, features in chosen.items():
        existing = [e for e in session.reader.explanations(source_id=source_id, baselines=True) if e.is_baseline]
        baseline = [
            replace(
                row, fingerprint=mark, explanation_id=stable_uuid(f"{feature_id(source_id, row.feature_index)}/{mark}")
            )
            for row in shuffled_explanations(labels[source_id], seed, existing, config.n_baseline)
        ]
        session.writer.add_explanations(baseline)
        n_baseline += len(baseline)
        wanted = set(features)
        explanations[source_id] += [row for row in baseline if row.feature_index in wanted]
    session.writer.set_stage("baseline", mark, "done", n_asked=n_baseline, cost_usd=0.0)
    return explanations
