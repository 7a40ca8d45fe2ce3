"""The pages of runs: how far each is, also while it goes on, what it has cost, and what failed and why."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from autointerp.errors import AutointerpError, StoreBusyError, UnknownRunError
from autointerp.library.failures import RunFailures
from autointerp.library.run import Run
from autointerp.records.labels import Usage, total_cost
from autointerp.run.null_names import null_lines
from autointerp.serve.serving import Serving
from autointerp.serve.views.run_shapes import (
    Call,
    FailedFeature,
    Reason,
    RunAsked,
    RunLine,
    RunsView,
    RunView,
    ScorerOver,
    Stage,
    State,
    Values,
)
from autointerp.serve.views.shown import feature_path
from autointerp.store.known import shown
from autointerp.store.results import ScorerSummary, StageStatus, ValueSummary

_FAILURES = 50
_CALLS = 20
_LONGEST_RAW = 4_000

_STATES: Mapping[str | None, State] = {
    None: "not begun",
    "running": "under way",
    "done": "done",
    "stopped": "stopped",
    "killed": "killed",
}


def named_runs(serving: Serving) -> dict[str, Run]:
    """The runs that are served, by what they are called here: the folder's name, and a number where two have the same.

    Where a folder lies is nobody's business.
    """
    named: dict[str, Run] = {}
    for run in serving.client.runs:
        name = own = Path(run.name).resolve().name or "run"
        n = 1
        while name in named:
            n += 1
            name = f"{own}-{n}"
        named[name] = run
    return named


def run_named(serving: Serving, name: str) -> Run:
    """A run by what it is called here.

    Raises:
        UnknownRunError: If there is none, or none any more.
    """
    named = named_runs(serving)
    if name not in named:
        raise UnknownRunError(f"there is no run {shown(name)} here", f"runs are {', '.join(named)}")
    if not named[name].reader.path.exists():
        raise UnknownRunError(f"the run {name} is not there any more", "put its folder back, or serve others")
    return named[name]


def runs_view(serving: Serving) -> RunsView:
    """Every run; one that can't be read says so, and leaves the others theirs."""
    return RunsView(runs=tuple(_line_or_problem(name, run) for name, run in named_runs(serving).items()))


def run_view(serving: Serving, name: str, asked: RunAsked) -> RunView:
    """One run.

    Raises:
        UnknownRunError: If there is none of this name.
        StoreError: If it can't be read.
    """
    run = run_named(serving, name)
    failed = RunFailures(run)
    with run.reader.session() as reader:
        line, stages = _line(name, run)
        record, sources = reader.run(), reader.sources()
        scorers, names, reasons = run.score_summary(), reader.known_names(), failed.kinds()
        usage = {of.stage: of.usage for of in reader.stages()}
    paid = run.paid()
    calls = failed.calls(_CALLS)
    chosen = asked.stage is not None and asked.error is not None
    failures = failed.of_kind(asked.stage or "", asked.error or "", _FAILURES, asked.first) if chosen else []
    return RunView(
        line=line,
        asked=asked,
        created_at=None if record is None else record.created_at,
        program_version=None if record is None else record.program_version,
        paid_usd=None if paid is None else paid.known_usd,
        paid_is_all=paid is None or paid.is_all,
        stages=tuple(_stage(of, usage.get(of.stage)) for of in stages),
        scorers=tuple(map(_scorer, scorers)),
        explainers=tuple(sorted(names.explainers)),
        reasons=tuple(
            Reason(
                stage=of.stage,
                error_type=of.error_type,
                n=of.n,
                n_retry=of.n_retry,
                n_raw=of.n_raw,
                cost_usd=of.cost_usd,
                example=of.example,
            )
            for of in reasons
        ),
        failures=tuple(
            FailedFeature(
                id=f"{of.source_id}:{of.feature_index}",
                path=feature_path(of.source_id, of.feature_index),
                message=of.message,
                raw=None if of.raw is None else of.raw[:_LONGEST_RAW],
                is_cut=of.raw is not None and len(of.raw) > _LONGEST_RAW,
                retry=of.retry,
                created_at=of.created_at,
            )
            for of in failures
        ),
        n_calls=calls.counts,
        calls=tuple(
            Call(
                model=of.asked_model,
                error_type=of.error_type,
                message=of.message,
                raw=None if of.raw is None else of.raw[:_LONGEST_RAW],
                is_cut=of.raw is not None and len(of.raw) > _LONGEST_RAW,
                created_at=of.created_at,
            )
            for of in calls.last
        ),
        notes=tuple(null_lines(source.source_id for source in sources)),
    )


def _line_or_problem(name: str, run: Run) -> RunLine:
    try:
        with run.reader.session():
            return _line(name, run)[0]
    except AutointerpError as error:
        # What it says may name the server's own files.
        busy = isinstance(error, StoreBusyError)
        told = "its store is being written: look again in a moment" if busy else "its folder can't be read any more"
        return RunLine(name=name, path=_path(name), problem=told)


def _line(name: str, run: Run) -> tuple[RunLine, list[StageStatus]]:
    reader, stages = run.reader, run.status()
    open_stage = next((of for of in stages if of.status in ("running", "stopped", "killed")), None)
    # A run that goes on has stages that it has not begun.
    last = open_stage or next((of for of in stages if of.status is None), None)
    sources = reader.sources()
    line = RunLine(
        name=name,
        path=_path(name),
        state="done" if last is None and stages else _STATES[None if last is None else last.status],
        stage=None if last is None else last.stage,
        share_done=float(bool(stages)) if last is None else _share(last),
        sources=tuple(source.source_id for source in sources),
        n_features=sum(source.n_features for source in sources),
        n_labels=reader.n_labels(),
        n_failures=sum(of.n_failed for of in stages),
        cost_usd=total_cost(of.cost_usd for of in stages),
    )
    return line, stages


def _path(name: str) -> str:
    return f"/runs/{quote(name, safe='')}"


def _share(of: StageStatus) -> float:
    return (of.n_done + of.n_failed) / max(1, of.n_done + of.n_failed + of.n_pending)


def _stage(of: StageStatus, usage: Usage | None) -> Stage:
    return Stage(
        stage=of.stage,
        state=_STATES[of.status],
        n_done=of.n_done,
        n_failed=of.n_failed,
        n_pending=of.n_pending,
        cost_usd=of.cost_usd,
        n_calls=None if usage is None else usage.n_calls,
        input_tokens=None if usage is None else usage.input_tokens,
        output_tokens=None if usage is None else usage.output_tokens,
        finished_at=of.finished_at,
    )


def _scorer(of: ScorerSummary) -> ScorerOver:
    return ScorerOver(
        scorer=of.scorer,
        judge=of.judge,
        metric=of.metric,
        chance=of.chance,
        values=tuple(map(_values, of.rows)),
        win_rate=of.win_rate,
    )


def _values(of: ValueSummary) -> Values:
    return Values(
        kind=of.kind,
        n=of.n,
        mean=of.mean,
        lower_quartile=of.lower_quartile,
        median=of.median,
        upper_quartile=of.upper_quartile,
        share_above_chance=of.share_above_chance,
    )
