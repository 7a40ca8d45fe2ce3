"""The language models of one run: one journal, one budget, and for each stage the model that it asks."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from autointerp.config import LlmConfig, ModelConfig, Pipeline
from autointerp.llm import Journal, Terms, connect
from autointerp.llm.budget import Budget, Stop, unpriced
from autointerp.llm.connect import connect_provider, connect_sdk
from autointerp.llm.limits.gate import Gate
from autointerp.llm.limits.retries import Retries
from autointerp.llm.model import ConnectedModel
from autointerp.llm.prices import find_prices
from autointerp.llm.protocol import AnswerT, CallFailure, LanguageModel, Provider, Reply, Request
from autointerp.llm.providers.manner import Learned
from autointerp.records import Usage
from autointerp.run.on_disk.paid import journal_path, payer

if TYPE_CHECKING:
    from autointerp.run.workers.ray_calls import RayCalls

_log = logging.getLogger(__name__)


class Spending(Protocol):
    """What the language models of each stage were paid for, in this process."""

    def usage(self, stage: str) -> Usage:
        """What they used."""
        ...

    def used(self, stage: str) -> str:
        """What calls used and what came to nothing, for the stage's summary line; empty where it calls no model."""
        ...

    def spent(self, stage: str) -> str:
        """What calls have used so far, for the progress bar; empty where it calls no model."""
        ...


class MeteredModel:
    """A `LanguageModel` that several ask, as one of them sees it.

    Args:
        model: Answers.

    Attributes:
        name: As the model's.
        usage: What was paid now for what was asked here.
    """

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self.name = model.name
        self.usage = Usage()

    async def ask(self, request: Request[AnswerT]) -> Reply[AnswerT] | CallFailure:
        """Ask, and count.

        Raises:
            LanguageModelError: If no further call can succeed.
        """
        outcome = await self._model.ask(request)
        self.usage = self.usage + outcome.paid
        return outcome


