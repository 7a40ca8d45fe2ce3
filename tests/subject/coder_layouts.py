"""Small coders in the files that each publisher writes, and their features by formulas of our own.

The layouts are those of the libraries: key names, orientation and configs as sparsify's `SparseCoder.save_to_disk`,
dictionary_learning's `trainSAE` and the published repositories have them.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

D_IN, N_FEATURES, K = 16, 64, 4
Features = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Weights:
    """A coder's weights, in the orientation of the formulas."""

    w_enc: Tensor
    b_enc: Tensor
    w_dec: Tensor
    b_dec: Tensor
    threshold: Tensor

    def before(self, x: Tensor, *, centred: bool = False) -> Tensor:
        """What the activation function is given; `centred`: with `b_dec` taken off first."""
        return (x - self.b_dec if centred else x) @ self.w_enc + self.b_enc

    def relu(self, x: Tensor, *, centred: bool = False) -> Tensor:
        return self.before(x, centred=centred).clamp(min=0)

    def jump(self, x: Tensor, *, centred: bool = False, threshold: float | None = None) -> Tensor:
        before = self.before(x, centred=centred)
        kept = before > (self.threshold if threshold is None else threshold)
        return torch.where(kept & (before > 0), before, 0.0)

    def top(self, x: Tensor, *, centred: bool = False) -> Tensor:
        before = self.before(x, centred=centred)
        least = before.sort(dim=-1, descending=True).values[..., K - 1 : K]
        return torch.where((before >= least) & (before > 0), before, 0.0)


def random_weights(d_in: int = D_IN) -> Weights:
    """Random weights, none of them zero, and thresholds above zero."""
    draw = torch.Generator().manual_seed(5)

    def normal(*shape: int) -> Tensor:
        return 0.5 * torch.randn(*shape, generator=draw)

    return Weights(
        w_enc=normal(d_in, N_FEATURES),
        b_enc=normal(N_FEATURES),
        w_dec=normal(N_FEATURES, d_in),
        b_dec=normal(d_in),
        threshold=normal(N_FEATURES).abs(),
    )


def write_json(file: Path, content: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")


def write_tensors(file: Path, **tensors: Tensor) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)


def write_pickle(file: Path, content: dict[str, Tensor]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, file)


def write_gemma_scope(folder: Path, w: Weights) -> Features:
    """`params.npz`, of Gemma Scope's SAEs and transcoders alike."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {"W_enc": w.w_enc, "b_enc": w.b_enc, "W_dec": w.w_dec, "b_dec": w.b_dec, "threshold": w.threshold}
    np.savez(folder / "params.npz", allow_pickle=False, **{name: tensor.numpy() for name, tensor in arrays.items()})
    return w.jump


def write_gemma_scope_2(folder: Path, w: Weights, *, hook: str | None, affine: bool = False) -> Features:
    """`params.safetensors`, and `config.json` where `hook` is given."""
    skip = {"affine_skip_connection": torch.randn(D_IN, D_IN)} if affine else {}
    write_tensors(
        folder / "params.safetensors",
        w_enc=w.w_enc, b_enc=w.b_enc, w_dec=w.w_dec, b_dec=w.b_dec, threshold=w.threshold, **skip,
    )  # fmt: skip
    if hook is not None:
        settings = {"architecture": "jump_relu", "model_name": "gemma-v3-1b-pt", "hf_hook_point_in": hook}
        write_json(folder / "config.json", settings | ({"affine_connection": True} if affine else {}))
    return w.jump


def write_sparsify(folder: Path, w: Weights, **settings: Any) -> Features:
    """`cfg.json` and `sae.safetensors`, with the decoder stored as (feature, d_in)."""
    defaults = {"activation": "topk", "expansion_factor": 32, "normalize_decoder": True, "num_latents": N_FEATURES,
                "k": K, "multi_topk": False, "skip_connection": False, "transcode": False, "d_in": D_IN}  # fmt: skip
    write_json(folder / "cfg.json", defaults | settings)
    tensors = {"encoder.weight": w.w_enc.T, "encoder.bias": w.b_enc, "W_dec": w.w_dec, "b_dec": w.b_dec}
    write_tensors(folder / "sae.safetensors", **tensors)
    return lambda x: w.top(x, centred=not settings.get("transcode", False))


def write_dictionary(
    folder: Path, w: Weights, dict_class: str, *, buffer: dict[str, Any] | None = None, **trainer: Any
) -> Features:
    """`config.json` and `ae.pt` of one of dictionary_learning's classes."""
    linear = {"encoder.weight": w.w_enc.T, "decoder.weight": w.w_dec.T}
    matrices = {"W_enc": w.w_enc, "W_dec": w.w_dec, "b_enc": w.b_enc, "b_dec": w.b_dec}
    cut, k = torch.tensor(0.7), torch.tensor(K)
    r_mag, gate_bias = 0.3 * w.b_enc, w.b_enc.flip(0)

    def gated(x: Tensor) -> Tensor:
        shared = (x - w.b_dec) @ w.w_enc
        return torch.where(shared + gate_bias > 0, (r_mag.exp() * shared + w.b_enc).clamp(min=0), 0.0)

    def cut_off(x: Tensor) -> Tensor:
        return w.jump(x, centred=True, threshold=0.7)

    stored, features = {
        "AutoEncoder": (
            linear | {"bias": w.b_dec, "encoder.bias": w.b_enc},
            lambda x: w.relu(x, centred=True),
        ),
        "AutoEncoderTopK": (
            linear | {"b_dec": w.b_dec, "encoder.bias": w.b_enc, "k": k, "threshold": cut},
            lambda x: w.top(x, centred=True),
        ),
        "GatedAutoEncoder": (
            linear | {"decoder_bias": w.b_dec, "r_mag": r_mag, "gate_bias": gate_bias, "mag_bias": w.b_enc},
            gated,
        ),
        "JumpReluAutoEncoder": (matrices | {"threshold": w.threshold}, w.jump),
        "BatchTopKSAE": (linear | {"b_dec": w.b_dec, "encoder.bias": w.b_enc, "k": k, "threshold": cut}, cut_off),
        "MatryoshkaBatchTopKSAE": (matrices | {"k": k, "threshold": cut}, cut_off),
    }.get(dict_class, (linear, w.relu))  # fmt: skip
    settings = {"dict_class": dict_class, "activation_dim": D_IN, "dict_size": N_FEATURES, "k": K, "layer": 1,
                "lm_name": "openai-community/gpt2", "submodule_name": "resid_post_layer_1"}  # fmt: skip
    content: dict[str, Any] = {"trainer": settings | trainer}
    write_json(folder / "config.json", content | ({"buffer": buffer} if buffer is not None else {}))
    write_pickle(folder / "ae.pt", stored)
    return features
