"""The explain stage: a label for each feature that has contexts and no label under this explainer yet."""

import time
from collections.abc import Callable, Iterator, Sequence

from autointerp.contexts.evidence import feature_evidence
from autointerp.errors import LanguageModelError
from autointerp.explain.llm_explainer import N_CONTEXTS_WANTED
from autointerp.plugins import called_by_us
from autointerp.records import Explanation, Failure, FeatureEvidence
from autointerp.run.asking import ask_all
from autointerp.run.features import ChosenFeatures, count_features
from autointerp.run.language_models import Spending
from autointerp.run.participants import Participants
from autointerp.run.progress import Reporter, StageSummary, told_meanwhile
from autointerp.run.session import Session, SourceSession
from autointerp.run.stage_row import StageRow

_FEATURES_PER_READ = 256
_LABELS_PER_TRANSACTION = 128


async def run_explain(
    session: Session, participants: Participants, spending: Spending, chosen: ChosenFeatures, reporter: Reporter
) -> None:
    """Label those of the features that have contexts and no label yet."""
    started = time.monotonic()
    writer, counts = session.writer, {"done": 0, "failed": 0}
    shown_fewer: list[int] = []
    fingerprint = participants.explain_fingerprint
    row = StageRow(writer, session.reader, "explain", fingerprint, count_features(chosen))
    pending = {
        source_id: writer.pending_features("explain", fingerprint, features, source_id)
        for source_id, features in chosen.items()
    }

    def tell() -> None:
        n_told = counts["done"] + counts["failed"]
        reporter.progress("explain", n_told, count_features(pending), spending.spent("explain"))

    def keep(outcomes: list[Explanation | Failure]) -> None:
        labels = [o for o in outcomes if isinstance(o, Explanation)]
        failures = [o for o in outcomes if isinstance(o, Failure)]
        writer.add_explanations(labels)
        writer.add_failures(failures)
        row.record("running", spending.usage("explain"))
        shown_fewer.extend(o.n_contexts for o in labels if o.n_contexts and N_CONTEXTS_WANTED in o.detail)
        counts["done"] += len(labels)
        counts["failed"] += len(failures)
        tell()

    try:
        async with told_meanwhile(tell):
            for source in session.each_source():
                if features := pending.get(source.source_id):
                    await _explain_source(source, participants, features, keep)
    except LanguageModelError:
        row.record("running", spending.usage("explain"))  # with calls that were paid for and came too late for a label
        raise
    usage = spending.usage("explain")
    row.record("done", usage)
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
            "; ".join(note for note in (spending.used("explain"), _of_fewer(shown_fewer)) if note),
        )
    )


def _of_fewer(n_contexts: Sequence[int]) -> str:
    """How many labels rest on fewer contexts than were asked for, because of the model's window."""
    if not n_contexts:
        return ""
    n = str(min(n_contexts)) if min(n_contexts) == max(n_contexts) else f"{min(n_contexts)} to {max(n_contexts)}"
    rest = "1 label rests" if len(n_contexts) == 1 else f"{len(n_contexts)} labels rest"
    return (
        f"{rest} on {n} contexts instead of explain.n_contexts: more don't fit into the model's window"
        " (explain.model.context_window)"
    )


async def _explain_source(
    source: SourceSession,
    participants: Participants,
    features: Sequence[int],
    keep: Callable[[list[Explanation | Failure]], None],
) -> None:
    explainer = participants.explainer(source)

    async def explain(evidence: FeatureEvidence) -> Explanation | Failure:
        with called_by_us(explainer, f"the explainer {explainer.name!r} on feature {evidence.feature_index}"):
            return await explainer.explain(evidence)

    def chunks() -> Iterator[list[FeatureEvidence]]:
        # A feature that has no contexts was recorded as a failure by the stage before, and is not asked about.
        reader = source.run.reader
        for first in range(0, len(features), _FEATURES_PER_READ):
            some = features[first : first + _FEATURES_PER_READ]
            records = {record.feature_index: record for record in reader.features(some, source.source_id)}
            chunk = reader.feature_contexts(some, source.source_id)
            yield [feature_evidence(contexts, records[contexts.feature_index]) for contexts in chunk]

    n_at_once = participants.n_explained_at_once
    await ask_all(chunks(), explain, keep, n_at_once=n_at_once, batch_size=_LABELS_PER_TRANSACTION)
