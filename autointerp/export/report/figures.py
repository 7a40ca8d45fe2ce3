"""The plots of a report; each is a pure function of what was gathered."""

import html
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float64, Int64
from plotly.subplots import make_subplots
from scipy.stats import spearmanr

from autointerp.export.report.gather import TRUE, ReportedRun, Scored
from autointerp.identity import hash_key
from autointerp.score.null_kinds import TOO_BROAD, TOO_NARROW

# Around multiples of 1/40: a balanced accuracy of 20 and 20 trials lies on one, not between two.
_EDGES = (np.arange(42) - 0.5) / 40
_POINTS_DRAWN = 3000
_ROW_PX = 210
_COLOURS = ("#1f5fa8", "#d1722a", "#8a8a8a", "#5a8f3c", "#8b4f9f", "#b03a48")
_DIAGONAL = {"mode": "lines", "line": {"color": "#000", "width": 1}, "showlegend": False, "hoverinfo": "skip"}
_DASHES = ("solid", "dot", "dash", "dashdot", "longdash", "longdashdot")


def distributions(run: ReportedRun) -> go.Figure:
    """Each scorer's values over the true labels and over each null, as shares, with a line at chance."""
    scorers = [*run.scored]
    figure = make_subplots(rows=len(scorers), cols=1, subplot_titles=scorers, vertical_spacing=0.4 / len(scorers) / 2)
    for row, scorer in enumerate(scorers, start=1):
        for place, (kind, of) in enumerate(_true_first(run.scored[scorer])):
            counts, edges = np.histogram(of.values, bins=_EDGES)
            figure.add_scatter(
                x=edges,
                y=np.append(counts, counts[-1]) / max(1, of.values.size),
                line={"shape": "hv", "color": _COLOURS[place % 6], "dash": _DASHES[place % 6]},
                fill="tozeroy" if kind == TRUE else None,
                name=kind,
                legendgroup=kind,
                showlegend=row == 1,
                hovertemplate=f"{html.escape(kind)}: %{{y:.1%}} of {of.values.size:,} from %{{x:.3f}}<extra></extra>",
                row=row,
                col=1,
            )
        if scorer in run.chance:
            figure.add_vline(run.chance[scorer], line={"color": "#000", "width": 1.5}, row=row, col=1)
        figure.update_yaxes(title_text="share", tickformat=".0%", row=row, col=1)
    figure.update_xaxes(range=[-0.02, 1.02])
    return _styled(figure, len(scorers) * _ROW_PX)


def by_run(runs: Sequence[ReportedRun]) -> go.Figure:
    """Each scorer's values over the true labels, a box a run."""
    scorers = sorted({scorer for run in runs for scorer in run.scored})
    figure = go.Figure()
    for place, run in enumerate(runs):
        values = {scorer: run.scored[scorer][TRUE].values for scorer in scorers if TRUE in run.scored.get(scorer, {})}
        boxes = np.array([_box(of) for of in values.values()]).reshape(-1, 5)
        figure.add_box(
            x=[*values],
            **dict(zip(("lowerfence", "q1", "median", "q3", "upperfence"), boxes.T, strict=True)),
            name=html.escape(run.name),
            marker={"color": _COLOURS[place % 6]},
        )
    figure.update_layout(boxmode="group", yaxis={"range": [-0.01, 1.01], "title": "score"})
    return _styled(figure, 2 * _ROW_PX)


