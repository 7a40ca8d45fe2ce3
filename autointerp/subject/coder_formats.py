"""Coders in the files of several libraries, read from a folder by SAELens' own loaders.

SAELens keeps one loader per publisher. Most are written for the hub: they ask for files by repository and name. Here
each runs on a folder instead:

1. The format is told by the files that are there, or by `coder.format`.
2. What a loader would take from the repository's name (layer, hook point, widths) is read from the files where they
   say it, else from the folder's path; what neither says stays empty, and `coder.hook` must be set.
3. The loader runs in a copy of SAELens' module whose downloads come from the folder, and gives config and weights.

Where a loader says something else than the library that wrote the files does, the library is followed:

- sparsify's `SparseCoder` takes `b_dec` off its input exactly if it is no transcoder, keeps `W_dec` as (feature,
  d_in), and names a coder after the module that it was trained on, `layers.5.mlp`. SAELens 6.54 asks
  `normalize_decoder`, transposes `W_dec`, and takes every module for the layer.
- dictionary_learning may train on attention or MLP; SAELens takes every coder for one of the residual stream, and a
  class that it does not know for a plain autoencoder.
"""

import importlib.util
import json
import re
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from torch import Tensor

from autointerp.errors import SubjectError

Loaded = tuple[dict[str, Any], dict[str, Tensor]]
Converter = Callable[[str | Path, str, dict[str, Any] | None], Loaded]

# The files that a folder of each format holds, the weights last.
FORMAT_FILES: Mapping[str, tuple[str, ...]] = {
    "saelens": ("cfg.json", "sae_weights.safetensors"),
    "gemma_scope": ("params.npz",),
    "gemma_scope_2": ("params.safetensors",),
    "sparsify": ("cfg.json", "sae.safetensors"),
    "dictionary_learning": ("config.json", "ae.pt"),
}


def recognise_format(folder: Path, wanted: str) -> str:
    """The format of the coder in a folder.

    Args:
        folder: An existing folder.
        wanted: `coder.format`: a format, or `auto` to tell it by the files.

    Raises:
        SubjectError: If files are missing, or those of several formats are there.
    """
    there = [name for name, files in FORMAT_FILES.items() if all((folder / file).is_file() for file in files)]
    if wanted in there or (wanted == "auto" and len(there) == 1):
        return wanted if wanted in there else there[0]
    if wanted == "auto" and there:
        raise SubjectError(
            f"the folder {folder} holds coders in several formats", f"set coder.format to one of {', '.join(there)}"
        )
    asked = "" if wanted == "auto" else f" in the format {wanted}"
    raise SubjectError(
        f"the folder {folder} holds no coder that SAELens can load{asked}",
        "give a folder with the files of one format: "
        + ", ".join(f"{name} ({' and '.join(files)})" for name, files in FORMAT_FILES.items()),
    )


def disk_converter(name: str) -> Converter:
    """SAELens' loader of a format, made to read a folder; it is called as `SAE.load_from_disk` calls its `converter`.

    Args:
        name: A key of `FORMAT_FILES`.
    """
    return {
        "saelens": _saelens,
        "gemma_scope": _gemma_scope,
        "gemma_scope_2": _gemma_scope_2,
        "sparsify": _sparsify,
        "dictionary_learning": _dictionary_learning,
    }[name]


def _saelens(path: str | Path, device: str, cfg_overrides: dict[str, Any] | None) -> Loaded:
    from sae_lens.loading.pretrained_sae_loaders import sae_lens_disk_loader

    loaded: Loaded = sae_lens_disk_loader(path, device, cfg_overrides)
    return loaded


_GEMMA_REPOSITORY = re.compile(r"gemma-scope-(?:2b|9b|27b)-(?:pt|it)-(?:res|mlp|att|transcoders)")
_LAYER = re.compile(r"layer_(\d+)")


