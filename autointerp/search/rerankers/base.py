"""What a reranker is, what it is shown, and what it is made of."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from autointerp.config import ModelConfig, SearchConfig
from autointerp.embedder import TextEmbedder
from autointerp.errors import SearchError
from autointerp.llm.protocol import AnswerT, CallFailure, Reply, Request
from autointerp.records import Context, Usage


@dataclass(frozen=True, slots=True)
class ShownLabel:
    """One label, as a reranker sees it.

    Attributes:
        label: The text.
        contexts: In which its feature fires most, of the explain split, strongest first; none where none are built.
    """

    label: str
    contexts: tuple[Context, ...]


class AskModel(Protocol):
    """Asks a language model one question, on the run's terms, and tells what was paid for it now."""

    def __call__(
        self, config: ModelConfig, request: Request[AnswerT]
    ) -> tuple[Reply[AnswerT] | CallFailure, Usage]: ...


def no_model(config: ModelConfig, request: Request[AnswerT]) -> tuple[Reply[AnswerT] | CallFailure, Usage]:
    """For searches without a run, by whose budget and journal a language model could be asked.

    Raises:
        SearchError: Always.
    """
    raise SearchError(f"{config.model} can't be asked without a run", "rerank by `contexts`, or open a run folder")


@dataclass(frozen=True, slots=True)
class RerankTools:
    """What a reranker is made of.

    Attributes:
        embedder: Of labels and queries.
        config: The table `[search]`.
        ask: Asks a language model.
        say: Told what it cost, and what went wrong.
    """

    embedder: TextEmbedder
    config: SearchConfig
    ask: AskModel
    say: Callable[[str], None]


class BaseReranker(ABC):
    """Tells how relevant labels are to a query by a closer look than search has.

    Attributes:
        name: As `search.reranker` names it.
        n_contexts: Contexts of each feature that it wants to see.
    """

    name: ClassVar[str]
    n_contexts: ClassVar[int] = 8

    def __init__(self, tools: RerankTools) -> None:
        self.tools = tools

    @abstractmethod
    def relevance(self, query: str, labels: Sequence[ShownLabel]) -> list[float] | None:
        """How relevant each label is to a query, larger is more.

        Args:
            query: Any text.
            labels: At least one.

        Returns:
            One number a label; None where that could not be told, which it has said: then the order is kept.

        Raises:
            AutointerpError: What a user can cause.
        """
