"""The page of a source: all its features as a table, how many are in each state, and density against score."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from autointerp.errors import FilterError
from autointerp.identity import read_index
from autointerp.records import FeatureFilter
from autointerp.records.feature_table import STATES, DensityScores, FeatureRow, FeatureState, TableQuery
from autointerp.serve.serving import Serving
from autointerp.serve.views.search import least_scores
from autointerp.serve.views.served import named_source, run_of
from autointerp.serve.views.shown import Chip, feature_path, source_path
from autointerp.serve.views.source_shapes import Cell, Plot, Reason, Row, SourceAsked, SourceView, StateCount
from autointerp.store.known import shown

TOLD: Mapping[FeatureState, str] = {
    "scored": "scored",
    "labelled": "labelled, no score yet",
    "failed": "failed",
    "few_contexts": "too few contexts",
    "dense": "fires nearly everywhere",
    "dead": "dead",
    "unlabelled": "not asked yet",
}
_PLOTTED_FIRST = "detection"


def source_view(serving: Serving, model: str, source: str, asked: SourceAsked) -> SourceView:
    """A source with a page of its table.

    Raises:
        UnknownModelError: If there is no such source.
        FilterError: If what is asked makes no sense, or names what the run does not know.
    """
    of = named_source(serving, model, source)
    run = run_of(serving, of)
    query = table_query(asked)
    with run.reader.session() as reader:
        record, known = reader.source(of), reader.table_names(of)
        plotted = asked.plot or _first(known.scorers)
        table = run.feature_table(query, of)
        overview = run.source_overview(plotted, of)
    return SourceView(
        id=of,
        path=source_path(of),
        run=Path(run.name).name,
        model=record.model,
        hook=record.hook,
        coder=record.coder,
        n_features=record.n_features,
        n_tokens=record.n_tokens,
        states=tuple(StateCount(state=state, told=TOLD[state], n=overview.counts.states[state]) for state in STATES),
        reasons=tuple(Reason(stage=why.stage, error_type=why.error_type, n=why.n) for why in overview.counts.reasons),
        plot=None if overview.plot is None else _plot(overview.plot),
        scorers=table.scorers,
        explainers=tuple(sorted(known.explainers)),
        asked=asked,
        least=dict(query.where.min_score),
        most=dict(query.max_score),
        is_filtered=query != TableQuery(sort=query.sort, descending=query.descending, first=query.first, n=query.n),
        n_passing=table.n_passing,
        n_pages=max(1, -(-table.n_passing // asked.n)),
        rows=tuple(shown_row(of, row) for row in table.rows),
    )


def table_query(asked: SourceAsked) -> TableQuery:
    """What a table is asked for by a page's address.

    Raises:
        FilterError: If it makes no sense.
    """
    state = next((state for state in STATES if state == asked.state), None)
    if asked.state is not None and state is None:
        raise FilterError(f"no feature is in a state {shown(asked.state)}", f"states are {', '.join(STATES)}")
    return TableQuery(
        where=FeatureFilter(
            features=_indices(asked.features),
            min_score=least_scores(asked.min_score),
            min_density=0.0 if asked.density_from is None else asked.density_from,
            max_density=1.0 if asked.density_to is None else asked.density_to,
            explainer=asked.explainer,
        ),
        max_score=least_scores(asked.max_score),
        words=asked.q,
        state=state,
        reason=asked.reason,
        sort=asked.sort,
        descending=asked.order == "desc",
        first=(asked.page - 1) * asked.n,
        n=asked.n,
    )


def csv_rows(rows: tuple[Row, ...], scorers: tuple[str, ...]) -> Iterator[list[str | float | None]]:
    """The rows of a table as a CSV has them, the header first."""
    of_scorers = [f"{name}{part}" for name in scorers for part in ("", "_ci_low", "_ci_high")]
    yield ["feature", "label", "explainer", "density", "max_activation", "state", *of_scorers, "reasons"]
    for row in rows:
        scores: list[str | float | None] = []
        for name in scorers:
            chip = row.scores.get(name)
            scores += [None, None, None] if chip is None else [chip.value, chip.low, chip.high]
        about = [row.index, row.label, row.explainer, row.density, row.max_activation, row.state]
        yield [*about, *scores, "\n".join(row.reasons)]


def _first(scorers: Collection[str]) -> str | None:
    names = sorted(scorers)
    return _PLOTTED_FIRST if _PLOTTED_FIRST in names else next(iter(names), None)


def _indices(given: str) -> list[int] | None:
    if not given.strip():
        return None
    indices = [read_index(one.strip()) for one in given.split(",")]
    found = [index for index in indices if index is not None]
    if len(found) < len(indices):
        raise FilterError(f"{shown(given)} are no features", "give indices with commas between, as 1,650")
    return found


def _plot(plot: DensityScores) -> Plot:
    return Plot(
        scorer=plot.scorer,
        n=plot.n,
        is_binned=plot.is_binned,
        cells=tuple(
            Cell(
                n=of.n,
                density_from=of.low_density,
                density_to=of.high_density,
                score_from=of.low_score,
                score_to=of.high_score,
                index=of.feature_index,
            )
            for of in plot.cells
        ),
    )


def shown_row(source_id: str, row: FeatureRow) -> Row:
    """A feature of a table, as pages show it."""
    return Row(
        index=row.feature_index,
        path=feature_path(source_id, row.feature_index),
        label=row.label,
        explainer=row.explainer,
        scores={
            name: Chip(scorer=name, value=of.value, low=of.ci_low, high=of.ci_high) for name, of in row.scores.items()
        },
        density=row.density,
        max_activation=row.max_activation,
        state=row.state,
        told=TOLD[row.state],
        reasons=row.reasons,
    )
