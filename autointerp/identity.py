"""Names, fingerprints and keyed hashes: the three ways in which something here is the same thing twice.

- A source is `model@source`, a feature `model@source:index`; each has a UUID, uuid5 of that string.
- A fingerprint is the SHA-256 of canonical JSON. A stage's fingerprint covers what changes its result, and the
  fingerprints upstream of it; resuming compares fingerprints.
- A keyed hash orders candidates for a random choice. A sample of k is the k smallest hashes, which merges exactly, in
  any order, on any number of workers. The mixer is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom
  number generators", OOPSLA 2014), whose finaliser is a bijection on 64 bits, so distinct inputs under one key never
  collide.
"""

import hashlib
import json
import uuid
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

FeatureKey = int | np.integer[Any] | str
"""How callers name a feature: by its index, or in text, as `650` or `model@source:650`."""

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "autointerp")
"""Of every UUID here."""
_MOST_DIGITS = 18  # of an index; Python itself reads only some thousand
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def source_id(model: str, source: str) -> str:
    """Name a source as Neuronpedia does, for example `all-minilm-l6-v2@3-res-2k`."""
    return f"{model}@{source}"


def feature_id(source: str, feature_index: int) -> str:
    """Name a feature as Neuronpedia does, for example `all-minilm-l6-v2@3-res-2k:650`."""
    return f"{source}:{feature_index}"


def read_index(value: object) -> int | None:
    """The index that a value is: a whole number of Python or numpy, or the ASCII digits of one; None where it is none.

    Whether a source has such a feature is another question: the index may be below zero.
    """
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS else None
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None


def parse_feature_id(feature: object) -> tuple[str | None, int] | None:
    """The source, None where it is not named, and the index of `model@source:index` or an index; None for all else."""
    source, _, index = feature.rpartition(":") if isinstance(feature, str) else ("", "", feature)
    found = read_index(index)
    return None if found is None else (source or None, found)


def stable_uuid(name: str) -> str:
    """The UUID of a source, a feature or a record, the same on every machine."""
    return str(uuid.uuid5(NAMESPACE, name))


def fingerprint(*parts: Any) -> str:
    """SHA-256, in hexadecimal, of the canonical JSON of `parts` (sorted keys, no spaces, no NaN)."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def hash_key(seed: int, *names: str) -> int:
    """The 64-bit key under which `keyed_hash` orders candidates, from a seed and the names of the choice."""
    digest = hashlib.blake2b(json.dumps([seed, *names]).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def keyed_hash(key: int, *indices: NDArray[np.integer[Any]]) -> NDArray[np.uint64]:
    """Hash rows of non-negative indices under a key.

    Args:
        key: From `hash_key`.
        indices: Integer arrays of one shape (or broadcastable), for example features and blocks.

    Returns:
        Hashes of the broadcast shape, uniform over 64 bits; distinct for distinct values of a single index.
    """
    state = np.full(np.broadcast_shapes(*(i.shape for i in indices)), np.uint64(key), dtype=np.uint64)
    for index in indices:
        state = _mix(state + (index.astype(np.uint64) + np.uint64(1)) * _GAMMA)
    return state


def in_keyed_order(key: int, indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """The indices by ascending hash under a key: the first k of them are a uniform draw of k."""
    return indices[np.argsort(keyed_hash(key, indices), kind="stable")]


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed
