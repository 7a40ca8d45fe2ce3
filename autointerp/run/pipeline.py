"""A run from top to bottom: the stages in order, each going on from what is finished.

    corpus ─▶ collect ─▶ contexts ─▶ explain ─▶ score ─▶ index

Killed anywhere and run again, the result is that of an uninterrupted run: every stage writes whole records under a
fingerprint and does what has none.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from autointerp.config import Pipeline, parse_indices
from autointerp.config.file import load_pipeline
from autointerp.errors import AutointerpError, PipelineError
from autointerp.explain.registry import load_explainer
from autointerp.run.check_models import check_models
from autointerp.run.check_participants import (
    asked_models,
    asks_judge,
    check_keys,
    check_participants,
    check_subject,
    judged_by_words,
)
from autointerp.run.event_loop import run_to_end
from autointerp.run.features import ChosenFeatures, check_width, count_features, features_to_label
from autointerp.run.judge_answers import settle_answers
from autointerp.run.language_models import LanguageModels
from autointerp.run.missing import Missing, find_missing
from autointerp.run.on_disk.folder import RunFolder, hold_run_folder
from autointerp.run.participants import Participants
from autointerp.run.progress import LogReporter, Reporter
from autointerp.run.session import Session
from autointerp.run.stages.collect import run_collect
from autointerp.run.stages.contexts import run_contexts
from autointerp.run.stages.corpus import run_corpus
from autointerp.run.stages.explain import run_explain
from autointerp.run.stages.index import run_index
from autointerp.run.stages.score import run_score
from autointerp.score.registry import load_scorer
from autointerp.store.results import RunRecord

Stage = Literal["corpus", "collect", "contexts", "explain", "score", "index"]
STAGES: tuple[Stage, ...] = ("corpus", "collect", "contexts", "explain", "score", "index")
_FEW_CONTEXTS = 20
_BEFORE_LABELS = {"corpus", "collect", "contexts", "explain"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        folder: Where it lies.
        features: The features it was asked for, ascending, by source; empty where only text was read.
        missing: Labels and scores that were asked for and are not there, by reason.
    """

    folder: RunFolder
    features: ChosenFeatures = field(repr=False)
    missing: Sequence[Missing] = field(default=(), repr=False)

    @property
    def n_failed(self) -> int:
        """Labels and scores that were asked for and are not done.

        Features that can't have contexts (dead, too rare), or no silent ones, don't count: that is a finding.
        """
        return sum(of.n for of in self.missing if not of.is_finding)

    @property
    def n_features(self) -> int:
        """Features it was asked for."""
        return count_features(self.features)


def run_pipeline(
    pipeline: Pipeline | str | Path,
    stages: Sequence[Stage] = STAGES,
    reporter: Reporter | None = None,
    *,
    fresh: bool = False,
) -> Outcome:
    """Run stages of a pipeline; in a notebook, too.

    Args:
        pipeline: What to run, or its file; `load_pipeline` reads a file with overrides.
        stages: Which stages, carried out in the order of the data flow.
        reporter: Told of progress; by default the log.
        fresh: Remove what an earlier run left in the run folder first.

    Raises:
        AutointerpError: What a user can cause; what is finished stays.

    Example:
        >>> autointerp.run_pipeline("demo.toml", ["corpus"]).n_failed
        0
    """
    if not isinstance(pipeline, Pipeline):
        pipeline = load_pipeline(pipeline)
    _check_stages(stages)
    reporter = reporter or LogReporter()
    check_participants(
        pipeline, explains=bool(_BEFORE_LABELS & set(stages)), scores=bool({*_BEFORE_LABELS, "score"} & set(stages))
    )
    check_keys(pipeline, explains="explain" in stages, scores="score" in stages)
    if "score" in stages and (told := judged_by_words(pipeline)):
        reporter.say(told)
    with hold_run_folder(pipeline, fresh=fresh) as folder:
        session = Session(pipeline, folder)
        try:
            return _run_stages(session, stages, reporter)
        except BaseException:
            # Killed outright it stays "running"; otherwise readers are told that nothing is.
            if folder.store.exists():
                with suppress(AutointerpError):  # what ended the run is told, not what its end meets
                    session.writer.stop_stages()
            raise


def _check_stages(stages: Sequence[Stage]) -> None:
    asked = (stages,) if isinstance(stages, str) else stages
    unknown = next((stage for stage in asked if stage not in STAGES), None)
    if unknown is not None or isinstance(stages, str):
        wrong = f"there is no stage {unknown!r}" if unknown is not None else f"stages = {stages!r} is one text"
        raise PipelineError(wrong, f"give some of {STAGES}")


