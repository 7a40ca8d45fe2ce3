"""What a run's pipeline says of search: by which model, by which settings, and who is asked where a model reranks."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from autointerp.embedder import TextEmbedder
from autointerp.search.engine import SearchEngine
from autointerp.store.reader import Reader

_Kept = TypeVar("_Kept", bound="Frozen")

if TYPE_CHECKING:
    from autointerp.config import EmbedderConfig, ModelConfig, SearchConfig
    from autointerp.config.frozen import Frozen
    from autointerp.llm.protocol import AnswerT, CallFailure, Reply, Request
    from autointerp.records import Usage


@dataclass(frozen=True)
class SearchSettings:
    """The settings of one run. Looking a feature up needs none of them: all is read when it is needed.

    Attributes:
        store: The run's store.
        pipeline: Its pipeline, as the store has it.
    """

    store: Path
    pipeline: Mapping[str, Any]

    def engine(self, reader: Reader, embedder: TextEmbedder | None) -> SearchEngine:
        """A search engine.

        Args:
            reader: Of the store.
            embedder: For labels and queries; the run's own where None.
        """
        embedders = self.embedders() if embedder is None else (embedder, embedder)
        return SearchEngine(reader, *embedders, config=self.config, ask=self._ask_model)

    def embedders(self) -> tuple[TextEmbedder, TextEmbedder]:
        """The run's embedder, and the same model for queries."""
        from autointerp.config import EmbedderConfig

        return _embedders(self._table(EmbedderConfig, "embedder"))

    @cached_property
    def config(self) -> "SearchConfig":
        """The table `[search]`."""
        from autointerp.config import SearchConfig

        return self._table(SearchConfig, "search")

    def _ask_model(
        self, config: "ModelConfig", request: "Request[AnswerT]"
    ) -> "tuple[Reply[AnswerT] | CallFailure, Usage]":
        """Ask a language model by the run's journal, within its budget."""
        from autointerp.config import Pipeline
        from autointerp.config.file import as_kept
        from autointerp.llm.window import ask_in_window
        from autointerp.run.event_loop import run_to_end
        from autointerp.run.language_models import LanguageModels

        folder = self.store.parent
        kept = as_kept(Pipeline, self.pipeline, self.store)
        here = kept.model_copy(update={"runs": str(folder.parent), "name": folder.name})

        async def ask() -> "tuple[Reply[AnswerT] | CallFailure, Usage]":
            async with LanguageModels(here, folder / "journal.sqlite") as models:
                model = models.connect("search", config)
                return await ask_in_window(model, request, config), models.usage("search")

        return run_to_end(ask())

    def _table(self, kind: type[_Kept], name: str) -> _Kept:
        """A table of the pipeline; its defaults where the run has none."""
        from autointerp.config.file import as_kept

        return as_kept(kind, self.pipeline.get(name, {}), self.store)


@lru_cache(maxsize=4)
def _embedders(config: "EmbedderConfig") -> tuple[TextEmbedder, TextEmbedder]:
    """The embedder of a config, and the same model for queries; one for all runs that name it."""
    from autointerp.embedder import Embedder
    from autointerp.query_embedder import QueryEmbedder

    embedder = Embedder(config)
    return embedder, QueryEmbedder(embedder, config.model)
