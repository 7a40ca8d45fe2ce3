"""The page of a map of labels: its clusters, the features of one of them, and the points, for a script to draw."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from autointerp.errors import SearchError
from autointerp.library.run import Run
from autointerp.records import FeatureFilter
from autointerp.records.feature_table import OF_SCORER, TableQuery
from autointerp.records.label_map import LabelMap
from autointerp.serve.serving import Serving
from autointerp.serve.views.label_map_shapes import SIDE, STEPS, Cluster, Made, MapAsked, MapView
from autointerp.serve.views.served import named_source, run_of
from autointerp.serve.views.shown import source_path
from autointerp.serve.views.source import shown_row
from autointerp.serve.views.source_shapes import Row
from autointerp.store.known import shown

_LISTED = 200
_MOST_LABELS = 20_000


def map_view(serving: Serving, model: str, source: str, asked: MapAsked) -> MapView:
    """A map, with the features of one cluster.

    Raises:
        UnknownModelError: If there is no such source.
        SearchError: If the map's file is damaged, or there is no such cluster or colour.
    """
    of = named_source(serving, model, source)
    run = run_of(serving, of)
    with run.reader.session() as reader:
        found = run.label_map(of)
        colours = (
            "cluster",
            "density",
            "max_activation",
            *(f"{OF_SCORER}{name}" for name in reader.table_names(of).scorers),
        )
        if asked.colour not in colours:
            raise SearchError(f"no point has a colour by {shown(asked.colour)}", f"there are {', '.join(colours)}")
        made = None if found is None else _made(found)
        listed, n_listed = None, 0
        rows: tuple[Row, ...] = ()
        if found is not None and made is not None and asked.cluster is not None:
            if asked.cluster >= len(made.clusters):
                raise SearchError(f"the map has no cluster {asked.cluster}", f"it has {len(made.clusters)}, from 0")
            listed = made.clusters[asked.cluster]
            features = found.feature_index[found.cluster == asked.cluster].tolist()
            n_listed = len(features)
            table = run.feature_table(TableQuery(FeatureFilter(features=features), n=_LISTED), of)
            rows = tuple(shown_row(of, row) for row in table.rows)
    return MapView(
        id=of,
        path=f"{source_path(of)}/map",
        source_path=source_path(of),
        run=Path(run.name).name,
        asked=asked,
        made=made,
        command=_command(run),
        colours=colours,
        listed=listed,
        n_listed=n_listed,
        rows=rows,
    )


def map_points(serving: Serving, model: str, source: str) -> dict[str, Any]:
    """The points of a map, as `MapPoints` has them: plain lists, since there may be a hundred thousand.

    Raises:
        UnknownModelError: If there is no such source.
        SearchError: If it has no map, or the map's file is damaged.
    """
    of = named_source(serving, model, source)
    run = run_of(serving, of)
    with run.reader.session() as reader:
        found = run.label_map(of)
        if found is None:
            raise SearchError(f"{of} has no map yet", f"run `{_command(run)}`")
        points, columns = reader.point_columns(of)
    # Both are by feature, one label each; of the labels those that are on the map.
    rows = np.flatnonzero(np.isin(points.digest, found.digest))
    place = np.searchsorted(found.feature_index, points.feature_index[rows])
    xy = np.rint(found.xy[place] * SIDE).astype(np.int64)
    scores = [(f"{OF_SCORER}{name}", values[rows]) for name, values in columns.scores.items()]
    return {
        "feature": points.feature_index[rows].tolist(),
        "x": xy[:, 0].tolist(),
        "y": xy[:, 1].tolist(),
        "cluster": found.cluster[place].tolist(),
        "columns": [
            _column("density", columns.density[rows], is_log=True),
            _column("max_activation", columns.max_activation[rows]),
            *(_column(name, values, low=0.0, high=1.0) for name, values in scores),
        ],
        "labels": [points.labels[row] for row in rows.tolist()] if len(rows) <= _MOST_LABELS else None,
    }


def _made(found: LabelMap) -> Made:
    return Made(
        at=found.plan.made_at,
        embedder=found.plan.embedder,
        seed=found.plan.seed,
        n_points=len(found),
        n_unplaced=found.n_unplaced,
        n_gone=found.n_gone,
        clusters=tuple(
            Cluster(number=number, name=of.name, n=of.n, x=of.x, y=of.y) for number, of in enumerate(found.clusters)
        ),
    )


def _command(run: Run) -> str:
    return f"autointerp map {Path(run.name).name}"


def _column(
    name: str,
    values: Float64[np.ndarray, " point"],
    *,
    is_log: bool = False,
    low: float | None = None,
    high: float | None = None,
) -> dict[str, Any]:
    """Values in whole steps from the lowest to the highest; ends that are not given are those of the values."""
    with np.errstate(divide="ignore", invalid="ignore"):
        measured = np.log10(values) if is_log else values
        known = np.isfinite(measured)
        first = low if low is not None else float(measured[known].min(initial=np.inf))
        last = high if high is not None else float(measured[known].max(initial=-np.inf))
        if not known.any():
            first = last = 0.0
        steps = np.rint(STEPS * (measured - first) / ((last - first) or 1.0))
    clipped = np.where(known, np.clip(np.where(known, steps, 0), 0, STEPS), -1).astype(np.int64)
    ends = (10.0**first, 10.0**last) if is_log else (first, last)
    return {"name": name, "low": ends[0], "high": ends[1], "is_log": is_log, "values": clipped.tolist()}
