"""Arrays beside a run that can always be computed again: whole and of what is asked for, or not read at all.

A file that is missing, damaged, or made of something else is made anew; where none can be written, it is computed again
the next time.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from autointerp.errors import DiskFullError
from autointerp.json_text import parse_json
from autointerp.whole_file import whole_file

logger = logging.getLogger(__name__)

_HEADER = "autointerp"


def read_kept(file: Path, made_of: str) -> dict[str, Any] | None:
    """The arrays of a file, by name; None where it is not there, damaged, or not made of this.

    Args:
        file: The file.
        made_of: Fingerprint of all that decides them.
    """
    try:
        with safe_open(file, framework="numpy") as opened:
            header = parse_json((opened.metadata() or {})[_HEADER])
            if header["fingerprint"] != made_of:
                logger.info("%s was made of something else; it is made anew", file)
                return None
            names = opened.keys()  # it can't be iterated over itself
            arrays = {name: opened.get_tensor(name) for name in names}
        if header["checksum"] == _checksum(arrays):
            return arrays
        logger.warning("%s is damaged: its contents don't match its checksum; it is made anew", file)
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s is cut short or damaged (%s); it is made anew", file, error)
    return None


def write_kept(file: Path, made_of: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays to a file, where that is possible.

    Args:
        file: The file; its folder is made.
        made_of: Fingerprint of all that decides them.
        arrays: By name.
    """
    header = json.dumps({"fingerprint": made_of, "checksum": _checksum(arrays)})
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as unfinished:
            save_file({name: np.ascontiguousarray(of) for name, of in arrays.items()}, unfinished, {_HEADER: header})
    except (OSError, DiskFullError, SafetensorError) as error:
        logger.info("%s can't be written (%s); it is computed again the next time", file, error)


def _checksum(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
