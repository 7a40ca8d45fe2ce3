"""Commands that look at a run, also while it is going on: search, show, export, compare, agreement, report, status.

As in `main`, what a command needs is imported inside it.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autointerp.cli import mapping, on_texts, serving
from autointerp.cli.page import page
from autointerp.cli.printing import print_result
from autointerp.errors import AutointerpError, FilterError, RunError

if TYPE_CHECKING:
    from autointerp.records import FeatureFilter

_MOST_INDICES = 10_000_000

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", readable=False, help="a run folder, for example runs/demo")]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON")]
SourceOption = Annotated[list[str] | None, typer.Option(metavar="SOURCE", help="only of this source; repeatable")]
ExplainerOption = Annotated[str | None, typer.Option(help="only labels of this explainer")]
MinScoreOption = Annotated[
    list[str] | None, typer.Option(metavar="SCORER=VALUE", help="least score, for example detection=.8; repeatable")
]
MinDensityOption = Annotated[float, typer.Option(help="least share of tokens on which the feature fires")]
MaxDensityOption = Annotated[float, typer.Option(help="largest share")]
TopOption = Annotated[int, typer.Option("--top-k", "-k", help="features to print")]
SecondRun = Annotated[
    Path | None, typer.Argument(metavar="[RUN]", readable=False, help="another run; by default the same")
]
ExplainersOption = Annotated[
    list[str] | None,
    typer.Option(
        "--explainer",
        help="whose labels: explainer, model, or beginning of a fingerprint; twice, the first side's first",
    ),
]
JudgesOption = Annotated[
    list[str] | None,
    typer.Option("--judge", help="whose scores: judge, or beginning of a fingerprint; twice, the first side's first"),
]
ScorersOption = Annotated[list[str] | None, typer.Option("--scorer", help="only by this scorer; repeatable")]


def add_commands(app: typer.Typer) -> None:
    """Register the commands."""
    for command in COMMANDS:
        app.command()(command)


def search(
    run: RunArgument,
    query: Annotated[str, typer.Argument(help="what the features should be about")],
    top_k: TopOption = 10,
    min_score: MinScoreOption = None,
    min_density: MinDensityOption = 0.0,
    max_density: MaxDensityOption = 1.0,
    source: SourceOption = None,
    explainer: ExplainerOption = None,
    min_relevance: Annotated[
        float | None, typer.Option(help="show nothing where the best label has less; 0 shows the nearest in any case")
    ] = None,
    rerank: Annotated[bool, typer.Option("--rerank", help="order the hits by a closer look at their contexts")] = False,
    reranker: Annotated[
        str | None, typer.Option(metavar="NAME", help="who looks closer: contexts, cross_encoder or language_model")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find features by the meaning of their labels."""
    from autointerp.cli.tables import hit_rows
    from autointerp.library.run import open_run

    where = _filter(min_score, min_density, max_density, source, explainer)
    opened = open_run(run)
    if rerank or reranker is not None:
        hits = opened.search_closer(query, top_k, where, min_relevance, reranker)
    else:
        hits = opened.search(query, top_k, where, min_relevance)
    lines = ["no labelled feature passes these filters"]
    if not hits and (nearest := opened.search(query, 1, where, min_relevance=0)):
        lines = [f"no label is about this (the nearest: {nearest[0].label}); --min-relevance 0 shows the nearest ones"]
    if hits:
        lines = hit_rows(hits, with_source=opened.has_several_sources)
    print_result(hits, lines, as_json=as_json)


