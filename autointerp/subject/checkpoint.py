"""What is wrong with a model's files that transformers does not see, or takes for something else."""

import os
from pathlib import Path
from typing import Any

import torch

from autointerp.errors import SubjectError, file_error
from autointerp.json_text import parse_json

_SAVE_AGAIN = "download it once more, or save one there with model.save_pretrained"
_PLAIN_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def check_model_config(folder: Path) -> None:
    """See that a folder's `config.json` is a JSON object, if there is one: transformers would miss a tokenizer.

    Raises:
        SubjectError: If it is none, or can't be read.
    """
    file = folder / "config.json"
    try:
        content = parse_json(file.read_bytes())
    except FileNotFoundError:
        return
    except OSError as error:
        raise file_error(error, file, SubjectError) from error
    except ValueError as error:
        raise SubjectError(f"{file} is no config that transformers can load ({error})", _SAVE_AGAIN) from error
    if not isinstance(content, dict):
        raise SubjectError(f"{file} is no config that transformers can load (no JSON object)", _SAVE_AGAIN)


def unreadable_file(folder: Path) -> SubjectError | None:
    """The error of the first file that this user can't read, which transformers takes for one that is not there."""
    closed = next((file for file in sorted(folder.iterdir()) if not os.access(file, os.R_OK)), None)
    if closed is None:
        return None
    return SubjectError(f"{closed} can't be read", "check its permissions, and where it leads if it is a link")


def check_finite(module: Any, what: str, key: str, dtype: torch.dtype) -> None:
    """See that the weights of a model or a coder are numbers.

    Args:
        module: In the dtype that it will run in.
        what: What it is, to begin a sentence: `the model owner/name`.
        key: The config's key that sets the dtype.
        dtype: The one that it sets, in which the weights were read; they may be multiplied in another.

    Raises:
        SubjectError: If one is not finite.
    """
    for weight, tensor in module.named_parameters():
        # Those of quantised models are read with scales beside them.
        if tensor.dtype not in _PLAIN_DTYPES or not tensor.numel():
            continue
        low, high = torch.aminmax(tensor.detach())  # both are NaN where one entry is
        if not torch.isfinite(torch.stack([low, high])).all():
            remedy = f", or set {key} to float32 or bfloat16" if dtype == torch.float16 else ""
            raise SubjectError(
                f"{what} has weights that are not finite ({weight})", f"download or save it once more{remedy}"
            )
