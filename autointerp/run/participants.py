"""Who explains, who judges and who scores in one run, from the pipeline."""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

from autointerp.config import ModelConfig, Pipeline
from autointerp.contexts.pool import PoolTiles
from autointerp.errors import PipelineError
from autointerp.explain.base import BaseExplainer
from autointerp.explain.registry import load_explainer
from autointerp.explain.word_rates import BaseRates
from autointerp.export.flat import OWN_COLUMNS, SCORE_COLUMNS
from autointerp.identity import fingerprint
from autointerp.llm import LanguageModel
from autointerp.llm.providers.keys import read_key
from autointerp.plugins import called_by_us
from autointerp.records import FeatureContexts, Usage
from autointerp.rules.evidence import NaturalText
from autointerp.run.language_models import MeteredModel, check_budget
from autointerp.run.session import Session, SourceSession
from autointerp.score.base import BaseScorer
from autointerp.score.best_of import JudgedTools, SelectTrial
from autointerp.score.calibration import Calibrated
from autointerp.score.judge import Judge
from autointerp.score.judges import LOCAL_JUDGE_CAVEAT
from autointerp.score.judges.local import LocalJudge
from autointerp.score.registry import load_scorer
from autointerp.score.tools import JudgingModel, ScoreTools

Connect = Callable[[str, ModelConfig], LanguageModel]
# A call waits for the network while others are prepared; more features than calls keep the provider busy.
_FEATURES_PER_CALL_AT_ONCE = 2
_SCORER_NAME = re.compile(r"[a-z][a-z0-9_]*")


def check_participants(pipeline: Pipeline, *, explains: bool = True, scores: bool = True) -> None:
    """See that there are the explainer and the scorers that a pipeline names, and that it gives them what they need.

    Args:
        pipeline: Names them.
        explains: Whether labels are to be written, now or after what is to be done.
        scores: Whether labels are to be scored, now or after what is to be done.

    Raises:
        PipelineError: If there is no such explainer or scorer, if it lacks something, or if two scorers have one name.
        CalibrationError: If the judge's calibration can't be used.
        PromptError: If a prompt file is missing or malformed.
    """
    if explains:
        _check_explainer(pipeline)
    if scores:
        _check_scorers(pipeline)


def _check_explainer(pipeline: Pipeline) -> None:
    config = pipeline.explain
    explainer = load_explainer(config.explainer)
    if config.labels is not None and not explainer.reads_labels:
        raise PipelineError(
            f"explain.labels names a file, and the explainer {config.explainer!r} reads none",
            "set explain.explainer to 'outside', or take explain.labels away",
        )
    with called_by_us(explainer, f"the explainer {explainer.name!r}"):
        explainer.settings_fingerprint(config)
    if explainer.asks_judge and pipeline.contexts.select_share == 0:
        raise PipelineError(
            f"the explainer {config.explainer!r} chooses on contexts set apart, and contexts.select_share is 0",
            "set it, for example to 0.3",
        )


def _check_scorers(pipeline: Pipeline) -> None:
    names: set[str] = set()
    scorers = [load_scorer(name) for name in pipeline.score.scorers]
    for scorer in scorers:
        if scorer.name in names:
            raise PipelineError(
                f"two of score.scorers are called {scorer.name!r}",
                "take one away, or give a scorer of yours another name",
            )
        if not _SCORER_NAME.fullmatch(scorer.name) or OWN_COLUMNS & {scorer.name + end for end in SCORE_COLUMNS}:
            raise PipelineError(
                f"a scorer can't be called {scorer.name!r}: columns are named after it",
                "use small letters, digits and underscores, and no name of another column of an export",
            )
        names.add(scorer.name)
        if scorer.asks_judge and pipeline.judge.kind == "llm":
            scorer.task.read_prompt()
        with called_by_us(scorer, f"the scorer {scorer.name!r}"):
            scorer.check(pipeline.score, pipeline.subject.device)
    if pipeline.judge.calibration is not None and any(scorer.is_corrected for scorer in scorers):
        model = pipeline.judge.model if pipeline.judge.kind == "llm" else None
        Calibrated.read(pipeline.judge.calibration).check_name(LocalJudge.name if model is None else model.model)


