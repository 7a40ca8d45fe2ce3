"""How likely the subject finds tokens that are there already: plain, and under edits.

What all texts begin with, a chat template's system message for example, is read once, and the rest behind its keys and
values.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from autointerp.live.edits import edited
from autointerp.live.next_token import OutputHead
from autointerp.live.subject import LiveSubject
from autointerp.records.live import SourceEdits
from autointerp.subject.limits import readable_tokens

# Positions whose logits are held at once.
_N_POSITIONS = 256


@dataclass(frozen=True, slots=True)
class Reading:
    """Tokens that the subject reads, and which of them are asked about.

    Attributes:
        token_ids: All, special tokens included, exactly as the subject reads them.
        first: Of those asked about, which go on to the end; at least 1. None is where it is the number of tokens.
    """

    token_ids: tuple[int, ...]
    first: int


def token_log_probs(
    live: LiveSubject, head: OutputHead, readings: Sequence[Reading], edits: Sequence[SourceEdits] = ()
) -> list[Float64[np.ndarray, " token"]]:
    """Log-probability of each token asked about, given all before it.

    Args:
        live: The subject.
        head: Its head.
        readings: What it reads.
        edits: Made at every token.

    Returns:
        Of each reading, in nats.

    Raises:
        SubjectError: If features are edited that can't be, or a reading is longer than the model reads.
    """
    rows, row_of = _rows(readings)
    # The last token before the first that is asked about has to be read with the rest: it foretells it.
    shared = _common_start([reading.token_ids[: reading.first - 1] for reading in readings])
    rests = [row[len(shared) :] for row in rows]
    found: list[Float64[np.ndarray, " token"]] = [np.zeros(0)] * len(readings)
    with live.lock, torch.inference_mode():
        before = _read_prefix(live, shared, edits) if shared else None
        for batch in live.batches(rests):
            hidden = _read(live, [rests[row] for row in batch], len(shared), before, edits)
            at = {row: place for place, row in enumerate(batch)}
            for place, reading in enumerate(readings):
                if row_of[place] in at:
                    behind = hidden[at[row_of[place]], reading.first - 1 - len(shared) :]
                    found[place] = _log_probs(head, behind, reading.token_ids[reading.first :])
    return found


def n_tokens_read(readings: Sequence[Reading]) -> int:
    """Tokens that the subject reads for some readings: what several begin with once, and no last token."""
    shared = _common_start([reading.token_ids[: reading.first - 1] for reading in readings])
    return len(shared) + sum(len(row) - len(shared) for row in _rows(readings)[0])


def _rows(readings: Sequence[Reading]) -> tuple[list[tuple[int, ...]], list[int]]:
    """What is to be read, and of each reading the row that has it: those that begin others are read with them."""
    needed = [reading.token_ids[: max(reading.first, len(reading.token_ids) - 1)] for reading in readings]
    rows: list[tuple[int, ...]] = []
    row_of: dict[tuple[int, ...], int] = {}
    # In descending order what goes on from a text comes right before it.
    for text in sorted(set(needed), reverse=True):
        if not rows or rows[-1][: len(text)] != text:
            rows.append(text)
        row_of[text] = len(rows) - 1
    return rows, [row_of[text] for text in needed]


def _log_probs(
    head: OutputHead, hidden: Float[Tensor, "position d_model"], wanted: Sequence[int]
) -> Float64[np.ndarray, " token"]:
    parts = [
        head.log_probs(hidden[start : start + len(some)]).gather(1, torch.tensor(some, device=hidden.device)[:, None])
        for start in range(0, len(wanted), _N_POSITIONS)
        for some in [wanted[start : start + _N_POSITIONS]]
    ]
    return torch.cat(parts)[:, 0].double().cpu().numpy() if parts else np.zeros(0)


def _common_start(rows: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The tokens that all begin with; the least and the greatest row differ where any do."""
    least, greatest = min(rows, default=()), max(rows, default=())
    n_alike = next((n for n, (a, b) in enumerate(zip(least, greatest, strict=False)) if a != b), len(least))
    return least[:n_alike]


def _read_prefix(live: LiveSubject, prefix: tuple[int, ...], edits: Sequence[SourceEdits]) -> Any:
    """The keys and values of what all texts begin with."""
    subject = live.sources.subject
    ids = torch.tensor([prefix])
    with _edited(live, edits, torch.ones(ids.shape, dtype=torch.bool)):
        read = subject.model(
            input_ids=readable_tokens(subject, ids, torch.ones_like(ids)).to(subject.device), use_cache=True
        )
    return read.past_key_values


def _read(
    live: LiveSubject, rows: Sequence[tuple[int, ...]], n_before: int, before: Any, edits: Sequence[SourceEdits]
) -> Tensor:
    """The last hidden states of texts, (text, position, width), behind what they begin with."""
    subject = live.sources.subject
    ids = torch.full((len(rows), max(map(len, rows))), live.special.padding, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, token_ids in enumerate(rows):
        ids[row, : len(token_ids)], mask[row, : len(token_ids)] = torch.tensor(token_ids, dtype=torch.int64), 1
    past = copy.deepcopy(before)
    if past is not None:
        past.batch_repeat_interleave(len(rows))
    seen = torch.cat([torch.ones((len(rows), n_before), dtype=torch.int64), mask], dim=1)
    with _edited(live, edits, mask.bool()):
        hidden: Tensor = subject.model(
            input_ids=readable_tokens(subject, ids, mask).to(subject.device),
            attention_mask=seen.to(subject.device),
            past_key_values=past,
            use_cache=past is not None,
        ).last_hidden_state
    return hidden


@contextmanager
def _edited(live: LiveSubject, edits: Sequence[SourceEdits], where: Bool[Tensor, "text position"]) -> Iterator[None]:
    with ExitStack() as stack:
        for of_source in edits:
            stack.enter_context(edited(live.source(of_source.source_id), [of_source.edits] * len(where), where))
        yield
