"""Coders in sparsify's files.

sparsify's `SparseCoder` takes `b_dec` off its input exactly if it is no transcoder, keeps `W_dec` as (feature, d_in),
and names a coder after the module that it was trained on, `layers.5.mlp`. SAELens 6.54 asks `normalize_decoder`,
transposes `W_dec`, and takes every module for the layer; here the library is followed.
"""

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from autointerp.errors import SubjectError
from autointerp.subject.coder_build import Loaded
from autointerp.subject.coder_formats.files import read_object, tensor_shapes

_SPARSIFY_NAME = re.compile(r"(?:^|\.)(?:layers?|h)[._](\d+)(?:\.(mlp|self_attn|attention|attn))?$")


def load_sparsify(folder: Path, device: str, overrides: dict[str, Any]) -> Loaded:
    """Read `cfg.json` and `sae.safetensors`; arguments as of `formats.load_files`, overrides of the loader's words."""
    from sae_lens.loading.pretrained_sae_loaders import sparsify_disk_loader

    folder = folder.resolve()
    settings = read_object(folder / "cfg.json")
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
        "model_name": read_object(run).get("model") if (run := folder.parent / "config.json").is_file() else None,
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
