"""Which features a run labels."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from autointerp.config import ContextsConfig, FeaturesConfig, parse_indices
from autointerp.errors import AutointerpError, CorpusError, PipelineError, UnknownFeatureError
from autointerp.identity import hash_key, in_keyed_order

_log = logging.getLogger(__name__)

# Features of each source, ascending, by the source's id.
ChosenFeatures = Mapping[str, Sequence[int]]


def count_features(chosen: ChosenFeatures) -> int:
    """Features of all sources together."""
    return sum(len(features) for features in chosen.values())


def features_to_label(
    config: FeaturesConfig,
    contexts: ContextsConfig,
    n_active_blocks: Iterable[tuple[str, Int64[np.ndarray, " feature"]]],
    *,
    seed: int,
    labelled: Mapping[str, Sequence[int]] | None = None,
) -> ChosenFeatures:
    """Choose features of every source, ascending.

    Those named by `indices` are taken as they are: one that can't be labelled is recorded as a failure. Otherwise the
    choice is among features that fire in enough blocks to be explained and scored; `sample` takes those with the
    smallest keyed hash, so a larger sample contains a smaller one.

    Where labels come from outside, the features that have one stand for those that can be labelled: all of them are
    chosen, or the sample is among them. One that is named and has none is recorded as a failure.

    A source among several that lacks some of the features asked for, or all, is told in the log: it must not cost the
    others their labels.

    Args:
        config: What is asked for.
        contexts: How many active contexts a feature needs.
        n_active_blocks: Each source's id, and the blocks in which each of its features fires; taken one after another.
        seed: Of the sample.
        labelled: Features that have a label from outside, by source, ascending; None where labels are yet to be made.

    Raises:
        UnknownFeatureError: If an index is past the width of every coder.
        CorpusError: If no feature of any source fires in enough blocks.
        PipelineError: If no feature of any source that is asked for has a label from outside.
    """
    chosen: dict[str, list[int]] = {}
    lacking: list[_Lack] = []
    error: AutointerpError | None
    for source_id, of_source in n_active_blocks:
        with_label = None if labelled is None else labelled.get(source_id, ())
        if with_label is not None and not with_label:
            chosen[source_id], error = [], _no_label(f"no feature of {source_id} has a label")
        elif config.indices is not None:
            chosen[source_id], error = _named_features(source_id, parse_indices(config.indices), of_source.size)
            if with_label is not None and set(with_label).isdisjoint(chosen[source_id]):
                error = error or _no_label(f"none of the features asked for of {source_id} has a label")
        elif with_label is not None and config.sample is None:
            chosen[source_id], error = list(with_label), None
        else:
            chosen[source_id], error = _able_features(source_id, config, contexts, of_source, with_label, seed)
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


def check_width(source_id: str, indices: Sequence[range], n_features: int) -> None:
    """See that a source has features of these indices, as `config.parse_indices` reads them.

    Raises:
        UnknownFeatureError: If it lacks one.
    """
    last = indices[-1][-1]
    if last >= n_features:
        raise UnknownFeatureError(f"{source_id} has no feature {last}", f"its features are 0 to {n_features - 1}")


def _named_features(
    source_id: str, indices: Sequence[range], n_features: int
) -> tuple[list[int], AutointerpError | None]:
    there = [index for part in indices for index in part[: max(0, n_features - part.start)]]
    try:
        check_width(source_id, indices, n_features)
    except UnknownFeatureError as error:
        return there, error
    return there, None


def _no_label(problem: str) -> PipelineError:
    return PipelineError(f"{problem} in the file of labels", "give a file that has some as explain.labels")


def _able_features(
    source_id: str,
    config: FeaturesConfig,
    contexts: ContextsConfig,
    n_active_blocks: Int64[np.ndarray, " feature"],
    with_label: Sequence[int] | None,
    seed: int,
) -> tuple[list[int], AutointerpError | None]:
    n_needed = contexts.min_explain + contexts.min_score
    candidates = np.flatnonzero(n_active_blocks >= n_needed)
    if with_label is not None:
        candidates = np.intersect1d(candidates, with_label)
    if candidates.size == 0:
        return [], CorpusError(
            f"no feature of {source_id} fires in {n_needed} blocks of this corpus, which is the least it needs",
            "give more text (corpus.n_tokens), or lower contexts.min_explain and contexts.min_score",
        )
    if config.sample is not None:
        in_order = in_keyed_order(hash_key(seed, "features", source_id), candidates)
        candidates = np.sort(in_order[: config.sample])
    return [int(index) for index in candidates], None