def _gemma_scope(path: str | Path, device: str, cfg_overrides: dict[str, Any] | None) -> Loaded:
    place = Path(path).resolve().as_posix()
    with np.load(Path(path) / "params.npz") as arrays:
        d_sae, d_out = arrays["b_enc"].shape[0], arrays["b_dec"].shape[0]
    # In Gemma Scope, transcoders too write as wide as they read.
    overrides = {"d_sae": d_sae, "d_in": d_out, **(cfg_overrides or {})}
    repository = _GEMMA_REPOSITORY.search(place)
    layers = _LAYER.findall(place)
    is_embedding = "/embedding/" in place
    loaders = _loaders_of(Path(path))
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


def _gemma_scope_2(path: str | Path, device: str, cfg_overrides: dict[str, Any] | None) -> Loaded:
    overrides = dict(cfg_overrides or {})
    place = Path(path).resolve().as_posix()
    said = re.search(r"(resid_post|attn_out|mlp_out|transcoder)\w*/(layer_\d+)", place)
    kind, layer = (said[1], said[2]) if said else (None, None)
    if (config_file := Path(path) / "config.json").is_file():
        point = json.loads(config_file.read_text(encoding="utf-8")).get("hf_hook_point_in") or ""
        if read := re.fullmatch(r"model\.layers\.(\d+)\.(\S+)", point):
            kind, layer = _SCOPE_2_KINDS.get(read[2]), f"layer_{read[1]}"
    if kind is None:
        kind, layer = "resid_post", "layer_0"
        overrides |= {"hook_name": "", "hf_hook_name": None, "model_name": None}
    affine = "_affine" if "affine" in Path(place).name else ""
    size = re.search(r"gemma-scope-2-\w+-(?:pt|it)", place)
    config, weights, _ = _loaders_of(Path(path)).gemma_3_sae_huggingface_loader(
        size[0] if size else "gemma-scope-2", f"{kind}/{layer}{affine}", device, False, overrides
    )
    return config, weights


_SPARSIFY_NAME = re.compile(r"(?:^|\.)(?:layers?|h)[._](\d+)(?:\.(mlp|self_attn|attention|attn))?$")


def _sparsify(path: str | Path, device: str, cfg_overrides: dict[str, Any] | None) -> Loaded:
    from sae_lens.loading.pretrained_sae_loaders import sparsify_disk_loader

    folder = Path(path).resolve()
    settings = json.loads((folder / "cfg.json").read_text(encoding="utf-8"))
    is_transcoder = bool(settings.get("transcode", False))
    unknown = [
        f"{key} = {settings[key]}"
        for key, plain in (("activation", "topk"), ("gram_lookup", False))
        if settings.get(key, plain) != plain
    ]
    if unknown:
        raise SubjectError(
            f"the sparsify coder {folder} was trained with {' and '.join(unknown)}",
            "use one with activation = topk and without gram_lookup",
        )
    reads, writes = _sparsify_hooks(folder.name, is_transcoder=is_transcoder)
    overrides = {
        **(cfg_overrides or {}),
        "apply_b_dec_to_input": not is_transcoder,
        "hook_name": reads,
        "hook_name_out": writes,
        "prepend_bos": None,  # the loader says True of every coder; the files don't say
    }
    with tempfile.TemporaryDirectory() as parent:
        # The loader refuses folders that are not called after a layer.
        (staged := Path(parent) / "layers.0").symlink_to(folder, target_is_directory=True)
        config, weights = sparsify_disk_loader(staged, device, overrides)
    if "W_dec" in tensor_shapes(str(folder / "sae.safetensors")):
        weights["W_dec"] = weights["W_dec"].T
    return config, weights


def _sparsify_hooks(name: str, *, is_transcoder: bool) -> tuple[str, str | None]:
    """Where a coder that sparsify named after a module reads, and where a transcoder writes."""
    match = _SPARSIFY_NAME.search(name)
    if match is None:
        return "", None
    block = f"blocks.{match[1]}."
    part = {None: "resid", "mlp": "mlp"}.get(match[2], "attn")
    # A module's own output, which in Gemma 2 and 3 is normalised before it is added to the residual stream.
    outside = block + ("hook_resid_post" if part == "resid" else f"{part}.hook_out")
    if not is_transcoder:
        return outside, None
    # A module's input: of the layer, or of its MLP behind the normalisation. Attention's has no one name.
    inside = {"resid": block + "hook_resid_pre", "mlp": block + "mlp.hook_in"}.get(part, "")
    return inside, outside


