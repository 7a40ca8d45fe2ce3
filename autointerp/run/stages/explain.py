"""The explain stage: a label for each feature that has contexts and no label under this explainer yet."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

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
from autointerp.run.stages.distinct import SharedLabels, labels_of, tell_source_apart

_FEATURES_PER_READ = 256
_LABELS_PER_TRANSACTION = 128


async def run_explain(
    session: Session, participants: Participants, spending: Spending, chosen: ChosenFeatures, reporter: Reporter
) -> None:
    """Label those of the features that have contexts and no label yet."""
    started = time.monotonic()
    writer, counts = session.writer, {"done": 0, "failed": 0, "first": 0}
    shown_fewer: list[int] = []
    chosen_by: Counter[str] = Counter()
    guessed: set[tuple[str, int]] = set()
    final, first = participants.explain_fingerprint, participants.first_fingerprint
    is_told_apart, shared = final != first, SharedLabels()
    pending = {
        source_id: writer.pending_features("explain", final, features, source_id)
        for source_id, features in chosen.items()
    }
    # Until all have final labels, readers see the first ones.
    begun = any(of.stage == "explain" and of.fingerprint == final for of in session.reader.stages())
    n_chosen = count_features(chosen)
    row = StageRow(writer, session.reader, "explain", final if begun else first, n_chosen, also=(final, first))
    if participants.domain is not None and any(pending.values()):
        domain = participants.domain
        reporter.say(f"explain.domain is {domain.name!r}, by the corpus: {domain.reason}")

    def tell() -> None:
        n_told = counts["done"] + counts["failed"]
        note = f"{counts['first']} first labels" if is_told_apart and not n_told else spending.spent("explain")
        reporter.progress("explain", n_told, count_features(pending), note)

    def keep(outcomes: list[Explanation | Failure]) -> None:
        labels = [o for o in outcomes if isinstance(o, Explanation)]
        # A feature without a first label gets no final one either.
        failures = [replace(o, fingerprint=final) for o in outcomes if isinstance(o, Failure)]
        writer.add_explanations(labels)
        writer.add_failures(failures)
        row.record("running", spending.usage("explain"))
        final_labels = [label for label in labels if label.fingerprint == final]
        chosen_by.update(o.detail["chosen"] for o in final_labels if "chosen" in o.detail)
        shown_fewer.extend(o.n_contexts for o in final_labels if o.n_contexts and N_CONTEXTS_WANTED in o.detail)
        counts["done"] += len(final_labels)
        counts["first"] += len(labels) - len(final_labels)
        counts["failed"] += len(failures)
        tell()

    try:
        async with told_meanwhile(tell):
            for source in session.each_source():
                features = pending.get(source.source_id, [])
                known = labels_of(source, first) if is_told_apart else {}
                if unlabelled := [feature for feature in features if feature not in known]:
                    guessed.update((source.source_id, feature) for feature in unlabelled if participants.plans)
                    await explain_source(source, participants, unlabelled, keep)
            for source in session.each_source() if is_told_apart else ():
                if features := pending.get(source.source_id, []):
                    await tell_source_apart(source, participants, features, keep, shared, guessed)
            row.go_on_as(final, spending.usage("explain"))
    except LanguageModelError:
        row.record("running", spending.usage("explain"))  # with calls that were paid for and came too late for a label
        raise
    usage = spending.usage("explain")
    row.record("done", usage)
    n_skipped = n_chosen - count_features(pending)
    seconds = time.monotonic() - started
    notes = [spending.used("explain"), _by_candidate(chosen_by), _of_fewer(shown_fewer)]
    if is_told_apart and any(pending.values()):
        notes.append(shared.note())
    reporter.finished(
        StageSummary(
            "explain",
            counts["done"],
            counts["failed"],
            n_skipped,
            seconds,
            usage.cost_usd,
            "; ".join(note for note in notes if note),
        )
    )


def _by_candidate(n_labels: Mapping[str, int]) -> str:
    """How many labels each candidate of a `best_of` wrote."""
    told = ", ".join(f"{n} of {name}" for name, n in sorted(n_labels.items(), key=lambda of: (-of[1], of[0])))
    return f"taken: {told}" if told else ""


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


async def explain_source(
    source: SourceSession,
    participants: Participants,
    features: Sequence[int],
    keep: Callable[[list[Explanation | Failure]], None],
) -> None:
    """Have the explainer of the participants label features of one source.

    Args:
        source: The source.
        participants: Their explainer writes.
        features: Features that have contexts, or none because of a failure that is recorded.
        keep: Stores labels and failures.
    """
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
            evidence = [feature_evidence(contexts, records[contexts.feature_index]) for contexts in chunk]
            with called_by_us(explainer, f"the explainer {explainer.name!r}"):
                explainer.prepare(evidence)
            yield evidence

    n_at_once = participants.n_explained_at_once
    await ask_all(chunks(), explain, keep, n_at_once=n_at_once, batch_size=_LABELS_PER_TRANSACTION)
