"""What a run would ask of its language models and what that would cost, told before anything is spent.

1. The local stages (corpus, collect, contexts) are carried out as far as they are not finished: they cost no call, and
   without them there are no prompts.
2. The store is copied, and explain and score run on the copy, by their own code, with models that answer without being
   asked (`llm.dry_run`). So the prompts are the real ones; what is done is not asked again; what the journal holds is
   not paid again, and its real answers are used; and shuffled labels are judged like the true ones.
3. The copy is thrown away. Nothing is sent, and neither the store nor the journal is written.
"""

import asyncio
import shutil
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

from autointerp.config import JudgeConfig, ModelConfig, Pipeline
from autointerp.llm.dry_run.planned_model import PlannedModel, Planner
from autointerp.llm.prices import find_prices
from autointerp.llm.protocol import LanguageModel
from autointerp.llm.tokens import TokenizerCount
from autointerp.records import Usage
from autointerp.run.check_participants import check_participants
from autointerp.run.event_loop import run_to_end
from autointerp.run.judge_answers import settle_answers
from autointerp.run.language_models import payer_of
from autointerp.run.on_disk.folder import RunFolder, hold_run_folder
from autointerp.run.on_disk.paid import journal_path
from autointerp.run.participants import Participants
from autointerp.run.pipeline import Stage, choose_features, run_pipeline
from autointerp.run.progress import LogReporter, Reporter, StageSummary
from autointerp.run.session import Session
from autointerp.run.stages.explain import run_explain
from autointerp.run.stages.score import run_score
from autointerp.score.registry import load_scorer
from autointerp.store.connection import STORE_FILE

_LOCAL_STAGES: tuple[Stage, ...] = ("corpus", "collect", "contexts")
_SCRATCH = "dry-run-"


@dataclass(frozen=True, slots=True)
class PlannedUsage:
    """What one stage would ask of one model.

    Attributes:
        stage: `explain`, `explain:select` (choosing among labels), or `score:` with a scorer's name.
        model: Its name in the config.
        usage: What it would be paid for; the cost is None where a price is unknown.
        counted: How tokens are told, in words.
        prices: Where the prices stand.
        share: Of these prices that is paid: half in a batch.
        n_failed: Calls whose planned answer did not fit the wanted schema, so that what follows from it is not counted.
    """

    stage: str
    model: str
    usage: Usage
    counted: str
    prices: str
    share: float
    n_failed: int


@dataclass(frozen=True, slots=True)
class CostPlan:
    """What a run would cost.

    Attributes:
        stages: By stage and model; none where no language model is asked.
        max_cost_usd: The budget; None for none.
        spent_usd: What the run has paid before.
        is_most: Whether less may be asked, as asking stops when a label is known well enough.
        may_be_near: Whether every label that is not yet written is taken for nearly another's (`explain.distinct`).
    """

    stages: tuple[PlannedUsage, ...]
    max_cost_usd: float | None
    spent_usd: float
    is_most: bool = False
    may_be_near: bool = False

    @property
    def total(self) -> Usage:
        """Of all stages."""
        return sum((stage.usage for stage in self.stages), Usage())

    @property
    def remaining_usd(self) -> float | None:
        """What is left of the budget; None where there is none."""
        return None if self.max_cost_usd is None else max(0.0, self.max_cost_usd - self.spent_usd)

    @property
    def suffices(self) -> bool | None:
        """Whether that is enough; None where there is no budget, or the cost is unknown."""
        cost = self.total.cost_usd
        return None if self.remaining_usd is None or cost is None else cost <= self.remaining_usd


def plan_cost(pipeline: Pipeline, reporter: Reporter | None = None) -> CostPlan:
    """Tell what a run would ask and what that would cost. No key is needed.

    Args:
        pipeline: What would be run.
        reporter: Told of the progress of the local stages, and of planning; by default the log.

    Raises:
        AutointerpError: What a user can cause.
    """
    reporter = reporter or LogReporter()
    _check_settings(pipeline)
    with hold_run_folder(pipeline) as folder:
        unfinished = unfinished_local_stages(Session(pipeline, folder))
    if unfinished:
        run_pipeline(pipeline, unfinished, reporter)
    with hold_run_folder(pipeline) as folder:
        return plan_on_copy(folder, pipeline, _plan, reporter)


def plan_on_copy(
    folder: RunFolder,
    pipeline: Pipeline,
    plan: Callable[[Session, Planner, Reporter], Coroutine[Any, Any, list[PlannedUsage]]],
    reporter: Reporter,
) -> CostPlan:
    """Carry something out on a copy of a run's store, with models that are not asked; see steps 2 and 3 of the module.

    Args:
        folder: The run's, held.
        pipeline: The run's.
        plan: What is carried out: on the copy, with who makes the models.
        reporter: Told of progress, and of nothing that is finished.
    """
    planner = Planner(pipeline.llm, journal_path(folder.path, pipeline.llm.journal))
    try:
        with _scratch_store(folder) as scratch:
            session = Session(pipeline, folder, scratch)
            stages = run_to_end(plan(session, planner, _PlanningReporter(reporter)))
        return CostPlan(
            tuple(stages),
            pipeline.llm.max_cost_usd,
            planner.journal.spent_usd(payer_of(pipeline)),
            is_most=pipeline.score.stop is not None,
            may_be_near=pipeline.explain.distinct,
        )
    finally:
        planner.close()


