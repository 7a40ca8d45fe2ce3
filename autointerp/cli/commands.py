"""The commands of `autointerp`.

What a command needs is imported inside it, and only when the pipeline file has been read, so that `--help` and mistakes
answer at once.
"""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autointerp.cli import look
from autointerp.errors import PipelineError

if TYPE_CHECKING:
    from autointerp.config import Pipeline
    from autointerp.run.dry_run import CostPlan
    from autointerp.run.pipeline import Stage
    from autointerp.run.progress import Reporter

app = typer.Typer(
    name="autointerp",
    help="Label the features of sparse autoencoders and transcoders, and score how far each label can be trusted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
look.add_commands(app)

PipelineArgument = Annotated[str, typer.Argument(metavar="FILE", help="a pipeline file, or a ready-made one's name")]
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="override any key; repeatable")]
FeaturesOption = Annotated[str | None, typer.Option("--features", help="label only these, for example 0-99,650")]
SampleOption = Annotated[int | None, typer.Option("--sample", help="label a uniform sample of this many features")]
ResumeOption = Annotated[bool, typer.Option("--resume/--no-resume", help="go on from what is finished, or start over")]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON")]


def _tell_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"autointerp {version('autointerp')}")
        raise typer.Exit


@app.callback()
def _before(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="log what the library does")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="tell the version and end")
    ] = False,
) -> None:
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(name)s: %(message)s")


def _load(file: str, overrides: list[str] | None, features: str | None, sample: int | None) -> "Pipeline":
    from autointerp.config.file import as_toml, load_pipeline

    chosen = list(overrides or [])
    if features is not None and sample is not None:
        raise PipelineError("--features and --sample exclude each other", "give one of them")
    if features is not None:
        chosen += [f"features.indices={as_toml(features)}", "features.sample=unset"]
    if sample is not None:
        chosen += [f"features.sample={sample}", "features.indices=unset"]
    return load_pipeline(file, tuple(chosen))


def _run(pipeline: "Pipeline", stages: "Sequence[Stage] | None", *, resume: bool) -> None:
    from autointerp.cli.reporting import ConsoleReporter, tell_missing
    from autointerp.run.pipeline import STAGES, run_pipeline

    with ConsoleReporter() as reporter:
        outcome = run_pipeline(pipeline, stages or STAGES, reporter, fresh=not resume)
    typer.echo(f"The run lies in {pipeline.run_folder}")
    tell_missing(pipeline, outcome)


def _try(pipeline: "Pipeline", only: list[str], explainers: list[str], *, as_json: bool) -> None:
    from autointerp.cli.reporting import ConsoleReporter
    from autointerp.cli.tried import read_features, read_names, tried_as_json, tried_lines
    from autointerp.library.try_explainers import try_explainers
    from autointerp.valid_text import visible

    named = read_features(only)
    with ConsoleReporter() as reporter:
        found = try_explainers(pipeline, named, read_names(explainers), reporter)
    if as_json:
        typer.echo(json.dumps(tried_as_json(found), ensure_ascii=False, indent=1))
    else:
        typer.echo("\n".join(map(visible, tried_lines(found))))
    if found.n_failed:
        raise typer.Exit(1)


def _tell_cost(pipeline: "Pipeline", *, as_json: bool) -> None:
    from autointerp.run.dry_run import plan_cost

    _tell_plan(pipeline, plan_cost, as_json=as_json)


def _tell_cost_of_trying(pipeline: "Pipeline", only: list[str], explainers: list[str], *, as_json: bool) -> None:
    from autointerp.cli.tried import read_features, read_names
    from autointerp.run.try_explainers import plan_tried

    features, names = read_features(only), read_names(explainers)
    _tell_plan(pipeline, lambda of, reporter: plan_tried(of, features, names, reporter), as_json=as_json)


def _tell_plan(pipeline: "Pipeline", planned: "Callable[[Pipeline, Reporter], CostPlan]", *, as_json: bool) -> None:
    from autointerp.cli.cost_table import cost_rows, make_plan, plan_as_json

    plan = make_plan(pipeline, planned)
    if as_json:
        typer.echo(json.dumps(plan_as_json(plan), ensure_ascii=False, indent=1))
    else:
        typer.echo("\n".join(cost_rows(pipeline.name, plan)))


@app.command()
def demo(
    runs: Annotated[str, typer.Option(help="folder that holds run folders")] = "runs",
    text: Annotated[
        Path | None, typer.Option("--text", readable=False, help="your own text in the corpus's place: file or folder")
    ] = None,
    llm: Annotated[
        bool, typer.Option("--llm", help="20 features, labelled and judged by a small language model in this process")
    ] = False,
    chat: Annotated[
        bool, typer.Option("--chat", help="320 features of a small chat model, and a conversation with it, steered")
    ] = False,
    sample: SampleOption = None,
    set_: SetOption = None,
    resume: ResumeOption = True,
) -> None:
    """Label, score and search the features of an embedded model: no network, no key."""
    from autointerp.config.file import as_toml

    if llm and chat:
        raise PipelineError("--llm and --chat exclude each other", "give one of them")
    origin = "smollm2" if chat else "demo-llm" if llm else "demo"
    overrides = [f"runs={as_toml(runs)}"]
    if text is not None:
        overrides += ['corpus.kind="text"', f"corpus.path={as_toml(str(text))}", f'name="{origin}-text"']
        overrides += ["corpus.chat=false"] if chat else []
    pipeline = _load(origin, [*overrides, *(set_ or [])], None, sample)

    from autointerp.cli.demo import run_demo

    run_demo(pipeline, resume=resume, chat=chat)


