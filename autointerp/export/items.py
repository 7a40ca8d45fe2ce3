"""What is exported: every feature with each of its labels, or without one and with the reason; chosen by options."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from autointerp.records import EVERY_FEATURE, Context, FeatureFilter, Score
from autointerp.store.reader import Reader
from autointerp.store.results import LabelledFeature

_FEATURES_WITH_CONTEXTS = 100


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """Which features go into an export, and how much of each.

    Attributes:
        where: Only labels, and features without one, that pass.
        baselines: Also shuffled labels.
        contexts: Also the features' contexts of both splits (JSON lines only).
    """

    where: FeatureFilter = EVERY_FEATURE
    baselines: bool = False
    contexts: bool = False


@dataclass(frozen=True, slots=True)
class Provenance:
    """What is the same for a whole export.

    Attributes:
        run: Name of the run; empty where the store does not say.
        program_version: Version of autointerp that wrote the store last.
        scorers: Scorers with any score, ascending: what flat formats make columns of.
    """

    run: str
    program_version: str
    scorers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExportItem:
    """One line of an export.

    Attributes:
        labelled: The feature with one label, or without.
        contexts: Its contexts, where they were asked for.
    """

    labelled: LabelledFeature
    contexts: tuple[Context, ...] = ()

    def score_of(self, scorer: str) -> Score | None:
        """The label's score by one scorer, if it has one."""
        return next((score for score in self.labelled.scores if score.scorer == scorer), None)


def provenance(reader: Reader) -> Provenance:
    """Read what is the same for a whole export."""
    with reader.session():
        run, scorers = reader.run(), reader.scorers()
    return Provenance(run.name if run else "", run.program_version if run else "", tuple(scorers))


def export_items(reader: Reader, options: ExportOptions, known: Provenance) -> Iterator[ExportItem]:
    """The lines of an export in the order of the features, with bounded memory.

    Raises:
        FilterError: If a name is asked for that the run does not know.
    """
    chosen = map(ExportItem, reader.labelled_features(options.where, baselines=options.baselines))
    if not options.contexts:
        yield from chosen
        return
    while some := list(islice(chosen, _FEATURES_WITH_CONTEXTS)):
        yield from _with_contexts(reader, some)


def _with_contexts(reader: Reader, items: list[ExportItem]) -> Iterator[ExportItem]:
    contexts_of = {}
    with reader.session():
        for source in sorted({item.labelled.source.source_id for item in items}):
            indices = {i.labelled.feature.feature_index for i in items if i.labelled.source.source_id == source}
            for one in reader.feature_contexts(sorted(indices), source):
                contexts_of[source, one.feature_index] = one.contexts
    for item in items:
        feature = item.labelled.feature
        yield ExportItem(item.labelled, contexts_of.get((feature.source_id, feature.feature_index), ()))
