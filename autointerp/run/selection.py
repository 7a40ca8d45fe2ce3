"""Which features a run labels."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int64

from autointerp.config import ContextsConfig, FeaturesConfig, parse_indices
from autointerp.errors import CorpusError, UnknownFeatureError
from autointerp.identity import hash_key, keyed_hash

# Features of each source, ascending, by the source's id.
ChosenFeatures = Mapping[str, Sequence[int]]


def count_features(chosen: ChosenFeatures) -> int:
    """Features of all sources together."""
    return sum(len(features) for features in chosen.values())


def select_features(
    config: FeaturesConfig,
    contexts: ContextsConfig,
    n_active_blocks: Int64[np.ndarray, " feature"],
    *,
    source_id: str,
    seed: int,
) -> list[int]:
    """Choose features, ascending.

    Those named by `indices` are taken as they are: one that can't be labelled is recorded as a failure. Otherwise the
    choice is among features that fire in enough blocks to be explained and scored; `sample` takes those with the
    smallest keyed hash, so a larger sample contains a smaller one.

    Args:
        config: What is asked for.
        contexts: How many active contexts a feature needs.
        n_active_blocks: Blocks in which each feature fires.
        source_id: `model@source`.
        seed: Of the sample.

    Raises:
        UnknownFeatureError: If an index is past the coder's width.
        CorpusError: If no feature fires in enough blocks.
    """
    n_features = n_active_blocks.size
    if config.indices is not None:
        indices = parse_indices(config.indices)
        if indices[-1] >= n_features:
            raise UnknownFeatureError(
                f"{source_id} has no feature {indices[-1]}", f"its features are 0 to {n_features - 1}"
            )
        return list(indices)
    n_needed = contexts.min_explain + contexts.min_score
    candidates = np.flatnonzero(n_active_blocks >= n_needed)
    if candidates.size == 0:
        raise CorpusError(
            f"no feature of {source_id} fires in {n_needed} blocks of this corpus, which is the least it needs",
            "give more text (corpus.n_tokens), or lower contexts.min_explain and contexts.min_score",
        )
    if config.sample is not None:
        order = np.argsort(keyed_hash(hash_key(seed, "features", source_id), candidates), kind="stable")
        candidates = np.sort(candidates[order[: config.sample]])
    return [int(index) for index in candidates]
