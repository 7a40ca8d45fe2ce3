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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from safetensors import safe_open
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from autointerp.errors import SubjectError
from autointerp.json_text import parse_json

# What transformers assumes where a configuration is silent.
_USUAL_BERT = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "dtype": "float32",
    "torch_dtype": "float32",
}
_LAYER_NORM_EPS = 1e-12
_USUAL_MODULES = ["Transformer", "Pooling", "Normalize"]
_USUAL_POOLING = ("mean", "pooling_mode_mean_tokens")
_N_AROUND = 2
_USUAL_SENTENCE_KEYS = {"max_seq_length", "do_lower_case"}
_EMBEDDINGS = {f"{part}_embeddings.weight" for part in ("word", "position", "token_type")} | {
    f"LayerNorm.{part}" for part in ("weight", "bias")
}
_LAYER = {
    f"{module}.{part}"
    for part in ("weight", "bias")
    for module in (
        *(f"attention.self.{name}" for name in ("query", "key", "value")),
        *("attention.output.dense", "attention.output.LayerNorm"),
        *("intermediate.dense", "output.dense", "output.LayerNorm"),
    )
}
# What a file may hold besides: a mean has no use for them.
_UNUSED = {"embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"}


@dataclass(frozen=True, slots=True)
class UsualBert:
    """A sentence model of the usual layout, as its folder describes it.

    Attributes:
        folder: Holds `model.safetensors` and `tokenizer.json`.
        n_layers: Layers.
        n_heads: Attention heads of each.
        layer_norm_eps: Added to a variance before it is divided by.
        max_tokens: A text's tokens beyond are cut off.
    """

    folder: Path
    n_layers: int
    n_heads: int
    layer_norm_eps: float
    max_tokens: int


def read_usual_bert(folder: Path) -> UsualBert | None:
    """Read what a folder says of its model; None where it is no folder, or of any other than the usual layout.

    Raises:
        OSError, ValueError: If one of its JSON files can't be read, or holds something else than it must.
    """
    if not all((folder / name).is_file() for name in ("modules.json", "model.safetensors", "tokenizer.json")):
        return None
    modules = parse_json((folder / "modules.json").read_text(encoding="utf-8"))
    if not _are_modules(modules):
        raise ValueError("modules.json holds no list of modules, each with its type and path")
    if [module["type"].rpartition(".")[2] for module in modules] != _USUAL_MODULES or modules[0]["path"]:
        return None
    config = _read(folder / "config.json")
    sentence = _read(folder / "sentence_bert_config.json")
    pooling = _read(folder / modules[1]["path"] / "config.json")
    modes = [pooling["pooling_mode"]] if "pooling_mode" in pooling else [key for key in pooling if pooling[key] is True]
    is_usual = (
        "model_type" in config
        and all(config.get(key, usual) in (usual, None) for key, usual in _USUAL_BERT.items())
        and all(type(config.get(key)) is int for key in ("num_hidden_layers", "num_attention_heads"))
        and sentence.keys() <= _USUAL_SENTENCE_KEYS
        and _is_limit(sentence.get("max_seq_length"))
        and not sentence.get("do_lower_case")
        and [mode for mode in modes if mode != "include_prompt"] in ([usual] for usual in _USUAL_POOLING)
        and not _read(folder / "config_sentence_transformers.json").get("default_prompt_name")
        and _cuts_as_bert(_read(folder / "tokenizer.json"), _read(folder / "tokenizer_config.json"))
    )
    if not is_usual or not _has_usual_weights(folder / "model.safetensors", config["num_hidden_layers"]):
        return None
    return UsualBert(
        folder=folder,
        n_layers=config["num_hidden_layers"],
        n_heads=config["num_attention_heads"],
        layer_norm_eps=config.get("layer_norm_eps", _LAYER_NORM_EPS),
        max_tokens=sentence["max_seq_length"],
    )


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
        self._tokenizer = Tokenizer.from_file(str(bert.folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        positions = self._weights["embeddings.position_embeddings.weight"]
        self._tokenizer.enable_truncation(min(bert.max_tokens, len(positions)))
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


def check_words(vocabulary: Mapping[str, int], n_embedded: int) -> None:
    """See that each word of a vocabulary has an embedding: ValueError else."""
    beyond = [token for token, i in vocabulary.items() if i >= n_embedded]
    if beyond:
        raise ValueError(f"its embedding has {n_embedded:,} rows, none for {beyond[0]!r} of its tokenizer")


def check_embedded(token_ids: list[list[int]], n_embedded: int | None) -> list[list[int]]:
    """Token ids, each of which has an embedding; an added token may lack one, and is met where a text writes it out."""
    highest = max((i for ids in token_ids for i in ids), default=0)
    if n_embedded is not None and highest >= n_embedded:
        raise SubjectError(
            f"the embedder has an embedding of {n_embedded:,} rows, none for the token {highest} that a text holds",
            "set embedder.model to a model whose embedding was made as long as its tokenizer",
        )
    return token_ids


def _has_usual_weights(file: Path, n_layers: int) -> bool:
    """Whether a file holds the tensors of a BERT of so many layers and no others, by their usual names in 32 bits."""
    usual = {f"embeddings.{name}" for name in _EMBEDDINGS}
    usual |= {f"encoder.layer.{layer}.{name}" for layer in range(n_layers) for name in _LAYER}
    with safe_open(file, framework="pt") as weights:
        return set(weights.keys()) - _UNUSED == usual and all(
            weights.get_slice(name).get_dtype() == "F32" for name in usual
        )


def _cuts_as_bert(tokenizer: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Whether `tokenizer.json` cuts texts as transformers does, which goes by `tokenizer_config.json` for a BERT."""
    return (
        config.get("tokenizer_class") in ("BertTokenizer", "BertTokenizerFast")
        and isinstance(model := tokenizer.get("model"), dict)
        and model.get("type") == "WordPiece"
        and tokenizer.get("pre_tokenizer") == {"type": "BertPreTokenizer"}
        and tokenizer.get("normalizer")
        == {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": config.get("tokenize_chinese_chars", True),
            "strip_accents": config.get("strip_accents"),
            "lowercase": config.get("do_lower_case", True),
        }
    )


def _read(path: Path) -> dict[str, Any]:
    """What a JSON file holds; nothing where there is none."""
    content = parse_json(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object")
    return content


def _are_modules(content: object) -> bool:
    return isinstance(content, list) and all(
        isinstance(module, dict) and isinstance(module.get("type"), str) and isinstance(module.get("path"), str)
        for module in content
    )


def _is_limit(value: object) -> bool:
    """Whether a limit of tokens is told.

    Raises:
        ValueError: If it is no number, or beside the special tokens around a text leaves no room for any of its own.
    """
    if value is not None and (type(value) is not int or value <= _N_AROUND):
        raise ValueError(f"sentence_bert_config.json has max_seq_length = {value!r}, which leaves no room for a text")
    return value is not None