def _run_stages(session: Session, stages: Sequence[Stage], reporter: Reporter) -> Outcome:
    _ = session.writer  # a store that can't be made is told before hours of collecting
    collects = "collect" in stages and not session.is_collected
    if collects:
        _check_indices(session)
        if "score" in stages:
            check_subject(session, map(load_scorer, session.pipeline.score.scorers))
        if "index" in stages:
            _ = session.embedder.dim  # so is an embedder that can't be loaded
        # A store that was lost is made anew from what was collected, and asks nothing that is paid for already.
        if not session.folder.keeps_pass(len(session.pipeline.coder)):
            _check_models(session, stages, reporter)
    if "corpus" in stages:
        run_corpus(session, reporter)
    if "collect" in stages:
        run_collect(session, reporter)
    chosen: ChosenFeatures = {}
    if {"contexts", "explain", "score", "index"} & set(stages):
        say_which_run(session)
    if {"contexts", "explain", "score"} & set(stages):
        chosen = choose_features(session)
    if "contexts" in stages:
        if not collects and _lacks_many_contexts(session, chosen):
            _check_models(session, stages, reporter)
        run_contexts(session, chosen, reporter)
    if {"explain", "score"} & set(stages):
        run_to_end(_ask(session, stages, chosen, reporter))
    # Where labels were wanted and there is none, the run's end says why.
    if "index" in stages and (session.reader.n_labels() or not {"explain", "score"} & set(stages)):
        run_index(session, reporter)
    missing = find_missing(session.reader, chosen, stages, session.pipeline.score.scorers) if chosen else ()
    return Outcome(session.folder, chosen, missing)


def _check_indices(session: Session) -> None:
    """See that a coder has the features that were asked for, and that have labels, before hours of collecting."""
    indices, explain = session.pipeline.features.indices, session.pipeline.explain
    explainer = load_explainer(explain.explainer)
    if explainer.reads_labels:
        explainer.labelled(explain, {of.source_id: of.n_features for of in session.subject_sources.sources})
    if indices is None:
        return
    widest = max(session.subject_sources.sources, key=lambda source: source.n_features)
    check_width(widest.source_id, parse_indices(indices), widest.n_features)


def _check_models(session: Session, stages: Sequence[Stage], reporter: Reporter) -> None:
    """See that the language models answer, before the work that leads up to the first question to them."""
    asked = asked_models(session.pipeline, explains="explain" in stages, scores="score" in stages)
    if asked:
        run_to_end(check_models(session.pipeline, asked, session.folder.journal, reporter))


def _lacks_many_contexts(session: Session, chosen: ChosenFeatures) -> bool:
    """Whether making contexts takes long: else the first question itself tells as soon whether it is answered."""
    fingerprint = session.contexts_fingerprint
    pending = (
        session.writer.pending_features("contexts", fingerprint, features, source_id)
        for source_id, features in chosen.items()
    )
    return sum(map(len, pending)) > _FEW_CONTEXTS


def _lacks_labels(session: Session, participants: Participants, chosen: ChosenFeatures) -> bool:
    fingerprint = participants.explain_fingerprint
    return any(
        session.writer.pending_features("explain", fingerprint, features, source_id)
        for source_id, features in chosen.items()
    )


def choose_features(session: Session) -> ChosenFeatures:
    """The features that a run is asked for, by source; its collect stage has finished."""
    explain = session.pipeline.explain
    explainer = load_explainer(explain.explainer)
    return features_to_label(
        session.pipeline.features,
        session.pipeline.contexts,
        ((source.source_id, source.collected.statistics.n_active_blocks) for source in session.each_source()),
        seed=session.pipeline.seed,
        labelled=explainer.labelled(explain, {of.source_id: of.n_features for of in session.reader.sources()}),
    )


async def _ask(session: Session, stages: Sequence[Stage], chosen: ChosenFeatures, reporter: Reporter) -> None:
    async with LanguageModels(session.pipeline, session.folder.journal) as models:
        judge = session.pipeline.judge
        if asks_judge(session.pipeline, explains="explain" in stages, scores="score" in stages):
            judge = await settle_answers(judge, models.connect, reporter.say)
        participants = Participants(session, models.connect, judge)
        if {"explain", "score"} <= set(stages) and _lacks_labels(session, participants, chosen):
            participants.check_subject()  # what scoring will fail for is told before labels cost
        if "explain" in stages:
            await run_explain(session, participants, models, chosen, reporter)
        if "score" in stages:
            await run_score(session, participants, models, chosen, reporter)


def say_which_run(session: Session) -> None:
    """Write into the store which pipeline its run is of; the collect stage has finished.

    Raises:
        RunError: If it has not.
    """
    session.require_collected()
    record = RunRecord(
        name=session.pipeline.name,
        pipeline=session.pipeline.model_dump(mode="json"),
        program_version=version("autointerp"),
        created_at=datetime.now(UTC),
    )
    session.writer.set_run(record)
