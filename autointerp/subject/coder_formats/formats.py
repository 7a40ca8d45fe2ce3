"""Coders in the files of several libraries, read from a folder by SAELens' own loaders.

1. The format is told by the files that are there, or by `coder.format`.
2. What a loader would take from the repository's name (layer, hook point, widths) is read from the files where they
   say it, else from the folder's path; what neither says stays empty, and `coder.hook` must be set.
3. The loader runs in a copy of SAELens' module whose downloads come from the folder (`files`), and gives config and
   weights. Where it says something else than the library that wrote the files does, the library is followed.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from autointerp.errors import SubjectError
from autointerp.subject.coder_build import Loaded
from autointerp.subject.coder_formats.dictionary_learning import load_dictionary_learning
from autointerp.subject.coder_formats.files import opened, read_object
from autointerp.subject.coder_formats.gemma_scope import load_gemma_scope, load_gemma_scope_2
from autointerp.subject.coder_formats.sparsify import load_sparsify

_PLAIN_DTYPES = frozenset({"F64", "F32", "F16", "BF16"})


class Format(NamedTuple):
    """A format of coders.

    Attributes:
        files: What a folder of it holds, the weights last.
        load: Reads it from a folder to a device, by SAELens' overrides of what the files say.
    """

    files: tuple[str, ...]
    load: Callable[[Path, str, dict[str, Any]], Loaded]


def _saelens(folder: Path, device: str, overrides: dict[str, Any]) -> Loaded:
    from sae_lens.loading.pretrained_sae_loaders import sae_lens_disk_loader

    loaded: Loaded = sae_lens_disk_loader(folder, device, overrides)
    return loaded


FORMATS: Mapping[str, Format] = {
    "saelens": Format(("cfg.json", "sae_weights.safetensors"), _saelens),
    "gemma_scope": Format(("params.npz",), load_gemma_scope),
    "gemma_scope_2": Format(("params.safetensors",), load_gemma_scope_2),
    "sparsify": Format(("cfg.json", "sae.safetensors"), load_sparsify),
    "dictionary_learning": Format(("config.json", "ae.pt"), load_dictionary_learning),
}


def recognise_format(folder: Path, wanted: str) -> str:
    """The format of the coder in a folder.

    Args:
        folder: An existing folder.
        wanted: `coder.format`: a format, or `auto` to tell it by the files.

    Raises:
        SubjectError: If files are missing, or those of several formats are there.
    """
    there = [name for name, form in FORMATS.items() if all((folder / file).is_file() for file in form.files)]
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
        + ", ".join(f"{name} ({' and '.join(form.files)})" for name, form in FORMATS.items()),
    )


def _coders_within(folder: Path) -> list[str]:
    """Folders in a folder that hold the weights of a coder."""
    weights = [form.files[-1] for form in FORMATS.values()]
    inner = sorted(path for path in folder.iterdir() if path.is_dir())
    return [path.name for path in inner if any((path / file).is_file() for file in weights)]


def load_files(name: str, folder: Path, device: str, dtype: str) -> Loaded:
    """Read a coder by SAELens' loader of its format, made to read a folder.

    Args:
        name: A key of `FORMATS`, whose files are there.
        folder: Holds them.
        device: Where the weights shall lie.
        dtype: A hint; some loaders leave weights in the dtype of the file.

    Raises:
        SubjectError: If a file is not what it should be; what else a loader may raise is its own.
    """
    for file in FORMATS[name].files:
        _check_file(folder / file)
    return FORMATS[name].load(folder, device, {"dtype": dtype})


def _check_file(file: Path) -> None:
    """See that a config is a JSON object, and that weights are numbers that need no scale beside them."""
    if file.suffix == ".json":
        read_object(file)
    if file.suffix == ".safetensors":
        file.open("rb").close()  # safetensors takes one that may not be read for one that is not there
        with opened(file) as tensors:
            names = tensors.keys()
            for name in names:
                if (dtype := tensors.get_slice(name).get_dtype()) not in _PLAIN_DTYPES:
                    raise SubjectError(
                        f"{file} holds {name} as {dtype}, which is quantised or no floating-point number",
                        "use the coder as it was before it was quantised",
                    )
