"""What is exported: every feature with each of its labels, or without one and with the reason; chosen by options."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from autointerp.errors import ExportError
from autointerp.records import Context, Score
from autointerp.store.reader import Reader
from autointerp.store.results import LabelledFeature

_FEATURES_WITH_CONTEXTS = 100


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """Which features go into an export, and how much of each.

    Attributes:
        baselines: Also shuffled labels.
        contexts: Also the features' contexts of both splits (JSON lines only).
        labelled_only: Leave out features without a label.
        min_score: Least value by scorer; labels without this score are left out.
        min_density: Least share of tokens on which the feature fires.
        max_density: Largest share.
    """

    baselines: bool = False
    contexts: bool = False
    labelled_only: bool = False
    min_score: Mapping[str, float] = field(default_factory=dict)
    min_density: float = 0.0
    max_density: float = 1.0


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
        run = reader.run()
        scorers = tuple(sorted({summary.scorer for summary in reader.score_summary()}))
    return Provenance(run.name if run else "", run.program_version if run else "", scorers)


def export_items(reader: Reader, options: ExportOptions, known: Provenance) -> Iterator[ExportItem]:
    """The lines of an export in the order of the features, with bounded memory.

    Raises:
        ExportError: If an option names a scorer that graded nothing.
    """
    unknown = sorted(set(options.min_score) - set(known.scorers))
    if unknown:
        scorers = ", ".join(known.scorers) or "none yet"
        raise ExportError(f"no label has a score of {unknown[0]!r}", f"scorers are {scorers}")
    chosen = (
        ExportItem(labelled)
        for labelled in reader.labelled_features(baselines=options.baselines)
        if _is_chosen(ExportItem(labelled), options)
    )
    if not options.contexts:
        yield from chosen
        return
    while some := list(islice(chosen, _FEATURES_WITH_CONTEXTS)):
        yield from _with_contexts(reader, some)


def _is_chosen(item: ExportItem, options: ExportOptions) -> bool:
    if not options.min_density <= item.labelled.feature.density <= options.max_density:
        return False
    if item.labelled.explanation is None and options.labelled_only:
        return False
    scores = ((item.score_of(scorer), least) for scorer, least in options.min_score.items())
    return all(score is not None and score.value >= least for score, least in scores)


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
