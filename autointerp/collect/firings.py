"""From a batch of blocks to its firings: where and how strongly each feature is above zero."""

import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64

from autointerp.collect.settings import SharedPass
from autointerp.devices import is_out_of_memory
from autointerp.errors import ActivationRangeError, CollectError
from autointerp.records import BlockShard

logger = logging.getLogger(__name__)


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


@dataclass(frozen=True, slots=True)
class Helpers:
    """Threads that run the model on batches of a shard before its own thread asks for them.

    Attributes:
        pool: The threads, which several shards may share; each computes an operation on one CPU thread.
        n_ahead: Batches of a shard under way, or done and not yet asked for.
    """

    pool: Executor
    n_ahead: int


def find_in_batches(
    sources: SharedPass, shard: BlockShard, batch_size: int, helpers: Helpers | None = None
) -> Iterator[list[tuple[int, Firings]]]:
    """The firings of each batch of a shard, in the order of the batches, whoever finds them.

    Args:
        sources: The sources, which share its forward pass.
        shard: The shard.
        batch_size: Blocks of a batch.
        helpers: Who finds them; None for the calling thread.

    Raises:
        ActivationRangeError: As from `find_firings`.
        CollectError: As from `find_firings`.
    """

    def find(rows: Int64[np.ndarray, " row"]) -> list[tuple[int, Firings]]:
        return list(find_firings(sources, shard, rows))

    if helpers is None:
        yield from map(find, cut_batches(shard, batch_size))
        return
    under_way: deque[Future[list[tuple[int, Firings]]]] = deque()
    try:
        for rows in cut_batches(shard, batch_size):
            under_way.append(helpers.pool.submit(find, rows))
            if len(under_way) == helpers.n_ahead:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        for future in under_way:
            future.cancel()


def find_firings(
    sources: SharedPass, shard: BlockShard, rows: Int64[np.ndarray, " row"]
) -> Iterator[tuple[int, Firings]]:
    """Run the model on one batch, once, and every coder on what it reads of it.

    Where the batch does not fit into memory it is done in halves.

    Args:
        sources: The sources, which share its forward pass.
        shard: The shard that holds the batch.
        rows: The batch's blocks, as rows of the shard.

    Yields:
        Number of the source, and its firings at counted positions, piece by piece.

    Raises:
        ActivationRangeError: If an activation is not finite, or below zero where the coder gives none such.
        CollectError: If one block alone does not fit into memory.
    """
    try:
        found = list(_find_at_once(sources, shard, rows))
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        if len(rows) == 1:
            raise CollectError(
                f"a batch of one block of {int(shard.n_tokens[rows[0]])} tokens does not fit into memory",
                "lower corpus.block_length, use bfloat16 for subject.dtype and coder.dtype, or a larger device",
            ) from error
    else:
        yield from found
        return
    # Outside of the handler, whose traceback would keep the batch's tensors alive.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    half = len(rows) // 2
    logger.warning("a batch of %d blocks does not fit into memory; it is done in halves", len(rows))
    yield from find_firings(sources, shard, rows[:half])
    yield from find_firings(sources, shard, rows[half:])


def _find_at_once(
    sources: SharedPass, shard: BlockShard, rows: Int64[np.ndarray, " row"]
) -> Iterator[tuple[int, Firings]]:
    n_positions = shard.token_ids.shape[1]
    length = max(1, int(shard.n_tokens[rows].max()))
    counted = shard.counted[rows, :length]
    block, position = np.nonzero(counted)
    cells = rows[block] * n_positions + position
    attention_mask = np.arange(length) < shard.n_tokens[rows, None]
    read = sources.read_counted(
        torch.from_numpy(shard.token_ids[rows, :length]),
        torch.from_numpy(attention_mask.astype(np.int64)),
        torch.from_numpy(counted),
    )
    for number, (source, activations) in enumerate(zip(sources.sources, read, strict=True)):
        assert len(activations) == len(cells)
        for found in source.encode_firings(activations):
            firings = Firings(cells[found.row], found.feature, found.activation)
            _check_range(firings, shard, source.is_signed)
            yield number, firings


def _check_range(firings: Firings, shard: BlockShard, is_signed: bool) -> None:
    low, high = firings.activation.min(initial=np.inf), firings.activation.max(initial=0)  # NaN where one entry is
    if low > 0 and np.isfinite(high):
        return
    is_wrong, problem = ~np.isfinite(firings.activation), "is not finite"
    if not is_wrong.any():
        assert not is_signed, "a signed coder gave an activation below zero"
        is_wrong, problem = firings.activation < 0, "is negative"
    first = int(is_wrong.argmax())
    block = int(firings.cell[first]) // shard.token_ids.shape[1] + shard.first_block
    raise ActivationRangeError(
        f"the activation of feature {firings.feature[first]} in block {block} {problem} ({firings.activation[first]})",
        "try float32 for subject.dtype and coder.dtype, and check that the coder belongs to this model and hook point",
    )
