"""`autointerp demo`: the main job on the embedded default, and what came of it."""

from collections.abc import Sequence, Set

import typer

from autointerp.cli.reporting import ConsoleReporter, tell_missing
from autointerp.cli.tables import feature_name, hit_rows, label_rows, summary_rows
from autointerp.config import Pipeline
from autointerp.library.client import Client
from autointerp.library.run import Run, open_run
from autointerp.run.pipeline import run_pipeline
from autointerp.score.baseline import EXPLAINER as SHUFFLED
from autointerp.store.results import ScoredLabel, with_scores
from autointerp.subject.packaged import PREFIX, packaged_as

QUERIES = ("raising an exception", "probability distributions", "error handling")
_N_SHOWN = 8


def run_demo(pipeline: Pipeline, *, resume: bool = True, chat: bool = False) -> None:
    """Run every stage, then print the best and the worst labels, each scorer's summary, and example searches.

    Args:
        pipeline: What is run.
        resume: Whether to go on from what is finished.
        chat: Whether to end with a conversation; the subject is a chat model then.
    """
    with ConsoleReporter() as reporter:
        outcome = run_pipeline(pipeline, reporter=reporter, fresh=not resume)
    run = open_run(pipeline.run_folder)
    lines = demo_lines(run)
    caveat = caveat_lines(pipeline, {explanation.model for explanation in run.reader.explanations()})
    for line in [*lines, *caveat] if lines else ():
        typer.echo(line)
    if chat and lines:
        from autointerp.cli.demo_chat import chat_lines  # the other demos have no model to talk to

        for line in [*weights_lines(pipeline), *chat_lines(Client([run]))]:
            typer.echo(line)
    folder = pipeline.run_folder
    typer.echo(f"\nThe run lies in {folder}. Look further with")
    if lines:
        typer.echo(f"  autointerp search {folder} 'your words'")
    typer.echo(f"  autointerp show {folder} {_a_feature(run)}")
    typer.echo(f"  autointerp status {folder}")
    tell_missing(pipeline, outcome)


def weights_lines(pipeline: Pipeline) -> list[str]:
    """What is to be known of a packaged subject's weights."""
    told = packaged_as(pipeline.subject.model)
    return ["", f"What follows is said by {pipeline.subject.model.removeprefix(PREFIX)}: {told}."] if told else []


def caveat_lines(pipeline: Pipeline, writers: Set[str]) -> list[str]:
    """What is to be known of labels and verdicts of a packaged model; nothing where others label and judge.

    Args:
        pipeline: Says who judges.
        writers: Models that the run's labels are of.
    """
    who = [("labels", name) for name in sorted(writers)]
    if pipeline.judge.kind == "llm" and pipeline.judge.model is not None:
        who.append(("verdicts", pipeline.judge.model.model))
    small = [(what, name.removeprefix(PREFIX)) for what, name in who if name.startswith(PREFIX)]
    if not small:
        return []
    return [
        "",
        *(f"The {what} are those of {name}, which is far too small for them." for what, name in small),
        "What they are worth where the truth is known stands in benchmarks/local_llm.md. Embedding asks no model.",
        "Name another by --set explain.model.model=… and --set judge.model.model=…, a folder or a name on the hub.",
    ]


def _a_feature(run: Run) -> str:
    best = [(scored.explanation.source_id, scored.explanation.feature_index) for scored in run.reader.best(1)]
    source_id, feature_index = best[0] if best else (run.sources()[0].source_id, 0)
    return feature_name(source_id, feature_index, with_source=run.has_several_sources)


def demo_lines(run: Run, queries: Sequence[str] = QUERIES) -> list[str]:
    """What the demo prints of a finished run; nothing of one without labels.

    Args:
        run: The run.
        queries: Searches that are shown.
    """
    n_labels = run.reader.n_labels()
    if not n_labels:
        return []
    best = run.reader.best(_N_SHOWN)
    worst = [scored for scored in run.reader.worst(_N_SHOWN) if scored not in best]
    with_source = run.has_several_sources
    shuffled = _shuffled(run, [scored.explanation.feature_index for scored in (*best, *worst)])
    lines = [
        "",
        f"The best of {n_labels} labels, by the mean of their scores. Each has its 95 % interval and, behind it,",
        "the score that another feature's label gets on the same contexts:",
    ]
    lines += label_rows(best, shuffled, with_source=with_source)
    if worst:
        lines += ["", "The worst:", *label_rows(worst, shuffled, with_source=with_source)]
    lines += ["", "Over all labels:", *summary_rows(run.score_summary())]
    for query in queries:
        hits = run.search(query, top_k=3)
        found = hit_rows(hits, with_source=with_source) if hits else ["no label is about this"]
        lines += ["", f"Search: {query!r}", *found]
    return lines


def _shuffled(run: Run, features: list[int]) -> dict[tuple[str, int], ScoredLabel]:
    baselines = [e for e in run.reader.explanations(features, baselines=True) if e.explainer == SHUFFLED]
    scores = run.reader.scores(explanation_ids=[e.explanation_id for e in baselines])
    return {(of.explanation.source_id, of.explanation.feature_index): of for of in with_scores(baselines, scores)}
