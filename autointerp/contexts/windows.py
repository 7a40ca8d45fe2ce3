"""Sampled windows to contexts.

A sample of `collect` says where a feature fires: a block, a window of it and the activations there. The tokens are
read from the corpus, the window is clipped to what counts of the block (special tokens and padding fall away), and the
token ids become pieces of text.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float32, Int32, Int64

from autointerp.corpus.reader import Blocks
from autointerp.identity import feature_id, fingerprint, stable_uuid
from autointerp.records import MADE_KINDS, SILENT_KINDS, Context, ContextKind, SampledWindows, Split


class Pieces(Protocol):
    """What turns consecutive token ids into pieces of text (`corpus.TokenPieces`)."""

    def pieces(self, token_ids: Iterable[int]) -> list[str]:
        """One piece a token; joined without a separator they are the text."""
        ...


@dataclass(frozen=True, slots=True)
class Windows:
    """Clipped windows, left-aligned: only the first `length[i]` offsets of row i are part of it.

    Attributes:
        feature: Feature of each row.
        block_index: Block of each row.
        start: Position of offset 0 in the block.
        length: Tokens of the window, at least 1.
        token_ids: Tokens; 0 past the window's end.
        activations: The feature's activations, >= 0; 0 past the window's end.
        peak: The feature's largest activation in the block, which lies in the window.
        document_ids: Document of each row.
        group_ids: Group of each row's document.
    """

    feature: Int32[np.ndarray, " row"]
    block_index: Int64[np.ndarray, " row"]
    start: Int32[np.ndarray, " row"]
    length: Int32[np.ndarray, " row"]
    token_ids: Int32[np.ndarray, "row offset"]
    activations: Float32[np.ndarray, "row offset"]
    peak: Float32[np.ndarray, " row"]
    document_ids: tuple[str, ...]
    group_ids: tuple[str, ...]

    def tokens_of(self, row: int) -> list[int]:
        """The token ids of one window."""
        token_ids: list[int] = self.token_ids[row, : self.length[row]].tolist()
        return token_ids


def cut_windows(samples: SampledWindows, blocks: Blocks) -> Windows:
    """Clip sampled windows to the counted span of their blocks, and add their tokens.

    Args:
        samples: Windows around a peak.
        blocks: The block of each.

    Returns:
        One row a sample, in the same order.
    """
    n_offsets = samples.context_length
    start = np.maximum(samples.window_start, blocks.span_start)
    end = np.minimum(samples.window_start + n_offsets, blocks.span_end)
    length = end - start
    assert bool(np.all((start <= samples.peak_position) & (samples.peak_position < end))), "a peak outside its window"

    offsets = np.arange(n_offsets, dtype=np.int64)[None, :]
    inside = offsets < length[:, None]
    positions = np.where(inside, start[:, None] + offsets, 0)
    sampled = np.where(inside, (start - samples.window_start)[:, None] + offsets, 0)
    token_ids = np.where(inside, np.take_along_axis(blocks.token_ids, positions, axis=1), 0)
    activations = np.where(inside, np.take_along_axis(samples.dense(), sampled, axis=1), 0.0)
    return Windows(
        feature=samples.feature,
        block_index=samples.block_index,
        start=start.astype(np.int32),
        length=length.astype(np.int32),
        token_ids=token_ids.astype(np.int32),
        activations=activations.astype(np.float32),
        peak=samples.peak,
        document_ids=blocks.document_ids,
        group_ids=blocks.group_ids,
    )


def window_context(
    windows: Windows,
    row: int,
    *,
    source_id: str,
    kind: ContextKind,
    split: Split | None,
    quantile: int,
    tokens: Sequence[str],
    decoy: Sequence[int] = (),
) -> Context:
    """Make the context of one window, of whose token ids `tokens` are the pieces."""
    return make_context(
        windows.tokens_of(row),
        windows.activations[row, : windows.length[row]].tolist(),
        source_id=source_id,
        feature_index=int(windows.feature[row]),
        kind=kind,
        split=split,
        quantile=quantile,
        document_id=windows.document_ids[row],
        group_id=windows.group_ids[row],
        block_index=int(windows.block_index[row]),
        start=int(windows.start[row]),
        tokens=tokens,
        decoy=decoy,
    )


def make_context(
    token_ids: Sequence[int],
    activations: Sequence[float],
    *,
    source_id: str,
    feature_index: int,
    kind: ContextKind,
    split: Split | None,
    quantile: int | None,
    document_id: str,
    block_index: int,
    start: int,
    tokens: Sequence[str],
    group_id: str = "",
    decoy: Sequence[int] = (),
) -> Context:
    """Make a context, with the id that any other run gives to the same one."""
    assert len(token_ids) == len(activations) == len(tokens) > 0
    largest = max(activations)
    assert largest == 0.0 or kind not in SILENT_KINDS, f"{kind}: feature {feature_index} fires in block {block_index}"
    name = f"{feature_id(source_id, feature_index)}/{kind}/{split}/{block_index}/{start}+{len(token_ids)}"
    if kind in MADE_KINDS:  # of no block
        name = f"{name}/{fingerprint(list(token_ids))}"
    return Context(
        context_id=stable_uuid(name),
        source_id=source_id,
        feature_index=feature_index,
        kind=kind,
        split=split,
        tokens=tuple(tokens),
        token_ids=tuple(token_ids),
        activations=tuple(activations),
        max_activation=largest,
        peak=activations.index(largest),
        quantile=quantile,
        document_id=document_id,
        group_id=group_id,
        block_index=block_index,
        start=start,
        decoy=tuple(decoy),
    )
