"""Labels of a few features by several explainers, each scored on the same held-out contexts; all kept in the run.

1. What the features need and the run lacks is made: corpus, pass, contexts.
2. Each explainer writes its labels under its own fingerprint, and each of the pipeline's scorers scores them under its
   own. What an earlier try, or the run itself, has made of these is there already and is not asked for again.
3. Labels of one explainer are put to a paid judge together, as in a run: so each explainer's prompts mix the same
   features in the same order, and no prompt shows a context beside two labels of its feature.

Which labels are the run's own is said by the row of the stage `explain` (`current_explanations`), and no row of a stage
that gives labels or scores is touched. Only where there is none yet it is set, to the pipeline's own explainer: else
all labels would count.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from autointerp.config import ExplainConfig, Pipeline
from autointerp.errors import PipelineError
from autointerp.explain.registry import load_explainer
from autointerp.identity import FeatureKey, feature_id
from autointerp.llm.dry_run.planned_model import Planner
from autointerp.records import Explanation, Failure, ScoreWithTrials
from autointerp.run.check_participants import asks_judge, check_keys, check_participants
from autointerp.run.dry_run import CostPlan, PlannedModels, PlannedUsage, asking_scorers, plan_on_copy, scoring_all
from autointerp.run.event_loop import run_to_end
from autointerp.run.features import ChosenFeatures, check_width, count_features
from autointerp.run.judge_answers import settle_answers
from autointerp.run.language_models import LanguageModels, Spending
from autointerp.run.on_disk.folder import RunFolder, hold_run_folder
from autointerp.run.participants import Participants
from autointerp.run.pipeline import say_which_run
from autointerp.run.progress import LogReporter, Reporter, StageSummary
from autointerp.run.session import Session
from autointerp.run.stages.collect import run_collect
from autointerp.run.stages.contexts import run_contexts
from autointerp.run.stages.corpus import run_corpus
from autointerp.run.stages.explain import explain_source
from autointerp.run.stages.score import find_pending, score_source
from autointerp.store.known import feature_keys


@dataclass(frozen=True, slots=True)
class TriedExplainer:
    """One of the explainers that were tried.

    Attributes:
        asked: As it was asked for: a name, or a place and class.
        name: As its labels have it.
        fingerprint: Of its labels.
    """

    asked: str
    name: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Tried:
    """What was tried.

    Attributes:
        folder: Where the run lies.
        features: By source, ascending.
        explainers: In the order in which they were named.
        scorers: Fingerprint of each scorer's scores, by its name.
    """

    folder: RunFolder
    features: ChosenFeatures
    explainers: tuple[TriedExplainer, ...]
    scorers: Mapping[str, str]


def write_and_score(
    pipeline: Pipeline, features: Sequence[FeatureKey], explainers: Sequence[str], reporter: Reporter | None = None
) -> Tried:
    """Have each explainer write a label of each feature, and each of the pipeline's scorers score it.

    Args:
        pipeline: The run, whose own explainer need not be among those.
        features: Indices, or `model@source:index`; as texts too.
        explainers: Two or more, as `explain.explainer` names them.
        reporter: Told of progress; by default the log.

    Raises:
        PipelineError: If there is no such explainer, one lacks something, fewer than two are named or one twice, or a
            feature is dead.
        UnknownFeatureError: If there is no such feature.
        AutointerpError: What a run raises.
    """
    reporter = reporter or LogReporter()
    configs = _checked_configs(pipeline, features, explainers)
    for config in configs:
        check_keys(pipeline.model_copy(update={"explain": config}), explains=True, scores=True)
    with hold_run_folder(pipeline) as folder:
        session, chosen = _made_ready(pipeline, folder, features, reporter)
        return run_to_end(_ask(session, explainers, configs, chosen, reporter))


def plan_tried(
    pipeline: Pipeline, features: Sequence[FeatureKey], explainers: Sequence[str], reporter: Reporter | None = None
) -> CostPlan:
    """Tell what `write_and_score` would ask and what that would cost, as `plan_cost` does of a run; no key is needed.

    What the features lack of corpus, pass and contexts is made; nothing is asked, and no label or score is written.
    The arguments and what is raised are those of `write_and_score`.
    """
    reporter = reporter or LogReporter()
    configs = _checked_configs(pipeline, features, explainers)
    with hold_run_folder(pipeline) as folder:
        _, chosen = _made_ready(pipeline, folder, features, reporter)

        async def plan(session: Session, planner: Planner, reporter: Reporter) -> list[PlannedUsage]:
            return await _plan(session, planner, explainers, configs, chosen, reporter)

        return plan_on_copy(folder, pipeline, plan, reporter)


def _checked_configs(
    pipeline: Pipeline, features: Sequence[FeatureKey], explainers: Sequence[str]
) -> Sequence[ExplainConfig]:
    """The table `[explain]` of each explainer, of which nothing can be told to be wrong yet."""
    if not features:
        raise PipelineError("no feature is named", "name one or more, for example --only 5,7")
    configs = [_config_of(pipeline, explainer) for explainer in _checked_names(explainers)]
    for place, config in enumerate(configs):
        check_participants(pipeline.model_copy(update={"explain": config}), scores=place == 0)
    return configs


def _made_ready(
    pipeline: Pipeline, folder: RunFolder, features: Sequence[FeatureKey], reporter: Reporter
) -> tuple[Session, ChosenFeatures]:
    """Make what the features need and the run lacks; the run, and the features by source."""
    session = Session(pipeline, folder)
    if session.is_collected:
        chosen = _choose(features, {of.source_id: of.n_features for of in session.reader.sources()})
    else:
        sources = session.subject_sources.sources
        chosen = _choose(features, {of.source_id: of.n_features for of in sources})
        run_corpus(session, reporter)
        run_collect(session, reporter)
    _refuse_dead(session, chosen)
    if session.reader.run() is None:
        say_which_run(session)
    if _lacks_contexts(session, chosen):
        run_contexts(session, chosen, reporter)
    return session, chosen


def _checked_names(explainers: Sequence[str]) -> Sequence[str]:
    for name in explainers:
        load_explainer(name)
    twice = next((name for name in explainers if list(explainers).count(name) > 1), None)
    if twice is not None:
        raise PipelineError(f"the explainer {twice!r} is named twice", "name each once")
    if len(explainers) < 2:
        named = f"only the explainer {explainers[0]!r} is named" if explainers else "no explainer is named"
        raise PipelineError(f"{named}: there is nothing to compare", "name two or more, as in --try keywords,rules")
    return explainers


def _config_of(pipeline: Pipeline, explainer: str) -> ExplainConfig:
    """The table `[explain]` for one explainer; a file of labels is for the one that reads it."""
    changed: dict[str, str | None] = {"explainer": explainer}
    if not load_explainer(explainer).reads_labels:
        changed["labels"] = None
    return pipeline.explain.model_copy(update=changed)


def _choose(features: Sequence[FeatureKey], n_features: Mapping[str, int]) -> ChosenFeatures:
    """The features by source, each once, ascending."""
    chosen: dict[str, set[int]] = {}
    for feature in features:
        named, (index,) = feature_keys(feature, None)
        source_id = next(iter(n_features)) if named is None and len(n_features) == 1 else named
        if source_id is None:
            raise PipelineError(
                f"the run holds several sources: {', '.join(n_features)}",
                f"name the feature with its source, for example {next(iter(n_features))}:{index}",
            )
        if source_id not in n_features:
            raise PipelineError(f"there is no source {source_id!r} in the run", f"it holds {', '.join(n_features)}")
        check_width(source_id, [range(index, index + 1)], n_features[source_id])
        chosen.setdefault(source_id, set()).add(index)
    return {source_id: sorted(indices) for source_id, indices in sorted(chosen.items())}


def _refuse_dead(session: Session, chosen: ChosenFeatures) -> None:
    for source_id, indices in chosen.items():
        dead = [f.feature_index for f in session.reader.features(indices, source_id) if f.status == "dead"]
        if dead:
            raise PipelineError(
                f"{feature_id(source_id, dead[0])} is dead: it never fires in this corpus",
                "leave it out, or give more text (corpus.n_tokens)",
            )


def _lacks_contexts(session: Session, chosen: ChosenFeatures) -> bool:
    return any(
        session.writer.pending_features("contexts", session.contexts_fingerprint, indices, source_id)
        for source_id, indices in chosen.items()
    )


async def _plan(
    session: Session,
    planner: Planner,
    asked: Sequence[str],
    configs: Sequence[ExplainConfig],
    chosen: ChosenFeatures,
    reporter: Reporter,
) -> list[PlannedUsage]:
    """What each explainer would ask, then each scorer about the labels of all."""
    planned: list[PlannedUsage] = []
    async with PlannedModels(planner) as models:
        judge = await settle_answers(session.pipeline.judge, models.connect, reporter.say)
    tried = []
    for name, config in zip(asked, configs, strict=True):
        async with PlannedModels(planner) as models:
            participants = Participants(session, models.connect, judge, explain=config, plans=True)
            one = TriedExplainer(name, load_explainer(name).name, participants.explain_fingerprint)
            await _explain(session, one, participants, chosen, models, reporter)
            planned += [replace(usage, stage=f"{usage.stage}, {name}") for usage in models.planned_usage()]
            tried.append(one)
    _refuse_alike(tried)
    for scorer in asking_scorers(session.pipeline):
        async with PlannedModels(planner) as models:
            participants = scoring_all(session, models, judge, scorer)
            for one in tried:
                await _score(session, one, participants, chosen, models, reporter)
            planned += [replace(usage, stage=f"score:{scorer}") for usage in models.planned_usage()]
    return planned


async def _ask(
    session: Session,
    asked: Sequence[str],
    configs: Sequence[ExplainConfig],
    chosen: ChosenFeatures,
    reporter: Reporter,
) -> Tried:
    async with LanguageModels(session.pipeline, session.folder.journal) as models:
        judge = session.pipeline.judge
        pipelines = [session.pipeline.model_copy(update={"explain": config}) for config in configs]
        if any(asks_judge(of, explains=True, scores=True) for of in pipelines):
            judge = await settle_answers(judge, models.connect, reporter.say)
        own = Participants(session, models.connect, judge)
        each = [Participants(session, models.connect, judge, explain=config) for config in configs]
        tried = tuple(
            TriedExplainer(name, load_explainer(name).name, participants.explain_fingerprint)
            for name, participants in zip(asked, each, strict=True)
        )
        _refuse_alike(tried)
        if not any(stage.stage == "explain" for stage in session.reader.stages()):
            session.writer.set_stage("explain", own.explain_fingerprint, "stopped", n_asked=0, cost_usd=0.0)
        own.check_subject()
        for one, participants in zip(tried, each, strict=True):
            await _explain(session, one, participants, chosen, models, reporter)
        for one in tried:
            await _score(session, one, own, chosen, models, reporter)
        return Tried(session.folder, chosen, tried, {of.name: of.fingerprint for of in own.scorers})


def _refuse_alike(tried: Sequence[TriedExplainer]) -> None:
    first: dict[str, str] = {}
    for of in tried:
        if of.fingerprint in first:
            raise PipelineError(f"{first[of.fingerprint]!r} and {of.asked!r} are one explainer", "name each once")
        first[of.fingerprint] = of.asked


async def _explain(
    session: Session,
    tried: TriedExplainer,
    participants: Participants,
    chosen: ChosenFeatures,
    models: Spending,
    reporter: Reporter,
) -> None:
    counts, paid = _Counts(), models.usage("explain")
    writer, n_skipped = session.writer, count_features(chosen)

    def keep(outcomes: list[Explanation | Failure]) -> None:
        labels = [o for o in outcomes if isinstance(o, Explanation)]
        failures = [o for o in outcomes if isinstance(o, Failure)]
        writer.add_explanations(labels)
        writer.add_failures(failures)
        counts.add(len(labels), len(failures))
        reporter.progress("explain", counts.n, counts.n_pending, tried.asked)

    for source in session.each_source():
        wanted = chosen.get(source.source_id, ())
        pending = writer.pending_features("explain", tried.fingerprint, wanted, source.source_id)
        n_skipped -= len(pending)
        counts.n_pending += len(pending)
        if pending:
            await explain_source(source, participants, pending, keep)
    reporter.finished(counts.summary("explain", n_skipped, (models.usage("explain") - paid).cost_usd, tried.asked))


async def _score(
    session: Session,
    tried: TriedExplainer,
    participants: Participants,
    chosen: ChosenFeatures,
    models: Spending,
    reporter: Reporter,
) -> None:
    counts, paid, n_labels = _Counts(), models.usage("score"), 0

    def keep(of_groups: list[list[ScoreWithTrials | Failure]]) -> None:
        outcomes = [outcome for of_group in of_groups for outcome in of_group]
        scores = [o for o in outcomes if isinstance(o, ScoreWithTrials)]
        failures = [o for o in outcomes if isinstance(o, Failure)]
        session.writer.add_scores(scores, failures)
        counts.add(len(scores), len(failures))
        reporter.progress("score", counts.n, counts.n_pending, tried.asked)

    for source in session.each_source():
        if source.source_id not in chosen:
            continue
        wanted = chosen[source.source_id]
        labels = session.reader.explanations(wanted, source.source_id, fingerprint=tried.fingerprint)
        n_labels += len(labels)
        pending = find_pending(session, participants, labels)
        counts.n_pending += sum(len(group.explanations) for group in pending)
        if pending:
            await score_source(source, participants, pending, keep)
    n_skipped = n_labels * len(participants.scorers) - counts.n_pending
    reporter.finished(counts.summary("score", n_skipped, (models.usage("score") - paid).cost_usd, tried.asked))


class _Counts:
    """What came of one explainer's labels, or of their scores."""

    def __init__(self) -> None:
        self.n_pending = 0
        self._n_done = self._n_failed = 0
        self._started = time.monotonic()

    @property
    def n(self) -> int:
        return self._n_done + self._n_failed

    def add(self, n_done: int, n_failed: int) -> None:
        self._n_done += n_done
        self._n_failed += n_failed

    def summary(self, stage: str, n_skipped: int, cost_usd: float | None, explainer: str) -> StageSummary:
        seconds = time.monotonic() - self._started
        note = f"labels of {explainer}" if stage == "score" else f"by {explainer}"
        return StageSummary(stage, self._n_done, self._n_failed, n_skipped, seconds, cost_usd, note)