def scorer_against_scorer(run: ReportedRun) -> go.Figure:
    """Every two scorers' values on the same true labels, with their rank correlation; a point a feature."""
    of_scorer = {scorer: _by_label(kinds[TRUE]) for scorer, kinds in run.scored.items() if TRUE in kinds}
    pairs = [*combinations(of_scorer, 2)]
    n_columns = min(3, len(pairs))
    n_rows = -(-len(pairs) // n_columns)
    titles, drawn = [], []
    for x, y in pairs:
        both = sorted(of_scorer[x].keys() & of_scorer[y].keys())
        values = np.array([[of_scorer[x][name], of_scorer[y][name]] for name in both]).reshape(-1, 2)
        told = ""
        if len(both) > 2 and np.ptp(values, axis=0).min() > 0:
            told = f", rank corr. {spearmanr(*values.T).statistic:.2f}"
        titles.append(f"n = {len(both):,}{told}")
        chosen = _chosen(both)
        drawn.append((values[chosen], [both[place] for place in chosen.tolist()]))
    figure = make_subplots(
        rows=n_rows, cols=n_columns, subplot_titles=titles, vertical_spacing=0.3 / n_rows, horizontal_spacing=0.08
    )
    for place, ((x, y), (values, names)) in enumerate(zip(pairs, drawn, strict=True)):
        row, column = place // n_columns + 1, place % n_columns + 1
        figure.add_scatter(
            x=values[:, 0],
            y=values[:, 1],
            text=[_hover(*name) for name in names],
            row=row,
            col=column,
            **_points(0),
        )
        figure.update_xaxes(title_text=x, range=[-0.02, 1.02], row=row, col=column)
        figure.update_yaxes(title_text=y, range=[-0.02, 1.02], row=row, col=column)
    return _styled(figure, n_rows * 1.6 * _ROW_PX, legend=False)


def partly_wrong(run: ReportedRun) -> go.Figure | None:
    """Values of labels made too broad and too narrow by the true labels' own; None where there are none."""
    told = {
        scorer: {kind: kinds[kind] for kind in (TOO_BROAD, TOO_NARROW) if kind in kinds}
        for scorer, kinds in run.scored.items()
        if TRUE in kinds
    }
    told = {scorer: kinds for scorer, kinds in told.items() if kinds}
    if not told:
        return None
    figure = make_subplots(rows=1, cols=len(told), subplot_titles=[*told], horizontal_spacing=0.2 / len(told))
    for column, (scorer, kinds) in enumerate(told.items(), start=1):
        true = run.scored[scorer][TRUE]
        place_of = {feature: place for place, feature in enumerate(true.features)}
        for colour, (kind, of) in enumerate(kinds.items()):
            pairs = [(place_of[f], place) for place, f in enumerate(of.features) if f in place_of]
            own, wrong = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
            share = float((of.values[wrong] < true.lows[own]).mean()) if own.size else 0.0
            drawn = _chosen([(of.features[place], "") for place in wrong.tolist()])
            named = f"{scorer}, {kind.replace('_', ' ')}: {share:.0%} of {own.size:,} below"
            figure.add_scatter(
                x=true.values[own[drawn]],
                y=of.values[wrong[drawn]],
                text=[_hover(of.features[place], of.labels[place]) for place in wrong[drawn].tolist()],
                row=1,
                col=column,
                **_points(colour) | {"showlegend": True, "name": named},
            )
        figure.add_scatter(x=[0, 1], y=[0, 1], row=1, col=column, **_DIAGONAL)
        figure.update_xaxes(title_text="true label", range=[-0.02, 1.02], row=1, col=column)
        figure.update_yaxes(range=[-0.02, 1.02], row=1, col=column)
    figure.update_yaxes(title_text="label made partly wrong", row=1, col=1)
    return _styled(figure, 2 * _ROW_PX)


def against_density(run: ReportedRun) -> go.Figure:
    """Each scorer's values of true labels by how often the feature fires, on a logarithmic axis."""
    scorers = [scorer for scorer, kinds in run.scored.items() if TRUE in kinds]
    figure = make_subplots(rows=len(scorers), cols=1, subplot_titles=scorers, vertical_spacing=0.4 / len(scorers) / 2)
    for row, scorer in enumerate(scorers, start=1):
        of = run.scored[scorer][TRUE]
        chosen = _chosen([*zip(of.features, of.labels, strict=True)])
        figure.add_scatter(
            x=of.densities[chosen],
            y=of.values[chosen],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": (of.highs - of.values)[chosen],
                "arrayminus": (of.values - of.lows)[chosen],
                "thickness": 0.4,
                "width": 0,
            },
            text=[_hover(of.features[place], of.labels[place]) for place in chosen.tolist()],
            row=row,
            col=1,
            **_points(0),
        )
        figure.update_xaxes(type="log", exponentformat="power", row=row, col=1)
        figure.update_yaxes(range=[-0.02, 1.02], row=row, col=1)
    figure.update_xaxes(title_text="share of tokens on which the feature fires", row=len(scorers), col=1)
    return _styled(figure, len(scorers) * _ROW_PX, legend=False)