def asked_models(pipeline: Pipeline, *, explains: bool, scores: bool) -> list[ModelConfig]:
    """The language models that a run will ask, the explainer's before the judge's.

    Args:
        pipeline: Names them.
        explains: Whether labels are to be written.
        scores: Whether labels are to be scored.
    """
    explainer = load_explainer(pipeline.explain.explainer)
    asks_judge = scores and any(load_scorer(name).asks_judge for name in pipeline.score.scorers)
    asked: list[ModelConfig | None] = []
    if explains:
        asks_judge |= explainer.asks_judge
        asked += [pipeline.explain.model] if explainer.asks_model(pipeline.explain) else []
    if asks_judge and pipeline.judge.kind == "llm":
        asked.append(pipeline.judge.model)
    return [config for config in asked if config is not None]


def check_keys(pipeline: Pipeline, *, explains: bool, scores: bool) -> None:
    """See that the environment holds the keys that a run will want, before hours of work that lead up to them.

    Raises:
        NoKeyError: If one is missing.
        LanguageModelError: If there is a budget, and a model's prices are unknown.
        PipelineError: If the file of prices can't be used.
    """
    for config in asked_models(pipeline, explains=explains, scores=scores):
        read_key(config)
        check_budget(config, pipeline.llm)


def check_subject(session: Session, scorers: Iterable[type[BaseScorer]]) -> None:
    """See that the subject can be loaded and does what scorers ask of it; where none asks anything, it isn't loaded.

    Args:
        session: The run.
        scorers: Those that will score.

    Raises:
        SubjectError: If it can't be loaded.
        PipelineError: If it can't do what a scorer asks.
    """
    for scorer in scorers:
        if not scorer.asks_subject:
            continue
        with called_by_us(scorer, f"the scorer {scorer.name!r}"):
            problem = scorer.subject_problem(session.live_subject)
        if problem:
            raise PipelineError(f"the scorer {scorer.name!r} {problem}", "take it out of score.scorers")


def judged_by_words(pipeline: Pipeline) -> str:
    """What is to be known of the scores where a language model writes the labels, and none judges them; else empty."""
    explain = pipeline.explain
    writes = load_explainer(explain.explainer).asks_model(explain) and explain.model is not None
    is_judged = any(load_scorer(name).asks_judge for name in pipeline.score.scorers)
    if not writes or not is_judged or pipeline.judge.kind == "llm":
        return ""
    assert explain.model is not None, "it is asked"
    return (
        f"{explain.model.model} writes the labels, and no table [judge] names a model to judge them."
        f" {LOCAL_JUDGE_CAVEAT}"
    )