def unfinished_local_stages(session: Session) -> tuple[Stage, ...]:
    """The stages that have to be carried out before there are prompts."""
    if not session.is_collected:
        return _LOCAL_STAGES
    fingerprint = session.contexts_fingerprint
    pending = (
        session.writer.pending_features("contexts", fingerprint, features, source_id)
        for source_id, features in choose_features(session).items()
    )
    return ("contexts",) if any(pending) else ()


def _check_settings(pipeline: Pipeline) -> None:
    """See what is wrong before hours of collecting."""
    check_participants(pipeline)
    for config in (pipeline.explain.model, pipeline.judge.model):
        if config is not None:
            find_prices(config, pipeline.llm)
            if config.tokenizer is not None:
                TokenizerCount(config.tokenizer)


async def _plan(session: Session, planner: Planner, reporter: Reporter) -> list[PlannedUsage]:
    pipeline, planned = session.pipeline, list[PlannedUsage]()
    chosen = choose_features(session)
    async with PlannedModels(planner) as models:
        judge = await settle_answers(pipeline.judge, models.connect, reporter.say)
        asked = Participants(session, models.connect, judge, plans=True)
        await run_explain(session, asked, models, chosen, reporter)
        planned += models.planned_usage()
    for name in asking_scorers(pipeline):
        # One at a time, so that what each asks is told apart.
        async with PlannedModels(planner) as models:
            await run_score(session, scoring_all(session, models, judge, name), models, chosen, reporter)
            planned += [replace(usage, stage=f"score:{name}") for usage in models.planned_usage()]
    return planned


def asking_scorers(pipeline: Pipeline) -> list[str]:
    """The scorers that would ask a language model."""
    if pipeline.judge.kind == "local":
        return []
    return [name for name in pipeline.score.scorers if load_scorer(name).asks_judge]


def scoring_all(session: Session, models: "PlannedModels", judge: JudgeConfig, scorer: str) -> Participants:
    """Those of one scorer that asks about all that it may ask about, and stops at nothing."""
    participants = Participants(session, models.connect, judge, [scorer])
    for of in participants.scorers:
        of.stop = None  # what is planned is the most that may be asked
    return participants


class PlannedModels:
    """Models that are not asked, and what they would have been paid for.

    Args:
        planner: Makes them.
    """

    def __init__(self, planner: Planner) -> None:
        self._planner = planner
        self._planned: dict[str, PlannedModel] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.gather(*(planned.model.close() for planned in self._planned.values()))

    def connect(self, stage: str, config: ModelConfig) -> LanguageModel:
        """The model that a stage would ask, the same however often it is asked for."""
        if stage not in self._planned:
            self._planned[stage] = self._planner.connect(config)
        return self._planned[stage].model

    def usage(self, stage: str) -> Usage:
        """Nothing is paid."""
        return Usage()

    def used(self, stage: str) -> str:
        """Nothing is used."""
        return ""

    def spent(self, stage: str) -> str:
        """Nothing is spent."""
        return ""

    def planned_usage(self) -> list[PlannedUsage]:
        """What each stage would ask of its model."""
        return [
            PlannedUsage(
                stage=stage,
                model=planned.config.model,
                usage=planned.model.usage,
                counted=planned.counted,
                prices=planned.prices.source,
                share=planned.prices.share,
                n_failed=sum(planned.model.failures.values()),
            )
            for stage, planned in self._planned.items()
        ]


@contextmanager
def _scratch_store(folder: RunFolder) -> Iterator[Path]:
    """A folder with a copy of the store, beside it, where there is room for a store; removed at the end."""
    for left_over in folder.path.glob(f"{_SCRATCH}*"):  # by a process that was killed: the folder is ours now
        shutil.rmtree(left_over, ignore_errors=True)
    with TemporaryDirectory(dir=folder.path, prefix=_SCRATCH) as scratch:
        for file in folder.path.glob(f"{STORE_FILE}*"):
            shutil.copyfile(file, Path(scratch) / file.name)
        yield Path(scratch)


class _PlanningReporter:
    """Tells of the progress of planned stages, under other names, and not of how they end: nothing is done."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def progress(
        self, stage: str, n_done: int, n_total: int, note: str = "", *, seconds_left: float | None = None
    ) -> None:
        self._reporter.progress(f"plan {stage}", n_done, n_total)

    def finished(self, summary: StageSummary) -> None:
        """Say nothing."""

    def say(self, line: str) -> None:
        """Say nothing."""