def sensitivity(run: ReportedRun) -> go.Figure:
    """Share of firing contexts that were found, by quantile of activation, the mean over labels and its error."""
    figure = go.Figure()
    for place, (scorer, quantiles) in enumerate(run.sensitivity.items()):
        figure.add_scatter(
            x=[of.quantile for of in quantiles],
            y=[of.mean for of in quantiles],
            error_y={"type": "data", "array": [1.96 * of.error for of in quantiles]},
            text=[f"{of.mean:.3f} ± {1.96 * of.error:.3f}, {of.n:,} labels" for of in quantiles],
            hovertemplate="%{text}<extra></extra>",
            mode="lines+markers",
            name=scorer,
            line={"color": _COLOURS[place % 6], "dash": _DASHES[place % 6]},
        )
    figure.update_xaxes(title_text="quantile of activation, 0 weakest", dtick=1)
    figure.update_yaxes(title_text="sensitivity", range=[-0.01, 1.01])
    return _styled(figure, 1.6 * _ROW_PX)


def features_by_state(run: ReportedRun) -> go.Figure:
    """How many features have a label, and why the others have none."""
    names = [*run.n_features][::-1]
    figure = go.Figure(
        go.Bar(
            x=[run.n_features[name] for name in names],
            y=[html.escape(name) for name in names],
            orientation="h",
            marker={"color": _COLOURS[0]},
            texttemplate="%{x:,}",
            hoverinfo="skip",
        )
    )
    figure.update_xaxes(title_text="features")
    return _styled(figure, 80 + 34 * len(names), legend=False)


def cost(run: ReportedRun) -> go.Figure | None:
    """What each stage cost; None where nothing was paid."""
    paid = [(stage.stage, stage.cost_usd) for stage in run.stages if stage.cost_usd]
    if not paid:
        return None
    figure = go.Figure(
        go.Bar(
            x=[usd for _, usd in paid][::-1],
            y=[html.escape(stage) for stage, _ in paid][::-1],
            orientation="h",
            marker={"color": _COLOURS[1]},
            texttemplate="$%{x:,.4f}",
            hoverinfo="skip",
        )
    )
    figure.update_xaxes(title_text="US dollars")
    return _styled(figure, 80 + 34 * len(paid), legend=False)


def _box(values: Float64[np.ndarray, " label"]) -> tuple[float, float, float, float, float]:
    """Quartiles, between the last values that lie no more than one and a half times their distance from them.

    The page would grow with the labels, if it held the values.
    """
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    reach = 1.5 * (high - low)
    within = values[(values >= low - reach) & (values <= high + reach)]
    return float(within.min()), low, middle, high, float(within.max())


def _true_first(kinds: Mapping[str, Scored]) -> list[tuple[str, Scored]]:
    return sorted(kinds.items(), key=lambda item: (item[0] != TRUE, item[0]))


def _by_label(of: Scored) -> dict[tuple[str, str], float]:
    return dict(zip(zip(of.features, of.labels, strict=True), of.values.tolist(), strict=True))


def _chosen(names: Sequence[tuple[str, str]]) -> Int64[np.ndarray, " drawn"]:
    """Places of the points that are drawn: all, or a draw by hash of the feature, the same in every plot."""
    if len(names) <= _POINTS_DRAWN:
        return np.arange(len(names))
    hashes = np.array([hash_key(0, "report", feature) for feature, _ in names], dtype=np.uint64)
    return np.sort(np.argsort(hashes, kind="stable")[:_POINTS_DRAWN])


def _hover(feature: str, label: str) -> str:
    shown = label if len(label) <= 160 else label[:159] + "…"
    return f"{html.escape(feature)}<br>{html.escape(shown)}"


def _points(colour: int) -> dict[str, object]:
    return {
        "mode": "markers",
        "marker": {"size": 4, "opacity": 0.5, "color": _COLOURS[colour]},
        "hovertemplate": "%{text}<br>%{x:.4g}, %{y:.3f}<extra></extra>",
        "showlegend": False,
    }


def _styled(figure: go.Figure, height: float, *, legend: bool = True) -> go.Figure:
    figure.update_layout(
        template="simple_white",
        height=int(height) + 60,
        margin={"l": 60, "r": 20, "t": 40, "b": 50},
        showlegend=legend,
        font={"family": "system-ui, sans-serif", "size": 12},
    )
    figure.update_annotations(font_size=12)
    return figure
