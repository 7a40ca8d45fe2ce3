"""A coder's files in a folder: configs, shapes, and SAELens' loaders made to read them there.

SAELens keeps one loader per publisher. Most are written for the hub: they ask for files by repository and name.
"""

import importlib.util
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from autointerp.errors import SubjectError, in_one_line
from autointerp.json_text import parse_json

_SAVE_AGAIN = "download or save it once more"


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        SubjectError: If it holds none.
    """
    try:
        content = parse_json(file.read_bytes())
    except ValueError as error:
        raise SubjectError(f"{file} is no JSON ({error})", _SAVE_AGAIN) from error
    if not isinstance(content, dict):
        raise SubjectError(f"{file} holds no JSON object", _SAVE_AGAIN)
    return content


def opened(file: Path) -> Any:
    """A safetensors file, opened; no weights are read.

    Raises:
        SubjectError: If it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(file, framework="pt")
    except SafetensorError as error:
        raise SubjectError(f"{file} is cut short or damaged ({in_one_line(error)})", _SAVE_AGAIN) from error


def loaders_of(folder: Path, instead: Mapping[str, Path] | None = None) -> ModuleType:
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
    with opened(Path(file)) as tensors:
        names = tensors.keys()
        return {name: tensors.get_slice(name).get_shape() for name in names}
