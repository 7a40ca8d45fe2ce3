"""The model that is asked in this process: where it is, what it is, what it needs, and the model itself."""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from autointerp.config import ModelConfig, SubjectConfig
from autointerp.errors import LanguageModelError, SubjectError
from autointerp.identity import fingerprint

if TYPE_CHECKING:
    import torch

    from autointerp.subject.model import Subject

_TEMPLATE = "chat_template.jinja"
"""By which a folder's questions are written out; no part of what a model under study is."""
_GB = 1e9
_SPARE = 1.1
"""Of what the weights need: what is computed needs room too."""


def check_installed() -> None:
    """See that what answers are held to their schema by is installed.

    Raises:
        LanguageModelError: If it is not.
    """
    if importlib.util.find_spec("llguidance") is None:
        raise LanguageModelError("the package `llguidance` is not installed", "pip install 'autointerp[local]'")


def as_subject(config: ModelConfig) -> SubjectConfig:
    """The model's table, as the subject's has it."""
    return SubjectConfig(model=config.model, revision=config.revision, dtype=config.dtype, device=config.device)


def model_identity(config: ModelConfig) -> tuple[str | None, ...]:
    """What tells a model in this process beside its name, for fingerprints; empty of one that a server serves.

    A folder's content may change while its name stays.

    Raises:
        LanguageModelError: If there is no packaged model of this name, or its package is not installed.
    """
    if config.provider != "local":
        return ()
    from autointerp.subject.content import local_digest

    with _told_of_this_table():
        digest = local_digest(config.model, "model")
    template = Path(config.model).expanduser() / _TEMPLATE
    written = template.read_text(encoding="utf-8") if template.is_file() else None
    return (digest and fingerprint(digest, written)), config.revision, config.dtype


def model_place(config: ModelConfig) -> str:
    """Where a model and its tokenizer are: a folder, or a name on the hub.

    Raises:
        LanguageModelError: If there is no such model.
    """
    from autointerp.subject.model import find_model

    with _told_of_this_table():
        return find_model(as_subject(config))


def load_model(config: ModelConfig, make_room: Callable[[], None]) -> "Subject":
    """Load a model with its tokenizer.

    Args:
        config: Names it.
        make_room: Called where memory is short, to let go what is not needed.

    Raises:
        LanguageModelError: If there is none, if it is no causal model, or there is no room for it.
    """
    import torch

    from autointerp.devices import find_device
    from autointerp.subject.model import causal_model_bytes, load_causal_subject

    subject = as_subject(config)
    with _told_of_this_table():
        device = find_device(config.device)
        needed = causal_model_bytes(subject)
        if needed is not None:
            # Weights come to a GPU by the processor's memory.
            for place in {device.type: device, "cpu": torch.device("cpu")}.values():
                _check_room(config, place, needed, make_room)
        return load_causal_subject(subject)


def _check_room(config: ModelConfig, device: "torch.device", needed: int, make_room: Callable[[], None]) -> None:
    from autointerp.devices import free_memory

    free = free_memory(device)
    if free is not None and needed * _SPARE > free:
        make_room()
        free = free_memory(device)
    if free is not None and needed * _SPARE > free:
        smaller = "a smaller model" if config.dtype != "float32" else 'a smaller model, dtype = "bfloat16"'
        raise LanguageModelError(
            f"the model {config.model} needs {needed * _SPARE / _GB:.1f} GB of memory in {config.dtype},"
            f" and {device} has {free / _GB:.1f} GB left",
            f"use {smaller}, or another device",
        )


@contextmanager
def _told_of_this_table() -> Iterator[None]:
    """What is wrong with a model under study, told of one that is asked: its keys stand in another table."""
    try:
        yield
    except SubjectError as error:
        raise LanguageModelError(error.problem.replace("subject.", ""), error.remedy.replace("subject.", "")) from error
