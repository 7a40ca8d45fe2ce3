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
import pickle
import re
import tempfile
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from autointerp.errors import SubjectError
from autointerp.json_text import parse_json
from autointerp.subject.coder_build import Loaded

_PLAIN_DTYPES = frozenset({"F64", "F32", "F16", "BF16"})
_SAVE_AGAIN = "download or save it once more"

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
    if within := _coders_within(folder):
        raise SubjectError(
            f"the folder {folder} holds no coder itself, but folders with coders: {', '.join(within[:4])}",
            f"set coder.path to {folder / within[0]}, or write a table [[coder]] for each",
        )
    asked = "" if wanted == "auto" else f" in the format {wanted}"
    raise SubjectError(
        f"the folder {folder} holds no coder that SAELens can load{asked}",
        "give a folder with the files of one format: "
        + ", ".join(f"{name} ({' and '.join(files)})" for name, files in FORMAT_FILES.items()),
    )


def _coders_within(folder: Path) -> list[str]:
    """Folders in a folder that hold the weights of a coder."""
    weights = [files[-1] for files in FORMAT_FILES.values()]
    inner = sorted(path for path in folder.iterdir() if path.is_dir())
    return [path.name for path in inner if any((path / file).is_file() for file in weights)]


def load_files(name: str, folder: Path, device: str, dtype: str) -> Loaded:
    """Read a coder by SAELens' loader of its format, made to read a folder.

    Args:
        name: A key of `FORMAT_FILES`, whose files are there.
        folder: Holds them.
        device: Where the weights shall lie.
        dtype: A hint; some loaders leave weights in the dtype of the file.

    Raises:
        SubjectError: If a file is not what it should be; what else a loader may raise is its own.
    """
    for file in FORMAT_FILES[name]:
        _check_file(folder / file)
    load = {
        "saelens": _saelens,
        "gemma_scope": _gemma_scope,
        "gemma_scope_2": _gemma_scope_2,
        "sparsify": _sparsify,
        "dictionary_learning": _dictionary_learning,
    }[name]
    return load(folder, device, {"dtype": dtype})


def _check_file(file: Path) -> None:
    """See that a config is a JSON object, and that weights are numbers that need no scale beside them."""
    if file.suffix == ".json":
        _read_object(file)
    if file.suffix == ".safetensors":
        file.open("rb").close()  # safetensors takes one that may not be read for one that is not there
        with _opened(file) as tensors:
            names = tensors.keys()
            for name in names:
                if (dtype := tensors.get_slice(name).get_dtype()) not in _PLAIN_DTYPES:
                    raise SubjectError(
                        f"{file} holds {name} as {dtype}, which is quantised or no floating-point number",
                        "use the coder as it was before it was quantised",
                    )


def _read_object(file: Path) -> dict[str, Any]:
    try:
        content = parse_json(file.read_bytes())
    except ValueError as error:
        raise SubjectError(f"{file} is no JSON ({error})", _SAVE_AGAIN) from error
    if not isinstance(content, dict):
        raise SubjectError(f"{file} holds no JSON object", _SAVE_AGAIN)
    return content