def neighbors(
    run: RunArgument,
    feature: Annotated[str, typer.Argument(help="index, or model@source:index")],
    space: Annotated[str, typer.Option(help="label, decoder or coactivation")] = "label",
    top_k: TopOption = 10,
    min_score: MinScoreOption = None,
    min_density: MinDensityOption = 0.0,
    max_density: MaxDensityOption = 1.0,
    explainer: ExplainerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the features closest to one, in a named space."""
    from autointerp.cli.tables import hit_rows
    from autointerp.library.run import open_run

    opened = open_run(run)
    hits = opened.neighbors(feature, space, top_k, where=_filter(min_score, min_density, max_density, None, explainer))
    print_result(hits, hit_rows(hits, with_source=opened.has_several_sources), as_json=as_json)


def show(
    run: RunArgument,
    feature: Annotated[str, typer.Argument(help="index, or model@source:index")],
    contexts: Annotated[
        int | None, typer.Option(help="show so many, also of those that no stage took; 8 of each kind by default")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="only contexts of this kind, for example top")] = None,
    split: Annotated[str | None, typer.Option(help="only contexts of this split: explain, select or score")] = None,
    quantile: Annotated[int | None, typer.Option(help="only contexts of this quantile, 0 lowest")] = None,
    trials: Annotated[
        bool, typer.Option("--trials", help="show what each label was tried on: asked, answered, and true")
    ] = False,
    scorer: Annotated[str | None, typer.Option(help="only trials of this scorer")] = None,
    errors: Annotated[bool, typer.Option("--errors", help="only trials answered wrong, or not at all")] = False,
    tokens: Annotated[
        str | None, typer.Option("--tokens", metavar="ORDER", help="tokens by pmi (by default), precision or count")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show all that a run knows of one feature: statistics, tokens, neighbors, labels, scores, contexts, failures."""
    from autointerp.cli.feature_page import feature_lines
    from autointerp.library.feature_page import ContextChoice, page_as_json, read_page
    from autointerp.library.run import open_run

    opened, choice = open_run(run), ContextChoice(contexts, kind, split, quantile)
    if trials or scorer is not None or errors:
        from autointerp.cli.trials_page import trial_lines
        from autointerp.library.trials import TrialChoice

        if choice != ContextChoice():
            raise FilterError("contexts and trials are not chosen together", "ask for the one, then for the other")
        of_labels = opened.trials(feature, TrialChoice(scorer, errors))
        print_result(of_labels, trial_lines(of_labels), as_json=as_json)
        return
    page = read_page(opened, feature, choice)
    print_result(page_as_json(page), feature_lines(page, choice, tokens), as_json=as_json)


def export(
    run: RunArgument,
    file: Annotated[Path, typer.Argument(metavar="PATH", readable=False, help="the file or folder to write")],
    format_name: Annotated[
        str | None,
        typer.Option("--format", metavar="FORMAT", help="by default the file's suffix: jsonl, csv or parquet"),
    ] = None,
    contexts: Annotated[bool, typer.Option("--contexts", help="write each feature's contexts too (.jsonl)")] = False,
    baselines: Annotated[bool, typer.Option("--baselines", help="write shuffled labels too")] = False,
    min_score: MinScoreOption = None,
    min_density: MinDensityOption = 0.0,
    max_density: MaxDensityOption = 1.0,
    source: SourceOption = None,
    explainer: ExplainerOption = None,
    features: Annotated[str | None, typer.Option(help="only these, for example 0-99,650")] = None,
) -> None:
    """Write every feature's labels and scores with their provenance, or of those that pass a filter."""
    from autointerp.export.export import export_run
    from autointerp.export.options import ExportOptions

    where = _filter(min_score, min_density, max_density, source, explainer, features)
    is_new = not file.parent.exists()
    written = export_run(run, file, format_name, ExportOptions(where, baselines=baselines, contexts=contexts))
    typer.echo(f"Wrote {written.n_rows} rows to {written.path}{', in a new folder' if is_new else ''}")


def compare(
    first: RunArgument,
    second: SecondRun = None,
    explainer: ExplainersOption = None,
    judge: JudgesOption = None,
    scorer: ScorersOption = None,
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="features better, and worse, to list of each scorer")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Compare two runs, or two explainers or judges of one, on the same features and trials."""
    from autointerp.cli.comparison import comparison_as_json, comparison_lines
    from autointerp.library.compare import compare_runs

    found = compare_runs(first, second, explainer=explainer or (), judge=judge or (), scorers=scorer)
    several = len(set(found.first.sources) | set(found.second.sources)) > 1
    lines = () if as_json else comparison_lines(found, n_shown=max(0, top_k), with_source=several)
    print_result(comparison_as_json(found), lines, as_json=as_json)


def agreement(
    first: RunArgument,
    second: SecondRun = None,
    judge: JudgesOption = None,
    explainer: ExplainersOption = None,
    scorer: ScorersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell how far two judges agree about the same labels, or one judge with itself in two runs."""
    from autointerp.cli.comparison import agreement_lines
    from autointerp.library.agreement import judge_agreement

    found = judge_agreement(first, second, explainer=explainer or (), judge=judge or (), scorers=scorer)
    print_result(found, agreement_lines(found), as_json=as_json)


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", readable=False, help="run folders")],
    file: Annotated[Path, typer.Option("--output", "-o", help="the page to write")] = Path("report.html"),
    floor_features: Annotated[
        int, typer.Option(min=0, help="features whose trials are solved without labels; 0: no floor in the report")
    ] = 100,
) -> None:
    """Write one self-contained HTML page on runs: scores beside their nulls, by density, against each other, cost."""
    from autointerp.export.report.gather import gather
    from autointerp.export.report.page import check_name, named, write_report
    from autointerp.library.run import open_run

    check_name(file)
    opened = [open_run(run) for run in runs]
    names = named(folder.resolve().name for folder in runs)
    gathered = [
        gather(one.reader, tuple(one.status()), name, floor_features) for one, name in zip(opened, names, strict=True)
    ]
    write_report(gathered, file)
    typer.echo(f"Wrote {file}")


