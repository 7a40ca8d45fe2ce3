"""What was collected over one shard, or over all, in one file.

The file is in the safetensors format: an array for each array of the record, in its dtype; windows sparse, since a
feature fires on few tokens of a window. Its metadata hold a checksum over names and contents of all arrays, and a
fingerprint of what decided them. It is written under a temporary name and renamed, so a file that has its name is
whole; the checksum finds one that was cut or damaged later.
"""

import errno
import hashlib
import json
import os
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from autointerp.collect.merge import ShardPart
from autointerp.errors import DiskFullError, ShardError
from autointerp.records import Collected, FeatureStatistics, Pool, SampledWindows, TokenCounts

_HEADER = "autointerp"
_REDO = "remove it, and run again to collect that shard anew"


def save_part(path: Path, part: ShardPart, fingerprint: str) -> None:
    """Write a part to `path`.

    Args:
        path: The file; its folder exists.
        part: The part.
        fingerprint: Of all that decides the part.

    Raises:
        DiskFullError: If there is no space left.
        ShardError: If the file can't be written for another reason.
    """
    arrays = {name: np.ascontiguousarray(array) for name, array in _to_arrays(part.collected).items()}
    header = {"checksum": _checksum(arrays), "fingerprint": fingerprint, "shard_index": part.shard_index}
    # One entry, because safetensors writes several in random order, and equal parts shall be equal files.
    metadata = {_HEADER: json.dumps(header)}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        save_file(arrays, temporary, metadata=metadata)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error):
            raise DiskFullError(f"no space left to write {path}", "free some space, and run again") from error
        raise ShardError(f"{path} can't be written ({error})", "check the folder's permissions") from error


def load_part(path: Path, fingerprint: str | None = None) -> ShardPart:
    """Read a part.

    Args:
        path: A file that `save_part` wrote.
        fingerprint: What the part's fingerprint must be; None takes any.

    Raises:
        ShardError: If the file is missing, cut short, damaged, or of another run.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get(_HEADER, "{}"))
            names = file.keys()
            arrays = {name: file.get_tensor(name) for name in names}
    except FileNotFoundError as error:
        raise ShardError(f"there is no file {path}", "run again to collect that shard") from error
    except (OSError, SafetensorError) as error:
        raise ShardError(f"{path} is cut short or damaged ({error})", _REDO) from error
    if header.get("checksum") != _checksum(arrays):
        raise ShardError(f"{path} is damaged: its contents don't match its checksum", _REDO)
    if fingerprint is not None and header["fingerprint"] != fingerprint:
        raise ShardError(f"{path} was collected with other settings", _REDO)
    return ShardPart(shard_index=header["shard_index"], collected=_from_arrays(arrays))


def _checksum(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}\n".encode())
        digest.update(arrays[name].data)
    return digest.hexdigest()


def _to_arrays(collected: Collected) -> dict[str, np.ndarray]:
    statistics = collected.statistics
    arrays: dict[str, np.ndarray] = {
        "statistics.totals": np.array([statistics.n_tokens, statistics.n_blocks], np.int64),
        "statistics.n_active": statistics.n_active,
        "statistics.n_active_blocks": statistics.n_active_blocks,
        "statistics.activation_sum": statistics.activation_sum,
        "statistics.max_activation": statistics.max_activation,
        "statistics.histogram": statistics.histogram,
        "statistics.bin_edges": statistics.bin_edges,
    }
    for name in TokenCounts.__slots__:
        arrays[f"token_counts.{name}"] = getattr(collected.token_counts, name)
    for name in Pool.__slots__:
        arrays[f"pool.{name}"] = getattr(collected.pool, name)
    for prefix, windows in (("top", collected.top), ("fired", collected.fired)):
        for name in SampledWindows.__slots__:
            if name != "activations":
                arrays[f"{prefix}.{name}"] = getattr(windows, name)
        row, offset = np.nonzero(windows.activations)
        n_rows, length = windows.activations.shape
        arrays[f"{prefix}.length"] = np.array([length], np.int64)
        arrays[f"{prefix}.n_entries"] = np.bincount(row, minlength=n_rows).astype(np.int32)
        arrays[f"{prefix}.entry_offset"] = offset.astype(np.uint16 if length <= 2**16 else np.int64)
        arrays[f"{prefix}.entry_activation"] = windows.activations[row, offset]
    return arrays


def _from_arrays(arrays: dict[str, np.ndarray]) -> Collected:
    totals = arrays["statistics.totals"]
    return Collected(
        statistics=FeatureStatistics(
            n_tokens=int(totals[0]),
            n_blocks=int(totals[1]),
            n_active=arrays["statistics.n_active"],
            n_active_blocks=arrays["statistics.n_active_blocks"],
            activation_sum=arrays["statistics.activation_sum"],
            max_activation=arrays["statistics.max_activation"],
            histogram=arrays["statistics.histogram"],
            bin_edges=arrays["statistics.bin_edges"],
        ),
        token_counts=TokenCounts(**{name: arrays[f"token_counts.{name}"] for name in TokenCounts.__slots__}),
        top=_windows(arrays, "top"),
        fired=_windows(arrays, "fired"),
        pool=Pool(**{name: arrays[f"pool.{name}"] for name in Pool.__slots__}),
    )


def _windows(arrays: dict[str, np.ndarray], prefix: str) -> SampledWindows:
    n_entries = arrays[f"{prefix}.n_entries"]
    activations = np.zeros((len(n_entries), int(arrays[f"{prefix}.length"][0])), np.float32)
    row = np.repeat(np.arange(len(n_entries)), n_entries)
    activations[row, arrays[f"{prefix}.entry_offset"]] = arrays[f"{prefix}.entry_activation"]
    plain = {name: arrays[f"{prefix}.{name}"] for name in SampledWindows.__slots__ if name != "activations"}
    return SampledWindows(**plain, activations=activations)
