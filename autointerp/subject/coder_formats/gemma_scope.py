"""Coders of Gemma Scope and Gemma Scope 2, in their publisher's files."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from autointerp.subject.coder_build import Loaded
from autointerp.subject.coder_formats.files import loaders_of, read_object

_GEMMA_REPOSITORY = re.compile(r"gemma-scope-(?:2b|9b|27b)-(?:pt|it)-(?:res|mlp|att|transcoders)")
_LAYER = re.compile(r"layer_(\d+)")


def load_gemma_scope(folder: Path, device: str, overrides: dict[str, Any]) -> Loaded:
    """Read `params.npz`; arguments as of `formats.load_files`, overrides of what the loader would say."""
    place = folder.resolve().as_posix()
    with np.load(folder / "params.npz") as arrays:
        d_sae, d_out = arrays["b_enc"].shape[0], arrays["b_dec"].shape[0]
    # In Gemma Scope, transcoders too write as wide as they read.
    overrides |= {"d_sae": d_sae, "d_in": d_out}
    repository = _GEMMA_REPOSITORY.search(place)
    layers = _LAYER.findall(place)
    is_embedding = "/embedding/" in place
    loaders = loaders_of(folder)
    if repository is None or not (layers or is_embedding):
        # The loader insists on a model and a layer. These decide nothing but the names that are emptied here.
        overrides |= {"hook_name": "", "model_name": None}
        config, weights, _ = loaders.gemma_2_sae_huggingface_loader(
            "gemma-scope-2b-pt-res", "layer_0", device, False, overrides
        )
        return config, weights
    layer = "embedding" if is_embedding else f"layer_{layers[-1]}"
    if repository[0].endswith("transcoders"):
        overrides["d_out"] = d_out
        load = loaders.gemma_2_transcoder_huggingface_loader
    else:
        load = loaders.gemma_2_sae_huggingface_loader
    config, weights, _ = load(repository[0], f"{layer}/width_16k", device, False, overrides)
    return config, weights


_SCOPE_2_KINDS = {
    "output": "resid_post",
    "self_attn.o_proj.input": "attn_out",
    "post_feedforward_layernorm.output": "mlp_out",
    "pre_feedforward_layernorm.output": "transcoder",
}


def load_gemma_scope_2(folder: Path, device: str, overrides: dict[str, Any]) -> Loaded:
    """Read `params.safetensors`; arguments as of `formats.load_files`, overrides of what the loader would say."""
    place = folder.resolve().as_posix()
    said = re.search(r"(resid_post|attn_out|mlp_out|transcoder)\w*/(layer_\d+)", place)
    kind, layer = (said[1], said[2]) if said else (None, None)
    if (config_file := folder / "config.json").is_file():
        point = str(read_object(config_file).get("hf_hook_point_in"))
        if read := re.fullmatch(r"model\.layers\.(\d+)\.(\S+)", point):
            kind, layer = _SCOPE_2_KINDS.get(read[2]), f"layer_{read[1]}"
    if kind is None:
        kind, layer = "resid_post", "layer_0"
        overrides |= {"hook_name": "", "hf_hook_name": None, "model_name": None}
    size = re.search(r"gemma-scope-2-\w+-(?:pt|it)", place)
    if size is None and not config_file.is_file():
        overrides |= {"model_name": None}
    affine = "_affine" if "affine" in Path(place).name else ""
    config, weights, _ = loaders_of(folder).gemma_3_sae_huggingface_loader(
        size[0] if size else "gemma-scope-2", f"{kind}/{layer}{affine}", device, False, overrides
    )
    return config, weights