class LanguageModels:
    """Connects models when a stage first asks for one, and closes them together.

    Args:
        pipeline: The run's.
        journal: Where the run folder keeps its journal; `llm.journal` goes before it.
    """

    def __init__(self, pipeline: Pipeline, journal: Path) -> None:
        self._pipeline = pipeline
        self._path = journal_path(journal.parent, pipeline.llm.journal)
        self._journal: Journal | None = None
        self._budget: Budget | None = None
        self._stop = Stop()
        self._gates: dict[tuple[str | None, ...], Gate] = {}
        self._learned: dict[tuple[str | None, ...], Learned] = {}
        self._ray: RayCalls | None = None
        self._connected: dict[str, ConnectedModel] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections and the journal."""
        await asyncio.gather(*(model.close() for model in self._connected.values()))
        if self._ray is not None:
            self._ray.close()
        if self._journal is not None:
            self._journal.close()

    def connect(self, stage: str, config: ModelConfig) -> LanguageModel:
        """The model that a stage asks, the same however often it is asked for.

        Args:
            stage: For example `score`; what is asked besides, for the same stage, is `STAGE:PART`.
            config: The model.

        Raises:
            NoKeyError: If it needs a key and the environment holds none.
            LanguageModelError: If it can't be asked on the run's terms.
            RunError: If the journal can't be used.
        """
        if stage not in self._connected:
            llm = self._pipeline.llm
            journal = self._open_journal()
            self._budget = self._budget or Budget(llm.max_cost_usd, self._spent_before(journal, llm))
            self._connected[stage] = connect(
                config,
                journal,
                provider=self._provider(config),
                terms=Terms(
                    self._budget,
                    find_prices(config, llm),
                    llm.max_failed_share,
                    payer_of(self._pipeline),
                    self._gate(config),
                    self._stop,
                ),
                # What was paid for and could not be used comes back only through a feature's failure, once a run.
                retry_failures=True,
                retries=Retries(config.max_attempts, patience_s=llm.patience_s),
            )
        return self._connected[stage]

    def has_answers(self, config: ModelConfig) -> bool:
        """Whether the journal has an answer of a model."""
        return self._open_journal().paid_so_far(config.model).n_answers > 0

    def usage(self, stage: str) -> Usage:
        """What a stage's language models were paid for in this process."""
        return sum((model.usage for model in self._of(stage)), Usage())

    def used(self, stage: str) -> str:
        """What a stage's calls used and what came to nothing, for its summary line; empty where it calls no model."""
        usage, failures, parts = self.usage(stage), self._failures(stage), []
        if usage.n_calls:
            share = usage.cached_input_tokens / usage.input_tokens if usage.input_tokens else 0.0
            tokens_in = f"{usage.input_tokens:,} tokens in ({share:.0%} from the provider's cache)"
            parts.append(f"{usage.n_calls} calls, {tokens_in}, {usage.output_tokens:,} out")
        if failures:
            kinds = sorted(failures.items(), key=lambda item: (-item[1], item[0]))
            parts.append(f"calls that came to nothing: {', '.join(f'{n} {kind}' for kind, n in kinds)}")
        return "; ".join(parts)

    def spent(self, stage: str) -> str:
        """What a stage's calls have used so far, for the progress bar; empty where it calls no model."""
        models, usage = self._of(stage), self.usage(stage)
        if not models:
            return ""
        cost = "cost unknown" if usage.cost_usd is None else f"${usage.cost_usd:.4f}"
        of_budget = f" of ${self._pipeline.llm.max_cost_usd:g}" if self._pipeline.llm.max_cost_usd is not None else ""
        tokens = f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out"
        n_failed = self._failures(stage).total()
        failed = f", {n_failed} calls failed" if n_failed else ""
        batches = "; ".join(model.batches_under_way for model in models if model.batches_under_way)
        under_way = batches or f"{sum(model.n_in_flight for model in models)} in flight"
        return f"{cost}{of_budget}, {tokens}, {under_way}{failed}"

    def _of(self, stage: str) -> list[ConnectedModel]:
        return [model for name, model in self._connected.items() if name == stage or name.startswith(f"{stage}:")]

    def _failures(self, stage: str) -> Counter[str]:
        """Calls that came to nothing, by kind."""
        return sum((Counter(model.failures) for model in self._of(stage)), Counter[str]())

    def _gate(self, config: ModelConfig) -> Gate:
        """The gate of a model's server: explainer and judge may be one model, whose limits hold for both together."""
        identity = identify_model(config)
        if identity not in self._gates:
            asked = (self._pipeline.explain.model, self._pipeline.judge.model, config)
            same = [model for model in asked if model is not None and identify_model(model) == identity]
            tightest = config.model_copy(
                update={
                    "concurrency": min(model.concurrency for model in same),
                    "requests_per_minute": _least(model.requests_per_minute for model in same),
                    "tokens_per_minute": _least(model.tokens_per_minute for model in same),
                }
            )
            self._gates[identity] = Gate(tightest, longest_pause_s=self._pipeline.llm.patience_s)
        return self._gates[identity]

    def _provider(self, config: ModelConfig) -> Provider:
        if config.provider == "local":
            if self._pipeline.ray.n_llm_workers:
                _log.warning("%s runs in this process, and is not asked by Ray's workers", config.model)
            return connect_provider(config)
        # What one stage's refusals have taught need not be refused to the next.
        here = connect_sdk(config, learned=self._learned.setdefault(identify_model(config), Learned(config)))
        if self._pipeline.ray.n_llm_workers == 0:
            return here
        if self._ray is None:
            from autointerp.run.workers.ray_calls import RayCalls

            self._ray = RayCalls(self._pipeline.ray)
        return self._ray.provider(config, here)

    def _open_journal(self) -> Journal:
        if self._journal is None:
            self._journal = Journal(self._path)
        return self._journal

    def _spent_before(self, journal: Journal, llm: LlmConfig) -> float:
        """What the run folder's calls have cost; those whose price was unknown then at today's."""
        spent = journal.spent_usd(payer_of(self._pipeline))
        if llm.max_cost_usd is None:
            return spent
        models = (self._pipeline.explain.model, self._pipeline.judge.model)
        prices = {config.model: find_prices(config, llm) for config in models if config is not None}
        for tokens in journal.unpriced(payer_of(self._pipeline)):
            price = prices.get(tokens.asked_model)
            cost = price and price.cost_usd(tokens.input_tokens, tokens.cached_input_tokens, tokens.output_tokens)
            if cost is None:
                _log.warning("earlier calls of %s have no known price: the budget leaves them out", tokens.asked_model)
            spent += cost or 0.0
        return spent


def check_budget(config: ModelConfig, llm: LlmConfig) -> None:
    """See that a model can be paid by the run's budget, before hours of work that lead up to its calls.

    Raises:
        PipelineError: If the file of prices can't be used.
        LanguageModelError: If there is a budget, and the model's prices are unknown.
    """
    if not find_prices(config, llm).are_known and llm.max_cost_usd is not None:
        raise unpriced(config)


def payer_of(pipeline: Pipeline) -> str:
    """Who pays, in the journal."""
    return payer(pipeline.name, pipeline.run_folder, pipeline.llm.journal)


def identify_model(config: ModelConfig) -> tuple[str | None, ...]:
    """What tells one model at one server with one key from others: all who ask it share its limits."""
    asked = (config.provider, config.base_url, config.model, config.api_key_env)
    return (*asked, config.revision, config.dtype, config.device)


def _least(limits: Iterable[int | None]) -> int | None:
    """The tightest of limits, of which some may be missing."""
    return min((limit for limit in limits if limit is not None), default=None)