_DICTIONARY_CLASSES = (
    "AutoEncoder",
    "AutoEncoderTopK",
    "GatedAutoEncoder",
    "JumpReluAutoEncoder",
    "BatchTopKSAE",
    "MatryoshkaBatchTopKSAE",
)


def _dictionary_learning(path: str | Path, device: str, cfg_overrides: dict[str, Any] | None) -> Loaded:
    content = json.loads((Path(path) / "config.json").read_text(encoding="utf-8"))
    trainer, buffer = content["trainer"], content.get("buffer") or {}
    if trainer["dict_class"] not in _DICTIONARY_CLASSES:
        raise SubjectError(
            f"SAELens has no loader for dictionary_learning's {trainer['dict_class']} ({path})",
            f"use one of {', '.join(_DICTIONARY_CLASSES)}",
        )
    overrides = {
        **(cfg_overrides or {}),
        "hook_name": _dictionary_hook(trainer, buffer),
        "prepend_bos": None,  # the loader says True of every coder; the files don't say
    }
    # The loader needs these keys, and files made without a buffer or for no particular layer lack them.
    completed = {
        "trainer": {"layer": None, **trainer, "lm_name": trainer.get("lm_name") or ""},
        "buffer": {"ctx_len": None, **buffer},
    }
    with tempfile.TemporaryDirectory() as place:
        (config_file := Path(place) / "config.json").write_text(json.dumps(completed), encoding="utf-8")
        loaders = _loaders_of(Path(path), {"config.json": config_file})
        config, weights, _ = loaders.dictionary_learning_sae_huggingface_loader_1("", ".", device, False, overrides)
    return config, weights


_DICTIONARY_SUBMODULES = {
    "resid_post": "hook_resid_post",
    "resid_pre": "hook_resid_pre",
    "attn_out": "attn.hook_out",
    "mlp_out": "mlp.hook_out",
}


def _dictionary_hook(trainer: Mapping[str, Any], buffer: Mapping[str, Any]) -> str:
    """The hook point that dictionary_learning's config names, empty if it names none that we know."""
    if trainer.get("layer") is None:
        return ""
    submodule = trainer.get("submodule_name") or "resid_post"
    part = next((part for part in _DICTIONARY_SUBMODULES if part in submodule), None)
    if part is None or buffer.get("io", "out") not in ("out", "in"):
        return ""
    if buffer.get("io") == "in":
        return f"blocks.{trainer['layer']}.hook_resid_pre" if part == "resid_post" else ""
    return f"blocks.{trainer['layer']}.{_DICTIONARY_SUBMODULES[part]}"


def _loaders_of(folder: Path, instead: Mapping[str, Path] | None = None) -> ModuleType:
    """A copy of SAELens' loaders that finds in a folder what the original would ask the hub for.

    A copy, so that loaders running elsewhere in the process go on asking the hub.

    Args:
        folder: Holds the files, whatever the folder in the repository would be called.
        instead: Files to give in place of those in `folder`, by name.
    """
    spec = importlib.util.find_spec("sae_lens.loading.pretrained_sae_loaders")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    find = partial(_find, folder, instead or {})
    vars(module).update(
        hf_hub_download=find,
        get_safetensors_tensor_shapes=lambda repo_id, filename: tensor_shapes(find(repo_id, filename)),
    )
    return module


def _find(folder: Path, instead: Mapping[str, Path], repo_id: str, filename: str, **_: object) -> str:
    from huggingface_hub.errors import LocalEntryNotFoundError

    name = Path(filename).name
    path = instead.get(name, folder / name)
    if not path.is_file():
        raise LocalEntryNotFoundError(f"there is no {name} in {folder}")
    return str(path)


def tensor_shapes(file: str) -> dict[str, list[int]]:
    """The shape of each tensor in a safetensors file, by name; no weights are read."""
    from safetensors import safe_open

    with safe_open(file, framework="pt") as tensors:
        names = tensors.keys()
        return {name: tensors.get_slice(name).get_shape() for name in names}
