"""From a batch of blocks to its firings: where and how strongly each feature is above zero."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from autointerp.collect.settings import Encodes
from autointerp.errors import ActivationRangeError
from autointerp.records import BlockShard


@dataclass(frozen=True, slots=True)
class Firings:
    """Firings of some blocks of a shard, sparse.

    Attributes:
        cell: `row * n_positions + position` of each firing, with the block's row in its shard.
        feature: Feature of each firing.
        activation: Above 0.
    """

    cell: Int64[np.ndarray, " firing"]
    feature: Int64[np.ndarray, " firing"]
    activation: Float32[np.ndarray, " firing"]


def cut_batches(shard: BlockShard, batch_size: int) -> Iterator[Int64[np.ndarray, " row"]]:
    """Rows of a shard in batches, blocks of like length together, so that little padding is computed."""
    order = np.argsort(shard.n_tokens, kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def find_firings(source: Encodes, shard: BlockShard, rows: Int64[np.ndarray, " row"]) -> Iterator[Firings]:
    """Run the source on one batch.

    Args:
        source: Model and coder.
        shard: The shard that holds the batch.
        rows: The batch's blocks, as rows of the shard.

    Yields:
        Firings at counted positions, piece by piece.

    Raises:
        ActivationRangeError: If an activation is not finite, or below zero where the coder gives none such.
    """
    n_positions = shard.token_ids.shape[1]
    length = max(1, int(shard.n_tokens[rows].max()))
    counted = shard.counted[rows, :length]
    block, position = np.nonzero(counted)
    cells = rows[block] * n_positions + position
    attention_mask = np.arange(length) < shard.n_tokens[rows, None]
    done = 0
    for activations in source.encode_counted(
        torch.from_numpy(shard.token_ids[rows, :length]),
        torch.from_numpy(attention_mask.astype(np.int64)),
        torch.from_numpy(counted),
    ):
        piece = cells[done : done + len(activations)]
        done += len(activations)
        _check_range(activations, piece // n_positions + shard.first_block, source.is_signed)
        index, feature, activation = _above_zero(activations)
        yield Firings(cell=piece[index], feature=feature, activation=activation)
    assert done == len(cells)


def _above_zero(
    activations: Float[Tensor, "row feature"],
) -> tuple[Int64[np.ndarray, " firing"], Int64[np.ndarray, " firing"], Float32[np.ndarray, " firing"]]:
    """Rows, features and values of all entries above zero, by (row, feature)."""
    n_features = activations.shape[1]
    if activations.device.type == "cpu":
        # NumPy finds and takes the few entries of a mask in half of PyTorch's time, but does not know bfloat16.
        flat = np.flatnonzero((activations > 0).numpy())
        if activations.dtype == torch.float32:
            values = activations.numpy().reshape(-1)[flat]
        else:
            values = activations.reshape(-1)[torch.from_numpy(flat)].float().numpy()
    else:
        on_device = (activations > 0).view(-1).nonzero().squeeze(1)
        values = activations.reshape(-1)[on_device].float().cpu().numpy()
        flat = on_device.cpu().numpy()
    rows = flat // n_features
    return rows, flat - rows * n_features, values


def _check_range(activations: Float[Tensor, "row feature"], blocks: Int64[np.ndarray, " row"], is_signed: bool) -> None:
    if activations.numel() == 0:
        return
    low, high = torch.aminmax(activations)  # both are NaN where one entry is
    if torch.isfinite(low) and torch.isfinite(high) and (is_signed or low >= 0):
        return
    is_wrong = ~torch.isfinite(activations)
    problem = "is not finite"
    if not is_wrong.any():
        is_wrong, problem = activations < 0, "is negative"
    row, feature = (int(i) for i in is_wrong.nonzero()[0])
    raise ActivationRangeError(
        f"the activation of feature {feature} in block {blocks[row]} {problem} ({activations[row, feature].item()})",
        "try float32 for subject.dtype and coder.dtype, and check that the coder belongs to this model and hook point",
    )
