"""Names, fingerprints and keyed hashes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.identity import feature_id, fingerprint, hash_key, keyed_hash, parse_feature_id, stable_uuid


def test_a_feature_is_named_as_neuronpedia_names_it() -> None:
    assert feature_id("all-minilm-l6-v2@3-res-2k", 650) == "all-minilm-l6-v2@3-res-2k:650"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("650", (None, 650)), ("m@s:7", ("m@s", 7)), ("m@s:", None), ("m@s", None), ("-3", None), ("٣", None)],
)
def test_feature_ids_are_parsed(text: str, expected: tuple[str | None, int] | None) -> None:
    assert parse_feature_id(text) == expected


def test_a_fingerprint_does_not_depend_on_the_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": [2, None]}) == fingerprint({"b": [2, None], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


def test_identities_are_the_same_on_every_machine() -> None:
    assert stable_uuid("m@s:1") == "468afaee-d53b-5227-afc3-46d77bbc3e95"
    assert keyed_hash(1, np.array([0, 1])).tolist() == [10451216379200822465, 13757245211066428519]


@given(st.integers(0, 2**63), st.integers(1, 300))
def test_one_key_never_gives_two_indices_the_same_hash(seed: int, n: int) -> None:
    hashes = keyed_hash(hash_key(seed, "choice"), np.arange(n))
    assert len(set(hashes.tolist())) == n


def test_hashes_of_pairs_broadcast_and_look_uniform() -> None:
    hashes = keyed_hash(hash_key(0, "x"), np.arange(200)[:, None], np.arange(100)[None, :])
    assert hashes.shape == (200, 100)
    assert len(np.unique(hashes)) == hashes.size
    assert abs((hashes / 2**64).mean() - 0.5) < 0.01