def status(run: RunArgument, as_json: JsonOption = False) -> None:
    """Show how far each stage is, what it cost, and why something failed."""
    from autointerp.cli.tables import feature_name, summary_rows, told_counts, with_words
    from autointerp.library.run import open_run
    from autointerp.run.null_names import null_lines
    from autointerp.score.judges import LOCAL_JUDGE_CAVEAT
    from autointerp.text_table import table

    opened = open_run(run)
    stages, scores, failures = opened.status(), opened.score_summary(), opened.reader.failures()
    with_source = opened.has_several_sources
    counts: dict[tuple[str, str], int] = {}
    example: dict[tuple[str, str], str] = {}
    for failure in failures:
        kind = (failure.stage, failure.error_type)
        counts[kind] = counts.get(kind, 0) + 1
        name = feature_name(failure.source_id, failure.feature_index, with_source=with_source)
        example.setdefault(kind, f"feature {name}: {with_words(failure)}")
    rows = [
        [
            s.stage,
            "stopped (killed)" if s.status == "killed" else s.status or "not begun",
            str(s.n_done),
            str(s.n_failed),
            str(s.n_pending),
            "unknown" if s.cost_usd is None else f"${s.cost_usd:.4f}",
        ]
        for s in stages
    ]
    lines = table(["stage", "state", "done", "failed", "pending", "cost"], rows, left=(0, 1))
    lines = [*null_lines(source.source_id for source in opened.sources()), *lines]
    paid: dict[str, Any] | None = None
    try:
        if (found := opened.paid()) is not None:
            paid = {**found._asdict(), "problem": None}
            besides = "" if found.is_all else ", and calls besides whose price is unknown"
            lines.append(f"paid in all, as the journal says: ${found.known_usd:.4f}{besides}")
    except RunError as error:
        problem = f"{error.problem}: {error.remedy}"
        paid = {"known_usd": None, "is_all": False, "problem": problem}
        lines.append(f"paid in all: unknown ({problem})")
    if scores:
        lines += ["", *summary_rows(scores)]
        if any(of.judge == "local" for of in scores):
            lines.append(LOCAL_JUDGE_CAVEAT)
    if tiers := opened.reader.tier_counts():
        lines += ["", "labels by tier: " + told_counts(tiers)]
    if chosen := opened.reader.chosen_counts():
        lines.append("labels by the candidate that wrote them: " + told_counts(chosen))
    if (refereed := opened.reader.referee_counts()).n:
        lines.append(
            f"labels of features with a rule that is as good as the truth: {refereed.n:,}, of which that rule itself:"
            f" {refereed.of_rules:,}, disputed by it: {refereed.n_disputed:,} (`show` says how)"
        )
    if counts:
        failed = [[*kind, str(n), example[kind]] for kind, n in sorted(counts.items())]
        lines += ["", *table(["failed in", "reason", "n", "for example"], failed, left=(0, 1, 3))]
    content: dict[str, Any] = {"stages": stages, "paid": paid, "scores": scores, "tiers": tiers}
    content |= {"chosen": chosen, "referees": refereed, "failures": failures}
    print_result(content, lines, as_json=as_json)


def mcp(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", readable=False, help="run folders")],
) -> None:
    """Let agents ask about runs: a Model Context Protocol server."""
    from autointerp.serve.mcp.ending import end_quietly_by_signals

    end_quietly_by_signals()
    from autointerp.library.client import open

    client = open(runs)
    try:
        from autointerp.serve.mcp.server import serve
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] not in {"mcp", "mcp_types", "anyio"}:
            raise
        raise AutointerpError(
            "the package `mcp` is not installed, or is older than 2.3", "pip install 'autointerp[mcp]'"
        ) from error
    if sys.stdin.isatty():
        typer.echo("waiting for an agent's host to speak on standard input; docs/mcp.md says how one is told", err=True)
    serve(client)


COMMANDS = (
    search,
    neighbors,
    show,
    *on_texts.COMMANDS,
    export,
    compare,
    agreement,
    report,
    status,
    mapping.map,
    page,
    mcp,
    serving.serve,
)


def _filter(
    min_score: list[str] | None,
    min_density: float,
    max_density: float,
    sources: list[str] | None,
    explainer: str | None,
    features: str | None = None,
) -> "FeatureFilter":
    from autointerp.config.indices import parse_indices
    from autointerp.records import FeatureFilter

    least: dict[str, float] = {}
    for option in min_score or []:
        name, _, text = option.partition("=")
        try:
            least[name.strip()] = float(text)
        except ValueError as error:
            raise FilterError(
                f"--min-score {option!r} is not a scorer and a value from 0 to 1", "write it as detection=.8"
            ) from error
    indices = None
    if features is not None:
        try:
            parts = parse_indices(features)
        except ValueError as error:
            raise FilterError(f"--features: {error}", "write it as 0-99,650") from error
        if (n_indices := sum(map(len, parts))) > _MOST_INDICES:
            raise FilterError(f"--features names {n_indices:,} indices", f"name {_MOST_INDICES:,} at most")
        indices = [index for part in parts for index in part]
    return FeatureFilter(sources, indices, least, min_density, max_density, explainer)
