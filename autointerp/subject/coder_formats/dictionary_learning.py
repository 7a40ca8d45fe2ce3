"""Coders in dictionary_learning's files.

dictionary_learning may train on attention or MLP; SAELens takes every coder for one of the residual stream, and a class
that it does not know for a plain autoencoder. Here the library is followed.
"""

import json
import pickle
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from autointerp.errors import SubjectError
from autointerp.subject.coder_build import Loaded
from autointerp.subject.coder_formats.files import loaders_of, read_object

_LEARNT_THRESHOLD = ("BatchTopKSAE", "MatryoshkaBatchTopKSAE")
_DICTIONARY_CLASSES = (
    "AutoEncoder",
    "AutoEncoderTopK",
    "GatedAutoEncoder",
    "JumpReluAutoEncoder",
    *_LEARNT_THRESHOLD,
)


def load_dictionary_learning(folder: Path, device: str, overrides: dict[str, Any]) -> Loaded:
    """Read `config.json` and `ae.pt`; arguments as of `formats.load_files`, overrides of what the loader would say."""
    content = read_object(folder / "config.json")
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
        loaders = loaders_of(folder, {"config.json": config_file})
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
