"""Who explains, who judges and who scores in one run, from the pipeline."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

from autointerp.config import ExplainConfig, JudgeConfig, ModelConfig
from autointerp.contexts.before_after import BeforeAfter
from autointerp.contexts.pool import PoolTiles
from autointerp.corpus.spellings import Spellings
from autointerp.explain.base import BaseExplainer
from autointerp.explain.domain import AUTO, Domain, domain_of
from autointerp.explain.registry import load_explainer
from autointerp.explain.word_rates import BaseRates
from autointerp.identity import fingerprint
from autointerp.llm import LanguageModel
from autointerp.plugins import called_by_us
from autointerp.records import FeatureContexts, Usage
from autointerp.rules.evidence import NaturalText
from autointerp.run.check_participants import check_subject
from autointerp.run.language_models import MeteredModel
from autointerp.run.nearby import NearbyInRun, count_before_after
from autointerp.run.session import Session, SourceSession
from autointerp.score.base import BaseScorer
from autointerp.score.best_of import JudgedTools, SelectTrial
from autointerp.score.calibration import Calibrated
from autointerp.score.judge import Judge, Task
from autointerp.score.judges.local import LocalJudge
from autointerp.score.registry import load_scorer
from autointerp.score.told_apart import ApartTrial
from autointerp.score.tools import JudgingModel, ScoreTools
from autointerp.subject.model import is_causal

Connect = Callable[[str, ModelConfig], LanguageModel]
# A call waits for the network while others are prepared; more features than calls keep the provider busy.
_FEATURES_PER_CALL_AT_ONCE = 2
# Raised when the same settings come to tell labels apart in another way.
_DISTINCT_VERSION = 2


class Participants:
    """The explainer, the judge and the scorers of one run, each made when it is first asked for.

    Args:
        session: The run.
        connect: Gives a stage its language model.
        judge: The table `[judge]`, with how its model is asked (`judge_answers`).
        scorers: Names of those to score; by default the pipeline's.
        explain: The table `[explain]`; by default the pipeline's.
        plans: Whether the models are not asked, and what they say is no answer.

    Attributes:
        plans: The same.
    """

    def __init__(
        self,
        session: Session,
        connect: Connect,
        judge: JudgeConfig,
        scorers: Sequence[str] | None = None,
        explain: ExplainConfig | None = None,
        *,
        plans: bool = False,
    ) -> None:
        self.plans = plans
        self._session = session
        self._explain = session.pipeline.explain if explain is None else explain
        self._connect = connect
        self._judge = judge
        self._scorer_names = session.pipeline.score.scorers if scorers is None else scorers
        self._meters: dict[str, MeteredModel] = {}

    @cached_property
    def first_fingerprint(self) -> str:
        """Of all that decides the labels that each feature gets by itself, whatever source they are of.

        Raises:
            NoKeyError: If the judge that the explainer asks needs a key and the environment holds none.
            PipelineError: If there is no such explainer.
            PromptError: If a prompt file is missing or malformed.
        """
        own = self._explainer_class.settings_fingerprint(self._explain_config)
        if self._explainer_class.asks_judge:
            own = fingerprint(own, SelectTrial(self._select_judge, self._session.pipeline.seed).fingerprint)
        return fingerprint("explain", self._session.contexts_fingerprint, own)

    @cached_property
    def explain_fingerprint(self) -> str:
        """Of all that decides the run's labels: the first ones, or what becomes of them where labels are told apart.

        Raises:
            As `first_fingerprint`.
        """
        config = self._explain_config
        if not config.distinct:
            return self.first_fingerprint
        return fingerprint(
            "distinct",
            _DISTINCT_VERSION,
            self.first_fingerprint,
            [config.distinct_similarity, config.n_distinct, *self._explainer_class.distinct_settings(config)],
            self._session.embedder.name,
            ApartTrial.fingerprint_of(self._select_judge, self._session.pipeline.seed),
        )

    def apart_trial(self, source: SourceSession) -> ApartTrial:
        """What tells whether a label that was told apart is no worse than the first, for one source."""
        return ApartTrial(
            self._select_judge, self._session.pipeline.seed, lambda: source.pool.background, source.windows_of
        )

    def explainer(self, source: SourceSession) -> BaseExplainer:
        """The pipeline's explainer, for one source.

        Raises:
            NoKeyError: If it needs a key and the environment holds none.
            PipelineError: If there is no such explainer.
            PromptError: If a prompt file is missing or malformed.
        """
        with called_by_us(self._explainer_class, f"the explainer {self._explainer_class.name!r}"):
            return self._explainer_class(self._tools(source))

    def _tools(self, source: SourceSession) -> JudgedTools:
        """What an explainer of one source is made of."""

        def base_rates() -> BaseRates:
            pool = source.pool
            texts = (text for text, is_told in zip(pool.texts, pool.is_explain, strict=True) if is_told)
            return BaseRates(texts, Spellings.read(self._session.folder.corpus))

        return JudgedTools(
            self._explain_config,
            lambda: self._explaining_model,
            base_rates,
            self.first_fingerprint,
            lambda: NaturalText.of_explain(source.pool),
            lambda: NearbyInRun(source, self._before_after, self._tools),
            is_causal=lambda: is_causal(self._session.pipeline.subject),
            judge=lambda: self._select_judge,
            seed=self._session.pipeline.seed,
            background=lambda: source.pool.background,
        )

    @cached_property
    def _before_after(self) -> BeforeAfter:
        return count_before_after(self._session)

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
        n_written = _at_once(self._explain.model)
        return max(n_written, self.n_judged_at_once) if self._asks_judge else n_written

    @property
    def _asks_judge(self) -> bool:
        return self._explainer_class.asks_judge or self._explain.distinct

    def contexts_per_prompt(self, task: Task) -> int:
        """Contexts in one question about a task to a language model that judges."""
        by_chances = self._judge.answers == "chances" and task.yes_no is not None
        return 1 if by_chances else self._judge.contexts_per_prompt

    @property
    def n_judged_at_once(self) -> int:
        """Scores under way at a time."""
        return _at_once(self._session.pipeline.judge.model)

    @cached_property
    def _explainer_class(self) -> type[BaseExplainer]:
        return load_explainer(self._explain.explainer)

    @cached_property
    def domain(self) -> Domain | None:
        """What a language model is told of the corpus, where that is for the corpus to decide; else None."""
        config = self._explain
        if config.domain != AUTO or not self._explainer_class.asks_model(config):
            return None
        return domain_of(self._session.nature, read_as_chats=self._session.pipeline.corpus.chat)

    @cached_property
    def _explain_config(self) -> ExplainConfig:
        """The table `[explain]`, with the domain that the corpus decides."""
        config = self._explain
        return config if self.domain is None else config.model_copy(update={"domain": self.domain.name})

    @cached_property
    def _explaining_model(self) -> LanguageModel:
        config = self._explain.model
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
        config = self._judge
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
