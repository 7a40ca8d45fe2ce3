"""Whether what transformers made of a checkpoint is the model that was saved there.

transformers draws at random what a checkpoint lacks, and passes over what it has too much, so a file that was cut down,
or is of another model, gives a model that computes nothing. Here:

1. Weights that are missing, or of other shapes than the config says, are an error; those that are read for no hook
   point (BERT's pooler, the part that sees images) may be.
2. Layers that the config leaves out are told in a line.
3. Weights that are not finite are an error.
"""

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from autointerp.errors import SubjectError, file_error
from autointerp.json_text import parse_json
from autointerp.subject.families import FAMILIES

logger = logging.getLogger(__name__)

_NOT_READ = ("pooler.", "vision_tower.", "multi_modal_projector.")
_SHOWN = 3
_SAVE_AGAIN = "download it once more, or save one there with model.save_pretrained"


def check_model_config(folder: Path) -> None:
    """See that a folder's `config.json` is one of a model that transformers knows, if there is one.

    Raises:
        SubjectError: If it is none, or can't be read.
    """
    from transformers import AutoConfig

    file = folder / "config.json"
    try:
        content = parse_json(file.read_bytes())
    except FileNotFoundError:
        return
    except OSError as error:
        raise file_error(error, file, SubjectError) from error
    except ValueError as error:
        raise SubjectError(f"{file} is no JSON ({error})", _SAVE_AGAIN) from error
    if not isinstance(content, dict):
        raise SubjectError(f"{file} holds no JSON object", _SAVE_AGAIN)
    try:
        AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # each model's config checks its values by errors of its own
        raise SubjectError(
            f"the folder {folder} holds no model that transformers can load ({in_one_line(error)})", _SAVE_AGAIN
        ) from error


def unreadable_file(folder: Path) -> SubjectError | None:
    """The error of the first file that this user may not read, which transformers takes for one that is not there."""
    closed = next((file for file in sorted(folder.iterdir()) if not os.access(file, os.R_OK)), None)
    if closed is None:
        return None
    return SubjectError(f"{closed} can't be read", "check its permissions, and where it leads if it is a link")


def check_checkpoint(model: Any, info: Mapping[str, Any], name: str) -> None:
    """See that a checkpoint had all of a model's weights, and that they are numbers.

    Args:
        model: Loaded by transformers.
        info: What transformers says of the loading, by `output_loading_info`.
        name: `subject.model`, for messages.

    Raises:
        SubjectError: If it had not, or they are not.
    """
    kind = str(model.config.model_type)
    wanted = [weight for weight in model.state_dict() if not weight.startswith(_NOT_READ)]
    if missing := sorted(info["missing_keys"].intersection(wanted)):
        raise SubjectError(
            f"the checkpoint of the model {name} lacks {len(missing)} of the {len(wanted)} weights that its config "
            f"asks for, as a model of type {kind} ({_few(missing)})",
            _SAVE_AGAIN,
        )
    mismatched = {weight: (had, asked) for weight, had, asked in info["mismatched_keys"] if weight in wanted}
    if mismatched:
        weight, (had, asked) = next(iter(mismatched.items()))
        raise SubjectError(
            f"the weights of the model {name} are not of the shapes that its config says: {weight} is "
            f"{_by(had)}, not {_by(asked)}",
            _SAVE_AGAIN,
        )
    _tell_of_layers(model, info["unexpected_keys"], name)
    _check_finite(model, name)


def _tell_of_layers(model: Any, unexpected: Iterable[str], name: str) -> None:
    family = FAMILIES.get(str(model.config.model_type))
    if family is None:
        return
    layers, left_out = f"{family.layers}.", set()
    for weight in unexpected:
        _, found, rest = weight.rpartition(layers)
        number = rest.partition(".")[0]
        if found and number.isdecimal() and int(number) >= len(model.get_submodule(family.layers)):
            left_out.add(int(number))
    if left_out:
        logger.warning(
            "the checkpoint of the model %s has layers that its config leaves out: %s; they are not run",
            name,
            _few([str(number) for number in sorted(left_out)]),
        )


def _check_finite(model: Any, name: str) -> None:
    for weight, tensor in model.named_parameters():
        # Those of quantised models are read with scales beside them.
        if tensor.dtype not in (torch.float32, torch.float64, torch.bfloat16, torch.float16) or not tensor.numel():
            continue
        low, high = torch.aminmax(tensor.detach())  # both are NaN where one entry is
        if not torch.isfinite(torch.stack([low, high])).all() and not weight.startswith(_NOT_READ):
            remedy = ", or set subject.dtype to float32 or bfloat16" if tensor.dtype == torch.float16 else ""
            raise SubjectError(f"the model {name} has weights that are not finite ({weight})", f"{_SAVE_AGAIN}{remedy}")


def in_one_line(error: Exception) -> str:
    """What a library said, in one line of a length to be read."""
    return (" ".join(str(error).split()) or type(error).__name__).rstrip(".")[:200]


def _few(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


def _by(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape)) or "a single number"
