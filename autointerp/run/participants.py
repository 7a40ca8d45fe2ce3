"""Who explains and who judges in one run, from the pipeline; what their language models used."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from types import TracebackType
from typing import Self

from autointerp.config import ModelConfig, Pipeline, ScorerName
from autointerp.contexts.pool import PoolTiles
from autointerp.explain.base import BaseExplainer, Explainer, Tools
from autointerp.explain.registry import load_explainer
from autointerp.explain.word_rates import BaseRates
from autointerp.identity import fingerprint
from autointerp.llm import LanguageModel
from autointerp.llm.metering import MeteredModel
from autointerp.llm.providers.keys import read_key
from autointerp.records import FeatureContexts
from autointerp.run.language_models import LanguageModels, check_budget
from autointerp.run.session import Session, SourceSession
from autointerp.score.detection import DetectionScorer
from autointerp.score.embedding import EmbeddingScorer
from autointerp.score.fuzzing import FuzzingScorer
from autointerp.score.judge_local import LocalJudge
from autointerp.score.protocol import Judge, Scorer
from autointerp.score.recall import RecallScorer
from autointerp.score.selecting import SelectGrader

Connect = Callable[[str, ModelConfig], LanguageModel]
# A call waits for the network while others are prepared; more features than calls keep the provider busy.
_FEATURES_PER_CALL_AT_ONCE = 2


def check_keys(pipeline: Pipeline, *, explains: bool, scores: bool) -> None:
    """See that the environment holds the keys that a run will want, before hours of work that lead up to them.

    Raises:
        NoKeyError: If one is missing.
        PipelineError: If there is no such explainer, or it lacks something.
        PromptError: If a prompt file of the explainer's is missing or malformed.
        LanguageModelError: If there is a budget, and a model's prices are unknown.
    """
    asks_a_judge = scores and set(pipeline.score.scorers) != {"embedding"}
    if explains:
        explainer = load_explainer(pipeline.explain.explainer)
        asks_a_judge |= explainer.asks_a_judge
        explainer.settings_fingerprint(pipeline.explain)
        if explainer.asks_a_model(pipeline.explain) and pipeline.explain.model is not None:
            read_key(pipeline.explain.model)
            check_budget(pipeline.explain.model, pipeline.llm)
    if asks_a_judge and pipeline.judge.kind == "llm" and pipeline.judge.model is not None:
        read_key(pipeline.judge.model)
        check_budget(pipeline.judge.model, pipeline.llm)


class Models:
    """Explainers, judges and scorers of one run; an async context, because connections belong to one event loop.

    Args:
        session: The run.
        connect: What gives a stage its language model; by default `language_models.connect`.

    Attributes:
        language_models: Those that were connected, and what they used.
    """

    def __init__(self, session: Session, connect: Connect | None = None) -> None:
        self._session = session
        self.language_models = LanguageModels(session.pipeline, session.folder.journal)
        self._connect: Connect = connect or self.language_models.connect
        self._judge: Judge | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.language_models.close()

    @property
    def explainer_fingerprint(self) -> str:
        """Of the pipeline's explainer, whatever source it explains.

        Raises:
            NoKeyError: If the judge that it asks needs a key and the environment holds none.
            PipelineError: If there is no such explainer.
            PromptError: If a prompt file is missing or malformed.
        """
        of_settings = self._explainer_class.settings_fingerprint(self._session.pipeline.explain)
        return fingerprint(of_settings, self._grader.fingerprint) if self._explainer_class.asks_a_judge else of_settings

    def explainer(self, source: SourceSession) -> Explainer:
        """The pipeline's explainer, for one source.

        Raises:
            NoKeyError: If it needs a key and the environment holds none.
            PipelineError: If there is no such explainer.
            PromptError: If a prompt file is missing or malformed.
        """

        def base_rates() -> BaseRates:
            pool = source.pool
            return BaseRates(text for text, is_told in zip(pool.texts, pool.is_explain, strict=True) if is_told)

        config = self._session.pipeline.explain
        return self._explainer_class.make(
            Tools(config, lambda: self._explaining_model, base_rates, lambda: self._grader)
        )

    @cached_property
    def _explainer_class(self) -> type[BaseExplainer]:
        return load_explainer(self._session.pipeline.explain.explainer)

    @cached_property
    def _explaining_model(self) -> LanguageModel:
        config = self._session.pipeline.explain.model
        assert config is not None, "an explainer that asks a model was told to have none"
        return self._connect("explain", config)

    @cached_property
    def _grader(self) -> SelectGrader:
        """Chooses among labels, over a connection of its own: what it costs belongs to explaining."""
        return SelectGrader(self._make_judge("select"), self._session.pipeline.seed)

    def scorers(self) -> list[Scorer]:
        """The pipeline's scorers.

        Raises:
            NoKeyError: If the judge needs a key and the environment holds none.
        """
        return [self._scorer(name) for name in self._session.pipeline.score.scorers]

    def prepare(self, labels: Sequence[str], contexts: Iterable[FeatureContexts], pool: PoolTiles) -> None:
        """Embed what the local judge and the scorers will ask for, in large batches; changes nothing but the speed."""
        pipeline = self._session.pipeline
        if pipeline.judge.kind == "local" or "embedding" in pipeline.score.scorers:
            self._session.embedder.learn_words([*labels, *(c.text for of in contexts for c in of.contexts)])
        if "recall" in pipeline.score.scorers:
            self._session.embedder.embed(labels)
            pool.embeddings(self._session.embedder)
            n_asked = len(labels) * (pipeline.score.n_recall_candidates + pipeline.score.n_recall_random)
            if pipeline.judge.kind == "local" and n_asked >= pool.n_tiles:  # few labels ask about few of the tiles
                graded = zip(pool.texts, pool.is_score, strict=True)
                self._session.embedder.learn_words([text for text, is_score in graded if is_score])

    @property
    def n_explained_at_once(self) -> int:
        """Features whose labels are written at a time."""
        n_written = self._at_once(self._session.pipeline.explain.model)
        return max(n_written, self.n_judged_at_once) if self._explainer_class.asks_a_judge else n_written

    @property
    def n_judged_at_once(self) -> int:
        """Scores under way at a time."""
        return self._at_once(self._session.pipeline.judge.model)

    def _at_once(self, model: ModelConfig | None) -> int:
        if model is None:
            return 1
        return model.batch_size if model.batch else _FEATURES_PER_CALL_AT_ONCE * model.concurrency

    def _scorer(self, name: ScorerName) -> Scorer:
        config, seed = self._session.pipeline.score, self._session.pipeline.seed
        if name == "embedding":
            return EmbeddingScorer(self._session.embedder, config, seed)
        if name == "recall":
            return RecallScorer(self._get_judge(), self._session.embedder, config, seed)
        return (DetectionScorer if name == "detection" else FuzzingScorer)(self._get_judge(), config, seed)

    def _get_judge(self) -> Judge:
        if self._judge is None:
            self._judge = self._make_judge("score")
        return self._judge

    def _make_judge(self, stage: str) -> Judge:
        config = self._session.pipeline.judge
        if config.kind == "local":
            return LocalJudge(self._session.embedder)
        from autointerp.score.judge_llm import LlmJudge

        assert config.model is not None, "the config is validated"
        return LlmJudge(MeteredModel(self._connect(stage, config.model)), config)
