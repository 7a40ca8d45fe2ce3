"""TransformerLens hook names on transformers' modules, and a forward pass that stops at the last one needed.

A coder names the point it was trained on as TransformerLens does, `blocks.8.hook_resid_pre`. Here each name becomes
one side of one module:

    hook_resid_pre     input of layer N
    hook_resid_post    output of layer N
    hook_attn_out      what layer N's attention adds to the residual stream
    hook_mlp_out       what layer N's MLP adds to the residual stream

BERT normalises after each addition. There `hook_resid_post` is the output of the whole layer, its normalisation
included, as in TransformerLens' `TransformerBridge`; the older `HookedEncoder` calls the same point
`hook_normalized_resid_post`, which is understood too. `hook_attn_out` and `hook_mlp_out` are what goes into the
normalised sum.

Gemma 2 and 3 normalise what attention and MLP add; both names mean the normalised value, as in `HookedTransformer`.
"""

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from autointerp.errors import SubjectError
from autointerp.subject.model import Subject

HookKind = Literal["res", "att", "mlp"]
_NAME = re.compile(r"^blocks\.(\d+)\.(hook_\w+)$")
_KINDS: dict[str, HookKind] = {
    "hook_resid_pre": "res",
    "hook_resid_post": "res",
    "hook_normalized_resid_post": "res",
    "hook_attn_out": "att",
    "hook_mlp_out": "mlp",
}


@dataclass(frozen=True, slots=True)
class _Family:
    """Where a family of models keeps its layers, and what in a layer adds to the residual stream.

    Attributes:
        layers: Path of the list of layers in the base model.
        attention: Path in a layer of the module whose output attention adds; None where there is no such module.
        mlp: The same for the MLP.
        has_layer_norm: Whether every reader of the residual stream subtracts its mean first, so that
            TransformerLens' `center_writing_weights` changes nothing but the mean.
        has_post_norm: Whether layers normalise after adding, so that their output has a name of its own.
    """

    layers: str
    attention: str
    mlp: str
    has_layer_norm: bool = False
    has_post_norm: bool = False


_LLAMA = _Family(layers="layers", attention="self_attn", mlp="mlp")
_GEMMA = _Family(layers="layers", attention="post_attention_layernorm", mlp="post_feedforward_layernorm")
_FAMILIES: Mapping[str, _Family] = {
    "bert": _Family("encoder.layer", attention="attention.output.dense", mlp="output.dense", has_post_norm=True),
    "gpt2": _Family("h", attention="attn", mlp="mlp", has_layer_norm=True),
    "gpt_neox": _Family("layers", attention="attention", mlp="mlp", has_layer_norm=True),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
    "gemma3": _Family("language_model.layers", attention=_GEMMA.attention, mlp=_GEMMA.mlp),
}


@dataclass(frozen=True, slots=True)
class HookPoint:
    """One side of one module, at which activations are read.

    Attributes:
        name: TransformerLens' name.
        layer: Index of the layer.
        kind: Residual stream, attention or MLP.
        module: The module.
        side: Whether its input or its output is read.
        centers: Whether the mean over `d_model` is taken off, as `center_writing_weights` does.
    """

    name: str
    layer: int
    kind: HookKind
    module: nn.Module
    side: Literal["input", "output"]
    centers: bool


