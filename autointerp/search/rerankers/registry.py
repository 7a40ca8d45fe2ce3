"""Our rerankers by name; a user's is named `module:Class` or `path/to/file.py:Class` (`plugins`)."""

from autointerp.plugins import load_class
from autointerp.search.rerankers.base import BaseReranker

BUILT_IN = {
    "contexts": "autointerp.search.rerankers.contexts:ContextsReranker",
    "cross_encoder": "autointerp.search.rerankers.cross_encoder:CrossEncoderReranker",
    "language_model": "autointerp.search.rerankers.language_model:LanguageModelReranker",
}


def load_reranker(name: str) -> type[BaseReranker]:
    """Find a reranker's class.

    Args:
        name: As `search.reranker` has it.

    Raises:
        PipelineError: If there is no such file, module or class, if it can't be imported, or is no reranker.
    """
    found: type[BaseReranker] = load_class(name, "a reranker", BUILT_IN, BaseReranker)
    return found
