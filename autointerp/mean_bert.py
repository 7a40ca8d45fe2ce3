"""Sentence models of the usual layout: a BERT whose tokens' vectors are averaged and normalized.

Such a model is read from its folder with torch, tokenizers and safetensors: to import transformers and
sentence-transformers takes several times the work that a search then does.

Its forward pass (Devlin et al. 2019, 1810.04805) takes the steps of transformers' `BertModel` and of
sentence-transformers' `Pooling` and `Normalize` in their order, by the same functions of torch, so that the vectors
agree to the last bit:

1. A token's vector is its word's, its segment's (always the first) and its position's added up, normalized.
2. Each layer adds what attention gathers from all tokens, and normalizes; adds what two dense layers make of that, and
   normalizes.
3. A text's vector is the mean of its tokens' vectors, at length 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from autointerp.usual_bert import UsualBert, check_embedded, check_words, usual_tokenizer


class MeanBert:
    """A sentence model of the usual layout; see the module's steps.

    Attributes:
        dim: Length of a vector.
        is_on_cpu: Whether it computes there.
        prompt: Empty.

    Args:
        bert: Where it lies, and its shape.
        device: A device of torch.

    Raises:
        OSError, RuntimeError, SafetensorError: If a file can't be read, or there is no such device.
    """

    prompt = ""

    def __init__(self, bert: UsualBert, device: str) -> None:
        self._bert = bert
        self._weights: Mapping[str, Tensor] = load_file(bert.folder / "model.safetensors", device)
        words = self._weights["embeddings.word_embeddings.weight"]
        self.dim: int = words.shape[1]
        self.is_on_cpu: bool = words.is_cpu
        positions = self._weights["embeddings.position_embeddings.weight"]
        self._tokenizer = usual_tokenizer(bert, len(positions))
        self._n_embedded = len(words)
        check_words(self._tokenizer.get_vocab(with_added_tokens=False), self._n_embedded)

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text with the special ones around it, cut at the model's limit."""
        return check_embedded([encoding.ids for encoding in self._tokenizer.encode_batch(texts)], self._n_embedded)

    @torch.inference_mode()
    def vectors(self, token_ids: Sequence[Sequence[int]]) -> Float32[np.ndarray, "text dim"]:
        """Unit vectors of texts of equally many tokens, at least one."""
        words = self._weights["embeddings.word_embeddings.weight"]
        ids = torch.tensor(token_ids, device=words.device)
        segment = self._weights["embeddings.token_type_embeddings.weight"][0]
        positions = self._weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
        tokens = self._normalized(functional.embedding(ids, words) + segment + positions, "embeddings.LayerNorm")
        for layer in range(self._bert.n_layers):
            tokens = self._layer(tokens, f"encoder.layer.{layer}")
        mean = tokens.sum(dim=1) / ids.shape[1]
        # Once by `Normalize`, once as `LibraryModel` does with every model: the second time moves a last bit.
        unit: Float32[np.ndarray, "text dim"] = (
            functional.normalize(functional.normalize(mean, dim=1), dim=1).cpu().numpy()
        )
        return unit

    def _layer(self, tokens: Float[Tensor, "text token dim"], name: str) -> Float[Tensor, "text token dim"]:
        heads = (*tokens.shape[:2], self._bert.n_heads, -1)
        query, key, value = (
            self._dense(tokens, f"{name}.attention.self.{part}").view(heads).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        gathered = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(tokens.shape)
        output = f"{name}.attention.output"
        tokens = self._normalized(self._dense(gathered, f"{output}.dense") + tokens, f"{output}.LayerNorm")
        wide = functional.gelu(self._dense(tokens, f"{name}.intermediate.dense"))
        return self._normalized(self._dense(wide, f"{name}.output.dense") + tokens, f"{name}.output.LayerNorm")

    def _dense(self, tokens: Tensor, name: str) -> Tensor:
        return functional.linear(tokens, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _normalized(self, tokens: Tensor, name: str) -> Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return functional.layer_norm(tokens, (self.dim,), weight, bias, self._bert.layer_norm_eps)
