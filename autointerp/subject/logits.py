"""What a feature promotes: its decoder direction projected onto the vocabulary.

1. Each decoder direction is brought to length 1. A coder that writes to attention's heads (`attn.hook_z`) or to the
   MLP's hidden layer (`mlp.hook_post`) has its directions taken through the layer's output projection, and in Gemma 2
   and 3 through the weight of the norm behind it.
2. The final norm is linearised: its weight is multiplied in, and what it subtracts (LayerNorm: the mean) is taken off.
   Its division by the norm of the whole residual stream, which differs from token to token, and its bias, which is the
   same for all features, are left out.
3. The unembedding turns the result into one logit a token, and their mean over the vocabulary is taken off, as it
   cancels in the softmax.

So a value says by how much the token's logit rises against the average token's when a step of length 1 is made along
the feature's direction, at a residual stream whose root mean square is 1. It is the logit lens (nostalgebraist, 2020)
of the direction alone: `W_dec @ W_U`, with unit rows of `W_dec` and TransformerLens' `W_U` as
`HookedTransformer.from_pretrained` folds and centres it by default. SAEDashboard, which makes Neuronpedia's pages,
computes the same. Where TransformerLens leaves `W_U` uncentred, because the logits go through a tanh (Gemma 2), values
differ from its own by a constant a feature; they are those before the tanh, which changes no order. Layers in between
are passed over: the lower the feature's layer, the less the values say about what the model does with it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int32
from torch import Tensor, nn

from autointerp.json_text import parse_json
from autointerp.subject.families import FAMILIES
from autointerp.subject.hooks import norm_eps
from autointerp.subject.model import Subject

# Logits held at once.
_CHUNK = 16_000_000
# Directions held at once in float32.
_DIRECTIONS = 8192
_HEADS = ("lm_head.weight", "embed_out.weight")
_RESIDUAL_HOOKS = frozenset(
    {"hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_attn_out", "hook_mlp_out", "hook_embed"}
)
# Attention's and the MLP's hidden layers, each before its output projection.
_PROJECTED_HOOKS = ("attn.hook_z", "mlp.hook_post")
# What they put out, which Gemma 2 and 3 normalise before it is added.
_MODULE_OUTPUTS = ("attn.hook_out", "mlp.hook_out")
_HOOK = re.compile(r"^blocks\.(\d+)\.(.+)$")


@dataclass(frozen=True, slots=True)
class NoLogits:
    """Why a source has no logits: a sentence without its period."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unembedding:
    """From the last residual stream to logits.

    Attributes:
        weights: Rows of the language-model head, in the checkpoint's dtype.
        scale: Weight of the final norm.
        subtracts_mean: Whether the final norm is a LayerNorm, which subtracts the mean, or an RMSNorm.
    """

    weights: Float[Tensor, "token d_model"]
    scale: Float[Tensor, " d_model"]
    subtracts_mean: bool


@dataclass(frozen=True, slots=True)
class Projection:
    """From the point that a coder writes to the residual stream.

    Attributes:
        weights: What the directions are multiplied by; None where the coder writes to the residual stream itself.
    """

    weights: Float[Tensor, "d_out d_model"] | None


@dataclass(frozen=True, slots=True)
class ExtremeLogits:
    """The tokens whose logits each feature raises and lowers most; ties go to the lower token id.

    Attributes:
        top_tokens: Highest logits first.
        top_logits: Their values.
        bottom_tokens: Lowest logits first.
        bottom_logits: Their values.
    """

    top_tokens: Int32[np.ndarray, "feature rank"]
    top_logits: Float32[np.ndarray, "feature rank"]
    bottom_tokens: Int32[np.ndarray, "feature rank"]
    bottom_logits: Float32[np.ndarray, "feature rank"]


@dataclass(frozen=True, slots=True)
class _Norms:
    """A family's norms on the way to the logits.

    Attributes:
        final: Path in the base model of the norm before the head.
        after: Paths in a layer of the norms on what attention and the MLP add; None where they add it as it is.
        offset: What a norm adds to its weight before it multiplies.
    """

    final: str
    after: tuple[str, str] | None = None
    offset: float = 0.0


_GEMMA_AFTER = ("post_attention_layernorm", "post_feedforward_layernorm")
_NORMS: Mapping[str, _Norms] = {
    "gpt2": _Norms("ln_f"),
    "gpt_neox": _Norms("final_layer_norm"),
    "llama": _Norms("norm"),
    "mistral": _Norms("norm"),
    "qwen2": _Norms("norm"),
    "qwen3": _Norms("norm"),
    "gemma": _Norms("norm", offset=1.0),
    "gemma2": _Norms("norm", _GEMMA_AFTER, offset=1.0),
    "gemma3_text": _Norms("norm", _GEMMA_AFTER, offset=1.0),
    "gemma3": _Norms("language_model.norm", _GEMMA_AFTER, offset=1.0),
}


