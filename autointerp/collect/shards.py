"""What was collected over one shard, or over all, in one file.

The file is in the safetensors format. What can be told from other arrays is left out: features of sorted rows are
kept as a count for each feature, positions as a count for each position, peaks not at all. Integers are stored in the
narrowest type that holds them, activations that are bfloat16 numbers in two bytes. Its metadata hold a checksum over
all of it, and a fingerprint of what decided them. It is written under a temporary name and
renamed, so a file that has its name is whole; the checksum finds one that was cut or damaged later.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from autointerp.collect.merge import ShardPart
from autointerp.collect.runs import first_in_run
from autointerp.errors import ShardError, file_error, in_one_line, is_of_a_path
from autointerp.json_text import parse_json
from autointerp.records import Collected, FeatureStatistics, Pool, SampledWindows, TokenCounts
from autointerp.whole_file import whole_file

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
    checksum = _checksum(arrays, part.shard_index, fingerprint)
    header = {"checksum": checksum, "fingerprint": fingerprint, "shard_index": part.shard_index}
    # One entry, because safetensors writes several in random order, and equal parts shall be equal files.
    metadata = {_HEADER: json.dumps(header)}
    try:
        with whole_file(path) as unfinished:
            save_file(arrays, unfinished, metadata=metadata)
    except (OSError, SafetensorError) as error:
        raise file_error(error, path, ShardError) from error


def load_part(path: Path, fingerprint: str | None = None) -> ShardPart:
    """Read a part.

    Args:
        path: A file that `save_part` wrote.
        fingerprint: What the part's fingerprint must be; None takes any.

    Raises:
        ShardError: If the file is missing, cut short, damaged, or of another run.
    """
    try:
        path.open("rb").close()  # safetensors says of whatever can't be opened that it is not there
        with safe_open(path, framework="numpy") as file:
            header = parse_json((file.metadata() or {})[_HEADER])
            names = file.keys()
            arrays = {name: file.get_tensor(name) for name in names}
        shard_index, made_of, checksum = int(header["shard_index"]), header["fingerprint"], header["checksum"]
    except FileNotFoundError as error:
        raise ShardError(f"there is no file {path}", "run again to collect that shard") from error
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, OSError) and is_of_a_path(error):
            raise file_error(error, path, ShardError) from error
        raise ShardError(f"{path} is cut short or damaged ({in_one_line(error, with_kind=True)})", _REDO) from error
    if checksum != _checksum(arrays, shard_index, made_of):
        raise ShardError(f"{path} is damaged: its contents don't match its checksum", _REDO)
    if fingerprint is not None and made_of != fingerprint:
        raise ShardError(f"{path} was collected with other settings", _REDO)
    return ShardPart(shard_index=shard_index, collected=_from_arrays(arrays))


def _checksum(arrays: dict[str, np.ndarray], shard_index: int, fingerprint: str) -> str:
    digest = hashlib.blake2b(f"{shard_index} {fingerprint}\n".encode(), digest_size=16)
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}\n".encode())
        digest.update(arrays[name].data)
    return digest.hexdigest()


def _to_arrays(collected: Collected) -> dict[str, np.ndarray]:
    statistics, counts = collected.statistics, collected.token_counts
    n_features = len(statistics.n_active)
    arrays: dict[str, np.ndarray] = {
        "statistics.totals": np.array([statistics.n_tokens, statistics.n_blocks], np.int64),
        "statistics.n_active": _narrow(statistics.n_active),
        "statistics.n_active_blocks": _narrow(statistics.n_active_blocks),
        "statistics.activation_sum": statistics.activation_sum,
        "statistics.max_activation": statistics.max_activation,
        "statistics.histogram": _narrow(statistics.histogram),
        "statistics.bin_edges": statistics.bin_edges,
        "token_counts.n_tokens": _narrow(np.bincount(counts.feature, minlength=n_features)),
        "token_counts.token_id": _narrow(counts.token_id),
        "token_counts.n_active": _narrow(counts.n_active),
        "token_counts.activation_sum": counts.activation_sum,
        "token_counts.n_missed": _narrow(counts.n_missed),
        **_pool_arrays(collected.pool),
    }
    for prefix, windows in (("top", collected.top), ("fired", collected.fired)):
        arrays |= {
            f"{prefix}.length": np.array([windows.context_length], np.int64),
            f"{prefix}.n_rows": _narrow(np.bincount(windows.feature, minlength=n_features)),
            f"{prefix}.block_index": _narrow(windows.block_index),
            f"{prefix}.window_start": _narrow(windows.window_start),
            f"{prefix}.n_entries": _narrow(windows.n_entries),
            f"{prefix}.entry_offset": _narrow(windows.entry_offset),
            f"{prefix}.entry_activation": _shorten(windows.entry_activation),
        }
    return arrays


def _from_arrays(arrays: dict[str, np.ndarray]) -> Collected:
    totals = arrays["statistics.totals"]
    n_pairs = arrays["token_counts.n_tokens"]
    return Collected(
        statistics=FeatureStatistics(
            n_tokens=int(totals[0]),
            n_blocks=int(totals[1]),
            n_active=arrays["statistics.n_active"].astype(np.int64),
            n_active_blocks=arrays["statistics.n_active_blocks"].astype(np.int64),
            activation_sum=arrays["statistics.activation_sum"],
            max_activation=arrays["statistics.max_activation"],
            histogram=arrays["statistics.histogram"].astype(np.int64),
            bin_edges=arrays["statistics.bin_edges"],
        ),
        token_counts=TokenCounts(
            feature=np.repeat(np.arange(len(n_pairs), dtype=np.int32), n_pairs),
            token_id=arrays["token_counts.token_id"].astype(np.int32),
            n_active=arrays["token_counts.n_active"].astype(np.int64),
            activation_sum=arrays["token_counts.activation_sum"],
            n_missed=arrays["token_counts.n_missed"].astype(np.int64),
        ),
        top=_windows(arrays, "top"),
        fired=_windows(arrays, "fired"),
        pool=_pool(arrays),
    )


def _windows(arrays: dict[str, np.ndarray], prefix: str) -> SampledWindows:
    n_rows = arrays[f"{prefix}.n_rows"]
    n_entries = arrays[f"{prefix}.n_entries"].astype(np.int32)
    window_start = arrays[f"{prefix}.window_start"].astype(np.int32)
    entry_offset = arrays[f"{prefix}.entry_offset"].astype(np.uint16)
    entry_activation = _lengthen(arrays[f"{prefix}.entry_activation"])
    # A window holds its block's peak, and nothing above it, so the peak need not be in the file.
    peak = np.zeros(0, np.float32)
    peak_position = np.zeros(0, np.int32)
    if len(n_entries):
        peak = np.maximum.reduceat(entry_activation, np.cumsum(n_entries, dtype=np.int64) - n_entries)
        row = np.repeat(np.arange(len(n_entries)), n_entries)
        peak_position = window_start + entry_offset[first_in_run(entry_activation == peak[row], row)].astype(np.int32)
    return SampledWindows(
        context_length=int(arrays[f"{prefix}.length"][0]),
        feature=np.repeat(np.arange(len(n_rows), dtype=np.int32), n_rows),
        block_index=arrays[f"{prefix}.block_index"].astype(np.int64),
        peak_position=peak_position,
        peak=peak,
        window_start=window_start,
        n_entries=n_entries,
        entry_offset=entry_offset,
        entry_activation=entry_activation,
    )


def _pool_arrays(pool: Pool) -> dict[str, np.ndarray]:
    n_positions = int(pool.position.max(initial=-1)) + 1
    n_blocks = len(pool.block_index)
    block = np.repeat(np.arange(n_blocks), np.diff(pool.offsets))
    # Firings stand by (block, position, feature), so how many there are at each position says where each stands.
    n_firings = np.bincount(block * n_positions + pool.position, minlength=n_blocks * n_positions)
    return {
        "pool.block_index": pool.block_index,
        "pool.n_firings": _narrow(n_firings.reshape(n_blocks, n_positions)),
        "pool.feature": _narrow(pool.feature),
        "pool.activation": _shorten(pool.activation),
    }


def _pool(arrays: dict[str, np.ndarray]) -> Pool:
    n_firings = arrays["pool.n_firings"].astype(np.int64)
    n_blocks, n_positions = n_firings.shape
    return Pool(
        block_index=arrays["pool.block_index"],
        offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(n_firings.sum(axis=1))]),
        feature=arrays["pool.feature"].astype(np.int32),
        position=np.repeat(np.tile(np.arange(n_positions, dtype=np.int32), n_blocks), n_firings.reshape(-1)),
        activation=_lengthen(arrays["pool.activation"]),
    )


def _narrow(values: NDArray[np.integer[Any]]) -> NDArray[np.unsignedinteger[Any]]:
    """Integers, none below zero, in the narrowest dtype that holds them all."""
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))


def _shorten(values: Float32[np.ndarray, " row"]) -> NDArray[Any]:
    """The upper halves of floats that are all bfloat16 numbers, as those of a bfloat16 coder are; else the floats."""
    bits = values.view(np.uint32)
    if (bits & np.uint32(0xFFFF)).any():
        return values
    return (bits >> np.uint32(16)).astype(np.uint16)


def _lengthen(values: NDArray[Any]) -> Float32[np.ndarray, " row"]:
    if values.dtype == np.float32:
        return values
    return (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
