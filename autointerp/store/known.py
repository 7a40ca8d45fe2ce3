"""What callers name (features, sources, scorers, spaces), held against what a store has.

A name that the store does not know is told, with those that it knows: it never reads as "nothing found".
"""

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeVar, get_args

import numpy as np

from autointerp.errors import AutointerpError, SearchError, StoreError, UnknownFeatureError
from autointerp.identity import FeatureKey, parse_feature_id
from autointerp.records import ContextKind, SourceRecord, Split

_SHOWN = 60
_Name = TypeVar("_Name", int, str)


def feature_keys(features: FeatureKey | Iterable[FeatureKey], source_id: str | None) -> tuple[str | None, list[int]]:
    """Read how a caller names features of one source.

    Args:
        features: Indices, of Python or numpy, or their texts, `650` and `model@source:650` too; or one of these.
        source_id: The source; None where the features name it, or the run has only one.

    Returns:
        The source, None where nobody named it, and the indices in their order.

    Raises:
        UnknownFeatureError: If one is no feature, or they name several sources.
    """
    some: Iterable[Any] = [features]
    if isinstance(features, Iterable) and not isinstance(features, str | bytes):
        some = features
    indices: list[int] = []
    named = set() if source_id is None else {source_id}
    for feature in some:
        parsed = parse_feature_id(feature.strip() if isinstance(feature, str) else feature)
        if parsed is None:
            told = shown(feature)
            raise UnknownFeatureError(f"{told} is not a feature", "give an index such as 650, or model@source:650")
        if parsed[0] is not None:
            named.add(parsed[0])
        indices.append(parsed[1])
    if len(named) > 1:
        raise UnknownFeatureError(
            f"features of several sources are named ({', '.join(sorted(named))})", "ask for one source at a time"
        )
    return (named.pop() if named else None), indices


def wanted_features(
    features: Iterable[FeatureKey] | None,
    source_id: str | None,
    sources: Sequence[SourceRecord],
    *,
    of_one_source: bool = False,
) -> dict[str, Any]:
    """What `fetch` takes for the features that a caller names; a source or features that are not named are all.

    Args:
        features: As for `feature_keys`; all where None.
        source_id: Their source.
        sources: Those of the store.
        of_one_source: The only source is meant where none is named.

    Raises:
        UnknownFeatureError: If no such source has such a feature; the message states the range.
        StoreError: If there is no such source, or several and one has to be named.
    """
    named, indices = (source_id, None) if features is None else feature_keys(features, source_id)
    if of_one_source or named is not None:
        sources = [one_source(sources, named)]
        named = sources[0].source_id
    if indices and sources:
        widest = max(sources, key=lambda source: source.n_features)
        unknown = next((index for index in (min(indices), max(indices)) if not 0 <= index < widest.n_features), None)
        if unknown is not None:
            raise UnknownFeatureError(
                f"{widest.source_id} has no feature {unknown}", f"its features are 0 to {widest.n_features - 1}"
            )
    return {"source_id": named, "feature_index": indices}


def one_source(sources: Sequence[SourceRecord], source_id: str | None) -> SourceRecord:
    """One source; the only one where none is named.

    Raises:
        StoreError: If there is none of this name, or several and none is named.
    """
    found = [source for source in sources if source_id in (None, source.source_id)]
    if len(found) == 1:
        return found[0]
    if not sources:
        raise StoreError("the run holds no source yet", "wait until the collect stage has finished, or run it")
    known = ", ".join(source.source_id for source in sources)
    if source_id is not None:
        raise StoreError(f"there is no source {shown(source_id)} in the run", f"it holds {known}")
    raise StoreError(
        f"the run holds several sources: {known}",
        f"name the feature with its source, for example {sources[0].source_id}:5, or in Python by source_id=",
    )


def check_name(name: _Name, known: Collection[_Name], what: str, error: type[AutointerpError]) -> None:
    """See that a name is among the known ones.

    Args:
        name: As a caller gave it.
        known: Names that there are.
        what: What it names, in the singular, for example `scorer`.
        error: Raised if it is not known.
    """
    if name not in known:
        raise error(f"there is no {what} {shown(name)}", f"{what}s are {', '.join(map(str, known)) or 'none yet'}")


def check_context_names(split: str | None, kind: str | None) -> None:
    """See that contexts can be of such a split and kind; None leaves each free.

    Raises:
        StoreError: If there is no such split or kind.
    """
    for name, known, what in ((split, get_args(Split), "split"), (kind, get_args(ContextKind), "kind")):
        if name is not None:
            check_name(name, known, what, StoreError)


def check_seed(seed: int) -> int:
    """See that a seed is one.

    Raises:
        SearchError: If it is no whole number from 0 to 2^63 - 1.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**63:
        raise SearchError(f"{shown(seed)} is no seed", "give a whole number from 0 on")
    return int(seed)


def check_flag(name: str, value: bool) -> bool:
    """See that something is true or false, and nothing that Python takes for either.

    Raises:
        SearchError: If it is not.
    """
    if not isinstance(value, bool | np.bool_):
        raise SearchError(f"{name} can't be {shown(value)}", "give True or False")
    return bool(value)


def check_count(name: str, count: int, largest: int | None = None) -> int:
    """See that so many results can be asked for.

    Args:
        name: The argument's.
        count: As a caller gave it.
        largest: The most; None where there is no such limit.

    Raises:
        SearchError: If it is no whole number from 1 to `largest`.
    """
    is_whole = isinstance(count, int | np.integer) and not isinstance(count, bool)
    if not (is_whole and 1 <= count <= (largest or count)):
        raise SearchError(f"{name} can't be {shown(count)}", f"ask for {f'1 to {largest}' if largest else '1 or more'}")
    return int(count)


def shown(value: Any) -> str:
    """What a caller gave, short enough for one line."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def as_float(value: Any) -> float:
    """A number as a float; one that is larger than any float is infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