@app.command()
def new(
    file: Annotated[Path, typer.Argument(readable=False, help="the file to write")],
    origin: Annotated[str, typer.Option("--from", help="begin from this ready-made pipeline")] = "demo",
) -> None:
    """Write a commented starting file."""
    from autointerp.cli.starting_file import write_starting_file

    write_starting_file(file, origin)
    typer.echo(f"Wrote {file}; run it with: autointerp run {file}")


@app.command()
def run(
    file: PipelineArgument,
    set_: SetOption = None,
    features: FeaturesOption = None,
    sample: SampleOption = None,
    resume: ResumeOption = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="tell what the language models would be asked, and its cost; ask nothing")
    ] = False,
    null: Annotated[
        str | None,
        typer.Option("--null", help="run it on a coder or model that learned nothing: random-coder or random-model"),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Run all stages, going on from what an earlier run finished."""
    if dry_run and not resume:
        raise PipelineError("--dry-run and --no-resume exclude each other", "give one of them")
    if json_ and not dry_run:
        raise PipelineError("--json is of --dry-run only", "look at the run with `autointerp status FOLDER --json`")
    pipeline = _load(file, set_, features, sample)
    if null is not None:
        from autointerp.run.null_run import null_pipeline

        pipeline = null_pipeline(pipeline, null)
    if dry_run:
        _tell_cost(pipeline, as_json=json_)
    else:
        _run(pipeline, None, resume=resume)


@app.command()
def collect(file: PipelineArgument, set_: SetOption = None, resume: ResumeOption = True) -> None:
    """Cut the corpus into blocks and collect every feature's statistics and samples."""
    _run(_load(file, set_, None, None), ("corpus", "collect"), resume=resume)


@app.command()
def explain(
    file: PipelineArgument,
    set_: SetOption = None,
    features: FeaturesOption = None,
    sample: SampleOption = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="FEATURE", help="with --try: 5,7 or model@source:5"),
    ] = None,
    try_: Annotated[
        list[str] | None,
        typer.Option(
            "--try", metavar="EXPLAINER,…", help="label these with each explainer, and compare the labels' scores"
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="with --try: tell what would be asked, and its cost; ask nothing")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Build the chosen features' contexts and write their labels; or try several explainers on a few features."""
    if try_ is None:
        if dry_run:
            raise PipelineError("--dry-run is of --try", "autointerp run --dry-run tells the cost of a whole run")
        if only is not None or json_:
            given = "--only" if only is not None else "--json"
            raise PipelineError(f"{given} is of --try", "name explainers (--try keywords,rules), or use --features")
        _run(_load(file, set_, features, sample), ("contexts", "explain"), resume=True)
        return
    if only is None or features is not None or sample is not None:
        raise PipelineError("--try needs the features that it is tried on", "name them by --only, for example 5,7")
    pipeline = _load(file, set_, None, None)
    if dry_run:
        _tell_cost_of_trying(pipeline, only, try_, as_json=json_)
    else:
        _try(pipeline, only, try_, as_json=json_)


@app.command()
def score(
    file: PipelineArgument, set_: SetOption = None, features: FeaturesOption = None, sample: SampleOption = None
) -> None:
    """Score the labels, and shuffled labels beside them."""
    _run(_load(file, set_, features, sample), ("score",), resume=True)


@app.command()
def index(file: PipelineArgument, set_: SetOption = None) -> None:
    """Embed the labels for search."""
    _run(_load(file, set_, None, None), ("index",), resume=True)


@app.command()
def calibrate(
    file: PipelineArgument,
    puzzles: Annotated[
        str | None, typer.Option("--puzzles", metavar="KINDS", help="only these kinds, for example token,topic")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", readable=False, help="the file; calibration.json in the run folder")
    ] = None,
    answers: Annotated[
        Path | None, typer.Option("--answers", readable=False, help="no puzzles: a CSV of your own answers to trials")
    ] = None,
    draw: Annotated[
        int | None, typer.Option("--draw", min=2, help="write so many trials of a scorer to --answers, to be answered")
    ] = None,
    set_: SetOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="tell what the judge would be asked, and its cost; ask nothing")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Count how often the pipeline's judge is wrong: on features of which all is known, or by answers of your own."""
    pipeline = _load(file, set_, None, None)
    if draw is not None and answers is None:
        raise PipelineError("--draw needs --answers", "name the file to write the trials to")
    if answers is not None:
        if puzzles is not None or output is not None or dry_run:
            raise PipelineError("--answers asks no judge", "leave --puzzles, --output and --dry-run away")
        from autointerp.cli.calibrate import answers_lines

        lines, content = answers_lines(pipeline.run_folder, answers, draw)
        typer.echo(json.dumps(content, ensure_ascii=False, indent=1) if json_ else "\n".join(lines))
        return
    kinds = [] if puzzles is None else [kind.strip() for kind in puzzles.split(",")]

    from autointerp.cli.calibrate import calibration_as_json, calibration_lines, plan_calibrate, run_calibrate
    from autointerp.cli.cost_table import cost_rows, plan_as_json

    if dry_run:
        plan = plan_calibrate(pipeline, kinds)
        lines, content = cost_rows(pipeline.name, plan), plan_as_json(plan)
    else:
        calibration, written = run_calibrate(pipeline, kinds, output)
        lines, content = calibration_lines(calibration, written), calibration_as_json(calibration, written)
    typer.echo(json.dumps(content, ensure_ascii=False, indent=1) if json_ else "\n".join(lines))
