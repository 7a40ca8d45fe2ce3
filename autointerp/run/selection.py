"""Which features a run labels."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from autointerp.config import ContextsConfig, FeaturesConfig, parse_indices
from autointerp.errors import AutointerpError, CorpusError, UnknownFeatureError
from autointerp.identity import hash_key, keyed_hash

_log = logging.getLogger(__name__)

# Features of each source, ascending, by the source's id.
ChosenFeatures = Mapping[str, Sequence[int]]


def count_features(chosen: ChosenFeatures) -> int:
    """Features of all sources together."""
    return sum(len(features) for features in chosen.values())


def select_features(
    config: FeaturesConfig,
    contexts: ContextsConfig,
    n_active_blocks: Iterable[tuple[str, Int64[np.ndarray, " feature"]]],
    *,
    seed: int,
) -> ChosenFeatures:
    """Choose features of every source, ascending.

    Those named by `indices` are taken as they are: one that can't be labelled is recorded as a failure. Otherwise the
    choice is among features that fire in enough blocks to be explained and scored; `sample` takes those with the
    smallest keyed hash, so a larger sample contains a smaller one.

    A source among several that lacks some of the features asked for, or all, is told in the log: it must not cost the
    others their labels.

    Args:
        config: What is asked for.
        contexts: How many active contexts a feature needs.
        n_active_blocks: Each source's id, and the blocks in which each of its features fires; taken one after another.
        seed: Of the sample.

    Raises:
        UnknownFeatureError: If an index is past the width of every coder.
        CorpusError: If no feature of any source fires in enough blocks.
    """
    chosen: dict[str, list[int]] = {}
    lacking: list[_Lack] = []
    for source_id, of_source in n_active_blocks:
        if config.indices is not None:
            chosen[source_id], error = _named_features(source_id, parse_indices(config.indices), of_source.size)
        else:
            chosen[source_id], error = _able_features(source_id, config, contexts, of_source, seed)
        if error is not None:
            lacking.append(_Lack(source_id, of_source.size, error))
    if lacking and len(lacking) == len(chosen):
        # Where all are too narrow, the widest says which indices there are.
        raise max(lacking, key=lambda lack: lack.n_features).error
    for lack in lacking:
        n_chosen = len(chosen[lack.source_id])
        _log.warning("%s: the run goes on with %d of its features", lack.error.problem, n_chosen)
    return chosen


@dataclass(frozen=True, slots=True)
class _Lack:
    """A source that lacks some of the features asked for, or all."""

    source_id: str
    n_features: int
    error: AutointerpError


def check_width(source_id: str, indices: Sequence[int], n_features: int) -> None:
    """See that a source has features of these indices, ascending.

    Raises:
        UnknownFeatureError: If it lacks one.
    """
    if indices[-1] >= n_features:
        raise UnknownFeatureError(
            f"{source_id} has no feature {indices[-1]}", f"its features are 0 to {n_features - 1}"
        )


def _named_features(
    source_id: str, indices: Sequence[int], n_features: int
) -> tuple[list[int], AutointerpError | None]:
    try:
        check_width(source_id, indices, n_features)
    except UnknownFeatureError as error:
        return [index for index in indices if index < n_features], error
    return list(indices), None


def _able_features(
    source_id: str,
    config: FeaturesConfig,
    contexts: ContextsConfig,
    n_active_blocks: Int64[np.ndarray, " feature"],
    seed: int,
) -> tuple[list[int], AutointerpError | None]:
    n_needed = contexts.min_explain + contexts.min_score
    candidates = np.flatnonzero(n_active_blocks >= n_needed)
    if candidates.size == 0:
        return [], CorpusError(
            f"no feature of {source_id} fires in {n_needed} blocks of this corpus, which is the least it needs",
            "give more text (corpus.n_tokens), or lower contexts.min_explain and contexts.min_score",
        )
    if config.sample is not None:
        order = np.argsort(keyed_hash(hash_key(seed, "features", source_id), candidates), kind="stable")
        candidates = np.sort(candidates[order[: config.sample]])
    return [int(index) for index in candidates], None
