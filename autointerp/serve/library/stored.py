"""Questions that the store answers."""

from collections.abc import Mapping, Sequence

from autointerp.library.feature_view import FeatureView
from autointerp.library.remote import shapes
from autointerp.library.run import Run
from autointerp.library.trials import LabelTrials, TrialChoice
from autointerp.records import Context, SearchHit
from autointerp.records.live import ActivationHistograms
from autointerp.store.results import ScorerSummary, StageStatus


def facts(run: Run, asked: shapes.Asked) -> shapes.RunFacts:
    """What is asked again and again."""
    return shapes.RunFacts(embedder=run.embedder_name, sources=run.sources(), scorers=run.scorers())


def search(run: Run, asked: shapes.Search) -> list[SearchHit]:
    """Features by what they mean."""
    return run.search(asked.query, asked.top_k, asked.where.read(), asked.min_relevance)


def rerank(run: Run, asked: shapes.Rerank) -> list[SearchHit]:
    """Features by a closer look."""
    return run.rerank(asked.features, asked.query, asked.source, asked.where.read())


def neighbors(run: Run, asked: shapes.Near) -> list[SearchHit]:
    """Features close to some."""
    return run.neighbors(asked.features, asked.space, asked.top_k, asked.source, asked.where.read())


def describe(run: Run, asked: shapes.Some) -> list[SearchHit]:
    """Features with their labels."""
    return run.describe(_named(run, asked), asked.source)


def feature(run: Run, asked: shapes.One) -> FeatureView:
    """All that is known of a feature."""
    return run.feature(asked.feature, asked.source)


def contexts(run: Run, asked: shapes.WantedContexts) -> list[Context]:
    """A feature's contexts."""
    return run.contexts(
        asked.feature,
        asked.n,
        kind=asked.kind,
        split=asked.split,
        quantile=asked.quantile,
        source_id=asked.source,
    )


def trials(run: Run, asked: shapes.WantedTrials) -> Sequence[LabelTrials]:
    """What a feature's labels were tried on."""
    return run.trials(asked.feature, TrialChoice(asked.scorer, asked.errors), asked.source)


def strongest(run: Run, asked: shapes.Strongest) -> Mapping[int, list[Context]]:
    """The strongest contexts of features."""
    return run.strongest(asked.features, asked.source, asked.n)


def status(run: Run, asked: shapes.Asked) -> list[StageStatus]:
    """How far each stage is."""
    return run.status()


def score_summary(run: Run, asked: shapes.Asked) -> list[ScorerSummary]:
    """Each scorer over all labels."""
    return run.score_summary()


def histograms(run: Run, asked: shapes.Some) -> shapes.WireRecord[ActivationHistograms]:
    """How active features are over the corpus."""
    found = run.activation_histograms(asked.features, asked.source)
    return shapes.WireHistograms.of(found)


def _named(run: Run, asked: shapes.Some) -> Sequence[int]:
    if asked.features is not None:
        return asked.features
    return range(next((of.n_features for of in run.sources() if asked.source in (None, of.source_id)), 0))
