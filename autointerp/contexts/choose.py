"""Which of a feature's sampled windows become its active contexts.

1. Every window has an activation quantile: the place of its block's peak among the peaks of the uniform sample of the
   blocks where the feature fires, in equal-count quantiles. If that sample holds all these blocks, it is exact.
2. Explain split: `top_share` of `n_explain` from the top set, by rank; the rest stratified over the quantiles of the
   uniform sample. Where one of the two runs short, the other fills up.
3. Score split: `n_score` from the uniform sample, stratified over quantiles. The top set never grades: it would make
   a label that only fits the strongest activations look good.
4. Within a quantile the order is by keyed hash. Quantiles take turns, so a quantile that runs short is made up for by
   all others alike, and any first part of the choice is itself stratified.
5. Near-duplicates are dropped on the way: of two, the one that comes first stays, explain before score.
6. Where a select split is set apart, steps 2 to 5 are done as if its documents were explain documents, and give the
   score contexts: so what grades is the same with and without a select split. Then explain contexts are chosen again,
   from the explain documents alone, and `n_select` select contexts as in step 3; what nearly repeats a score context
   falls away.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int64, UInt64
from numpy.typing import NDArray

from autointerp.config import ContextsConfig
from autointerp.contexts.splits import DuplicateFilter
from autointerp.contexts.windows import Windows
from autointerp.identity import keyed_hash
from autointerp.records import ContextKind, Split


@dataclass(frozen=True, slots=True)
class Candidates:
    """What one feature's active contexts are chosen from.

    Attributes:
        windows: Clipped windows, of many features.
        trigrams: Token trigrams of each window.
        splits: Split of each window's document.
        top_rows: This feature's rows of the top set, by rank.
        fired_rows: This feature's rows of the uniform sample, by rank.
    """

    windows: Windows
    trigrams: Sequence[frozenset[int]]
    splits: Sequence[Split]
    top_rows: NDArray[np.integer[Any]]
    fired_rows: NDArray[np.integer[Any]]


class Choice(NamedTuple):
    """One chosen window: its row, how it was chosen, and its activation quantile, 0 lowest."""

    row: int
    kind: ContextKind
    quantile: int


class ActiveChoices(NamedTuple):
    """The active contexts of one feature, in the order of choice."""

    explain: tuple[Choice, ...]
    score: tuple[Choice, ...]


class ApartChoices(NamedTuple):
    """The active contexts of one feature beside those that grade, where a select split is set apart."""

    explain: tuple[Choice, ...]
    select: tuple[Choice, ...]


def quantiles_among(
    peak: Float32[np.ndarray, " row"],
    block_index: Int64[np.ndarray, " row"],
    sample_peak: Float32[np.ndarray, " sample"],
    sample_block: Int64[np.ndarray, " sample"],
    n_quantiles: int,
) -> Int64[np.ndarray, " row"]:
    """The equal-count quantile of each row among a sample.

    Equal peaks are ordered by block, so that quantiles stay of equal count when many peaks are equal.

    Args:
        peak: Peak activation of each row's block.
        block_index: Block of each row.
        sample_peak: Peaks of the uniform sample; a row may itself be part of it.
        sample_block: Blocks of the uniform sample.
        n_quantiles: Number of quantiles.

    Returns:
        From 0, the lowest, to `n_quantiles - 1`.
    """
    below = (sample_peak[None, :] < peak[:, None]) | (
        (sample_peak[None, :] == peak[:, None]) & (sample_block[None, :] < block_index[:, None])
    )
    rank = below.sum(axis=1)
    quantile: Int64[np.ndarray, " row"] = np.minimum(rank * n_quantiles // max(sample_peak.size, 1), n_quantiles - 1)
    return quantile


def stratify(
    rows: Sequence[int], quantile: Sequence[int], order: UInt64[np.ndarray, " row"], n_wanted: int
) -> list[int]:
    """Choose rows from quantiles in turn.

    Args:
        rows: Candidates.
        quantile: Quantile of each candidate.
        order: Keyed hash of each candidate: who comes first within a quantile, and which quantile in a round.
        n_wanted: Rows to choose; fewer are chosen if there are fewer.

    Returns:
        Chosen rows, round by round.
    """
    by_hash = sorted(zip(order.tolist(), quantile, rows, strict=True))
    n_before: dict[int, int] = {}
    rounds: list[tuple[int, int]] = []  # round of each candidate, and its place in `by_hash`, which breaks ties
    for place, (_, stratum, _) in enumerate(by_hash):
        rounds.append((n_before.get(stratum, 0), place))
        n_before[stratum] = n_before.get(stratum, 0) + 1
    return [by_hash[place][2] for _, place in sorted(rounds)[:n_wanted]]


def choose_active(candidates: Candidates, config: ContextsConfig, key: int) -> ActiveChoices:
    """Choose one feature's active contexts for the explain and the score split.

    Args:
        candidates: The feature's windows.
        config: How many, which mixture, how many quantiles.
        key: Of the choice within quantiles, from `hash_key`.
    """
    chooser = _Chooser(candidates, config, key)
    explain = chooser.explain(DuplicateFilter(config.near_duplicate))
    # A new filter: a candidate that was not chosen was not seen by the explainer, and keeps nothing out.
    shown = _filter_of((candidates.trigrams[choice.row] for choice in explain), config)
    return ActiveChoices(explain, chooser.uniform("score", config.n_score, shown))


def choose_apart(
    candidates: Candidates, config: ContextsConfig, key: int, scored: Sequence[frozenset[int]]
) -> ApartChoices:
    """Choose one feature's active contexts for the explain and the select split, beside given score contexts.

    Args:
        candidates: The feature's windows; some of their documents are of the select split.
        config: How many, which mixture, how many quantiles.
        key: Of the choice within quantiles, from `hash_key`.
        scored: Token trigrams of each of the feature's score contexts.
    """
    chooser = _Chooser(candidates, config, key)
    explain = chooser.explain(_filter_of(scored, config))
    shown = _filter_of([*scored, *(candidates.trigrams[choice.row] for choice in explain)], config)
    return ApartChoices(explain, chooser.uniform("select", config.n_select, shown))


def _filter_of(trigrams: Iterable[frozenset[int]], config: ContextsConfig) -> DuplicateFilter:
    """A filter that has seen some contexts."""
    seen = DuplicateFilter(config.near_duplicate)
    for of_one in trigrams:
        seen.admit(of_one)
    return seen


class _Chooser:
    """Chooses from one feature's windows; the arguments are those of `choose_active`."""

    def __init__(self, candidates: Candidates, config: ContextsConfig, key: int) -> None:
        windows, fired_rows = candidates.windows, candidates.fired_rows
        rows = np.concatenate([candidates.top_rows, fired_rows]).astype(np.int64)
        quantiles = quantiles_among(
            windows.peak[rows],
            windows.block_index[rows],
            windows.peak[fired_rows],
            windows.block_index[fired_rows],
            config.n_quantiles,
        )
        self._quantile: dict[int, int] = dict(zip(rows.tolist(), quantiles.tolist(), strict=True))
        self._candidates, self._config, self._key = candidates, config, key

    def explain(self, seen: DuplicateFilter) -> tuple[Choice, ...]:
        """The explain contexts, without what nearly repeats one that was seen; see step 2 of the module."""
        config, trigrams = self._config, self._candidates.trigrams
        top = iter(self._of("explain", self._candidates.top_rows))
        n_top = round(config.top_share * config.n_explain)
        explain: list[Choice] = []
        while len(explain) < n_top and (row := next(top, None)) is not None:
            if seen.admit(trigrams[row]):
                explain.append(Choice(row, "top", self._quantile[row]))
        explain += self.uniform("explain", config.n_explain - len(explain), seen)
        while len(explain) < config.n_explain and (row := next(top, None)) is not None:
            if seen.admit(trigrams[row]):
                explain.append(Choice(row, "top", self._quantile[row]))
        return tuple(explain)

    def uniform(self, split: Split, n_wanted: int, seen: DuplicateFilter) -> tuple[Choice, ...]:
        """Windows of the uniform sample, stratified, without what nearly repeats one that was seen."""
        windows, trigrams = self._candidates.windows, self._candidates.trigrams
        distinct = [row for row in self._of(split, self._candidates.fired_rows) if seen.admit(trigrams[row])]
        order = keyed_hash(self._key, windows.feature[distinct], windows.block_index[distinct])
        chosen = stratify(distinct, [self._quantile[row] for row in distinct], order, n_wanted)
        return tuple(Choice(row, "quantile", self._quantile[row]) for row in chosen)

    def _of(self, split: Split, rows: NDArray[np.integer[Any]]) -> list[int]:
        return [row for row in rows.tolist() if self._candidates.splits[row] == split]
