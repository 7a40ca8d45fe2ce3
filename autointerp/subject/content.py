"""What a model or a coder on this machine holds, in one digest: its name or path may stay while its weights change."""

import hashlib

from autointerp.subject.coder import coder_folder
from autointerp.subject.packaged import is_packaged, packaged_digest

_WEIGHT_SUFFIXES = frozenset({".safetensors", ".bin", ".pt", ".npz"})
_CONFIG_NAMES = frozenset(
    {"cfg.json", "config.json", "modules.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json"}
)
_DIGESTED_BYTES = 1 << 20


def local_digest(location: str, key: str) -> str | None:
    """A digest of the weights and configs of what lies on this machine.

    Of a packaged model it is that of its file; of a folder it is made from names, sizes and each file's first and last
    MiB.

    Args:
        location: `packaged:NAME`, a path, an embedded asset such as `data/…`, or a name on a hub.
        key: What names it, for messages.

    Returns:
        Hexadecimal SHA-256; None where `location` is a name on a hub.

    Raises:
        SubjectError: If there is no packaged model of this name, or its package is not installed.
    """
    if is_packaged(location):
        return packaged_digest(location, key)
    folder = coder_folder(location)
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix not in _WEIGHT_SUFFIXES and path.name not in _CONFIG_NAMES:
            continue  # a report or a readme beside the weights decides nothing
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}:".encode())
        with path.open("rb") as file:
            digest.update(file.read(_DIGESTED_BYTES))
            file.seek(max(0, size - _DIGESTED_BYTES))
            digest.update(file.read(_DIGESTED_BYTES))
    return digest.hexdigest()