def find_unembedding(subject: Subject) -> Unembedding | NoLogits:
    """The subject's final norm and language-model head.

    The subject is a base model without its head. Where the checkpoint's safetensors files hold one, it is read by its
    name, without loading the model again; where not, and the config says so, it is the input embedding.
    """
    norms = _NORMS.get(subject.family)
    if norms is None:
        return NoLogits(f"a model of type {subject.family} has no language-model head that reads the residual stream")
    model: Any = subject.model
    norm: Any = model.get_submodule(norms.final)
    weights = _head_weights(model)
    if weights is None and model.config.get_text_config().tie_word_embeddings:
        weights = model.get_input_embeddings().weight.detach()
    if weights is None:
        return NoLogits(f"no safetensors file of the model {subject.name} holds {' or '.join(_HEADS)}")
    if weights.shape[1:] != norm.weight.shape:
        return NoLogits(
            f"the language-model head of the model {subject.name} is {' x '.join(map(str, weights.shape))}, and its "
            f"residual stream {norm.weight.shape[0]} wide"
        )
    return Unembedding(
        weights=weights.to(subject.device),
        scale=norm.weight.detach().float() + norms.offset,
        subtracts_mean=isinstance(norm, nn.LayerNorm),
    )


def find_final_norm(subject: Subject) -> nn.Module | None:
    """The norm between the last layer and the head; None where the family has none that is known."""
    norms = _NORMS.get(subject.family)
    return None if norms is None else subject.model.get_submodule(norms.final)


@dataclass(frozen=True, slots=True)
class FinalNorm:
    """The norm between the last residual stream and the head.

    Attributes:
        module: The norm; its input is the residual stream.
        scale: What it multiplies by.
        subtracts_mean: Whether it takes the mean off first.
        eps: Added to the mean square that it divides by the root of.
    """

    module: nn.Module
    scale: Float[Tensor, " d_model"]
    subtracts_mean: bool
    eps: float

    def divisor(self, hidden: Float[Tensor, "row d_model"]) -> Float[Tensor, "row one"]:
        """What it divides each row by, in float32."""
        exact = hidden.float()
        if self.subtracts_mean:
            exact = exact - exact.mean(dim=-1, keepdim=True)
        return (exact.square().mean(dim=-1, keepdim=True) + self.eps).sqrt()


def read_final_norm(subject: Subject) -> FinalNorm:
    """The norm before the head, of a subject that has one (`find_unembedding`), as what it computes."""
    norm: Any = find_final_norm(subject)
    return FinalNorm(
        module=norm,
        scale=norm.weight.detach().float() + _NORMS[subject.family].offset,
        subtracts_mean=isinstance(norm, nn.LayerNorm),
        eps=norm_eps(norm),
    )


def writes_as_it_is(subject: Subject, hook_name: str) -> bool:
    """Whether what a coder writes at a hook point is added to the stream without a norm in between.

    In Gemma 2 and 3 attention's and the MLP's insides are normalised before they are added.
    """
    norms = _NORMS.get(subject.family)
    return norms is None or norms.after is None or not hook_name.endswith(_PROJECTED_HOOKS + _MODULE_OUTPUTS)


def find_projection(subject: Subject, hook_name: str | None) -> Projection | NoLogits:
    """How what a coder writes gets into the residual stream.

    Args:
        subject: The model.
        hook_name: The point that the coder writes: the one it reads for an autoencoder, another for a transcoder; None
            for a transcoder that does not say.
    """
    if hook_name is None:
        return NoLogits("the coder does not say at which hook point it writes")
    match = _HOOK.match(hook_name)
    hook = match[2] if match is not None else hook_name
    if hook in _RESIDUAL_HOOKS:
        return Projection(None)
    family, norms = FAMILIES.get(subject.family), _NORMS.get(subject.family)
    if match is None or hook not in _PROJECTED_HOOKS + _MODULE_OUTPUTS or family is None or norms is None:
        return NoLogits(f"what a coder writes at {hook_name} does not go into the residual stream as it is")
    layer = subject.model.get_submodule(f"{family.layers}.{match[1]}")
    if hook in _MODULE_OUTPUTS:
        if norms.after is None:
            return Projection(None)
        after: Any = layer.get_submodule(norms.after[_MODULE_OUTPUTS.index(hook)])
        return Projection(torch.diag(after.weight.detach().float() + norms.offset))
    place = _PROJECTED_HOOKS.index(hook)
    module: Any = layer.get_submodule((family.attention_projection, family.mlp_projection)[place])
    weights: Tensor = module.weight.detach().float()
    # transformers' Conv1D, which GPT-2 has, keeps its weights the other way round.
    weights = weights.T if isinstance(module, nn.Linear) else weights
    if norms.after is not None:
        norm: Any = layer.get_submodule(norms.after[place])
        weights = weights * (norm.weight.detach().float() + norms.offset)
    return Projection(weights)


