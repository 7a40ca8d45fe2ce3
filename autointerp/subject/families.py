"""The families of models whose hook points can be mapped, and where in transformers' modules each keeps its parts.

A path is relative to one layer of the model, unless it says otherwise. What is here was read in transformers' and
TransformerLens' source, and is compared with TransformerLens on small models of each family by the tests.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

# Gives the value bias of a layer as TransformerLens has it, one number for each column of z, or None where the layer
# has none. The second argument tells whether the bias of the norm before attention is folded into it.
ValueBias = Callable[[Any, bool], Float[Tensor, " d_z"] | None]


@dataclass(frozen=True, slots=True)
class Family:
    """Where a family of models keeps its layers, and what in a layer reads and writes the residual stream.

    Attributes:
        layers: Path of the list of layers in the base model.
        attention: Module whose output is what attention adds.
        attention_projection: Module whose input is z, the heads' results side by side.
        mlp: Module whose output is what the MLP adds.
        mlp_input: Module whose input is what the MLP reads.
        mlp_projection: Module whose input is the MLP's hidden layer.
        norm_1: What TransformerLens calls `ln1`: the norm before attention, in BERT the one after it.
        norm_2: What TransformerLens calls `ln2`: the norm before the MLP, in BERT the one after it.
        value_bias: The bias that attention adds to every value; None where TransformerLens never folds it.
        token_embedding: Path in the base model of the module whose output is the token embedding; None where that is
            what the first layer reads.
        position_embedding: Path in the base model of the module that holds one row for each position; None where
            positions are computed.
        has_layer_norm: Whether every reader of the residual stream subtracts its mean first, so that
            TransformerLens' `center_writing_weights` changes nothing but the mean.
        has_post_norm: Whether layers normalise after adding, so that their output has a name of its own.
    """

    layers: str
    attention: str
    attention_projection: str
    mlp: str
    mlp_input: str
    mlp_projection: str
    norm_1: str
    norm_2: str
    value_bias: ValueBias | None = None
    token_embedding: str | None = None
    position_embedding: str | None = None
    has_layer_norm: bool = False
    has_post_norm: bool = False


def is_parallel(model: Any) -> bool:
    """Whether attention and MLP read the same residual stream, so that there is none between them."""
    # GPT-NeoX is the only one of the families here that may be.
    return bool(getattr(model.config, "use_parallel_residual", False))


def _gpt2_value_bias(layer: Any, folds_norm: bool) -> Float[Tensor, " d_z"]:
    projection = layer.attn.c_attn  # queries, keys and values side by side; the weight is (input, output)
    bias: Tensor = projection.bias.chunk(3)[2].float()
    return bias + layer.ln_1.bias.float() @ projection.weight.chunk(3, dim=1)[2].float() if folds_norm else bias


def _gpt_neox_value_bias(layer: Any, folds_norm: bool) -> Float[Tensor, " d_z"] | None:
    projection = layer.attention.query_key_value  # query, key and value of each head together
    split = (-1, 3, layer.attention.head_size)
    bias: Tensor | None = None
    if projection.bias is not None:
        bias = projection.bias.float().view(split)[:, 2].flatten()
    if not folds_norm:
        return bias
    folded: Tensor = (projection.weight.float() @ layer.input_layernorm.bias.float()).view(split)[:, 2].flatten()
    return folded if bias is None else bias + folded


def _llama_value_bias(layer: Any, folds_norm: bool) -> Float[Tensor, " d_z"] | None:
    attention = layer.self_attn
    if attention.v_proj.bias is None:
        return None
    heads = attention.v_proj.bias.float().view(-1, attention.head_dim)
    repeated: Tensor = heads.repeat_interleave(attention.num_key_value_groups, dim=0).flatten()
    return repeated


def _gated(layers: str, attention: str, mlp: str, norm_2: str) -> Family:
    return Family(
        layers=layers,
        attention=attention,
        attention_projection="self_attn.o_proj",
        mlp=mlp,
        mlp_input="mlp",
        mlp_projection="mlp.down_proj",
        norm_1="input_layernorm",
        norm_2=norm_2,
        value_bias=_llama_value_bias,
    )


_LLAMA = _gated("layers", "self_attn", "mlp", "post_attention_layernorm")
_GEMMA = ("post_attention_layernorm", "post_feedforward_layernorm", "pre_feedforward_layernorm")

FAMILIES: Mapping[str, Family] = {
    "bert": Family(
        layers="encoder.layer",
        attention="attention.output.dense",
        attention_projection="attention.output.dense",
        mlp="output.dense",
        mlp_input="intermediate",
        mlp_projection="output.dense",
        norm_1="attention.output.LayerNorm",
        norm_2="output.LayerNorm",
        position_embedding="embeddings.position_embeddings",
        has_post_norm=True,
    ),
    "gpt2": Family(
        layers="h",
        attention="attn",
        attention_projection="attn.c_proj",
        mlp="mlp",
        mlp_input="mlp",
        mlp_projection="mlp.c_proj",
        norm_1="ln_1",
        norm_2="ln_2",
        value_bias=_gpt2_value_bias,
        token_embedding="wte",
        position_embedding="wpe",
        has_layer_norm=True,
    ),
    "gpt_neox": Family(
        layers="layers",
        attention="attention",
        attention_projection="attention.dense",
        mlp="mlp",
        mlp_input="mlp",
        mlp_projection="mlp.dense_4h_to_h",
        norm_1="input_layernorm",
        norm_2="post_attention_layernorm",
        value_bias=_gpt_neox_value_bias,
        has_layer_norm=True,
    ),
    "gemma": _LLAMA,
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma2": _gated("layers", *_GEMMA),
    "gemma3_text": _gated("layers", *_GEMMA),
    "gemma3": _gated("language_model.layers", *_GEMMA),
}
