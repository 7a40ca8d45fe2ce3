"""The explain stage: a label for each feature that has contexts and no label under this explainer yet."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from autointerp.contexts.evidence import feature_evidence
from autointerp.identity import feature_id, fingerprint, stable_uuid
from autointerp.records import Explanation, Failure, FeatureEvidence
from autointerp.run.asking import ask_all
from autointerp.run.features import ChosenFeatures, count_features
from autointerp.run.participants import Models
from autointerp.run.progress import Reporter, StageSummary
from autointerp.run.session import Session, SourceSession
from autointerp.run.stage_record import StageLedger

_FEATURES_PER_READ = 256
_LABELS_PER_TRANSACTION = 128


async def run_explain(session: Session, models: Models, chosen: ChosenFeatures, reporter: Reporter) -> None:
    """Label those of the features that have contexts and no label yet."""
    started = time.monotonic()
    writer, counts = session.writer, {"done": 0, "failed": 0}
    mark = fingerprint("explain", session.contexts_fingerprint, models.explainer_fingerprint)
    ledger = StageLedger(writer, session.reader, "explain", mark, count_features(chosen))
    pending = {
        source_id: writer.pending_features("explain", mark, features, source_id)
        for source_id, features in chosen.items()
    }

    def keep(outcomes: list[Explanation | Failure]) -> None:
        labels = [o for o in outcomes if isinstance(o, Explanation)]
        failures = [o for o in outcomes if isinstance(o, Failure)]
        writer.add_explanations(labels)
        writer.add_failures(failures)
        ledger.record("running", models.language_models.usage("explain"))
        counts["done"] += len(labels)
        counts["failed"] += len(failures)
        n_told = counts["done"] + counts["failed"]
        reporter.progress("explain", n_told, count_features(pending), models.language_models.spent("explain"))

    for source in session.each_source():
        if features := pending.get(source.source_id):
            await _explain_source(source, models, features, mark, keep)
    usage = models.language_models.usage("explain")
    ledger.record("done", usage)
    n_skipped = count_features(chosen) - count_features(pending)
    seconds = time.monotonic() - started
    reporter.finished(
        StageSummary(
            "explain",
            counts["done"],
            counts["failed"],
            n_skipped,
            seconds,
            usage.cost_usd,
            models.language_models.used("explain"),
        )
    )


async def _explain_source(
    source: SourceSession,
    models: Models,
    features: Sequence[int],
    mark: str,
    keep: Callable[[list[Explanation | Failure]], None],
) -> None:
    explainer = models.explainer(source)

    async def label(evidence: FeatureEvidence) -> Explanation | Failure:
        outcome = await explainer.explain(evidence)
        if isinstance(outcome, Failure):
            return replace(outcome, fingerprint=mark)
        name = feature_id(source.source_id, evidence.feature_index)
        return replace(outcome, fingerprint=mark, explanation_id=stable_uuid(f"{name}/{mark}"))

    def chunks() -> Iterator[list[FeatureEvidence]]:
        # A feature that has no contexts was recorded as a failure by the stage before, and is not asked about.
        reader = source.run.reader
        for first in range(0, len(features), _FEATURES_PER_READ):
            some = features[first : first + _FEATURES_PER_READ]
            records = {record.feature_index: record for record in reader.features(some, source.source_id)}
            chunk = reader.feature_contexts(some, source.source_id)
            yield [feature_evidence(contexts, records[contexts.feature_index]) for contexts in chunk]

    await ask_all(chunks(), label, keep, n_at_once=models.n_explained_at_once, batch_size=_LABELS_PER_TRANSACTION)