def extreme_logits(
    decoder: Float[Tensor, "feature d_out"],
    projection: Projection,
    unembedding: Unembedding,
    n_tokens: int,
    n_logits: int,
) -> ExtremeLogits:
    """Project decoder directions onto the vocabulary, and keep each one's highest and lowest logits.

    Holds some ten million logits at a time, whatever the width, and the unembedding in float32. Takes about as many
    operations as encoding a text of as many tokens as the vocabulary has.

    Args:
        decoder: Directions, of any length; the logits of one of length 0 are all 0.
        projection: From where the coder writes to the residual stream.
        unembedding: Final norm and head.
        n_tokens: Tokens of the tokenizer; rows of the head from there on are padding, and only go into the mean.
        n_logits: Tokens kept at either end.
    """
    weights = unembedding.weights.float()
    mean = weights.mean(dim=0)
    weights = weights[:n_tokens]
    n_kept = min(n_logits, len(weights))
    shape = (len(decoder), n_kept)
    found = ExtremeLogits(
        np.zeros(shape, np.int32), np.zeros(shape, np.float32), np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    )
    n_rows = max(1, _CHUNK // max(len(weights), 1))
    for start in range(0, len(decoder) if n_kept else 0, n_rows):
        rows = slice(start, start + n_rows)
        written = _written(decoder[rows], projection, unembedding)
        logits = (written @ weights.T).sub_((written @ mean)[:, None])
        found.top_tokens[rows], found.top_logits[rows] = _highest(logits, n_kept)
        found.bottom_tokens[rows], negated = _highest(logits.neg_(), n_kept)
        found.bottom_logits[rows] = -negated
    return found


def token_logits(
    decoder: Float[Tensor, "feature d_out"],
    projection: Projection,
    unembedding: Unembedding,
    token_ids: Sequence[int],
) -> Float32[np.ndarray, "feature token"]:
    """Project decoder directions onto some tokens; values are those of `extreme_logits`.

    Args:
        decoder: Directions, of any length; the logits of one of length 0 are all 0.
        projection: From where the coder writes to the residual stream.
        unembedding: Final norm and head.
        token_ids: The tokens.
    """
    weights = unembedding.weights.float()
    towards = weights[list(token_ids)] - weights.mean(dim=0)
    rows = range(0, len(decoder), _DIRECTIONS)
    found = [_written(decoder[i : i + _DIRECTIONS], projection, unembedding) @ towards.T for i in rows]
    return torch.cat(found).cpu().numpy()


def _written(
    decoder: Float[Tensor, "feature d_out"], projection: Projection, unembedding: Unembedding
) -> Float[Tensor, "feature d_model"]:
    """Directions of length 1 as they come to the head, past the final norm."""
    written = nn.functional.normalize(decoder.detach().to(unembedding.weights.device, torch.float32), dim=1)
    if projection.weights is not None:
        written = written @ projection.weights
    if unembedding.subtracts_mean:
        written = written - written.mean(dim=1, keepdim=True)
    return written * unembedding.scale


def _highest(
    values: Float[Tensor, "row token"], n: int
) -> tuple[Int32[np.ndarray, "row rank"], Float32[np.ndarray, "row rank"]]:
    """The highest values of each row, ties to the lower token."""
    best = values.topk(min(n + 1, values.shape[1]), dim=1)
    by_token, places = best.indices[:, :n].sort(dim=1)
    kept, ranks = best.values[:, :n].gather(1, places).sort(dim=1, descending=True, stable=True)
    tokens = by_token.gather(1, ranks)
    if best.values.shape[1] > n:
        # Where the first value left out equals the last one kept, topk has chosen between them at will.
        tied = (best.values[:, n] == best.values[:, n - 1]).nonzero()[:, 0]
        tokens[tied] = values[tied].sort(dim=1, descending=True, stable=True).indices[:, :n]
    return tokens.int().cpu().numpy(), kept.cpu().numpy()


def _head_weights(model: Any) -> Float[Tensor, "token d_model"] | None:
    """The head's weights out of the checkpoint that the model was loaded from, if they are there."""
    from safetensors import safe_open

    index = _checkpoint_file(model, "model.safetensors.index.json")
    file_of = dict.fromkeys(_HEADS, "model.safetensors")
    if index is not None:
        file_of = parse_json(Path(index).read_text(encoding="utf-8"))["weight_map"]
    for head in _HEADS:
        path = _checkpoint_file(model, file_of[head]) if head in file_of else None
        if path is None:
            continue
        with safe_open(path, "pt") as tensors:
            names = tensors.keys()
            if head in names:
                weights: Tensor = tensors.get_tensor(head)
                return weights
    return None


def _checkpoint_file(model: Any, name: str) -> str | None:
    from transformers.utils.hub import cached_file

    if not model.name_or_path:  # it was made, not loaded
        return None
    # Loading the model has put every file of its weights into the cache.
    path: str | None = cached_file(
        model.name_or_path,
        name,
        revision=getattr(model.config, "_commit_hash", None),
        local_files_only=True,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return path
