"""Which contexts explainers may see, which choose among labels and which only grade, and the proof that they are apart.

1. A group of documents (a source file, a conversation; a document by itself where nothing is known) belongs to one
   split, by keyed hashes of its id: the same for every feature, source and run of a seed. One hash tells the score
   split from the rest, another the select split within the rest: so the groups that grade are the same whatever is set
   apart to select.
2. Two contexts are near-duplicates if the Jaccard overlap of their sets of token trigrams reaches a threshold. Of two
   near-duplicates the one that comes first stays.
3. The finished contexts of a feature are checked again, by another computation: a context that shares a document or
   group with one of another split, or nearly repeats one, raises `LeakError`.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, combinations

import numpy as np
from jaxtyping import Bool, Float64, Int32, UInt64

from autointerp.errors import LeakError
from autointerp.identity import feature_id, hash_key, keyed_hash
from autointerp.records import Context, FeatureContexts, Split

_TRIGRAM_KEY = hash_key(0, "token trigram")


@lru_cache(maxsize=1 << 18)
def group_split(group_id: str, seed: int, explain_share: float, select_share: float = 0.0) -> Split:
    """The split of a group of documents, and so of every context cut from them.

    Args:
        group_id: Of the group.
        seed: Of the run.
        explain_share: Share of groups that don't grade.
        select_share: Share of these that are set apart to choose among labels.
    """
    if hash_key(seed, "document split", group_id) >= explain_share * 2.0**64:
        return "score"
    # A hash of its own: within the explain side the first one is not uniform.
    is_apart = select_share > 0.0 and hash_key(seed, "select split", group_id) < select_share * 2.0**64
    return "select" if is_apart else "explain"


def trigram_sets(token_ids: Int32[np.ndarray, "row offset"], length: Int32[np.ndarray, " row"]) -> list[frozenset[int]]:
    """The set of hashed token trigrams of each row.

    A row of fewer than three tokens has one element, which stands for all its tokens, so that only equal ones match.

    Args:
        token_ids: Tokens of each row, of which the first `length` count.
        length: Tokens of each row, at least 1.
    """
    hashes = _trigrams(token_ids, length)
    n_trigrams = np.maximum(length - 2, 1).tolist()
    return [frozenset(row[:n]) for row, n in zip(hashes.tolist(), n_trigrams, strict=True)]


def _trigrams(
    token_ids: Int32[np.ndarray, "row offset"], length: Int32[np.ndarray, " row"]
) -> UInt64[np.ndarray, "row trigram"]:
    """Hash of the three tokens from each offset on; the shift by one keeps token 0 apart from a missing token."""
    n_rows, n_offsets = token_ids.shape
    shifted = np.zeros((n_rows, max(n_offsets, 3)), dtype=np.int64)
    shifted[:, :n_offsets] = np.where(np.arange(n_offsets) < length[:, None], token_ids.astype(np.int64) + 1, 0)
    return keyed_hash(_TRIGRAM_KEY, shifted[:, :-2], shifted[:, 1:-1], shifted[:, 2:])


class DuplicateFilter:
    """Lets contexts through in order of rank, unless they nearly repeat one that was let through."""

    def __init__(self, near_duplicate: float) -> None:
        """Start empty; `near_duplicate` is the overlap from which on two contexts count as duplicates."""
        self._near_duplicate = near_duplicate
        self._admitted: list[frozenset[int]] = []
        self._all_trigrams: set[int] = set()

    def copy(self) -> "DuplicateFilter":
        """A filter of its own that has let through the same."""
        copied = type(self)(self._near_duplicate)
        copied._admitted, copied._all_trigrams = [*self._admitted], {*self._all_trigrams}
        return copied

    def admit(self, trigrams: frozenset[int]) -> bool:
        """Let a context through and remember it, or say that it nearly repeats an earlier one."""
        # The overlap with one context is at most this share with all of them, which is mostly far below.
        at_most = len(trigrams & self._all_trigrams) / len(trigrams)
        if at_most >= self._near_duplicate and any(self._repeats(trigrams, other) for other in self._admitted):
            return False
        self._admitted.append(trigrams)
        self._all_trigrams |= trigrams
        return True

    def _repeats(self, trigrams: frozenset[int], other: frozenset[int]) -> bool:
        n_shared = len(trigrams & other)
        return n_shared / (len(trigrams) + len(other) - n_shared) >= self._near_duplicate


class DuplicateIndex:
    """Many contexts by the trigrams they hold, to find at once which of them nearly repeat one of a few others."""

    def __init__(self, trigrams: Sequence[frozenset[int]]) -> None:
        """Index contexts, given by their sets of trigrams."""
        self._sizes = np.array([len(one) for one in trigrams], dtype=np.int64)
        hashes = np.fromiter(chain.from_iterable(trigrams), dtype=np.uint64, count=int(self._sizes.sum()))
        order = np.argsort(hashes, kind="stable")
        self._holders = np.repeat(np.arange(self._sizes.size), self._sizes)[order]
        self._distinct, first = np.unique(hashes[order], return_index=True)
        self._first = np.append(first, hashes.size)

    def repeats(
        self, token_ids: Int32[np.ndarray, "row offset"], length: Int32[np.ndarray, " row"], near_duplicate: float
    ) -> Bool[np.ndarray, " context"]:
        """Whether each indexed context nearly repeats one of some others.

        Args:
            token_ids: Tokens of each of the others, of which the first `length` count.
            length: Tokens of each, at least 1.
            near_duplicate: Overlap from which on two contexts count as duplicates.
        """
        n_contexts = self._sizes.size
        repeated = np.zeros(n_contexts, dtype=np.bool_)
        if n_contexts == 0 or length.size == 0:
            return repeated
        hashes = _trigrams(token_ids, length)
        hashes = np.where(np.arange(hashes.shape[1]) < np.maximum(length - 2, 1)[:, None], hashes, hashes[:, :1])
        hashes.sort(axis=1)
        once = np.ones(hashes.shape, dtype=np.bool_)
        once[:, 1:] = hashes[:, 1:] != hashes[:, :-1]
        sizes = once.sum(axis=1)
        at = np.minimum(np.searchsorted(self._distinct, hashes[once]), self._distinct.size - 1)
        known = self._distinct[at] == hashes[once]
        at, of_other = at[known], np.nonzero(once)[0][known]
        # The sparse product of both incidences: each trigram of each other meets all contexts that hold it.
        n_holders = self._first[at + 1] - self._first[at]
        place = np.arange(n_holders.sum()) + np.repeat(self._first[at] - np.cumsum(n_holders) + n_holders, n_holders)
        pairs, shared = np.unique(
            np.repeat(of_other, n_holders) * n_contexts + self._holders[place], return_counts=True
        )
        other, context = np.divmod(pairs, n_contexts)
        overlap: Float64[np.ndarray, " pair"] = shared / (sizes[other] + self._sizes[context] - shared)
        repeated[context[overlap >= near_duplicate]] = True
        return repeated


def context_trigrams(contexts: Sequence[Context]) -> list[frozenset[int]]:
    """The set of hashed token trigrams of each context."""
    return trigram_sets(*padded(contexts)) if contexts else []


def padded(
    contexts: Sequence[Context],
) -> tuple[Int32[np.ndarray, "context offset"], Int32[np.ndarray, " context"]]:
    """Tokens of contexts, 0 past the end of each, and their lengths."""
    length = np.array([len(context.token_ids) for context in contexts], dtype=np.int32)
    token_ids = np.zeros((len(contexts), int(length.max(initial=0))), dtype=np.int32)
    of_all = chain.from_iterable(context.token_ids for context in contexts)
    token_ids[np.arange(token_ids.shape[1]) < length[:, None]] = np.fromiter(of_all, np.int32, int(length.sum()))
    return token_ids, length


def check_no_leak(contexts: FeatureContexts, near_duplicate: float) -> None:
    """Check that nothing that grades, active or silent, could have been seen when the label was written or chosen.

    Nor may what chooses have been seen by who wrote it.

    Args:
        contexts: All contexts of one feature.
        near_duplicate: Overlap of token trigrams from which on two contexts count as duplicates.

    Raises:
        LeakError: If two contexts of different splits share their document or its group, or nearly their text.
    """
    by_split: dict[Split | None, list[Context]] = {"explain": [], "select": [], "score": []}
    for context in contexts.contexts:
        by_split[context.split].append(context)
    name = feature_id(contexts.source_id, contexts.feature_index)
    remedy = "report this as a bug; the scores of this feature can't be trusted"
    for first, second in combinations(by_split, 2):
        before, after = by_split[first], by_split[second]
        if not before or not after:
            continue
        for what in ("document", "group"):
            ids_before, ids_after = ({getattr(c, f"{what}_id") for c in side} for side in (before, after))
            if shared := (ids_before & ids_after) - {""}:  # contexts of earlier versions have no group
                raise LeakError(
                    f"feature {name} has {what} {min(shared)!r} in both splits, {first} and {second}", remedy
                )
        overlap = _jaccard(before, after)
        if (overlap >= near_duplicate).any():
            row, column = np.unravel_index(int(overlap.argmax()), overlap.shape)
            raise LeakError(
                f"feature {name}: {second} context {after[column].context_id} repeats {overlap.max():.0%} of {first} "
                f"context {before[row].context_id}",
                remedy,
            )


def _jaccard(first: Sequence[Context], second: Sequence[Context]) -> Float64[np.ndarray, "first second"]:
    """Overlap of the trigram sets of each pair, from their incidence on the trigrams that occur on both sides."""
    both = [*first, *second]
    token_ids, length = padded(both)
    hashes = _trigrams(token_ids, length)
    used = np.arange(hashes.shape[1]) < np.maximum(length - 2, 1)[:, None]
    distinct, place = np.unique(hashes[used], return_inverse=True)
    row_of, place_of = np.divmod(np.unique(np.nonzero(used)[0] * distinct.size + place.ravel()), distinct.size)
    sizes = np.bincount(row_of, minlength=len(both))

    on_first, on_second = (np.zeros(distinct.size, dtype=np.bool_) for _ in range(2))
    on_first[place_of[row_of < len(first)]] = True
    on_second[place_of[row_of >= len(first)]] = True
    on_both = on_first & on_second
    column = np.cumsum(on_both) - 1
    incidence = np.zeros((len(both), int(on_both.sum())), dtype=np.int64)
    kept = on_both[place_of]
    incidence[row_of[kept], column[place_of[kept]]] = 1
    shared = incidence[: len(first)] @ incidence[len(first) :].T
    overlap: Float64[np.ndarray, "first second"] = shared / (
        sizes[: len(first), None] + sizes[None, len(first) :] - shared
    )
    return overlap
