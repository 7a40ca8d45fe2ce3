"""How often the run's judge is wrong: the puzzles are put to it as labels are in a run.

1. The puzzles are planted on the demo's text, and their contexts built by the pipeline's own settings
   (`puzzles.plant`); `score.on_puzzles` poses the questions, and counts the answers.
2. Of a judge that is paid for it is told what is going to be asked, and for how much, before it is.
3. A paid answer is in the run's journal before it is counted. The same command after a kill finds it there.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from autointerp.config import Pipeline, SubjectConfig
from autointerp.contexts.kept_embeddings import KeptEmbeddings
from autointerp.corpus import TokenPieces
from autointerp.errors import PipelineError
from autointerp.llm.connect import check_access
from autointerp.llm.dry_run.planned_model import Planner
from autointerp.puzzles.load import PuzzleKind, load_puzzles
from autointerp.puzzles.plant import SOURCE_ID, cut_demo_text, plant
from autointerp.run.dry_run import CostPlan, PlannedModels, PlannedUsage
from autointerp.run.event_loop import run_to_end
from autointerp.run.judge_answers import settle_answers
from autointerp.run.language_models import LanguageModels, check_budget, payer_of
from autointerp.run.on_disk.folder import hold_run_folder
from autointerp.run.on_disk.paid import journal_path
from autointerp.run.participants import Connect
from autointerp.run.progress import LogReporter, Reporter, StageSummary, told_meanwhile
from autointerp.run.session import Session
from autointerp.score.calibration import Calibration, write_calibration
from autointerp.score.judge import Judge
from autointerp.score.judges.local import LocalJudge
from autointerp.score.on_puzzles import KINDS, PosedPuzzles, ask_puzzles, pose_puzzles
from autointerp.subject.model import load_tokenizer

STAGE = "calibrate"


def calibrate(
    pipeline: Pipeline, kinds: Sequence[str] = (), file: Path | None = None, reporter: Reporter | None = None
) -> tuple[Calibration, Path]:
    """Put the puzzles to the pipeline's judge, and keep how often it was right.

    Args:
        pipeline: Names the judge, and how contexts are made; its run need not have begun.
        kinds: Of the puzzles to put; none for all.
        file: Where to write the calibration; None for `calibration.json` in the run folder.
        reporter: Told of progress; by default the log.

    Returns:
        The calibration, and the file that holds it.

    Raises:
        AutointerpError: What a user can cause; what was paid for is in the run's journal.
    """
    reporter = reporter or LogReporter()
    chosen, model = _check_kinds(kinds), pipeline.judge.model if pipeline.judge.kind == "llm" else None
    if model is not None:
        check_access(model)
        check_budget(model, pipeline.llm)
    with hold_run_folder(pipeline) as folder:
        session = Session(pipeline, folder)
        posed = pose(session, chosen, reporter)
        if model is not None:
            reporter.say(_told(_plan(session, posed, reporter), posed))
        calibration = run_to_end(_ask_models(session, posed, reporter))
        file = folder.calibration if file is None else file
        write_calibration(calibration, file)
    return calibration, file


def plan_calibration(pipeline: Pipeline, kinds: Sequence[str] = (), reporter: Reporter | None = None) -> CostPlan:
    """Tell what calibrating would ask and cost. No key is needed, and nothing is asked.

    Args:
        pipeline: As in `calibrate`.
        kinds: As in `calibrate`.
        reporter: Told of progress; by default the log.

    Raises:
        AutointerpError: What a user can cause.
    """
    chosen = _check_kinds(kinds)
    if pipeline.judge.kind == "local":
        return CostPlan((), pipeline.llm.max_cost_usd, 0.0)
    with hold_run_folder(pipeline) as folder:
        session = Session(pipeline, folder)
        reporter = reporter or LogReporter()
        return _plan(session, pose(session, chosen, reporter), reporter)


def _check_kinds(kinds: Sequence[str]) -> tuple[PuzzleKind, ...]:
    unknown = next((kind for kind in kinds if kind not in KINDS), None)
    if unknown is not None:
        raise PipelineError(f"there is no kind of puzzle {unknown!r}", f"give some of {', '.join(KINDS)}")
    return tuple(cast(PuzzleKind, kind) for kind in kinds) or KINDS


def pose(session: Session, kinds: Sequence[PuzzleKind], reporter: Reporter) -> PosedPuzzles:
    """The questions about the puzzles of some kinds; all are planted, since each has others' text to be told from."""
    started = time.monotonic()
    reporter.progress("puzzles", 0, 2, "cutting the demo's text")
    pipeline, embedder = session.pipeline, session.embedder
    tokenizer = load_tokenizer(SubjectConfig())
    shard = cut_demo_text(tokenizer, pipeline.corpus.block_length)
    reporter.progress("puzzles", 1, 2, "building contexts")
    windows = session.folder.pool_file(SOURCE_ID, "peaks")
    planted = plant(
        load_puzzles(),
        shard,
        TokenPieces(tokenizer),
        collect=pipeline.collect,
        contexts=pipeline.contexts,
        embedder=embedder,
        seed=pipeline.seed,
        kept=KeptEmbeddings(windows, embedder.fingerprint, embedder),
    )
    reporter.finished(StageSummary("puzzles", len(planted.puzzles), seconds=time.monotonic() - started))
    return pose_puzzles(planted, kinds, pipeline.seed)


