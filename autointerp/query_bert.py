"""A query's vector without torch, whose import takes longer than all the rest of a search from the command line.

The steps are those of `mean_bert`, by numpy: the vector agrees with that of the whole embedder up to rounding (some
1e-7 in each component). Of the words' embeddings only the rows are read that the query needs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from safetensors import SafetensorError, safe_open
from threadpoolctl import ThreadpoolController

from autointerp.usual_bert import UsualBert, check_embedded, model_path, read_usual_bert, usual_tokenizer

MOST_TOKENS = 64
"""Of a query: a longer text is left to the whole embedder, which torch makes faster from there on."""
_WORDS = "embeddings.word_embeddings.weight"
_LEAST_NORM = 1e-12

_Tokens = Float32[np.ndarray, "token dim"]
_erf = np.vectorize(math.erf, otypes=[np.float32])


def load_query_bert(model: str) -> QueryBert | None:
    """The sentence model of this name for queries; None where it is of another layout, or can't be read."""
    try:
        bert = read_usual_bert(Path(model_path(model)))
        return None if bert is None else QueryBert(bert)
    except (OSError, ValueError, SafetensorError, LookupError):
        return None  # the whole embedder says what is wrong with it


class QueryBert:
    """A sentence model of the usual layout, for short texts one by one.

    Args:
        bert: Where it lies, and its shape.

    Raises:
        OSError, SafetensorError: If a file can't be read.
    """

    def __init__(self, bert: UsualBert) -> None:
        self._bert = bert
        self._file = bert.folder / "model.safetensors"
        with safe_open(self._file, framework="np") as weights:
            self._weights = {name: weights.get_tensor(name) for name in set(weights.keys()) - {_WORDS}}
            self._n_embedded: int = weights.get_slice(_WORDS).get_shape()[0]
        self._threads = ThreadpoolController()
        self._tokenizer = usual_tokenizer(bert, len(self._weights["embeddings.position_embeddings.weight"]))

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text with the special ones around it, cut at the model's limit.

        Raises:
            SubjectError: If one has no embedding.
        """
        return check_embedded([encoding.ids for encoding in self._tokenizer.encode_batch(texts)], self._n_embedded)

    def vector(self, token_ids: Sequence[int]) -> Float32[np.ndarray, " dim"]:
        """The unit vector of a text of at least one token."""
        # Threads cost more than such small products: a hundredfold where other programs keep them waiting.
        with self._threads.limit(limits=1, user_api="blas"):
            return self._vector(token_ids)

    def _vector(self, token_ids: Sequence[int]) -> Float32[np.ndarray, " dim"]:
        with safe_open(self._file, framework="np") as weights:
            rows = weights.get_slice(_WORDS)
            words = np.concatenate([rows[i : i + 1] for i in token_ids])
        segment = self._weights["embeddings.token_type_embeddings.weight"][0]
        positions = self._weights["embeddings.position_embeddings.weight"][: len(token_ids)]
        tokens = self._normalized(words + segment + positions, "embeddings.LayerNorm")
        for layer in range(self._bert.n_layers):
            tokens = self._layer(tokens, f"encoder.layer.{layer}")
        mean = tokens.mean(axis=0)
        unit: Float32[np.ndarray, " dim"] = mean / max(float(np.linalg.norm(mean)), _LEAST_NORM)
        return unit

    def _layer(self, tokens: _Tokens, name: str) -> _Tokens:
        heads = (len(tokens), self._bert.n_heads, -1)
        query, key, value = (
            self._dense(tokens, f"{name}.attention.self.{part}").reshape(heads).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / np.float32(math.sqrt(query.shape[-1]))
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        gathered = (shares / shares.sum(axis=-1, keepdims=True) @ value).transpose(1, 0, 2).reshape(tokens.shape)
        output = f"{name}.attention.output"
        tokens = self._normalized(self._dense(gathered, f"{output}.dense") + tokens, f"{output}.LayerNorm")
        wide = self._dense(tokens, f"{name}.intermediate.dense")
        wide = wide * (1 + _erf(wide / math.sqrt(2))) / 2
        return self._normalized(self._dense(wide, f"{name}.output.dense") + tokens, f"{name}.output.LayerNorm")

    def _dense(self, tokens: _Tokens, name: str) -> _Tokens:
        found: _Tokens = tokens @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return found

    def _normalized(self, tokens: _Tokens, name: str) -> _Tokens:
        apart = tokens - tokens.mean(axis=-1, keepdims=True)
        spread = np.sqrt((apart**2).mean(axis=-1, keepdims=True) + np.float32(self._bert.layer_norm_eps))
        found: _Tokens = apart / spread * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]
        return found