def resolve_hook(subject: Subject, name: str, *, center_writing_weights: bool = False) -> HookPoint:
    """Find the module that a hook name means.

    Args:
        subject: The model.
        name: For example `blocks.3.hook_resid_post`.
        center_writing_weights: Whether the coder was trained on TransformerLens' model with weights that write to the
            residual stream centred. As there, this is without effect on models without LayerNorm before each reader.

    Raises:
        SubjectError: If the model's family or the name is not one that can be mapped.
    """
    family = _FAMILIES.get(subject.family)
    if family is None:
        raise SubjectError(
            f"hook names can't be mapped to a model of type {subject.family!r}",
            f"use a model of one of {', '.join(sorted(_FAMILIES))}",
        )
    layers = subject.model.get_submodule(family.layers)
    assert isinstance(layers, nn.ModuleList)
    names = _hook_names(family)
    match = _NAME.match(name)
    if match is None or match[2] not in names or int(match[1]) >= len(layers):
        raise SubjectError(
            f"the model {subject.name} has no hook point {name!r} that can be mapped",
            f"use blocks.N.HOOK with N from 0 to {len(layers) - 1} and HOOK one of {', '.join(names)}",
        )
    layer, hook = int(match[1]), match[2]
    path = {"hook_attn_out": family.attention, "hook_mlp_out": family.mlp}.get(hook, "")
    return HookPoint(
        name=name,
        layer=layer,
        kind=_KINDS[hook],
        module=layers[layer].get_submodule(path),
        side="input" if hook == "hook_resid_pre" else "output",
        centers=center_writing_weights and family.has_layer_norm,
    )


def parse_hook_name(name: str) -> tuple[int, HookKind]:
    """Layer and kind of a hook name.

    Raises:
        SubjectError: If it is not of the form `blocks.N.HOOK` with a HOOK that we know.
    """
    match = _NAME.match(name)
    if match is None or match[2] not in _KINDS:
        raise SubjectError(
            f"there is no hook point {name!r} that can be mapped",
            f"use blocks.N.HOOK with HOOK one of {', '.join(_KINDS)}",
        )
    return int(match[1]), _KINDS[match[2]]


def _hook_names(family: _Family) -> list[str]:
    return [name for name in _KINDS if family.has_post_norm or name != "hook_normalized_resid_post"]


class _LastHookReached(Exception):
    """Ends a forward pass from inside."""


def read_hooks(
    subject: Subject,
    hooks: Sequence[HookPoint],
    token_ids: Int[Tensor, "block position"],
    attention_mask: Int[Tensor, "block position"],
) -> list[Float[Tensor, "block position d_hook"]]:
    """Run the model up to the last of `hooks`, and no further.

    Safe to call from several threads on one subject.

    Args:
        subject: The model.
        hooks: From `resolve_hook`, in any order.
        token_ids: Tokens, on any device.
        attention_mask: 1 for tokens, 0 for padding.

    Returns:
        Activations at each hook, in the order of `hooks`, on the subject's device and in its dtype.
    """
    read: dict[int, Tensor] = {}
    try:
        with torch.inference_mode(), _listening(hooks, read):
            subject.model(
                input_ids=token_ids.to(subject.device, torch.long),
                attention_mask=attention_mask.to(subject.device, torch.long),
                use_cache=False,
            )
    except _LastHookReached:
        pass
    return [_centered(read[_key(hook)]) if hook.centers else read[_key(hook)] for hook in hooks]


def _key(hook: HookPoint) -> int:
    return 2 * id(hook.module) + (hook.side == "output")


@contextmanager
def _listening(hooks: Sequence[HookPoint], read: dict[int, Tensor]) -> Iterator[None]:
    """Put what each hook sees into `read`, and end the forward pass when all have been seen."""
    n_wanted = len({_key(hook) for hook in hooks})
    # Another thread may run the same modules at once; what it sees is not ours.
    thread = threading.get_ident()

    def keep(hook: HookPoint, value: Any) -> None:
        if threading.get_ident() == thread:
            read[_key(hook)] = value[0] if isinstance(value, tuple) else value
            if len(read) == n_wanted:
                raise _LastHookReached

    def keep_input(hook: HookPoint, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        keep(hook, args[0] if args else kwargs["hidden_states"])

    def keep_output(hook: HookPoint, _: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        keep(hook, output)

    handles = [
        hook.module.register_forward_pre_hook(partial(keep_input, hook), with_kwargs=True)
        if hook.side == "input"
        else hook.module.register_forward_hook(partial(keep_output, hook))
        for hook in hooks
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _centered(activations: Float[Tensor, "*batch d_hook"]) -> Float[Tensor, "*batch d_hook"]:
    return activations - activations.mean(dim=-1, keepdim=True)
