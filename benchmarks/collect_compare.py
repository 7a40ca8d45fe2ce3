"""Whether `collect` and Delphi kept the same activations, and what each left on disk.

Both ran the same coder on the same tokens, but not the same products: PyTorch adds in another order on one thread than
on two, and in another batch. So activations agree up to rounding, and a feature at the edge of firing may fire for one
of them only. Delphi stores half precision and drops what is below 1e-5.

1. The pool's firings and Delphi's are put in the order (block, position, feature) and matched exactly.
2. Of matched ones the largest relative difference is reported.
3. One without a match is a tie if its value lies at the edge: the smallest value that the other kept at that token
   (top-k), the threshold (JumpReLU), zero (standard). Any other is an error.
4. Cells of sampled windows are looked up among Delphi's firings, in the same way.
"""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64
from safetensors.numpy import load_file

from autointerp.records import Collected
from benchmarks.collect_setting import Setting

# Half precision rounds by 2**-11; in bfloat16 every step of the model does by 2**-9.
_TOLERANCE = {"float32": 2.0**-10, "bfloat16": 2.0**-4}
_SMALLEST_NORMAL = 2.0**-14
_DELPHI_CUTOFF = 1e-5
_N_WINDOWS = 20_000


@dataclass(frozen=True, slots=True)
class Cells:
    """Firings by ascending key.

    Attributes:
        key: `(block * block_length + position) * n_features + feature`.
        activation: Above 0.
    """

    key: Int64[np.ndarray, " firing"]
    activation: Float32[np.ndarray, " firing"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two systems' activations agree.

    Attributes:
        n_ours: Firings of the pool in the blocks that both read.
        n_peer: Delphi's.
        n_matched: Those that both have.
        max_difference: Largest relative difference of matched ones.
        n_ties: Those of one side only, at the edge of firing.
        n_errors: Those of one side only that are not; 0 if the two agree.
        n_window_cells: Cells above zero in the windows looked up.
        max_window_difference: Largest relative difference there, cells that are not a tie.
        n_window_unmatched: Cells of one side only; at most ties.
    """

    n_ours: int
    n_peer: int
    n_matched: int
    max_difference: float
    n_ties: int
    n_errors: int
    n_window_cells: int
    max_window_difference: float
    n_window_unmatched: int


def compare(setting: Setting, coder: Path, ours: Path, peer: Path) -> Comparison:
    """Match what both kept.

    Args:
        setting: What both ran.
        coder: Its weights.
        ours: The file that `collect` left.
        peer: Delphi's cache of this hook point.
    """
    from autointerp.collect.shards import load_part

    collected = load_part(ours).collected
    pool = collected.pool
    n_blocks = setting.n_peer_tokens // setting.block_length
    block = np.repeat(pool.block_index, np.diff(pool.offsets))
    key = (block * setting.block_length + pool.position) * setting.n_features + pool.feature
    kept = (block < n_blocks) & (pool.activation > _DELPHI_CUTOFF)
    mine, theirs = _by_key(key[kept], pool.activation[kept]), _read_peer(peer, setting)
    # Delphi's blocks that the pool did not sample can't be compared.
    in_pool = np.isin(theirs.key // (setting.n_features * setting.block_length), pool.block_index)
    theirs_in_pool = Cells(theirs.key[in_pool], theirs.activation[in_pool])
    both, i, j = np.intersect1d(mine.key, theirs_in_pool.key, assume_unique=True, return_indices=True)
    edges = _edge(setting, coder)
    unmatched = (
        _above_edge(_without(mine, i), theirs_in_pool, setting, edges),
        _above_edge(_without(theirs_in_pool, j), mine, setting, edges),
    )
    n_errors = sum(int(is_error.sum()) for is_error in unmatched)
    n_window_cells, max_window, n_window_unmatched = _compare_windows(setting, collected, theirs, n_blocks)
    return Comparison(
        n_ours=len(mine.key),
        n_peer=len(theirs_in_pool.key),
        n_matched=len(both),
        max_difference=_difference(mine.activation[i], theirs_in_pool.activation[j]),
        n_ties=sum(len(is_error) for is_error in unmatched) - n_errors,
        n_errors=n_errors,
        n_window_cells=n_window_cells,
        max_window_difference=max_window,
        n_window_unmatched=n_window_unmatched,
    )


def _read_peer(folder: Path, setting: Setting) -> Cells:
    keys, activations = [], []
    for file in folder.glob("*.safetensors"):
        arrays = load_file(file)
        block, position, feature = arrays["locations"].astype(np.int64).T
        cell = block * setting.block_length + position
        keys.append(cell * setting.n_features + feature + int(file.stem.split("_")[0]))
        activations.append(arrays["activations"].astype(np.float32))
    return _by_key(np.concatenate(keys), np.concatenate(activations))


def _by_key(key: Int64[np.ndarray, " firing"], activation: Float32[np.ndarray, " firing"]) -> Cells:
    order = np.argsort(key)
    return Cells(key[order], activation[order])


def _without(cells: Cells, rows: Int64[np.ndarray, " row"]) -> Cells:
    return Cells(np.delete(cells.key, rows), np.delete(cells.activation, rows))


def _edge(setting: Setting, coder: Path) -> tuple[float, float]:
    """The value at which a feature begins to fire, and the size of what is rounded there; top-k has one a token."""
    if setting.architecture == "topk":
        return 0.0, 0.0
    weights = load_file(coder / "sae_weights.safetensors")
    if setting.architecture == "jumprelu":
        return float(weights["threshold"][0]), float(weights["threshold"][0])
    return 0.0, float(-weights["b_enc"][0])


def _above_edge(
    lonely: Cells, other: Cells, setting: Setting, edge_and_size: tuple[float, float]
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """For each firing that the other side has not: whether it is too strong to be a tie."""
    edge, size = edge_and_size
    tolerance = _TOLERANCE[setting.dtype]
    if setting.architecture != "topk" or len(lonely.key) == 0:
        return lonely.activation > edge + tolerance * size
    cell = other.key // setting.n_features
    starts = np.flatnonzero(np.diff(cell, prepend=-1))
    lowest = np.minimum.reduceat(other.activation, starts)
    place = np.searchsorted(cell[starts], lonely.key // setting.n_features)
    is_there = cell[starts][np.minimum(place, len(starts) - 1)] == lonely.key // setting.n_features
    assert is_there.all(), "one side has a token without any firing"
    return lonely.activation > lowest[place] * (1 + tolerance)


def _difference(a: Float32[np.ndarray, " cell"], b: Float32[np.ndarray, " cell"]) -> float:
    if len(a) == 0:
        return 0.0
    return float((np.abs(a - b) / np.maximum(a, _SMALLEST_NORMAL)).max())


def _compare_windows(setting: Setting, collected: Collected, theirs: Cells, n_blocks: int) -> tuple[int, float, int]:
    """Cells above zero on either side, largest relative difference, and cells of one side only."""
    rng = np.random.default_rng(0)
    n_cells, n_unmatched, largest = 0, 0, 0.0
    for windows in (collected.top, collected.fired):
        rows = np.flatnonzero(windows.block_index < n_blocks)
        rows = rng.permutation(rows)[:_N_WINDOWS]
        ours = windows.dense()[rows]
        position = windows.window_start[rows, None] + np.arange(ours.shape[1])
        cell = windows.block_index[rows, None] * setting.block_length + position
        key = cell * setting.n_features + windows.feature[rows, None]
        place = np.minimum(np.searchsorted(theirs.key, key), len(theirs.key) - 1)
        is_there = (theirs.key[place] == key) & (position < setting.block_length)
        peer = np.where(is_there, theirs.activation[place], 0)
        both = (ours > 0) & (peer > 0)
        n_cells += int(((ours > 0) | (peer > 0)).sum())
        n_unmatched += int(((ours > _DELPHI_CUTOFF) != (peer > 0)).sum())
        largest = max(largest, _difference(ours[both], peer[both]))
    return n_cells, largest, n_unmatched


def bytes_by_part(file: Path) -> dict[str, int]:
    """Bytes of each group of arrays of a safetensors file; a group is what stands before the first dot of a name."""
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header = json.loads(stream.read(length))
    sizes = {"header": length + 8}
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            group = name.split(".")[0]
            sizes[group] = sizes.get(group, 0) + end - start
    return sizes