class Participants:
    """The explainer, the judge and the scorers of one run, each made when it is first asked for.

    Args:
        session: The run.
        connect: Gives a stage its language model.
        scorers: Names of those to score; by default the pipeline's.
    """

    def __init__(self, session: Session, connect: Connect, scorers: Sequence[str] | None = None) -> None:
        self._session = session
        self._connect = connect
        self._scorer_names = session.pipeline.score.scorers if scorers is None else scorers
        self._meters: dict[str, MeteredModel] = {}

    @property
    def explain_fingerprint(self) -> str:
        """Of all that decides the run's labels, whatever source they are of.

        Raises:
            NoKeyError: If the judge that the explainer asks needs a key and the environment holds none.
            PipelineError: If there is no such explainer.
            PromptError: If a prompt file is missing or malformed.
        """
        own = self._explainer_class.settings_fingerprint(self._session.pipeline.explain)
        if self._explainer_class.asks_judge:
            own = fingerprint(own, SelectTrial(self._select_judge, self._session.pipeline.seed).fingerprint)
        return fingerprint("explain", self._session.contexts_fingerprint, own)

    def explainer(self, source: SourceSession) -> BaseExplainer:
        """The pipeline's explainer, for one source.

        Raises:
            NoKeyError: If it needs a key and the environment holds none.
            PipelineError: If there is no such explainer.
            PromptError: If a prompt file is missing or malformed.
        """

        def base_rates() -> BaseRates:
            pool = source.pool
            return BaseRates(text for text, is_told in zip(pool.texts, pool.is_explain, strict=True) if is_told)

        tools = JudgedTools(
            self._session.pipeline.explain,
            lambda: self._explaining_model,
            base_rates,
            self.explain_fingerprint,
            lambda: NaturalText.of_explain(source.pool),
            judge=lambda: self._select_judge,
            seed=self._session.pipeline.seed,
            background=lambda: source.pool.background,
        )
        with called_by_us(self._explainer_class, f"the explainer {self._explainer_class.name!r}"):
            return self._explainer_class(tools)

    @cached_property
    def scorers(self) -> tuple[BaseScorer, ...]:
        """Those that score.

        Raises:
            NoKeyError: If the judge needs a key and the environment holds none.
            PipelineError: If there is no such scorer.
        """
        return tuple(self._make_scorer(load_scorer(name)) for name in self._scorer_names)

    def check_subject(self, scorers: Iterable[BaseScorer] | None = None) -> None:
        """As `check_subject`, for the run's scorers or some of them."""
        check_subject(
            self._session, map(type, scorers) if scorers is not None else map(load_scorer, self._scorer_names)
        )

    def paid(self, scorer: BaseScorer) -> Usage:
        """What the judge was paid now for a scorer's questions."""
        meter = self._meters.get(f"score:{scorer.name}")
        return Usage() if meter is None else meter.usage

    def prepare(self, labels: Sequence[str], contexts: Iterable[FeatureContexts], pool: PoolTiles) -> None:
        """Have the scorers get ready for many explanations at once; changes nothing but the speed."""
        texts = [context.text for of_feature in contexts for context in of_feature.contexts]
        for scorer in self.scorers:
            with called_by_us(scorer, f"the scorer {scorer.name!r}"):
                scorer.prepare(labels, texts, pool)

    @property
    def n_explained_at_once(self) -> int:
        """Features whose labels are written at a time."""
        n_written = _at_once(self._session.pipeline.explain.model)
        return max(n_written, self.n_judged_at_once) if self._explainer_class.asks_judge else n_written

    @property
    def n_judged_at_once(self) -> int:
        """Scores under way at a time."""
        return _at_once(self._session.pipeline.judge.model)

    @cached_property
    def _explainer_class(self) -> type[BaseExplainer]:
        return load_explainer(self._session.pipeline.explain.explainer)

    @cached_property
    def _explaining_model(self) -> LanguageModel:
        config = self._session.pipeline.explain.model
        assert config is not None, "an explainer that asks a model was told to have none"
        return self._connect("explain", config)

    @cached_property
    def _select_judge(self) -> Judge:
        """Chooses among labels, over a connection of its own: what it costs belongs to explaining."""
        return self._make_judge("explain:select", "explain:select")

    def _make_scorer(self, made: type[BaseScorer]) -> BaseScorer:
        session = self._session
        tools = ScoreTools(
            session.pipeline.score,
            session.pipeline.seed,
            lambda: self._make_judge("score", f"score:{made.name}"),
            lambda: session.embedder,
            session.contexts_fingerprint,
            lambda: self._labels_fingerprint,
            lambda: session.live_subject,
            self._judging_model(f"score:{made.name}"),
            session.pipeline.subject.device,
            calibrated=self._calibrated,
        )
        with called_by_us(made, f"the scorer {made.name!r}"):
            return made(tools)

    def _judging_model(self, asker: str) -> JudgingModel | None:
        """The model that judges, for a scorer that asks it other things."""
        config = self._session.pipeline.judge.model
        if self._session.pipeline.judge.kind == "local" or config is None:
            return None
        return JudgingModel(config, lambda: self._metered("score", asker, config))

    def _metered(self, stage: str, asker: str, config: ModelConfig) -> MeteredModel:
        if asker not in self._meters:
            self._meters[asker] = MeteredModel(self._connect(stage, config))
        return self._meters[asker]

    @cached_property
    def _labels_fingerprint(self) -> str:
        labels = self._session.reader.explanations()
        return fingerprint("labels", [(e.source_id, e.feature_index, e.label) for e in labels])

    def _make_judge(self, stage: str, asker: str) -> Judge:
        """A judge for one of those who ask, so that what each is paid for is told apart; the model behind is one."""
        config = self._session.pipeline.judge
        if config.kind == "local":
            return self._local_judge
        from autointerp.score.judges.llm import LlmJudge

        assert config.model is not None, "the config is validated"
        return LlmJudge(self._metered(stage, asker, config.model), config)

    @cached_property
    def _calibrated(self) -> Calibrated | None:
        file = self._session.pipeline.judge.calibration
        return None if file is None else Calibrated.read(file)

    @cached_property
    def _local_judge(self) -> LocalJudge:
        return LocalJudge(self._session.embedder)


def _at_once(model: ModelConfig | None) -> int:
    if model is None:
        return 1
    return model.batch_size if model.batch else _FEATURES_PER_CALL_AT_ONCE * model.concurrency
