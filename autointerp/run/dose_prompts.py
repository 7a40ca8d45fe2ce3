"""Prompts of a chat as texts on which doses are found, and their mixture with texts of a corpus.

A prompt is what a user says, rendered by the subject's chat template up to where the answer begins. The divergence is
read at the user's words and at the last token, which foretells the answer's first: what a template writes around
them is the same in all of them, and would count for much.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from autointerp.identity import hash_key, in_keyed_order
from autointerp.live.divergence import MeteredTexts
from autointerp.live.dose import DoseMethod
from autointerp.live.read import read_any
from autointerp.live.subject import LiveSubject

# Texts of one kind that stand together: they are read in one pass, filled up to the longest of them.
_TOGETHER = 4


def draw_prompts(live: LiveSubject, said: Sequence[str], seed: int, method: DoseMethod) -> MeteredTexts:
    """Prompts in an order as good as random, of as many tokens as the method says, or all where there are fewer.

    Args:
        live: The subject.
        said: What a user says in each.
        seed: Of the order.
        method: Says how many tokens.

    Raises:
        SubjectError: If the subject has no chat template.
    """
    before, n_found = list(live.special.before), 0
    rows, counts = list[list[int]](), list[list[bool]]()
    for place in in_keyed_order(hash_key(seed, "dose prompts"), np.arange(len(said))).tolist():
        if n_found >= method.n_tokens:
            break
        read = read_any(live, [{"role": "user", "content": said[place]}], "the prompt", open_ended=True)
        if len(read.windows) != 1 or read.roles is None:  # it is longer than a block
            continue
        row = [*before, *read.token_ids]
        counted = [*[False] * len(before), *(role == "user" for role in read.roles)]
        counted[-1] = True
        rows.append(row)
        counts.append(counted)
        n_found += sum(counted)
    return _padded(rows, counts)


def mixed(first: MeteredTexts, second: MeteredTexts) -> MeteredTexts:
    """Both, some of one and then some of the other, so that the first tokens are of both alike."""
    parts: list[list[tuple[MeteredTexts, slice]]] = [
        [(texts, slice(start, start + _TOGETHER)) for start in range(0, len(texts.token_ids), _TOGETHER)]
        for texts in (first, second)
    ]
    ordered: list[tuple[MeteredTexts, slice]] = []
    n_of = [0, 0]
    while any(parts):
        own = 0 if parts[0] and (not parts[1] or n_of[0] <= n_of[1]) else 1
        texts, rows = parts[own].pop(0)
        n_of[own] += int(texts.counted[rows].sum())
        ordered.append((texts, rows))
    found = [
        (texts.token_ids[row][kept].tolist(), texts.counted[row][kept].tolist())
        for texts, rows in ordered
        for row in range(*rows.indices(len(texts.token_ids)))
        for kept in [texts.mask[row]]
    ]
    return _padded([row for row, _ in found], [counted for _, counted in found])


def _padded(rows: Sequence[Sequence[int]], counts: Sequence[Sequence[bool]]) -> MeteredTexts:
    shape = len(rows), max(map(len, rows), default=0)
    ids: Int64[np.ndarray, "text position"] = np.zeros(shape, dtype=np.int64)
    mask, counted = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)
    for place, (row, of_row) in enumerate(zip(rows, counts, strict=True)):
        ids[place, : len(row)], mask[place, : len(row)], counted[place, : len(row)] = row, True, of_row
    return MeteredTexts(ids, mask, counted)
