"""TransformerLens hook names on transformers' modules.

A coder names the point it was trained on as TransformerLens does, `blocks.8.hook_resid_pre`. Here each name becomes one
side of one module, and where need be a formula on what is read there, so that the value is the one that SAELens'
`HookedSAETransformer` has at that name:

    hook_embed                  the token embedding, without positions; Gemma's as it scales it
    hook_resid_pre              input of layer N
    hook_resid_mid              the residual stream after attention, before the norm of the MLP
    hook_resid_post             output of layer N
    hook_attn_out               what layer N's attention adds to the residual stream
    hook_mlp_out                what layer N's MLP adds to the residual stream
    hook_mlp_in                 the residual stream where the MLP's branch begins, before its norm: `hook_resid_mid`, or
                                `hook_resid_pre` where attention and MLP are parallel
    attn.hook_z                 the heads' results side by side, before the output projection: (head, d_head) flattened
    ln1.hook_normalized         input of layer N's attention, normalised, before the norm's weight and bias
    ln2.hook_normalized         input of layer N's MLP, normalised, before the norm's weight and bias
    mlp.hook_in                 what the MLP reads: normalised, with the norm's weight and bias
    mlp.hook_post               the MLP's hidden layer, after activation and gate
    attn.hook_out               what attention's output projection gives
    mlp.hook_out                what the MLP's output projection gives

All but `mlp.hook_in` and the last two are names of `HookedTransformer`; those are of `TransformerBridge`.
`hook_resid_mid` does not exist where attention and MLP are parallel, as in most of GPT-NeoX.

BERT normalises after each addition. There `hook_resid_post` is the output of the whole layer, its normalisation
included, as in `TransformerBridge`; the older `HookedEncoder` calls the same point `hook_normalized_resid_post`, which
is understood too. `hook_attn_out` and `hook_mlp_out` are what goes into the normalised sum; `ln1` normalises the sum
after attention, `ln2` the sum after the MLP. `hook_resid_mid` and `hook_mlp_in` are other points in the one than in the
other; they and `hook_embed` are not mapped.

Gemma 2 and 3 normalise what attention and MLP add; `hook_attn_out` and `hook_mlp_out` mean the normalised value,
`attn.hook_out` and `mlp.hook_out` the one before; elsewhere they are the same. `ln2` is Gemma's
`pre_feedforward_layernorm`.

TransformerLens may process a model's weights before it runs it, and a coder remembers how, in its
`model_from_pretrained_kwargs`:

    center_writing_weights      takes the mean over d_model off the embedding, off what attention and MLP add, and so
                                off the residual stream. Only in GPT-2 and GPT-NeoX, whose readers subtract it anyway
    fold_ln                     moves the norms' weights and biases into what reads them: changes `mlp.hook_in`, and the
                                value bias, which then holds a share of the norm's bias
    fold_value_biases           moves the value bias behind the output projection. As attention's weights sum to one,
                                z loses just that bias
    refactor_factored_attn_matrices     rotates z by a singular value decomposition, of which the signs are free: a
                                coder of z that was trained so is refused

`HookedEncoder` processes no weights, so a coder of BERT that asks for any of these is refused. `center_unembed` changes
nothing at these points.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from autointerp.errors import SubjectError
from autointerp.subject.families import FAMILIES, Family, is_parallel
from autointerp.subject.model import Subject

HookKind = Literal["emb", "res", "att", "mlp"]
_EMBEDDING = "hook_embed"
_NAME = re.compile(r"^blocks\.(\d+)\.([\w.]+)$")
_KINDS: Mapping[str, HookKind] = {
    "hook_resid_pre": "res",
    "hook_resid_post": "res",
    "hook_normalized_resid_post": "res",
    "hook_resid_mid": "res",
    "hook_attn_out": "att",
    "hook_mlp_out": "mlp",
    "hook_mlp_in": "mlp",
    "attn.hook_z": "att",
    "ln1.hook_normalized": "att",
    "ln2.hook_normalized": "mlp",
    "mlp.hook_in": "mlp",
    "mlp.hook_post": "mlp",
    "attn.hook_out": "att",
    "mlp.hook_out": "mlp",
}
# Where in its layer a point lies: before attention, in it, between it and the MLP, in the MLP, after it.
_STEPS: Mapping[HookKind, int] = {"emb": -1, "res": 0, "att": 1, "mlp": 3}
_OTHER_STEPS = {"hook_resid_mid": 2, "hook_mlp_in": 2}
_ENDS = frozenset({"hook_resid_post", "hook_normalized_resid_post"})
# Points on the residual stream, and what is added to it.
_CENTERED = frozenset(name for name in _KINDS if name.startswith("hook_") or name.endswith("hook_out")) | {_EMBEDDING}

Adjust = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class WeightProcessing:
    """How TransformerLens processed the weights of the model that a coder was trained on.

    Attributes:
        fold_ln: Whether the norms' weights and biases went into what reads them.
        center_writing_weights: Whether what writes to the residual stream had its mean over `d_model` taken off.
        fold_value_biases: Whether the value biases went into the output bias.
        refactor_factored_attn_matrices: Whether queries, keys and values were rotated.
    """

    fold_ln: bool = False
    center_writing_weights: bool = False
    fold_value_biases: bool = False
    refactor_factored_attn_matrices: bool = False


def weight_processing(kwargs: Mapping[str, Any] | None) -> WeightProcessing:
    """The processing that a coder's `model_from_pretrained_kwargs` ask for.

    SAELens loads models with `from_pretrained_no_processing`, so what is not there was not done.

    Args:
        kwargs: Of the coder's metadata; other keys, such as a dtype, do not matter here.
    """
    asked = kwargs or {}
    return WeightProcessing(**{field.name: bool(asked.get(field.name, False)) for field in fields(WeightProcessing)})


@dataclass(frozen=True, slots=True)
class HookPoint:
    """One side of one module, at which activations are read.

    Attributes:
        name: TransformerLens' name.
        layer: Index of the layer; 0 for the embedding.
        kind: Embedding, residual stream, attention or MLP.
        module: The module.
        side: Whether its input or its output is read.
        adjust: Makes TransformerLens' value of what is read; None where it is that value.
    """

    name: str
    layer: int
    kind: HookKind
    module: nn.Module
    side: Literal["input", "output"]
    adjust: Adjust | None = None

    @property
    def is_writable(self) -> bool:
        """Whether a change of its value is the same change of what the module passes on, so that it can be made there.

        It is where the value is that, or differs by a shift only; not where it is normalised.
        """
        return not (isinstance(self.adjust, partial) and self.adjust.func is _normalized)


def resolve_hook(
    subject: Subject,
    name: str,
    processing: WeightProcessing = WeightProcessing(),
) -> HookPoint:
    """Find the module that a hook name means.

    Args:
        subject: The model.
        name: For example `blocks.3.hook_resid_post`.
        processing: How the weights of the model were processed that the coder was trained on.

    Raises:
        SubjectError: If the model's family or the name is not one that can be mapped, or if the processing can't be
            redone.
    """
    family = FAMILIES.get(subject.family)
    if family is None:
        raise SubjectError(
            f"hook names can't be mapped to a model of type {subject.family!r}",
            f"use a model of one of {', '.join(sorted(FAMILIES))}",
        )
    layers = subject.model.get_submodule(family.layers)
    assert isinstance(layers, nn.ModuleList)
    names = _hook_names(family, subject.model)
    match = _NAME.match(name)
    if match is not None and match[2] in names and int(match[1]) < len(layers):
        layer, hook = int(match[1]), match[2]
    elif name == _EMBEDDING and not family.has_post_norm:
        layer, hook = 0, _EMBEDDING
    else:
        also = "" if family.has_post_norm else f", or {_EMBEDDING}"
        raise SubjectError(
            f"the model {subject.name} has no hook point {name!r} that can be mapped",
            f"use blocks.N.HOOK with N from 0 to {len(layers) - 1} and HOOK one of {', '.join(names)}{also}",
        )
    if family.has_post_norm and processing != WeightProcessing():
        asked = ", ".join(field.name for field in fields(processing) if getattr(processing, field.name))
        raise SubjectError(
            f"the coder was trained on a model loaded with {asked}, which can't be redone for type {subject.family!r}",
            "use a coder that was trained without it",
        )
    module, side, adjust = _find_point(family, subject.model, layers[layer], hook, processing)
    if processing.center_writing_weights and family.has_layer_norm and hook in _CENTERED:
        assert adjust is None
        adjust = _centered
    return HookPoint(name, layer, _KINDS.get(hook, "emb"), module, side, adjust)


def parse_hook_name(name: str) -> tuple[int, HookKind]:
    """Layer and kind of a hook name.

    Raises:
        SubjectError: If it is neither `hook_embed` nor of the form `blocks.N.HOOK` with a HOOK that we know.
    """
    if name == _EMBEDDING:
        return 0, "emb"
    match = _NAME.match(name)
    if match is None or match[2] not in _KINDS:
        raise SubjectError(
            f"there is no hook point {name!r} that can be mapped",
            f"use blocks.N.HOOK with HOOK one of {', '.join(_KINDS)}, or {_EMBEDDING}",
        )
    return int(match[1]), _KINDS[match[2]]


def hook_place(name: str) -> tuple[int, int]:
    """Where in the model's computation a hook point lies: of two, the one with the lower place is computed first.

    Points within one attention, or within one MLP, have one place, as do the end of a layer and the beginning of the
    next. Attention comes before the MLP, which is not so where the two are parallel.

    Raises:
        SubjectError: As `parse_hook_name`.
    """
    layer, kind = parse_hook_name(name)
    point = name.partition(f"blocks.{layer}.")[2]
    return (layer + 1, 0) if point in _ENDS else (layer, _OTHER_STEPS.get(point, _STEPS[kind]))


def is_hook_name(name: str) -> bool:
    """Whether a name is one of TransformerLens', not of transformers' modules (`model.layers.8`)."""
    return name == _EMBEDDING or _NAME.match(name) is not None


def trained_hook_name(hook_name: str, transformers_name: str | None) -> str:
    """The name of the point that a coder was trained on, where SAELens gives it another's.

    SAELens calls the input of Gemma Scope 2's transcoders `hook_mlp_in`, which in TransformerLens is before the MLP's
    norm. They were trained behind it, as the name of transformers' module beside it says.

    Args:
        hook_name: `hook_name` of the coder's metadata.
        transformers_name: `hf_hook_name` of the coder's metadata.
    """
    match = _NAME.match(hook_name)
    is_behind_norm = transformers_name is not None and transformers_name.endswith("pre_feedforward_layernorm.output")
    if match is not None and match[2] == "hook_mlp_in" and is_behind_norm:
        return f"blocks.{match[1]}.mlp.hook_in"
    return hook_name


def _hook_names(family: Family, model: nn.Module) -> list[str]:
    """The names that can be mapped in one model, in the order of `_KINDS`."""
    if family.has_post_norm:
        missing = {"hook_resid_mid", "hook_mlp_in"}
    else:
        missing = {"hook_normalized_resid_post"} | ({"hook_resid_mid"} if is_parallel(model) else set())
    return [name for name in _KINDS if name not in missing]


def _find_point(
    family: Family, model: nn.Module, layer: nn.Module, hook: str, processing: WeightProcessing
) -> tuple[nn.Module, Literal["input", "output"], Adjust | None]:
    """The module, its side, and what centring apart is to be done to the value."""
    match hook:
        case "hook_embed" if family.token_embedding is not None:
            return model.get_submodule(family.token_embedding), "output", None
        case "hook_embed" | "hook_resid_pre":
            return layer, "input", None
        case "hook_resid_post" | "hook_normalized_resid_post":
            return layer, "output", None
        case "hook_resid_mid" | "hook_mlp_in":
            return layer.get_submodule(family.norm_2), "input", None
        case "hook_attn_out":
            return layer.get_submodule(family.attention), "output", None
        case "hook_mlp_out":
            return layer.get_submodule(family.mlp), "output", None
        case "attn.hook_z":
            return layer.get_submodule(family.attention_projection), "input", _adjust_z(family, layer, processing)
        case "mlp.hook_post":
            return layer.get_submodule(family.mlp_projection), "input", None
        case "attn.hook_out":
            return layer.get_submodule(family.attention_projection), "output", None
        case "mlp.hook_out":
            return layer.get_submodule(family.mlp_projection), "output", None
        case "mlp.hook_in" if not processing.fold_ln:
            return layer.get_submodule(family.mlp_input), "input", None
        case _:
            norm = layer.get_submodule(family.norm_1 if hook == "ln1.hook_normalized" else family.norm_2)
            return norm, "input", _normalizer(norm)


def _adjust_z(family: Family, layer: nn.Module, processing: WeightProcessing) -> Adjust | None:
    if processing.refactor_factored_attn_matrices:
        raise SubjectError(
            "the coder reads attn.hook_z of a model loaded with refactor_factored_attn_matrices, which can't be redone",
            "use a coder that was trained without it",
        )
    if not processing.fold_value_biases or family.value_bias is None:
        return None
    bias = family.value_bias(layer, processing.fold_ln)
    return None if bias is None else partial(_without, bias.detach())


def norm_eps(norm: Any) -> float:
    """What a norm adds to the mean square before it takes the root."""
    return float(norm.variance_epsilon if hasattr(norm, "variance_epsilon") else norm.eps)


def _normalizer(norm: Any) -> Adjust:
    return partial(_normalized, eps=norm_eps(norm), centers=isinstance(norm, nn.LayerNorm))


def _centered(activations: Float[Tensor, "*batch d_hook"]) -> Float[Tensor, "*batch d_hook"]:
    return activations - activations.mean(dim=-1, keepdim=True)


def _without(bias: Float[Tensor, " d_hook"], activations: Float[Tensor, "*batch d_hook"]) -> Tensor:
    return activations - bias.to(activations)


def _normalized(activations: Float[Tensor, "*batch d_hook"], eps: float, centers: bool) -> Tensor:
    # In single precision, as transformers and TransformerLens do it, also where the model is in half.
    exact = _centered(activations.float()) if centers else activations.float()
    return (exact * torch.rsqrt(exact.square().mean(dim=-1, keepdim=True) + eps)).to(activations)
