"""The explain stage: a label for each feature that has contexts and no label under this explainer yet."""

import time
from collections.abc import Sequence
from dataclasses import replace

from autointerp.contexts.evidence import feature_evidence
from autointerp.identity import feature_id, fingerprint, stable_uuid
from autointerp.records import Explanation, Failure, FeatureContexts
from autointerp.run.asking import ask_all
from autointerp.run.models import Models
from autointerp.run.progress import Reporter, StageSummary
from autointerp.run.session import Session
from autointerp.run.spending import StageLedger, tokens_used

_FEATURES_PER_READ = 256
_LABELS_PER_TRANSACTION = 128


async def run_explain(session: Session, models: Models, features: Sequence[int], reporter: Reporter) -> None:
    """Label those of the features that have contexts and no label yet."""
    started = time.monotonic()
    writer = session.writer
    explainer = models.explainer()
    mark = fingerprint("explain", session.contexts_fingerprint, explainer.fingerprint)
    pending = writer.pending_features("explain", mark, features, session.source_id)
    ledger = StageLedger(writer, session.reader, "explain", mark, len(features))
    counts = {"done": 0, "failed": 0}

    async def label(contexts: FeatureContexts) -> Explanation | Failure:
        index = contexts.feature_index
        outcome = await explainer.explain(
            feature_evidence(contexts, session.collected.statistics, session.top_tokens(index))
        )
        if isinstance(outcome, Failure):
            return replace(outcome, fingerprint=mark)
        name = feature_id(session.source_id, index)
        return replace(outcome, fingerprint=mark, explanation_id=stable_uuid(f"{name}/{mark}"))

    def keep(outcomes: list[Explanation | Failure]) -> None:
        labels = [o for o in outcomes if isinstance(o, Explanation)]
        failures = [o for o in outcomes if isinstance(o, Failure)]
        writer.add_explanations(labels)
        writer.add_failures(failures)
        ledger.record("running", models.usage("explain"))
        counts["done"] += len(labels)
        counts["failed"] += len(failures)
        reporter.progress("explain", counts["done"] + counts["failed"], len(pending), models.spent("explain"))

    # A feature that has no contexts was recorded as a failure by the stage before, and is not asked about.
    for first in range(0, len(pending), _FEATURES_PER_READ):
        await ask_all(
            session.reader.feature_contexts(pending[first : first + _FEATURES_PER_READ], session.source_id),
            label,
            keep,
            n_at_once=models.n_explained_at_once,
            batch_size=_LABELS_PER_TRANSACTION,
        )
    usage = models.usage("explain")
    ledger.record("done", usage)
    n_skipped = len(features) - len(pending)
    seconds = time.monotonic() - started
    reporter.finished(
        StageSummary(
            "explain", counts["done"], counts["failed"], n_skipped, seconds, usage.cost_usd, tokens_used(usage)
        )
    )
