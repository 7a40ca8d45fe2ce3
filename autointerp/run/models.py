"""Who explains and who judges in one run, from the pipeline; what their language models used."""

import asyncio
from collections.abc import Iterable, Sequence
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self

from autointerp.config import ModelConfig, Pipeline, ScorerName
from autointerp.explain.protocol import Explainer
from autointerp.llm import Journal, connect
from autointerp.llm.client import ConnectedModel
from autointerp.llm.keys import read_key
from autointerp.records import FeatureContexts, Usage
from autointerp.run.session import Session, SourceSession
from autointerp.score.detection import DetectionScorer
from autointerp.score.embedding import EmbeddingScorer
from autointerp.score.fuzzing import FuzzingScorer
from autointerp.score.local_judge import LocalJudge
from autointerp.score.protocol import Judge, Scorer
from autointerp.score.recall import RecallScorer

if TYPE_CHECKING:
    from autointerp.explain.examples import ExamplesExplainer

# A call waits for the network while others are prepared; more features than calls keep the provider busy.
_FEATURES_PER_CALL_AT_ONCE = 2


def check_keys(pipeline: Pipeline, *, explains: bool, scores: bool) -> None:
    """See that the environment holds the keys that a run will want, before hours of work that lead up to them.

    Raises:
        NoKeyError: If one is missing.
    """
    if explains and pipeline.explain.explainer == "examples" and pipeline.explain.model is not None:
        read_key(pipeline.explain.model)
    asks_a_judge = scores and set(pipeline.score.scorers) != {"embedding"}
    if asks_a_judge and pipeline.judge.kind == "llm" and pipeline.judge.model is not None:
        read_key(pipeline.judge.model)


class Models:
    """Explainers, judges and scorers of one run; an async context, because connections belong to one event loop."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._journal: Journal | None = None
        self._connected: dict[str, ConnectedModel] = {}
        self._judge: Judge | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.gather(*(model.close() for model in self._connected.values()))
        if self._journal is not None:
            self._journal.close()

    @property
    def explainer_fingerprint(self) -> str:
        """Of the pipeline's explainer, whatever source it explains.

        Raises:
            NoKeyError: If it needs a key and the environment holds none.
        """
        if self._session.pipeline.explain.explainer == "examples":
            return self._examples_explainer.fingerprint
        from autointerp.explain.keywords import keywords_fingerprint

        return keywords_fingerprint(self._session.pipeline.explain)

    def explainer(self, source: SourceSession) -> Explainer:
        """The pipeline's explainer, for one source.

        Raises:
            NoKeyError: If it needs a key and the environment holds none.
        """
        if self._session.pipeline.explain.explainer == "examples":
            return self._examples_explainer
        from autointerp.explain.keywords import KeywordsExplainer
        from autointerp.explain.words import BaseRates

        texts = (text for text, is_score in zip(source.pool.texts, source.pool.is_score, strict=True) if not is_score)
        return KeywordsExplainer(BaseRates(texts), self._session.pipeline.explain)

    @cached_property
    def _examples_explainer(self) -> "ExamplesExplainer":
        from autointerp.explain.examples import ExamplesExplainer

        config = self._session.pipeline.explain
        assert config.model is not None, "the config is validated"
        return ExamplesExplainer(self._connect("explain", config.model), config)

    def scorers(self) -> list[Scorer]:
        """The pipeline's scorers.

        Raises:
            NoKeyError: If the judge needs a key and the environment holds none.
        """
        return [self._scorer(name) for name in self._session.pipeline.score.scorers]

    def prepare(self, labels: Sequence[str], contexts: Iterable[FeatureContexts]) -> None:
        """Embed what the local judge and the scorers will ask for, in large batches; changes nothing but the speed."""
        pipeline = self._session.pipeline
        if pipeline.judge.kind == "local" or "embedding" in pipeline.score.scorers:
            self._session.embedder.learn_words([*labels, *(c.text for of in contexts for c in of.contexts)])
        if "recall" in pipeline.score.scorers:
            self._session.embedder.embed(labels)

    def usage(self, stage: str) -> Usage:
        """What a stage's language model was paid for in this process."""
        return self._connected[stage].usage if stage in self._connected else Usage()

    def spent(self, stage: str) -> str:
        """What a stage's calls have cost so far, for the progress bar."""
        if stage not in self._connected:
            return ""
        cost = self.usage(stage).cost_usd
        return "cost unknown" if cost is None else f"${cost:.4f}"

    @property
    def n_explained_at_once(self) -> int:
        """Features whose labels are written at a time."""
        return self._at_once(self._session.pipeline.explain.model)

    @property
    def n_judged_at_once(self) -> int:
        """Scores under way at a time."""
        return self._at_once(self._session.pipeline.judge.model)

    def _at_once(self, model: ModelConfig | None) -> int:
        return 1 if model is None else _FEATURES_PER_CALL_AT_ONCE * model.concurrency

    def _scorer(self, name: ScorerName) -> Scorer:
        config, seed = self._session.pipeline.score, self._session.pipeline.seed
        if name == "embedding":
            return EmbeddingScorer(self._session.embedder, config, seed)
        if name == "recall":
            return RecallScorer(self._get_judge(), self._session.embedder, config, seed)
        return (DetectionScorer if name == "detection" else FuzzingScorer)(self._get_judge(), config, seed)

    def _get_judge(self) -> Judge:
        if self._judge is None:
            config = self._session.pipeline.judge
            if config.kind == "llm":
                from autointerp.score.llm_judge import LlmJudge

                assert config.model is not None, "the config is validated"
                self._judge = LlmJudge(self._connect("score", config.model), config)
            else:
                self._judge = LocalJudge(self._session.embedder)
        return self._judge

    def _connect(self, stage: str, config: ModelConfig) -> ConnectedModel:
        if self._journal is None:
            self._journal = Journal(self._session.folder.journal)
        # What was paid for and could not be used comes back only through a feature's failure, once a run: ask anew.
        self._connected[stage] = connect(config, self._journal, retry_failures=True)
        return self._connected[stage]
