"""What the tool `status` tells of each run: what there is, and how far its scores can be trusted."""

from collections import Counter

from autointerp.errors import AutointerpError
from autointerp.library.client import Client
from autointerp.library.run import Run
from autointerp.run.null_names import null_lines
from autointerp.serve.mcp import replies
from autointerp.serve.mcp.arguments import NoArguments
from autointerp.serve.mcp.replies import measured, message_text
from autointerp.store.results import ScorerSummary, ValueSummary

_KINDS_SHOWN = 20


def status(client: Client, asked: NoArguments) -> replies.Status:
    """Tell of each run; one that can't be read says why, and leaves the others theirs."""
    return replies.Status(runs=[_run(run) for run in client.runs])


def _run(run: Run) -> replies.RunStatus:
    try:
        return _readable(run)
    except AutointerpError as error:
        return replies.RunStatus(run=run.name, problem=message_text(f"{error.problem}: {error.remedy}"))


def _readable(run: Run) -> replies.RunStatus:
    from autointerp.score.judges import LOCAL_JUDGE_CAVEAT

    with run.reader.session() as reader:
        sources, scorers, names = reader.sources(), run.score_summary(), reader.known_names()
        failures = Counter(f"{failure.stage}: {failure.error_type}" for failure in reader.failures())
        n_labels, tiers = reader.n_labels(), reader.tier_counts()
        refereed = reader.referee_counts()
    notes = null_lines(source.source_id for source in sources)
    notes += [LOCAL_JUDGE_CAVEAT] if any(of.judge == "local" for of in scorers) else []
    if refereed.n_disputed:
        notes.append(
            f"{refereed.n_disputed} labels are disputed by a rule that is as good as the truth; `show` says how"
        )
    return replies.RunStatus(
        run=run.name,
        sources=[
            replies.Source(
                source=source.source_id,
                model=source.model,
                hook=source.hook,
                coder=source.coder,
                corpus=message_text(source.corpus),
                n_features=source.n_features,
                n_tokens=source.n_tokens,
            )
            for source in sources
        ],
        n_labels=n_labels,
        scorers=[_scorer(of) for of in scorers],
        tiers=tiers,
        explainers=sorted(names.explainers),
        stages=[
            replies.Stage(
                stage=stage.stage,
                state=stage.status or "not begun",
                n_done=stage.n_done,
                n_failed=stage.n_failed,
                n_pending=stage.n_pending,
            )
            for stage in run.status()
        ],
        failures=dict(failures.most_common(_KINDS_SHOWN)),
        notes=notes,
    )


def _scorer(of: ScorerSummary) -> replies.Scorer:
    return replies.Scorer(
        scorer=of.scorer,
        judge=of.judge,
        metric=of.metric,
        chance=measured(of.chance),
        labels=_values(of.true),
        shuffled=_values(of.shuffled),
        other_baselines={other.kind: values for other in of.other_nulls if (values := _values(other)) is not None},
        win_rate=measured(of.win_rate),
        share_above_shuffled=measured(of.share_above_shuffled),
    )


def _values(of: ValueSummary | None) -> replies.Values | None:
    if of is None:
        return None
    return replies.Values(
        n=of.n,
        mean=measured(of.mean),
        lower_quartile=measured(of.lower_quartile),
        median=measured(of.median),
        upper_quartile=measured(of.upper_quartile),
        share_above_chance=measured(of.share_above_chance),
    )
