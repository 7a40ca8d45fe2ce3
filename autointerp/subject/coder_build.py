"""From what a coder's files hold to SAELens' module, of any format: what they say is held against their weights.

Every format's loader ends in settings, by SAELens' names, and weights. A config may say anything, and SAELens fills in
what it does not say and passes over what it does not know, so here:

1. A name or value that decides what is computed is one that is carried out, or it is an error: architecture, activation
   function, k, whether `b_dec` comes off the input, normalisation, one head of attention.
2. Widths are those of the weights. What the config says of them is only looked at to tell of a difference.
3. The weights are just those that the architecture has, in shapes that go together, and floating-point numbers.
   Whether these are finite is looked at when they have the dtype that they run in.
4. What was done in training and is not done here, but does not change the formula, is told in a line.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import UnionType
from typing import Any, Literal, get_args, get_origin

import torch
from torch import Tensor

from autointerp.errors import SubjectError

logger = logging.getLogger(__name__)

Loaded = tuple[dict[str, Any], dict[str, Tensor]]

# SAELens' architectures that encode each token by itself, and whether their activations may be below zero; where they
# may, firings are the activations above zero.
ARCHITECTURES: Mapping[str, bool] = {
    "standard": False,
    "gated": False,
    "topk": False,
    "jumprelu": False,
    "abstopk": True,
    "matching_pursuit": False,
    "transcoder": False,
    "skip_transcoder": False,
    "jumprelu_transcoder": False,
    "jumprelu_skip_transcoder": False,
}
_WITH_K = ("topk", "abstopk")
# Arguments of TransformerLens' models: those that `subject.hooks` redoes, and those that change no activation.
_REDONE = {"fold_ln", "center_writing_weights", "fold_value_biases", "refactor_factored_attn_matrices"}
_WITHOUT_EFFECT = {
    *("center_unembed", "dtype", "torch_dtype", "device", "n_devices", "move_to_device", "device_map", "cache_dir"),
    *("low_cpu_mem_usage", "trust_remote_code", "attn_implementation", "token", "default_prepend_bos"),
    *("default_padding_side", "local_files_only", "verbose", "use_safetensors"),
}


@dataclass(frozen=True, slots=True)
class CoderMetadata:
    """What a coder says of its training, as far as it matters here; other keys are let be.

    Attributes:
        hook_name: The hook point it reads.
        hook_name_out: The hook point that a transcoder writes.
        hf_hook_name: transformers' name of the point it reads.
        hook_layer: The layer of `hook_name`.
        hook_head_index: The head of attention that it reads alone.
        hook_head_index_out: The one that a transcoder writes alone.
        prepend_bos: Whether it was trained on text that begins with the BOS token.
        model_name: TransformerLens' or the hub's name of the model.
        model_from_pretrained_kwargs: How TransformerLens loaded the model.
        seqpos_slice: Start, end and step of the positions that it was trained on.
    """

    hook_name: str | None = None
    hook_name_out: str | None = None
    hf_hook_name: str | None = None
    hook_layer: int | None = None
    hook_head_index: int | None = None
    hook_head_index_out: int | None = None
    prepend_bos: bool | None = None
    model_name: str | None = None
    model_from_pretrained_kwargs: dict[str, Any] | None = None
    seqpos_slice: list[int | None] | None = None


def build_sae(loaded: Loaded, origin: str, device: torch.device) -> tuple[Any, CoderMetadata]:
    """Make SAELens' module of settings and weights.

    Args:
        loaded: From a loader; the weights become the module's own, in the dtype they have.
        origin: The coder, for messages.
        device: Where the module shall lie.

    Returns:
        The module, and what it says of its training.

    Raises:
        SubjectError: If settings or weights are such as can't be run; see the module's steps.
    """
    from sae_lens.loading.pretrained_sae_loaders import handle_config_defaulting
    from sae_lens.registry import get_sae_class

    said, weights = loaded
    # A file may say null of what it says nothing of.
    said = {key: value for key, value in said.items() if value is not None or key != "metadata"}
    for key in ("metadata", "activation_fn_kwargs"):
        if not isinstance(said.get(key), Mapping | None):
            raise _wrong_config(f"{key} is {said[key]!r}, no JSON object", origin)
    _check_activation_function(said, origin)
    check_architecture(str(said.get("architecture", "standard")), origin)
    # Its own layer is left out where SAELens brings an older config to its present form.
    layer = said.get("hook_layer", said.get("hook_point_layer"))
    settings = handle_config_defaulting(said)
    architecture = settings["architecture"]
    check_architecture(architecture, origin)
    if "topk" in (said.get("activation_fn"), said.get("activation_fn_str")) and architecture not in _WITH_K:
        raise _wrong_config(f"the activation function topk does not go with the architecture {architecture}", origin)
    metadata = _read_metadata({"hook_layer": layer, **settings["metadata"]}, origin)
    sae_class, config_class = get_sae_class(architecture)
    _fold_finetuning(weights)
    settings |= _widths(weights, settings, config_class, origin)
    _check_values(settings, config_class, origin)
    # On the device `meta` a module has shapes and no memory.
    sae: Any = sae_class(config_class.from_dict(settings | {"device": "meta"}))
    sae.process_state_dict_for_loading(weights)
    _check_weights(weights, sae.state_dict(), origin)
    sae.load_state_dict(weights, assign=True)
    return sae.to(device=device), metadata


def check_architecture(name: str, origin: str) -> None:
    """See that a coder's architecture is one of `ARCHITECTURES`.

    Raises:
        SubjectError: If it is not.
    """
    if name in ARCHITECTURES:
        return
    reasons = {
        "temporal": "makes features of what came before a token, not of its activation alone",
        "batchtopk": "is for training only, and SAELens' save_inference_model makes jumprelu of it",
        "matryoshka_batchtopk": "is for training only, and SAELens' save_inference_model makes jumprelu of it",
    }
    raise SubjectError(
        f"the coder {origin} is of the architecture {name}, which {reasons.get(name, 'is not known here')}",
        f"use one of {', '.join(ARCHITECTURES)}",
    )


def _check_activation_function(said: Mapping[str, Any], origin: str) -> None:
    """See that the activation function is one that SAELens carries out: it takes any other for ReLU."""
    names = [said[key] for key in ("activation_fn", "activation_fn_str") if said.get(key)]
    arguments = said.get("activation_fn_kwargs") or {}
    for name in names:
        if name not in ("relu", "topk"):
            raise SubjectError(
                f"the coder {origin} has the activation function {name!r}, which SAELens no longer carries out",
                "use a coder with relu or topk, or of an architecture that has a function of its own",
            )
    name = "topk" if "topk" in names else "relu"
    for key, value in arguments.items():
        if key != "k" and value:
            raise SubjectError(
                f"the coder {origin} has the activation function {name!r} with {key} = {value!r}, which SAELens does "
                f"not carry out",
                "use a coder without it",
            )
    if name == "topk" and said.get("k", arguments.get("k")) is None:
        raise SubjectError(
            f"the coder {origin} has the activation function topk and does not say with which k",
            'write the k of its training into its config, as "activation_fn_kwargs": {"k": …}',
        )


def _read_metadata(said: Mapping[str, Any], origin: str) -> CoderMetadata:
    known = {field.name: said.get(field.name) for field in fields(CoderMetadata)}
    for field in fields(CoderMetadata):
        if not _is_of(known[field.name], field.type):
            raise _wrong_config(f"{field.name} is {known[field.name]!r}", origin)
    metadata = CoderMetadata(**known)
    if metadata.hook_head_index is not None or metadata.hook_head_index_out is not None:
        raise SubjectError(
            f"the coder {origin} was trained on one head of attention alone (hook_head_index = "
            f"{metadata.hook_head_index if metadata.hook_head_index is not None else metadata.hook_head_index_out})",
            "use a coder of attn.hook_z, all heads side by side, or of another hook point",
        )
    if metadata.seqpos_slice is not None and any(place is not None for place in metadata.seqpos_slice):
        logger.warning(
            "the coder %s was trained on the positions %s of each block alone; here it reads all that count",
            origin,
            ":".join("" if place is None else str(place) for place in metadata.seqpos_slice),
        )
    kwargs = metadata.model_from_pretrained_kwargs or {}
    for key in _REDONE & kwargs.keys():
        if not isinstance(kwargs[key], bool | None):
            raise _wrong_config(f"model_from_pretrained_kwargs.{key} is {kwargs[key]!r}", origin)
    for key in sorted(kwargs.keys() - _REDONE - _WITHOUT_EFFECT):
        if kwargs[key] not in (None, False):
            logger.warning(
                "the coder %s was trained on a model loaded with %s = %r, which is not done here",
                origin,
                key,
                kwargs[key],
            )
    return metadata


def check_layer(metadata: CoderMetadata, origin: str) -> None:
    """See that a coder's hook name and layer agree.

    Raises:
        SubjectError: If they don't.
    """
    named = re.search(r"\.(\d+)\.", metadata.hook_name or "")
    if named is not None and metadata.hook_layer is not None and int(named[1]) != metadata.hook_layer:
        raise SubjectError(
            f"the coder {origin} says two layers: hook_name = {metadata.hook_name!r} and hook_layer = "
            f"{metadata.hook_layer}",
            "set coder.hook to the point that it was trained on",
        )


def _widths(
    weights: Mapping[str, Tensor], said: Mapping[str, Any], config_class: type[Any], origin: str
) -> dict[str, int]:
    """`d_in`, `d_sae` and, of a transcoder, `d_out`, as the weights have them."""
    matrices = {name: weights[name] for name in ("W_enc", "W_dec") if name in weights}
    for name, matrix in matrices.items():
        if matrix.ndim != 2 or 0 in matrix.shape:
            raise SubjectError(
                f"the coder {origin} has a {name} of the shape {_by(matrix.shape)}, not one of width by features",
                "download or save it once more",
            )
    if "W_dec" not in matrices:
        raise SubjectError(f"the coder {origin} has no W_dec", "give a whole coder, not a part of one")
    decoder = matrices["W_dec"]
    encoder = matrices.get("W_enc", decoder.T)
    widths = {"d_in": encoder.shape[0], "d_sae": encoder.shape[1]}
    if any(field.name == "d_out" for field in fields(config_class)):
        widths["d_out"] = decoder.shape[1]
    for name, width in widths.items():
        # A width of 0 is sparsify's way to say that it follows from others.
        if said.get(name) and said[name] != width:
            logger.warning(
                "the config of the coder %s says %s = %s, its weights %d; the weights are followed",
                origin,
                name,
                said[name],
                width,
            )
    return widths


def _check_values(settings: Mapping[str, Any], config_class: type[Any], origin: str) -> None:
    """See that what the architecture is told is of its kind: SAELens would compute with whatever it is."""
    wrong: str | None = None
    for field in fields(config_class):
        # The two of a few words are looked at by SAELens and below.
        is_plain = field.name != "metadata" and get_origin(field.type) is not Literal
        if is_plain and field.name in settings and not _is_of(settings[field.name], field.type):
            wrong = f"{field.name} is {settings[field.name]!r}"
    if settings.get("reshape_activations", "none") not in ("none", "hook_z"):
        wrong = f"reshape_activations is {settings['reshape_activations']!r}, not none or hook_z"
    k, width = settings.get("k"), settings["d_sae"]
    if settings["architecture"] in _WITH_K and not (isinstance(k, int) and 1 <= k <= width):
        wrong = "it does not say k" if k is None else f"k is {k!r}, of {width:,} features"
    if settings["architecture"] not in _WITH_K and settings.get("rescale_acts_by_decoder_norm"):
        wrong = f"rescale_acts_by_decoder_norm does not go with the architecture {settings['architecture']}"
    if wrong is not None:
        raise _wrong_config(wrong, origin)


def _fold_finetuning(weights: dict[str, Tensor]) -> None:
    """Bring the factors that finetuning put on features into the directions: they act when features are written."""
    if (factors := weights.pop("finetuning_scaling_factor", None)) is not None:
        weights["W_dec"] = weights["W_dec"] * factors[:, None]


def _check_weights(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor], origin: str) -> None:
    problems = [f"{name} is missing" for name in wanted if name not in weights]
    problems += [f"{name} has no place in it" for name in weights if name not in wanted]
    problems += [
        f"{name} is {_by(weights[name].shape)}, not {_by(wanted[name].shape)}"
        for name in wanted
        if name in weights and weights[name].shape != wanted[name].shape
    ]
    problems += [
        f"{name} holds {str(tensor.dtype).removeprefix('torch.')}, not floating-point numbers"
        for name, tensor in weights.items()
        if not tensor.dtype.is_floating_point
    ]
    if problems:
        raise SubjectError(
            f"the weights of the coder {origin} don't go with its architecture: {', '.join(problems[:4])}",
            "check its config, or download or save it once more",
        )


def _by(shape: torch.Size) -> str:
    return " x ".join(map(str, shape)) or "a single number"


def _is_of(value: object, kind: Any) -> bool:
    """Whether a value is of a kind, such as `int | None`; true and false are no numbers, and a whole one is a float."""
    kinds = [get_origin(one) or one for one in (get_args(kind) if type(kind) is UnionType else (kind,))]
    return type(value) in kinds or (type(value) is int and float in kinds)


def _wrong_config(what: str, origin: str) -> SubjectError:
    return SubjectError(
        f"the config of the coder {origin} is wrong: {what}", "write there what it was trained with, as SAELens does"
    )