def _opened(file: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(file, framework="pt")
    except SafetensorError as error:
        raise SubjectError(f"{file} is cut short or damaged ({error})", _SAVE_AGAIN) from error


def _saelens(folder: Path, device: str, overrides: dict[str, Any]) -> Loaded:
    from sae_lens.loading.pretrained_sae_loaders import sae_lens_disk_loader

    loaded: Loaded = sae_lens_disk_loader(folder, device, overrides)
    return loaded


_GEMMA_REPOSITORY = re.compile(r"gemma-scope-(?:2b|9b|27b)-(?:pt|it)-(?:res|mlp|att|transcoders)")
_LAYER = re.compile(r"layer_(\d+)")


def _gemma_scope(folder: Path, device: str, overrides: dict[str, Any]) -> Loaded:
    place = folder.resolve().as_posix()
    with np.load(folder / "params.npz") as arrays:
        d_sae, d_out = arrays["b_enc"].shape[0], arrays["b_dec"].shape[0]
    # In Gemma Scope, transcoders too write as wide as they read.
    overrides |= {"d_sae": d_sae, "d_in": d_out}
    repository = _GEMMA_REPOSITORY.search(place)
    layers = _LAYER.findall(place)
    is_embedding = "/embedding/" in place
    loaders = _loaders_of(folder)
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


def _gemma_scope_2(folder: Path, device: str, overrides: dict[str, Any]) -> Loaded:
    place = folder.resolve().as_posix()
    said = re.search(r"(resid_post|attn_out|mlp_out|transcoder)\w*/(layer_\d+)", place)
    kind, layer = (said[1], said[2]) if said else (None, None)
    if (config_file := folder / "config.json").is_file():
        point = str(_read_object(config_file).get("hf_hook_point_in"))
        if read := re.fullmatch(r"model\.layers\.(\d+)\.(\S+)", point):
            kind, layer = _SCOPE_2_KINDS.get(read[2]), f"layer_{read[1]}"
    if kind is None:
        kind, layer = "resid_post", "layer_0"
        overrides |= {"hook_name": "", "hf_hook_name": None, "model_name": None}
    size = re.search(r"gemma-scope-2-\w+-(?:pt|it)", place)
    if size is None and not config_file.is_file():
        overrides |= {"model_name": None}
    affine = "_affine" if "affine" in Path(place).name else ""
    config, weights, _ = _loaders_of(folder).gemma_3_sae_huggingface_loader(
        size[0] if size else "gemma-scope-2", f"{kind}/{layer}{affine}", device, False, overrides
    )
    return config, weights


_SPARSIFY_NAME = re.compile(r"(?:^|\.)(?:layers?|h)[._](\d+)(?:\.(mlp|self_attn|attention|attn))?$")


def _sparsify(folder: Path, device: str, overrides: dict[str, Any]) -> Loaded:
    from sae_lens.loading.pretrained_sae_loaders import sparsify_disk_loader

    folder = folder.resolve()
    settings = _read_object(folder / "cfg.json")
    is_transcoder = bool(settings.get("transcode", False))
    unknown = [
        f"{key} = {settings[key]}"
        for key, plain in (("activation", "topk"), ("gram_lookup", False), ("signed", False))
        if settings.get(key, plain) != plain
    ]
    if unknown:
        raise SubjectError(
            f"the sparsify coder {folder} was trained with {' and '.join(unknown)}",
            "use one with activation = topk and without gram_lookup and signed",
        )
    reads, writes = _sparsify_hooks(folder.name, is_transcoder=is_transcoder)
    overrides |= {
        "apply_b_dec_to_input": not is_transcoder,
        "hook_name": reads,
        # The loader reads these two off where the folder is staged.
        "hook_layer": None,
        "model_name": _read_object(run).get("model") if (run := folder.parent / "config.json").is_file() else None,
        "hook_name_out": writes,
        "prepend_bos": None,  # the loader says True of every coder; the files don't say
    }
    with tempfile.TemporaryDirectory() as parent:
        # The loader refuses folders that are not called after a layer, and configs that say nothing of widths.
        (staged := Path(parent) / "layers.0").mkdir()
        (staged / "sae.safetensors").symlink_to(folder / "sae.safetensors")
        completed = {"d_in": 0, "expansion_factor": 0, **settings}
        (staged / "cfg.json").write_text(json.dumps(completed), encoding="utf-8")
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


_LEARNT_THRESHOLD = ("BatchTopKSAE", "MatryoshkaBatchTopKSAE")
_DICTIONARY_CLASSES = (
    "AutoEncoder",
    "AutoEncoderTopK",
    "GatedAutoEncoder",
    "JumpReluAutoEncoder",
    *_LEARNT_THRESHOLD,
)


def _dictionary_learning(folder: Path, device: str, overrides: dict[str, Any]) -> Loaded:
    content = _read_object(folder / "config.json")
    trainer, buffer = content["trainer"], content.get("buffer") or {}
    if trainer["dict_class"] not in _DICTIONARY_CLASSES:
        raise SubjectError(
            f"SAELens has no loader for dictionary_learning's {trainer['dict_class']} ({folder})",
            f"use one of {', '.join(_DICTIONARY_CLASSES)}",
        )
    learnt = _learnt_settings(folder / "ae.pt", trainer)
    overrides |= {
        "hook_name": _dictionary_hook(trainer, buffer),
        "prepend_bos": None,  # the loader says True of every coder; the files don't say
    }
    # The loader needs these keys, and files made without a buffer or for no particular layer lack them.
    completed = {
        "trainer": {
            "layer": None,
            "activation_dim": 0,
            "dict_size": 0,
            **trainer,
            **learnt,
            "lm_name": trainer.get("lm_name") or "",
        },
        "buffer": {"ctx_len": None, **buffer},
    }
    with tempfile.TemporaryDirectory() as place:
        (config_file := Path(place) / "config.json").write_text(json.dumps(completed), encoding="utf-8")
        loaders = _loaders_of(folder, {"config.json": config_file})
        config, weights, _ = loaders.dictionary_learning_sae_huggingface_loader_1("", ".", device, False, overrides)
    return config, weights


def _learnt_settings(file: Path, trainer: Mapping[str, Any]) -> dict[str, int]:
    """What stands beside the weights and decides what is computed: the k of top-k, and whether a threshold was learnt.

    Raises:
        SubjectError: If the config says another k, the threshold is still to be learnt, or the file holds more than
            tensors.
    """
    try:
        stored = torch.load(file, map_location="cpu", mmap=zipfile.is_zipfile(file), weights_only=True)
    except pickle.UnpicklingError as error:
        raise SubjectError(
            f"{file} is damaged, or a pickle of more than tensors, which might run a program when it is opened",
            "save the coder's state_dict() with torch.save",
        ) from error
    if trainer["dict_class"] in _LEARNT_THRESHOLD and float(stored.get("threshold", 0)) < 0:
        raise SubjectError(
            f"the coder {file} was saved before its threshold was learnt (it is {float(stored['threshold'])})",
            "use a checkpoint from later in its training",
        )
    if trainer["dict_class"] != "AutoEncoderTopK" or "k" not in stored:
        return {}
    k = int(stored["k"])
    if trainer.get("k") not in (None, k):
        raise SubjectError(
            f"the coder {file} was trained with k = {k}, and the config beside it says k = {trainer['k']}",
            "mend or remove trainer.k there",
        )
    return {"k": k}


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
    with _opened(Path(file)) as tensors:
        names = tensors.keys()
        return {name: tensors.get_slice(name).get_shape() for name in names}
