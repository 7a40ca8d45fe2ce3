"""A cross-encoder as reranker: a model of sentence-transformers that reads query and label together.

It is shown the label, and the words around the peak of the strongest contexts. `search.cross_encoder` names it: a
folder, or a name on the hub. Its numbers are of its own scale.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from autointerp.errors import SearchError, in_one_line
from autointerp.records import Context
from autointerp.search.rerankers.base import BaseReranker, ShownLabel
from autointerp.words import label_meaning

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

_AROUND = 6


class CrossEncoderReranker(BaseReranker):
    """Asks a cross-encoder."""

    name = "cross_encoder"
    n_contexts = 4

    def relevance(self, query: str, labels: Sequence[ShownLabel]) -> list[float]:
        """See the module.

        Raises:
            SearchError: If there is no such model, or it does not give one number a pair.
        """
        scores = self._model.predict(
            [(query, _told(shown)) for shown in labels], show_progress_bar=False, convert_to_numpy=True
        )
        if scores.shape != (len(labels),):
            raise SearchError(
                f"{self.tools.config.cross_encoder} gives {scores.shape[-1]} numbers a pair",
                "name a cross-encoder that gives one: its relevance",
            )
        return [float(score) for score in scores]

    @cached_property
    def _model(self) -> "CrossEncoder":
        from sentence_transformers import CrossEncoder  # torch takes more than a second to import

        name = self.tools.config.cross_encoder
        try:
            return CrossEncoder(name)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise SearchError(
                f"the cross-encoder {name} can't be loaded ({in_one_line(error)})",
                "name a folder or a model of the hub in search.cross_encoder",
            ) from error


def _told(shown: ShownLabel) -> str:
    return "; ".join([label_meaning(shown.label), *(around_peak(context) for context in shown.contexts)])


def around_peak(context: Context, n_tokens: int = _AROUND) -> str:
    """A context's text so many tokens before and after its peak."""
    first = max(0, context.peak - n_tokens)
    return " ".join("".join(context.tokens[first : context.peak + n_tokens + 1]).split())