async def _ask_models(session: Session, posed: PosedPuzzles, reporter: Reporter) -> Calibration:
    started, n_done = time.monotonic(), 0
    async with LanguageModels(session.pipeline, session.folder.journal) as models:

        def tell(n: int = 0) -> None:
            nonlocal n_done
            n_done += n
            reporter.progress(STAGE, n_done, posed.n_questions, models.spent(STAGE))

        judge = await _make_judge(session, models.connect, reporter)
        async with told_meanwhile(tell):
            cells = await ask_puzzles(judge, posed, tell)
        usage = models.usage(STAGE)
        n_unanswered = sum(cell.n_unanswered for cell in cells)
        n_answered = posed.n_questions - n_unanswered
        seconds, used = time.monotonic() - started, models.used(STAGE)
    reporter.finished(
        StageSummary(STAGE, n_answered, n_unanswered, seconds=seconds, cost_usd=usage.cost_usd, note=used)
    )
    tasks = {group.task.name: group.task for group in posed.groups}
    return Calibration(
        judge=judge.name,
        judged_by={name: judge.fingerprint(task) for name, task in tasks.items()},
        made_of=posed.made_of,
        cells=tuple(cells),
        left_out=posed.left_out,
    )


async def _make_judge(session: Session, connect: Connect, reporter: Reporter) -> Judge:
    config = await settle_answers(session.pipeline.judge, connect, reporter.say, STAGE)
    if config.kind == "local":
        return LocalJudge(session.embedder)
    from autointerp.score.judges.llm import LlmJudge

    assert config.model is not None, "the config is validated"
    return LlmJudge(connect(STAGE, config.model), config)


def _plan(session: Session, posed: PosedPuzzles, reporter: Reporter) -> CostPlan:
    pipeline, folder = session.pipeline, session.folder
    planner = Planner(pipeline.llm, journal_path(folder.path, pipeline.llm.journal))
    try:
        stages = run_to_end(_ask_planned(session, posed, planner, reporter))
        return CostPlan(tuple(stages), pipeline.llm.max_cost_usd, planner.journal.spent_usd(payer_of(pipeline)))
    finally:
        planner.close()


async def _ask_planned(
    session: Session, posed: PosedPuzzles, planner: Planner, reporter: Reporter
) -> list[PlannedUsage]:
    async with PlannedModels(planner) as models:
        judge = await _make_judge(session, models.connect, reporter)
        await ask_puzzles(judge, posed, lambda _: None)
        return models.planned_usage()


def _told(plan: CostPlan, posed: PosedPuzzles) -> str:
    """What is going to be asked, in one line, before it is."""
    usage = plan.total
    cost = "at unknown prices" if usage.cost_usd is None else f"for about ${usage.cost_usd:.4f}"
    return (
        f"{posed.n_questions:,} questions in {usage.n_calls:,} calls that are not paid for yet: about"
        f" {usage.input_tokens:,} tokens in and {usage.output_tokens:,} out, {cost}"
    )
