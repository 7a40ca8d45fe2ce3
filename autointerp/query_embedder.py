"""The sentence embedder as queries need it: a vector of a short text at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Float32

from autointerp.embedder import TextEmbedder
from autointerp.query_bert import MOST_TOKENS, QueryBert, load_query_bert
from autointerp.valid_text import valid_text


class QueryEmbedder:
    """A `TextEmbedder` for queries: short texts, of which the vector is wanted at once.

    Where the model is of the usual layout it needs no torch (`query_bert`); else the whole embedder does it.

    Attributes:
        name: Of the model, as labels' embeddings are stored under.

    Args:
        embedder: The whole one; it does what `query_bert` can't.
        model: What its config names.
    """

    def __init__(self, embedder: TextEmbedder, model: str) -> None:
        self.name = embedder.name
        self._embedder = embedder
        self._model = model

    @cached_property
    def _bert(self) -> QueryBert | None:
        return load_query_bert(self._model)

    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "text dim"]:
        """One unit row a text, the same whatever else is embedded with it."""
        if self._bert is None or not texts:
            return self._embedder.embed(texts)
        tokens = self._bert.token_ids([valid_text(text) for text in texts])
        return np.stack(
            [
                self._bert.vector(of) if len(of) <= MOST_TOKENS else self._embedder.embed([text])[0]
                for text, of in zip(texts, tokens, strict=True)
            ]
        )
