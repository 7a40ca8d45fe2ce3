"""The page of a report: what was gathered, as tables and plots in one HTML file that loads nothing."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import plotly.graph_objects as go
import plotly.io
from jinja2 import Environment, PackageLoader
from plotly.offline import get_plotlyjs

from autointerp.errors import ExportError, file_error
from autointerp.export.report import figures
from autointerp.export.report.gather import TRUE, ReportedRun
from autointerp.whole_file import whole_file

_SHOWN = {"displaylogo": False, "responsive": True}


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot with what is to be known of it.

    Attributes:
        title: Its name.
        says: How it is to be read.
        html: The plot, as it stands in the page.
    """

    title: str
    says: str
    html: str


def check_name(file: Path) -> None:
    """See that a report can be called so, before anything is read.

    Raises:
        ExportError: If the name is none of an HTML page.
    """
    if file.suffix.lower() not in (".html", ".htm"):
        raise ExportError(f"a report is an HTML page, and {file} does not end in .html", "name it report.html")


def write_report(runs: Sequence[ReportedRun], file: Path) -> None:
    """Write the report.

    Args:
        runs: In the order in which they are shown.
        file: One that is there is replaced.

    Raises:
        ExportError: If it can't be written.
        DiskFullError: If there is no room; an earlier file of this name is kept.
    """
    template = Environment(
        loader=PackageLoader("autointerp.export.report", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    ).get_template("report.html")
    page = template.render(
        runs=[(run, [*_plots(run)]) for run in runs],
        together=_plot("True labels by run", "A box holds the middle half of the labels.", figures.by_run(runs))
        if len(runs) > 1 and any(run.scored for run in runs)
        else None,
        plotly_js=get_plotlyjs(),
        version=version("autointerp"),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as unfinished:
            unfinished.write_text(page, encoding="utf-8")
    except OSError as error:
        raise file_error(error, file, ExportError) from error


def named(names: Iterable[str]) -> list[str]:
    """Names of runs, with a number behind those that come again."""
    seen: Counter[str] = Counter()
    told = []
    for name in names:
        seen[name] += 1
        told.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return told


def _plots(run: ReportedRun) -> Iterable[Plot]:
    if run.scored:
        yield _plot(
            "Scores and their nulls",
            "Share of labels by value: the true ones filled, shuffled labels and other nulls as lines. The upright line"
            " is what a label gets that says nothing: where a null's line leaves it, the questions can be answered"
            " without the label.",
            figures.distributions(run),
        )
    if (wrong := figures.partly_wrong(run)) is not None:
        yield _plot(
            "Labels made partly wrong",
            "A point a feature: its true label's value, and that of the label with the words of the features closest"
            " to it (too broad), or of the first thing alone that it lists (too narrow). In the legend stands the share"
            " that scores below the true label's whole interval. Not all should, as what a label loses may be nothing;"
            " but a scorer for which it is small can't see breadth.",
            wrong,
        )
    n_true = sum(TRUE in kinds for kinds in run.scored.values())
    if n_true > 1:
        yield _plot(
            "Scorer against scorer",
            "A point a feature; up to 3,000 are drawn. Two scorers that agree on everything are one.",
            figures.scorer_against_scorer(run),
        )
    if run.sensitivity:
        yield _plot(
            "Sensitivity by activation",
            "Share of held-out firing contexts that the judge found by the label, from the weakest part of the"
            " feature's firing to the strongest; mean over labels with a 95 % interval. A label of the strongest"
            " contexts alone falls to the left.",
            figures.sensitivity(run),
        )
    if n_true:
        yield _plot(
            "Score against density",
            "By the share of tokens on which the feature fires, with the 95 % interval of each; up to 3,000 are drawn.",
            figures.against_density(run),
        )
    yield _plot("Features by state", "What has a label, and why the others have none.", figures.features_by_state(run))
    if (paid := figures.cost(run)) is not None:
        yield _plot("Cost", "Paid by stage.", paid)


def _plot(title: str, says: str, figure: go.Figure) -> Plot:
    shown = plotly.io.to_html(figure, include_plotlyjs=False, full_html=False, config=_SHOWN)
    return Plot(title, says, shown)
