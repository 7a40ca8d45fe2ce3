"""What all features do on many texts, in batches of like length, lazily.

1. Texts are gathered until there are some batches of tokens; no more are read ahead. Each is cut into windows
   (`live.read`).
2. The windows of all of them are run by length, so that little padding is; several sources share a forward pass.
3. The texts are given in the order in which they came. What is kept is sparse, and of as many texts as were gathered.

What a text does depends on its own windows alone; which others are run with it changes activations by rounding only.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int32

from autointerp.devices import is_out_of_memory
from autointerp.errors import SubjectError
from autointerp.live.edits import edited
from autointerp.live.read import Readable, ReadText, edited_tokens, read_any
from autointerp.live.subject import LiveSubject
from autointerp.records.live import EVERY_TOKEN, EditScope, SourceEdits, TextFirings
from autointerp.subject.source import Source, Sources

# Batches whose windows are sorted by length together.
_BATCHES_AT_ONCE = 8


class WindowFirings(NamedTuple):
    """Of one source on one window, by (position, feature)."""

    position: Int32[np.ndarray, " firing"]
    feature: Int32[np.ndarray, " firing"]
    activation: Float32[np.ndarray, " firing"]


def read_firings(
    live: LiveSubject,
    texts: Iterable[Readable],
    source_ids: Sequence[str] | None = None,
    on_progress: Callable[[int], None] | None = None,
    edits: Sequence[SourceEdits] = (),
    scope: EditScope = EVERY_TOKEN,
) -> Iterator[tuple[TextFirings, ...]]:
    """Run texts and conversations, and give what the features of some sources do on each.

    Several threads may do so at once; the subject is held only while a batch runs.

    Args:
        live: The subject.
        texts: Read no further ahead than some batches.
        source_ids: The sources; all where None.
        on_progress: Told how many texts are done.
        edits: Made while the texts are read; what is read of a source that is edited is what it does as edited.
        scope: The tokens that are edited; none of them is generated.

    Yields:
        For each text, in order, one a source. A text without a token has no firing.

    Raises:
        SubjectError: If there is no such source, its features can't be edited, or a text can't be read; those before it
            have been given.
    """
    sources = live.sources.sources if source_ids is None else tuple(live.source(name) for name in source_ids)
    is_one = isinstance(texts, Sequence) and len(texts) == 1
    gathered: list[ReadText] = []
    n_gathered = n_done = 0
    for number, text in enumerate(texts):
        try:
            read = read_any(live, text, "the text" if is_one else f"text {number}")
        except SubjectError:
            yield from _run_texts(live, sources, gathered, edits, scope)
            raise
        gathered.append(read)
        n_gathered += sum(map(len, read.windows))
        if n_gathered >= _BATCHES_AT_ONCE * live.n_tokens_at_once:
            yield from _run_texts(live, sources, gathered, edits, scope)
            n_done += len(gathered)
            gathered, n_gathered = [], 0
            if on_progress is not None:
                on_progress(n_done)
    yield from _run_texts(live, sources, gathered, edits, scope)
    if on_progress is not None and gathered:
        on_progress(n_done + len(gathered))


def run_blocks(
    live: LiveSubject,
    sources: Sequence[Source],
    token_ids: Int32[np.ndarray, "block position"],
    mask: Bool[np.ndarray, "block position"],
    counted: Bool[np.ndarray, "block position"],
    edits: Sequence[SourceEdits] = (),
    where: Bool[np.ndarray, "block position"] | None = None,
) -> list[list[WindowFirings]]:
    """Run a batch once; in halves, where it does not fit into memory.

    Args:
        live: The subject.
        sources: Whose firings are read.
        token_ids: Special tokens included, padded on the right.
        mask: Where there is a token.
        counted: Where firings are read.
        edits: Made in all blocks.
        where: Positions that are edited; none where None.

    Returns:
        For each block and source its firings.

    Raises:
        SubjectError: If one block does not fit into memory, or a token has no embedding.
    """
    try:
        with live.lock:
            return _run_at_once(live, sources, token_ids, mask, counted, edits, where)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        if len(token_ids) == 1:
            raise SubjectError(
                f"{int(mask.sum()):,} tokens at once do not fit into memory", "run it on a larger device"
            ) from error
    # Outside of the handler, whose traceback would keep the batch's tensors alive.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    halves = (slice(0, len(token_ids) // 2), slice(len(token_ids) // 2, None))
    return [
        of
        for half in halves
        for of in run_blocks(
            live,
            sources,
            token_ids[half],
            mask[half],
            counted[half],
            edits,
            None if where is None else where[half],
        )
    ]


def _run_at_once(
    live: LiveSubject,
    sources: Sequence[Source],
    token_ids: Int32[np.ndarray, "block position"],
    mask: Bool[np.ndarray, "block position"],
    counted: Bool[np.ndarray, "block position"],
    edits: Sequence[SourceEdits],
    where: Bool[np.ndarray, "block position"] | None,
) -> list[list[WindowFirings]]:
    with ExitStack() as stack:
        if where is not None and where.any():
            for of_source in edits:
                of_blocks = [of_source.edits] * len(token_ids)
                stack.enter_context(edited(live.source(of_source.source_id), of_blocks, torch.from_numpy(where)))
        hidden = Sources(live.sources.subject, tuple(sources)).read_counted(
            torch.from_numpy(token_ids), torch.from_numpy(mask.astype(np.int64)), torch.from_numpy(counted)
        )
    block, position = np.nonzero(counted)
    of_sources = []
    for source, rows in zip(sources, hidden, strict=True):
        parts = list(source.encode_firings(rows))
        row, feature, activation = (
            _together([getattr(part, name) for part in parts], dtype)
            for name, dtype in (("row", np.int64), ("feature", np.int64), ("activation", np.float32))
        )
        bounds = np.searchsorted(block[row], np.arange(len(token_ids) + 1)).tolist()
        at, of = position[row].astype(np.int32), feature.astype(np.int32)
        of_sources.append([WindowFirings(at[i:j], of[i:j], activation[i:j]) for i, j in pairwise(bounds)])
    return [list(of_block) for of_block in zip(*of_sources, strict=True)]


def _run_texts(
    live: LiveSubject,
    sources: Sequence[Source],
    texts: Sequence[ReadText],
    edits: Sequence[SourceEdits],
    scope: EditScope,
) -> Iterator[tuple[TextFirings, ...]]:
    windows = [window for text in texts for window in text.windows]
    masks = [mask for text in texts for mask in edited_tokens(live, text, scope)] if edits else []
    found: list[list[WindowFirings]] = [[] for _ in windows]
    for batch in live.batches(windows):
        token_ids, mask, counted = live.framed([windows[i] for i in batch])
        where = np.zeros(counted.shape, dtype=np.bool_) if edits else None
        if where is not None:
            for row, i in enumerate(batch):
                where[row, : len(masks[i])] = masks[i]
        of_blocks = run_blocks(live, sources, token_ids.numpy(), mask.numpy() > 0, counted, edits, where)
        for i, of_block in zip(batch, of_blocks, strict=True):
            found[i] = of_block
    first = 0
    for text in texts:
        last = first + len(text.windows)
        yield tuple(
            joined(live, source, text, [of[number] for of in found[first:last]])
            for number, source in enumerate(sources)
        )
        found[first:last] = [[]] * (last - first)  # held by who asked for them from now on
        first = last


def joined(live: LiveSubject, source: Source, text: ReadText, windows: Sequence[WindowFirings]) -> TextFirings:
    """The firings of a text's windows, at their places in the text."""
    token_ids = text.token_ids
    starts = np.cumsum([0, *map(len, text.windows)])[:-1]
    n_before = len(live.special.before)
    places = [of.position + np.int32(start - n_before) for of, start in zip(windows, starts.tolist(), strict=True)]
    return TextFirings(
        source_id=source.source_id,
        n_features=source.n_features,
        token_ids=np.array(token_ids, dtype=np.int32),
        tokens=tuple(live.pieces.pieces(token_ids)),
        counted=~np.isin(token_ids, sorted(live.special.uncounted)) if token_ids else np.zeros(0, np.bool_),
        windows=tuple(starts.tolist()),
        token=_together(places, np.int32),
        feature=_together([of.feature for of in windows], np.int32),
        activation=_together([of.activation for of in windows], np.float32),
        roles=text.roles,
    )


def _together(parts: Sequence[np.ndarray], dtype: type[np.generic]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, dtype)
